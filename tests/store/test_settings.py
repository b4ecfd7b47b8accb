"""Settings: what the environment may say, and that nothing else asks it."""

from __future__ import annotations

import ast
import csv
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from store.addresses import without_password
from store.home import point_at_home, refuse_other_warehouse
from store.places import PROJECT, SettingError
from store.settings import TELEMETRY_OFF, Settings, settings
from store.source.reading.sources import describe

HOME = {"LEADLINE_HOME": "/somewhere"}


def test_defaults() -> None:
    found = settings({"PATH": "/bin", "LEADLINE_SOURCE": " ", "LEADLINE_AS_OF": ""})
    assert found.home == PROJECT / ".leadline"
    assert found.warehouse == f"duckdb:{PROJECT / '.leadline/warehouse.duckdb'}"
    assert found.dagster_storage is None
    assert found.published == PROJECT / ".leadline/published/leadline.duckdb"
    assert found.dagster_home == PROJECT / ".leadline/dagster"
    assert (found.source, found.mapping, found.as_of, found.accept_new_source) == (None, None, None, False)
    assert not found.source_ids
    assert dict(found.horizon_days) == {}
    assert found.ui_addresses == ()
    assert (found.simulation_leads, found.simulation_months, found.simulation_seed) == (10_000, 18, 22)
    assert found.simulation_customers


def test_an_empty_environment_is_not_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_HOME", "/not/asked/for")
    assert settings({}).home == PROJECT / ".leadline"


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({"LEADLINE_SOURCE": "/exports/acme"}, PROJECT / ".leadline/acme"),
        ({"LEADLINE_SOURCE": "/exports/acme/"}, PROJECT / ".leadline/acme"),
        ({"LEADLINE_SOURCE": "postgresql://u:p@h/db"}, PROJECT / ".leadline"),
        ({"LEADLINE_WAREHOUSE": "postgres"}, PROJECT / ".leadline/on_postgres"),
        ({"LEADLINE_WAREHOUSE": "postgresql://u@h/db"}, PROJECT / ".leadline/on_postgres"),
        (
            {"LEADLINE_WAREHOUSE": "postgresql://u@h/db", "LEADLINE_SOURCE": "/exports/acme"},
            PROJECT / ".leadline/acme_on_postgres",
        ),
        ({"LEADLINE_SOURCE": "/exports/acme", "LEADLINE_HOME": "/somewhere"}, Path("/somewhere")),
        ({"LEADLINE_HOME": "~/leads"}, Path("~/leads").expanduser()),
        ({"LEADLINE_HOME": "leads"}, Path("leads").resolve()),
    ],
)
def test_each_source_folder_has_a_home_by_its_name(environment: dict[str, str], home: Path) -> None:
    assert settings(environment).home == home


@pytest.mark.parametrize("address", ["duckdb:/fast/disk.duckdb", "postgresql://me:secret@host:5432/db", "postgres"])
def test_the_warehouse_can_be_another(address: str) -> None:
    assert settings({**HOME, "LEADLINE_WAREHOUSE": address}).warehouse == address


def test_the_storage_of_dagster_can_be_that_of_the_warehouse() -> None:
    address = "postgresql://me:secret@host:5432/db"
    found = settings({**HOME, "LEADLINE_WAREHOUSE": address, "LEADLINE_DAGSTER_STORAGE": "warehouse"})
    assert found.dagster_storage == address
    assert settings({**HOME, "LEADLINE_DAGSTER_STORAGE": address}).dagster_storage == address


