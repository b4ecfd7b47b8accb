"""Addresses of PostgreSQL databases: every client gets to the same one, on real servers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg2
import pytest

from orchestration.commands import own_server
from store.addresses import AddressError, canonical, described, same_place, session_settings, without_secrets
from store.home import point_at_home
from store.places import PROJECT
from store.settings import settings
from tests.postgres import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = "6543"
PASSWORD = "s3 c/r@t+&?"
ENCODED = quote(PASSWORD, safe="")
CLIENTS = ("adbc", "sqlalchemy", "dlt", "dagster", "source", "dbt")

PROGRAM = """
import json, os, sys
import dlt, duckdb
from dbt.cli.main import dbtRunner
from sqlalchemy import create_engine, text
from store.warehouse.postgres import engine
from store.home import point_at_home
from store.settings import settings
from store.source.loading.load import quiet_dlt
from store.source.loading.load import open_warehouse
from store.source.reading.sources import open_source

quiet_dlt()
engine.ATTEMPTS = 1
HOME = os.environ["LEADLINE_HOME"]
WHERE = "select current_user::text, current_setting('port')"


def adbc():
    return engine.PostgresConnection(os.environ["LEADLINE_WAREHOUSE"]).execute(WHERE).fetchone()


def sqlalchemy():
    with open_warehouse(os.environ["LEADLINE_WAREHOUSE"]).known(duckdb.connect(), {}) as known:
        return sorted(known)


def through_dlt():
    destination = open_warehouse(os.environ["LEADLINE_WAREHOUSE"]).destination()
    pipeline = dlt.pipeline("crm", pipelines_dir=HOME + "/dlt", destination=destination, dataset_name="raw")
    with pipeline.sql_client() as client:
        return client.execute_sql(WHERE)[0]


def dagster():
    with create_engine(os.environ["LEADLINE_DAGSTER_URL"]).connect() as connection:
        return tuple(connection.execute(text(WHERE)).one())


def source():
    return sorted(open_source(os.environ["LEADLINE_SOURCE"]).columns())


def dbt():
    folders = ["--project-dir", "dbt_project", "--profiles-dir", "dbt_project"]
    return dbtRunner().invoke(
        ["--quiet", "--log-path", HOME, "debug", "--connection", *folders, "--target", "postgres"]
    ).success


def told(step):
    try:
        return step()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


for number, line in enumerate(sys.stdin):
    case = {**json.loads(line), "LEADLINE_HOME": f"{HOME}/{number}"}
    os.environ.update({**case, "LEADLINE_DAGSTER_STORAGE": "warehouse", "LEADLINE_SOURCE": case["LEADLINE_WAREHOUSE"]})
    refused = told(lambda: point_at_home(settings()))
    clients = dict(adbc=adbc, sqlalchemy=sqlalchemy, dlt=through_dlt, dagster=dagster, source=source, dbt=dbt)
    print("TOLD", json.dumps({name: refused or told(client) for name, client in clients.items()}))
    for name in case:
        del os.environ[name]
"""


def _told(cases: list[dict[str, str]], home: Path) -> list[dict[str, object]]:
    """Return what each client finds, for each environment, in a process where the environment is all there is."""
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT,
        env={**os.environ, "LEADLINE_HOME": str(home)},
        input="\n".join(map(json.dumps, cases)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert program.returncode == 0, program.stderr[-3000:]
    return [json.loads(line[5:]) for line in program.stdout.splitlines() if line.startswith("TOLD ")]


CASES: dict[str, dict[str, str]] = {
    "no password": {"LEADLINE_WAREHOUSE": f"postgresql://postgres@:{PORT}/postgres?host=FOLDER"},
    "port and password in the environment": {
        "LEADLINE_WAREHOUSE": "postgresql://me@/postgres?host=FOLDER",
        "PGPORT": PORT,
        "PGPASSWORD": PASSWORD,
    },
    "password in a file": {
        "LEADLINE_WAREHOUSE": f"postgresql://me@:{PORT}/postgres?host=FOLDER",
        "PGPASSFILE": "FOLDER/passwords",
    },
    "all in the query": {
        "LEADLINE_WAREHOUSE": f"postgres://?host=FOLDER&port={PORT}&user=me&password={ENCODED}&dbname=postgres"
    },
    "folder before the path": {"LEADLINE_WAREHOUSE": f"postgresql://me:{ENCODED}@SOCKET:{PORT}/postgres"},
    "all in the environment": {
        "LEADLINE_WAREHOUSE": "postgresql://",
        "PGHOST": "FOLDER",
        "PGUSER": "me",
        "PGDATABASE": "postgres",
        "PGPORT": PORT,
        "PGPASSWORD": PASSWORD,
    },
}
"""Environments, with FOLDER for that of the socket, and SOCKET for it percent-encoded."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, object]]]:
    """Start a server on a Unix socket of another port, where one role needs a password, and ask every client."""
    home = tmp_path_factory.mktemp("pg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_server, "PORT", PORT)
        with serving(home) as server:
            folder = str(server.data)
            (server.data / "pg_hba.conf").write_text("local all me scram-sha-256\nlocal all all trust\n")
            with psycopg2.connect(server.address("postgres")) as connection, connection.cursor() as cursor:
                cursor.execute("create role me login password %s", [PASSWORD])
                cursor.execute("select pg_reload_conf()")
            passwords = Path(folder) / "passwords"
            passwords.write_text(f"*:{PORT}:postgres:me:{PASSWORD}\n")
            passwords.chmod(0o600)
            environments = [
                {
                    name: value.replace("FOLDER", folder).replace("SOCKET", quote(folder, safe=""))
                    for name, value in case.items()
                }
                for case in CASES.values()
            ]
            yield dict(zip(CASES, _told(environments, home / "home"), strict=True))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES)