PARTS = ("HOST", "PORT", "USER", "PASSWORD", "DATABASE", "SSLMODE", "SSLCERT", "SSLKEY", "SSLROOTCERT")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            "postgresql://me:p%40ss@host:6543/leads?sslmode=require",
            ("host", "6543", "me", "p@ss", "leads", "require", "", "", ""),
        ),
        (
            "postgresql://postgres:@/leads?host=/run/socket",
            ("/run/socket", "5432", "postgres", "", "leads", "", "", "", ""),
        ),
        (
            "postgresql://host?user=me&password=p%40ss&dbname=leads",
            ("host", "5432", "me", "p@ss", "leads", "", "", "", ""),
        ),
        (
            "postgresql://me@host/leads?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/me.pem&sslkey=/me.key",
            ("host", "5432", "me", "", "leads", "verify-full", "/me.pem", "/me.key", "/ca.pem"),
        ),
    ],
)
def test_dbt_is_told_the_parts_of_an_address(
    address: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # so that what is set is forgotten again
    for name in ("LEADLINE_HOME", "DAGSTER_HOME", "LEADLINE_WAREHOUSE", "LEADLINE_DBT_TARGET",
                 *(f"LEADLINE_POSTGRES_{part}" for part in PARTS)):  # fmt: skip
        monkeypatch.setenv(name, "before")
    point_at_home(settings({"LEADLINE_HOME": str(tmp_path), "LEADLINE_WAREHOUSE": address}))
    assert tuple(os.environ[f"LEADLINE_POSTGRES_{part}"] for part in PARTS) == expected
    assert os.environ["LEADLINE_DBT_TARGET"] == "postgres"


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (None, None, "postgresql://me@host/leads"),
        (None, "duckdb:{home}/warehouse.duckdb", "duckdb:/elsewhere/warehouse.duckdb"),
        ("postgres", "postgresql://postgres@/leadline?host={home}/postgres", None),
        (
            "postgresql://me:a@host/leads",
            "postgresql://me:b@host:5432/leads?sslmode=require",
            "postgresql://me:a@host/o",
        ),
    ],
)
def test_a_home_belongs_to_one_warehouse(
    first: str | None, same: str | None, other: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LEADLINE_HOME", "LEADLINE_WAREHOUSE", "DAGSTER_HOME", "LEADLINE_DBT_TARGET", "LEADLINE_DUCKDB_PATH"):
        monkeypatch.setenv(name, "")

    def chosen(home: Path, warehouse: str | None) -> Settings:
        return settings({"LEADLINE_HOME": str(home), "LEADLINE_WAREHOUSE": (warehouse or "").format(home=home)})

    home = tmp_path / "home"
    before = chosen(home, first)
    home.mkdir()
    before.belonging.write_text(f"{before.warehouse_of_home}\n", encoding="utf-8")
    refuse_other_warehouse(chosen(home, same))
    with pytest.raises(SettingError, match=r"LEADLINE_WAREHOUSE: expected .*, the warehouse of the home") as refused:
        refuse_other_warehouse(chosen(home, other))
    assert before.warehouse_of_home in str(refused.value)
    assert ":a@" not in str(refused.value) + before.belonging.read_text(encoding="utf-8")
    # what lies in a home moves with it
    moved = home.rename(tmp_path / "moved")
    refuse_other_warehouse(chosen(moved, first))


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("duckdb::memory:", "which would be a warehouse that is gone"),
        ("duckdb:{there}", "which is a folder"),
        ("duckdb:/dev/null", "which is a device or a pipe"),
    ],
)
def test_a_warehouse_that_is_no_file_is_refused_as_what_it_is(address: str, found: str, tmp_path: Path) -> None:
    address = address.format(there=tmp_path)
    with pytest.raises(SettingError) as refused:
        settings({"LEADLINE_WAREHOUSE": address, "LEADLINE_HOME": str(tmp_path / "home")})
    assert str(refused.value).startswith(
        f"LEADLINE_WAREHOUSE: expected duckdb:<path of a file>, found {address}, {found}"
    )


def test_a_folder_in_the_place_of_the_homes_warehouse_is_damage(tmp_path: Path) -> None:
    address = f"duckdb:{tmp_path / 'warehouse.duckdb'}"
    (tmp_path / "warehouse.duckdb").mkdir()
    assert settings({"LEADLINE_WAREHOUSE": address, "LEADLINE_HOME": str(tmp_path)}).warehouse == address


def test_what_a_home_belongs_to_is_written_when_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEADLINE_HOME", "LEADLINE_WAREHOUSE", "DAGSTER_HOME", "LEADLINE_DBT_TARGET", "LEADLINE_DUCKDB_PATH"):
        monkeypatch.setenv(name, "")
    point_at_home(settings({"LEADLINE_HOME": str(tmp_path)}))
    with pytest.raises(SettingError, match=r"expected duckdb:warehouse\.duckdb, the warehouse of the home"):
        point_at_home(settings({"LEADLINE_HOME": str(tmp_path), "LEADLINE_WAREHOUSE": "postgresql://me@host/leads"}))


def test_the_profile_of_dbt_reads_all_that_it_is_told() -> None:
    profile = (PROJECT / "dbt_project/profiles.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"'LEADLINE_POSTGRES_(\w+)'", profile)) == set(PARTS)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("postgresql://bob:secret@host", "found postgresql://bob:***@host without a database. Add"),
        ("postgresql://bob:secret@/", "without a host and a database. Add"),
        ("postgresql://host/leads", "without a user. Add"),
        ("postgresql://me:secret@host/leads?options=-csearch_path%3Da", "whose options would not reach dbt. Remove"),
        ("postgresql://me@host/leads?sslpassword=secret", "sslpassword=***, whose sslpassword would not reach dbt."),
        ("postgresql://me:secret@one,two/leads", "Name one host"),
        ("postgresql://me:sec/ret@host/leads", "found postgresql://me:***@host/leads without"),
        ("postgresql://me@host/leads?password=a&secret", "which PostgreSQL cannot read. Percent-encode"),
    ],
)
def test_an_address_that_dbt_and_adbc_would_take_for_different_databases_is_refused(address: str, found: str) -> None:
    with pytest.raises(SettingError, match=re.escape(found)) as caught:
        settings({**HOME, "LEADLINE_WAREHOUSE": address})
    assert str(caught.value).startswith("LEADLINE_WAREHOUSE: expected postgresql://<user>:<password>@<host>")
    assert not {"secret", "sec/ret"} & set(re.findall(r"[\w/]+", str(caught.value)))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:s3cret@h:1/db", "postgresql://me:***@h:1/db"),
        ("postgresql://me@h/db", "postgresql://me@h/db"),
        ("postgresql://me@h/db?password=s3cret", "postgresql://me@h/db?password=***"),
        (
            "postgresql://me:s3cret@h/db?sslmode=require&SSLpassword=s3cret&sslkey=k",
            "postgresql://me:***@h/db?sslmode=require&SSLpassword=***&sslkey=k",
        ),
        ("postgresql://me@h/db?pass%77ord=s3cret", "postgresql://me@h/db?pass%77ord=***"),
        ("postgresql://me@h/db?oauth_client_secret=s3cret", "postgresql://me@h/db?oauth_client_secret=***"),
        # not percent-encoded
        ("postgresql://me:s3@cret@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me@h/db?password=s3@cret", "postgresql://***"),
        ("postgresql://me:s3?cret@h/db", "postgresql://***"),
        ("postgresql://me@h/db?password=s3&cret", "postgresql://me@h/db?password=***&***"),
        ("postgresql://me@h/db?PASSWORD=s3cret", "postgresql://me@h/db?PASSWORD=***"),
        ("postgresql://me@s3cret@h/db", "postgresql://***@h/db"),
        # without an @, or with an encoded one: host and port, to libpq
        ("postgresql://me:s3cret/db", "postgresql://me:***"),
        ("postgresql://me:s3cret%40h/db", "postgresql://me:***"),
        ("postgresql://me%3As3cret%40h/db", "postgresql://***"),
        ("postgresql://me@h,[::1]:5432/db", "postgresql://me@h,[::1]:5432/db"),
        # parameters that libpq does not know
        ("postgresql://me@h/db?pass=s3cret&application_name=a", "postgresql://me@h/db?pass=***&application_name=a"),
        ("https://x/?token=s3cret", "https://x/?token=***"),
        ("me:s3cret://x@h", "***"),
        # no address, but perhaps meant as one
        ("duckdb:", "duckdb:"),
        ("duckdb:md:x?motherduck_token=s3cret", "duckdb:***"),
        ("/srv/md:x?motherduck_token=s3cret", "/srv/md:x?motherduck_token=***"),
        ("host=h user=bob pwd=s3cret", "host=h user=bob pwd=***"),
        ("me/s3cret@h:1521/crm", "me/***@h:1521/crm"),
        ("me:s3cret/crm", "me:***"),
        ("host=h user=me password=s3cret dbname=db", "host=h user=me password=***"),
        ("host=h sslPassword = 's3 cret'", "host=h sslPassword =***"),
        ("//me:s3cret@h/db", "//me:***@h/db"),
        ("me:s3@cret@h/db", "me:***@h/db"),
        ("/exports/acme", "/exports/acme"),
        ("/exports/me@acme/passwords", "/exports/me@acme/passwords"),
    ],
)
def test_an_address_is_shown_without_passwords(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_a_source_is_stored_without_passwords() -> None:
    found = describe("postgresql://rep:s3cret@h/crm?password=s3%40cret&sslpassword=s3cret&sslmode=require")
    assert found == "postgresql+psycopg2://rep:***@h/crm?sslmode=require&sslpassword=***"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LEADLINE_HOME": "/homes/env=test"}, "LEADLINE_HOME: expected a path without any of ? \\ ' % =, "),
        ({"LEADLINE_HOME": "/homes/it's"}, "found ' in /homes/it's. Name another folder."),
        ({"LEADLINE_WAREHOUSE": "duckdb:/w?1.duckdb"}, "LEADLINE_WAREHOUSE: expected a path without any of ? \\, "),
    ],
)
def test_a_path_that_a_library_would_read_otherwise_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        settings(variables)