def test_every_client_gets_to_the_server_of_the_address(
    found: dict[str, dict[str, object]], case: str, client: str
) -> None:
    user = "postgres" if case == "no password" else "me"
    expected: dict[str, object] = {"sqlalchemy": [], "source": [], "dbt": True}
    assert found[case][client] == expected.get(client, [user, PORT])


@contextmanager
def _without_encryption(messages: list[int]) -> Iterator[int]:
    """Listen as a server that knows no TLS, and note the codes of what the first client sends; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            client = listening.accept()[0]
            with client:
                while message := client.recv(1024):
                    messages.append(int.from_bytes(message[4:8], "big"))
                    client.sendall(b"N")

        answering = Thread(target=answer)
        answering.start()
        yield listening.getsockname()[1]
        answering.join(timeout=60)
        assert not answering.is_alive()


@pytest.mark.parametrize(("mode", "in_the_clear"), [("require", False), ("prefer", True)])
def test_dbt_connects_in_the_clear_only_where_the_environment_lets_it(
    mode: str, in_the_clear: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, start = 80877103, 3 << 16
    messages: list[int] = []
    # so that what is set is forgotten again
    monkeypatch.setattr(os, "environ", os.environ.copy())
    folders = ["--project-dir", "dbt_project", "--profiles-dir", "dbt_project", "--log-path", str(tmp_path)]
    command = [str(Path(sys.executable).with_name("dbt")), "--quiet", "debug", "--connection", *folders]
    with _without_encryption(messages) as port:
        address = f"postgresql://me:secret@127.0.0.1:{port}/leads"
        point_at_home(settings({"LEADLINE_HOME": str(tmp_path), "LEADLINE_WAREHOUSE": address}))
        environment = {**os.environ, "PGSSLMODE": mode, "PGGSSENCMODE": "disable"}
        dbt = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    # it would try again
    dbt.kill()
    dbt.wait()
    assert messages[:2] == ([tls, start] if in_the_clear else [tls])


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        ("postgresql://me@h/d", {}, "postgresql://me@h:5432/d"),
        ("postgresql://me:@h/d", {}, "postgresql://me@h:5432/d"),
        ("postgres://me:p%40@h:1/d", {"PGPORT": "2", "PGPASSWORD": "x"}, "postgresql://me:p%40@h:1/d"),
        ("postgresql+psycopg2://h", {"PGUSER": "me", "PGDATABASE": "d"}, "postgresql://me@h:5432/d"),
        ("postgresql://me@[::1]/d?sslmode=require", {}, "postgresql://me@[::1]:5432/d?sslmode=require"),
        ("postgresql://me@/d", {"PGHOST": "/run/x", "PGPASSWORD": ""}, "postgresql://me@:5432/d?host=/run/x"),
        ("postgresql://me@%2Frun%2Fx/d", {"PGPASSWORD": "a b"}, "postgresql://me:a%20b@:5432/d?host=/run/x"),
        ("postgresql://me@%40run/d", {}, "postgresql://me@:5432/d?host=%40run"),
        # libpq reads these for every client
        ("postgresql://me@h/d", {"PGSSLMODE": "require", "PGPASSFILE": "/p"}, "postgresql://me@h:5432/d"),
    ],
)
def test_an_address_has_one_form(address: str, environment: dict[str, str], expected: str) -> None:
    assert canonical(address, environment) == expected
    assert canonical(expected, environment) == expected


@pytest.mark.parametrize(
    ("address", "environment", "message"),
    [
        ("postgresql://me:secret@/d", {}, "without a host. Add what is missing, or set PGHOST"),
        ("postgresql://me:secret@h/d?service=s", {}, "with a service (PGSERVICE)"),
        ("postgresql://me:secret@h/d", {"PGSERVICE": "s"}, "with a service (PGSERVICE)"),
        ("postgresql://me:secret@h/d", {"PGPORT": "1,2"}, "Name one host, with its port as a number"),
        ("postgresql://me:secret@h,i/d", {}, "Name one host, with its port as a number"),
        # passwords that are not percent-encoded: what follows is another part to libpq
        ("postgresql://me:a@secret@h/d", {}, "Name one host"),
        ("postgresql://me:secret/d@h/d", {"PGUSER": "me"}, "Name one host, with its port as a number"),
        # for which SQLAlchemy writes a plus, which libpq takes as it is
        ("postgresql://me:secret@h/d?sslkey=/a%20key", {}, "whose sslkey not every client reads alike"),
        # whose ends dlt takes away
        ("postgresql://me:%20secret@h/d", {}, "whose password not every client reads alike"),
        ("postgresql://me@h/d", {"PGPASSWORD": "secret "}, "whose password not every client reads alike"),
    ],
)
def test_an_address_without_such_a_form_is_refused(address: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(AddressError, match=re.escape(message)) as caught:
        canonical(address, environment)
    assert "secret" not in str(caught.value)


STORED = "postgresql+psycopg2://rep:***@h/crm"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("postgresql+psycopg2://rep@h:5432/crm?sslmode=require", True),
        ("postgresql+psycopg2://rep:old@h/crm?password=old", True),
        ("postgresql+psycopg2://rep:***@h:5433/crm", False),
        ("postgresql+psycopg2://rep:***@other/crm", False),
        ("postgresql+psycopg2://rep:***@localhost/crm?host=/h", False),
        ("postgresql+psycopg2://rep:***@h/other", False),
        ("postgresql+psycopg2://other:***@h/crm", False),
        ("/exports/crm", False),
    ],
)
def test_a_source_is_known_by_its_place(other: str, same: bool) -> None:
    assert same_place(STORED, other) is same
    assert same_place(other, STORED) is same


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        ("postgresql://t@h/d?options=-capp.tenant%3Dweb", {}, "postgresql://t@h:5432/d?options=-capp.tenant%3Dweb"),
        ("postgresql://t@h/d?options=-c%20app.tenant%3Dweb", {}, "postgresql://t@h:5432/d?options=-capp.tenant%3Dweb"),
        ("postgresql://t@h/d?options=--app.tenant%3Dweb", {}, "postgresql://t@h:5432/d?options=-capp.tenant%3Dweb"),
        ("postgresql://t@h/d", {"PGOPTIONS": "-c a.b=1"}, "postgresql://t@h:5432/d?options=-ca.b%3D1"),
        # both are kept, and the address comes first
        (
            "postgresql://t@h/d?options=-ca.b%3D2%20-e",
            {"PGOPTIONS": "-c a.b=1 -c c.d=x\\ y"},
            "postgresql://t@h:5432/d?options=-ca.b%3D2%20-cc.d%3Dx%5C%20y%20-e",
        ),
        (
            "postgresql://t@h/d?connect_timeout=3",
            {"PGCONNECT_TIMEOUT": "9"},
            "postgresql://t@h:5432/d?connect_timeout=3",
        ),
        ("postgresql://t@h,i:2/d", {}, "postgresql://t@/d?host=h%2Ci&port=%2C2"),
        ("postgresql://t@/d?host=h,i&port=1,2", {}, "postgresql://t@/d?host=h%2Ci&port=1%2C2"),
        ("postgresql://t@h/d?sslkey=/a%20key", {}, "postgresql://t@h:5432/d?sslkey=/a%20key"),
    ],
)
def test_a_source_keeps_all_that_its_address_and_the_environment_set(
    address: str, environment: dict[str, str], expected: str
) -> None:
    assert canonical(address, environment, by_libpq=True) == expected
    assert canonical(expected, environment, by_libpq=True) == expected


SERVICES = """# of the CRM
[other]
host=other