def test_the_home_of_a_source_has_a_name_that_every_library_reads_alike() -> None:
    assert settings({"LEADLINE_SOURCE": "/exports/it's 50%?"}).home.name == "it_s 50__"
    assert settings({"LEADLINE_SOURCE": "/exports/crm[1]"}).home.name == "crm[1]"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        (" 2026-01-31T12:00 ", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_the_clock_is_utc_unless_it_says_otherwise(value: str, moment: datetime) -> None:
    found = settings({"LEADLINE_AS_OF": value}).as_of
    assert found == moment
    assert found.tzinfo == UTC


def test_a_folder_may_have_a_name_that_looks_like_a_password(tmp_path: Path) -> None:
    folder = tmp_path / "me:2026@acme"
    folder.mkdir()
    assert settings({"LEADLINE_SOURCE": str(folder)}).source == str(folder)


def test_horizons_are_set_by_model() -> None:
    found = settings({"LEADLINE_CONVERSION_HORIZON_DAYS": "30", "LEADLINE_UNKNOWN_HORIZON_DAYS": "3"})
    assert dict(found.horizon_days) == {"conversion": 30}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LEADLINE_WAREHOUSE", "mysql://me:secret@host/db", "expected duckdb:<path of a file>, postgresql://"),
        ("LEADLINE_DAGSTER_STORAGE", "warehouse", "expected postgresql://<address of a database>, found warehouse"),
        ("LEADLINE_DAGSTER_STORAGE", "mysql://me:secret@host/db", "expected postgresql://"),
        ("LEADLINE_WAREHOUSE", "host=h user=me password=secret", "expected duckdb:<path of a file>, postgresql://"),
        ("LEADLINE_WAREHOUSE", "//me:secret@host/db", "expected duckdb:<path of a file>, postgresql://"),
        ("LEADLINE_DAGSTER_STORAGE", "host=h password=secret", "expected postgresql://"),
        ("LEADLINE_DAGSTER_STORAGE", "postgresql://me:secret@host", "expected postgresql://<user>"),
        ("LEADLINE_SOURCE", "postgresql://me:secret@host", "expected postgresql://<user>"),
        ("LEADLINE_SOURCE", "mysql://me:secret@host/db", "expected a folder of CSV or Parquet files, or postgresql://"),
        ("LEADLINE_SOURCE", "//me:secret@host/db", "expected a folder of CSV or Parquet files, or postgresql://"),
        ("LEADLINE_SOURCE", "host=h password=secret", "expected a folder of CSV or Parquet files, or postgresql://"),
        ("LEADLINE_PUBLISHED", "postgresql://me:secret/d", "expected a folder, found 'postgresql://me:***'."),
        ("LEADLINE_MAPPING", "me/secret@h/d", "expected the name of a shipped mapping, or a file, found 'me/***@h/d'."),
        ("LEADLINE_UI_ADDRESSES", "https://x/?token=secret", "expected addresses as a browser shows them"),
        ("LEADLINE_REPORTS_ADDRESS", "https://me:secret@h/d", "expected one address as a browser shows it"),
        ("LEADLINE_WAREHOUSE", "/a/path", "expected duckdb:<path of a file>"),
        ("LEADLINE_WAREHOUSE", "duckdb:", "expected duckdb:<path of a file>"),
        ("LEADLINE_AS_OF", "postgresql://me:secret@h/d", "expected a date or time such as 2026-01-31"),
        ("LEADLINE_AS_OF", "yesterday", "expected a date or time such as 2026-01-31"),
        ("LEADLINE_AS_OF", "31.01.2026", "expected a date or time such as 2026-01-31"),
        ("LEADLINE_ACCEPT_NEW_SOURCE", "yes", "expected 0 or 1"),
        ("LEADLINE_NEW_GRADES", "yes", "expected 0 or 1"),
        ("LEADLINE_ACCEPT_PROOF", "1", "expected the beginning of the hash of a build's SQL"),
        ("LEADLINE_ACCEPT_EXTRACTION", "yes", "expected the beginning of the hash of what an extraction would lose"),
        ("LEADLINE_ACCEPT_PUBLICATION", "1", "expected the beginning of the hash of what a publication would lose"),
        ("LEADLINE_CONFIRMED_FEATURES", "conversion.a,zip_prefix", "expected <model>.<feature>, separated by commas"),
        ("LEADLINE_CONVERSION_HORIZON_DAYS", "0", "expected a whole number of 1 or more"),
        ("LEADLINE_CONVERSION_HORIZON_DAYS", "-3", "expected a whole number of 1 or more"),
        ("LEADLINE_NEXT_BEST_ACTION_HORIZON_DAYS", "7.5", "expected a whole number of 1 or more"),
        ("LEADLINE_SIMULATION_LEADS", "many", "expected a whole number of 1 or more"),
        ("LEADLINE_SIMULATION_MONTHS", "0", "expected a whole number of 1 or more"),
        ("LEADLINE_SIMULATION_SEED", "-1", "expected a whole number of 0 or more"),
        # what no clock, calendar or machine holds
        ("LEADLINE_AS_OF", "9999-12-31T23:59:59-12:00", "expected a date or time such as 2026-01-31"),
        ("LEADLINE_SOURCE_ACCEPTED_SINCE", "0001-01-01T00:00:00+10:00", "expected a date or time such as 2026-01-31"),
        ("LEADLINE_CONVERSION_HORIZON_DAYS", "9" * 21, "expected a whole number of 1 or more and at most 36500"),
        ("LEADLINE_SIMULATION_MONTHS", "99999999", "expected a whole number of 1 or more and at most 1200"),
        ("LEADLINE_REPORTS_PORT", "65536", "expected a whole number of 1 or more and at most 65535"),
        ("LEADLINE_WAREHOUSE", "duckdb:~nobody-of-this-name/x", "expected duckdb:<path of a file>"),
        ("LEADLINE_HOME", "~nobody-of-this-name/x", "expected a folder, found '~nobody-of-this-name/x'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as caught:
        settings({**HOME, name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: {expected}")
    assert "found" in message
    assert "secret" not in message


READS_THE_ENVIRONMENT = "store/settings.py"
WRITE_THE_ENVIRONMENT = {
    "store/home.py": "Dagster and dbt find the home and the warehouse there",
    "store/source/loading/stored.py": "dlt takes its data folder, log level and telemetry switch from nowhere else",
}


def test_only_the_environment_module_touches_the_environment() -> None:
    touching = set()
    for path in _modules():
        if re.search(r"\b(environ|environb|getenv|putenv)\b", path.read_text(encoding="utf-8")):
            touching.add(str(path.relative_to(PROJECT)))
    assert touching == {READS_THE_ENVIRONMENT, *WRITE_THE_ENVIRONMENT}


@pytest.mark.parametrize("path", WRITE_THE_ENVIRONMENT)
def test_outside_the_settings_the_environment_is_only_written(path: str) -> None:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    written = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Subscript | ast.Call)]
    uses = [each for each in written if each.startswith("os.environ")]
    assert len(uses) == ast.unparse(tree).count("os.environ")
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            assert isinstance(node.ctx, ast.Store)


def test_no_telemetry_is_on() -> None:
    assert TELEMETRY_OFF == {
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
    }


def _modules() -> list[Path]:
    packages = ("assets", "store", "models", "orchestration", "simulation")
    return [path for package in packages for path in (PROJECT / package).rglob("*.py")]


@pytest.mark.parametrize(("value", "new"), [(None, False), ("0", False), ("1", True)])
def test_grades_are_cut_anew_where_it_is_asked_for(value: str | None, new: bool) -> None:
    said = {} if value is None else {"LEADLINE_NEW_GRADES": value}
    assert settings({**HOME, **said}).new_grades is new


def test_features_are_confirmed_by_model() -> None:
    assert settings(HOME).confirmed_features == {}
    said = {"LEADLINE_CONFIRMED_FEATURES": " conversion.a, next_best_action.b,conversion.c,,conversion.a"}
    assert settings({**HOME, **said}).confirmed_features == {"conversion": ("a", "c"), "next_best_action": ("b",)}


def test_addresses_of_the_ui_are_those_that_a_browser_shows() -> None:
    said = {"LEADLINE_UI_ADDRESSES": " https://Leads.example.com, http://10.0.0.7:8080,,https://[fd00::1]:8443 "}
    assert settings({**HOME, **said}).ui_addresses == (
        "https://leads.example.com", "http://10.0.0.7:8080", "https://[fd00::1]:8443",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        "leads.example.com", "https://leads.example.com/", "https://leads.example.com:443", "http://a:80", "https://*",
        "*", "null", "file://", "https://user@leads.example.com", "https://a b", "https://leads.example.com:",
    ],
)  # fmt: skip
def test_what_no_browser_shows_is_no_address_of_the_ui(wrong: str) -> None:
    with pytest.raises(SettingError, match=f"without a path, such as https.*, found '{re.escape(wrong)}'"):
        settings({**HOME, "LEADLINE_UI_ADDRESSES": f"https://leads.example.com,{wrong}"})


@pytest.mark.parametrize(
    ("said", "address", "origin"),
    [
        ({}, "http://127.0.0.1:3001", "http://127.0.0.1:3001"),
        ({"LEADLINE_REPORTS_PORT": "3011"}, "http://127.0.0.1:3011", "http://127.0.0.1:3011"),
        *(
            ({"LEADLINE_REPORTS_ADDRESS": said}, address, origin)
            for said, address, origin in (
                (" https://Reports.example.com/ ", "https://reports.example.com", "https://reports.example.com"),
                ("https://a.example/Leads/r.1/", "https://a.example/Leads/r.1", "https://a.example"),
                ("http://[fd00::1]:8443/x", "http://[fd00::1]:8443/x", "http://[fd00::1]:8443"),
            )
        ),
    ],
)
def test_reports_are_reached_at_an_address_with_or_without_a_path(
    said: dict[str, str], address: str, origin: str
) -> None:
    found = settings({**HOME, "LEADLINE_UI_ADDRESSES": "https://leads.example.com", **said})
    assert (found.reports_address, found.addresses_of_reports) == (address, ("https://leads.example.com", origin))


@pytest.mark.parametrize(
    "wrong",
    [
        "reports.example.com", "//reports.example.com", "https://", "https:///reports", "ftp://a.example",
        "javascript:alert(1)//a", "file:///etc", "https://a.example:443", "https://a.example,https://b.example",
        "https://a.example/r?x=1", "https://a.example/r#x", "https://a.example/../r", "https://a.example/r//x",
        "https://a.example/%2e%2e/r", "https://a.example/a b", 'https://a.example/"><b>', "https://a.example:x/r",
    ],
)  # fmt: skip
def test_what_is_no_address_of_the_reports_is_named(wrong: str) -> None:
    expected = "LEADLINE_REPORTS_ADDRESS: expected one address as a browser shows it, with a path or without, such as"
    with pytest.raises(SettingError, match=re.escape(expected)):
        settings({**HOME, "LEADLINE_REPORTS_ADDRESS": wrong})


def test_nothing_that_comes_from_data_is_written_as_csv() -> None:
    """A spreadsheet takes a text that begins with ``=`` for a formula, of which whoever writes CSV has to take care."""
    writing = re.compile(r"to_csv|write_csv|CSVWriter|csv\.writer|DictWriter|format\s*=?\s*'?csv|copy .* to .*csv")
    found = {str(path.relative_to(PROJECT)) for path in _modules() if writing.search(path.read_text(encoding="utf-8"))}
    # the simulated CRM, whose texts are its own
    assert found == {"simulation/export.py", "simulation/shapes/shape.py"}


SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With which a formula begins; the last four in full width."""


def test_no_text_is_a_formula_in_what_the_docs_export_for_a_spreadsheet(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
    ((macro, copy),) = re.findall(r"```sql\n(create temporary macro cell.*?;)\n(copy .*?;)\n```", text, re.DOTALL)
    texts = [f"{sign}cmd()" for sign in SIGNS]
    texts += ["\t=cmd()", " \u3000=cmd()", "a;=cmd()", "a\n=cmd()", 'a",=cmd()', "plain - text", "2026-01-31", "-1.5"]
    with duckdb.connect() as connection:
        connection.execute(macro)
        connection.execute("create schema marts; create table marts.lead_scores (i int, t text, l text[], n double)")
        connection.executemany(
            "insert into marts.lead_scores values (?, ?, ?, -0.5)", [(i, t, [t, t]) for i, t in enumerate(texts)]
        )
        connection.execute(copy.replace("scores.csv", str(tmp_path / "scores.csv")))
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[1] for row in rows[-3:]] == texts[-3:]
    assert {row[3] for row in rows} == {"-0.5"}
    cells = [cell for _, *shown, _ in rows[:-1] for text in shown for cell in re.split(r'[;,|\t\r\n"]', text)]
    assert [cell for cell in cells if cell.strip().startswith(SIGNS)] == []


@pytest.mark.parametrize("wrong", ["zip_prefix", "churn.zip_prefix", "conversion."])
def test_a_confirmation_names_a_model_and_a_feature(wrong: str) -> None:
    with pytest.raises(
        SettingError,
        match=f"of the models churn_30d, churn_60d, conversion, deal_value, next_best_action, found '{wrong}'",
    ):
        settings({**HOME, "LEADLINE_CONFIRMED_FEATURES": f"conversion.a,{wrong}"})