[s]
host=h
dbname=d
  password=p=1
host=second
# its tenant
options=-c app.tenant=web -c a.b=2

[last]
dbname=e
"""


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        # the address comes before the service, and that before variables
        ("postgresql://t@?service=s", {"PGHOST": "i", "PGPASSWORD": "x", "PGOPTIONS": "-ca.b=1 -cstatement_timeout=9"},
         "postgresql://t:p%3D1@h:5432/d?options=-ca.b%3D2%20-cstatement_timeout%3D9%20-capp.tenant%3Dweb"),
        ("postgresql://t@/e?options=-capp.tenant%3Dads", {"PGSERVICE": "s"},
         "postgresql://t:p%3D1@h:5432/e?options=-capp.tenant%3Dads%20-ca.b%3D2"),
        ("postgresql://t@?service=last", {"PGHOST": "i"}, "postgresql://t@i:5432/e"),
    ],
)  # fmt: skip
def test_a_service_is_the_parts_that_its_file_has(
    address: str, environment: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """Another tenant or database under one name of a service is another source, and PGOPTIONS loses nothing of it."""
    (tmp_path / "pg_service.conf").write_text(SERVICES)
    for where in ({"PGSERVICEFILE": str(tmp_path / "pg_service.conf")}, {"PGSYSCONFDIR": str(tmp_path)}):
        assert canonical(address, environment | where, by_libpq=True) == expected
        assert canonical(expected, environment | where, by_libpq=True) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SERVICES, "with the service gone, which is neither in {file} nor in {folder}/pg_service.conf"),
        ("[gone]\nhost = h\npassword=secret", "has a line that is not <parameter>=<value>"),
        ("[gone]\nhost=h\ndbname=d", "without a user. Add what is missing, or set PGUSER"),
        ("[gone]\nldap://secret", "has a line that is not <parameter>=<value>"),
    ],
)
def test_a_service_that_cannot_be_read_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (file := tmp_path / "services").write_text(text)
    where = {"PGSERVICEFILE": str(file), "PGSYSCONFDIR": str(tmp_path)}
    with pytest.raises(AddressError, match=re.escape(message.format(file=file, folder=tmp_path))) as caught:
        canonical("postgresql://?service=gone", where, by_libpq=True)
    assert "secret" not in str(caught.value)


def _tenant(options: str) -> str:
    return described(f"postgresql://t@h:5432/crm?options={quote(options)}")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("-capp.tenant=web", "-c app.tenant=web", True),
        ("-capp.tenant=web", "--app.tenant=web -c statement_timeout=9", True),
        ("-capp.tenant=web", "-capp.tenant=ads", False),
        ("-capp.tenant=", "-cwork_mem=4MB", False),
        ("-capp.tenant=web", "-c work_mem=1GB", False),
        ("-csearch_path=web", "-csearch_path=ads", False),
        ("-c role=web", "-c role=ads", False),
        ("-c app.token=hush-1", "-c app.token=hush-1", True),
        ("-c app.token=hush-1", "-c app.token=hush-2", False),
    ],
)
def test_two_tenants_of_a_database_are_two_sources(one: str, other: str, same: bool) -> None:
    assert same_place(_tenant(one), _tenant(other)) is same


@pytest.mark.parametrize("setting", ["app.password", "app.token", "request.jwt.claims", "crm.api_key", "APP.SECRET"])
def test_no_secret_among_the_settings_is_shown(setting: str) -> None:
    address = f"postgresql://t:pw-1@h/crm?options={quote(f'-c {setting}=hush-1 -c app.tenant=web')}"
    shown = described(address)
    assert re.fullmatch(
        rf"postgresql\+psycopg2://t:\*\*\*@h/crm\?options=-c{setting.lower()}%3D\*\*\*[0-9a-f]{{8}}%20-capp.tenant%3Dweb",
        shown,
    )
    # what is shown once is shown so again
    assert described(shown) == shown
    said = without_secrets('invalid value for parameter: "hush-1" of t with pw-1', address)
    assert said == 'invalid value for parameter: "***" of t with ***'


def test_a_short_password_is_no_part_of_other_words() -> None:
    said = without_secrets('port 1 failed: "p", p.', "postgresql://me:p@h/d")
    assert said == 'port 1 failed: "***", ***.'


def test_the_settings_of_a_session_are_read_as_the_server_reads_them() -> None:
    options = r"-c a.b=x\ y -cc.d=1=2 --work-mem=8MB -e -c search_path=a,b"
    assert session_settings(f"postgresql://h/d?options={quote(options)}") == (
        ("a.b", "x y"), ("c.d", "1=2"), ("work_mem", "8MB"), ("search_path", "a,b"),
    )  # fmt: skip
