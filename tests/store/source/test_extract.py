"""The extraction into DuckDB: what is written, what a rerun does, and what is left at the door."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from store.source.contract import TABLES, SourceContractError
from store.source.loading.stored import quiet_dlt
from tests.store.source.exports import PRESENT, Extract, Query, Rows, write_csv

Export = dict[str, Rows]
EVERYTHING = " union all ".join(
    f"select '{name}', t::varchar from raw.{name} t" for name in [*TABLES, "rejects", "extraction"]
)


def test_writes_every_contract_column_with_its_type(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Columns that the export does not have are there and empty."""
    run(write_csv(tmp_path / "crm", export))
    found = query(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = 'raw'"
    )
    types = {"text": "VARCHAR", "time": "TIMESTAMP WITH TIME ZONE", "number": "DECIMAL(18,2)"}
    for table in TABLES.values():
        for column in table.columns:
            assert (table.name, column.name, types[column.kind]) in found
        # a history only grows: no row of it is compared
        assert ((table.name, "row_hash", "VARCHAR") in found) == (table.name != "changes")
        assert (table.name, "extracted_at", "TIMESTAMP WITH TIME ZONE") in found
    assert query("select lead_id, property_value, zip_code from raw.leads order by lead_id") == [
        ("L1", pytest.approx(1000.5), None),
        ("L2", None, None),
    ]


def test_clock_is_the_first_whole_second_after_the_last_fact(export: Export, tmp_path: Path, run: Extract) -> None:
    """A planned time and a rejected row do not move the clock; an argument replaces it."""
    export["appointments"][0]["scheduled_at"] = "2025-12-24T08:00:00Z"
    export["interactions"].append(
        export["interactions"][0] | {"interaction_id": "I4", "lead_id": "L9", "occurred_at": "2025-01-01"}
    )
    folder = write_csv(tmp_path / "crm", export)
    assert run(folder).as_of == datetime(2024, 3, 9, 8, 0, 1, tzinfo=UTC)
    assert run(folder, as_of=datetime(2024, 4, 1, tzinfo=UTC)).as_of == datetime(2024, 4, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="as_of: expected a time with its zone"):
        run(folder, as_of=datetime.fromisoformat("2024-04-01"))


def test_second_run_changes_nothing(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Neither content nor dlt's own tables: nothing is loaded at all."""
    export["interactions"].append(export["interactions"][0] | {"interaction_id": "I4", "type": "fax"})
    folder = write_csv(tmp_path / "crm", export)
    run(folder)
    everything = f"{EVERYTHING} union all select 'loads', t::varchar from raw._dlt_loads t order by all"
    before = query(everything)
    trace = tmp_path / "home" / "dlt" / "pipelines" / "leadline_crm" / "trace.pickle"
    trace.parent.mkdir(parents=True, exist_ok=True)
    trace.write_bytes(b"not read")
    report = run(folder)
    assert query(everything) == before
    assert not trace.exists()
    assert report.tables["interactions"].rows_unchanged == 3
    assert report.tables["interactions"].rows_new == report.tables["interactions"].rows_changed == 0


def test_only_new_and_changed_rows_are_written(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Unchanged rows keep the clock at which they were first seen, and vanished ones stay."""
    first = run(write_csv(tmp_path / "crm", export))
    export["interactions"][1]["responded_at"] = "2024-04-01T08:00:00Z"
    export["interactions"].append(export["interactions"][0] | {"interaction_id": "I4"})
    del export["interactions"][0]
    second = run(write_csv(tmp_path / "crm", export))
    table = second.tables["interactions"]
    assert (table.rows_new, table.rows_changed, table.rows_unchanged, table.rows_total) == (1, 1, 1, 4)
    assert query("select interaction_id, extracted_at from raw.interactions order by 1") == [
        ("I1", first.as_of),
        ("I2", second.as_of),
        ("I3", first.as_of),
        ("I4", second.as_of),
    ]
    assert query("select as_of from raw.extraction") == [(second.as_of,)]


def test_mended_rows_leave_the_rejects(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A reject seen before keeps its time; children of a rejected lead are orphans until it is mended."""
    created, export["leads"][1]["created_at"] = export["leads"][1]["created_at"], ""
    first = run(write_csv(tmp_path / "crm", export))
    assert query("select table_name, reason from raw.rejects order by 1") == [
        ("interactions", "orphan"),
        ("leads", "missing_required"),
    ]
    export["projects"].append(export["projects"][0] | {"project_id": "P2", "closed_at": "2024-05-01", "value": "x"})
    run(write_csv(tmp_path / "crm", export))
    times = dict(query("select reason, extracted_at from raw.rejects"))
    assert times["orphan"] == times["missing_required"] == first.as_of
    export["leads"][1]["created_at"] = created
    report = run(write_csv(tmp_path / "crm", export))
    assert query("select table_name from raw.rejects") == [("projects",)]
    assert report.tables["interactions"].rows_new == report.tables["leads"].rows_new == 1


def test_leads_loaded_before_are_no_orphans_reason(export: Export, tmp_path: Path, run: Extract) -> None:
    """A lead that vanished from the export still has children."""
    run(write_csv(tmp_path / "crm", export))
    del export["leads"][1]
    assert run(write_csv(tmp_path / "crm", export)).tables["interactions"].rows_rejected == 0


def test_identical_duplicates_collapse(export: Export, tmp_path: Path, run: Extract) -> None:
    """Equal after typing counts as identical, and a broken row that is there twice is one reject."""
    export["leads"].append(export["leads"][0] | {"property_value": "1000.5", "created_at": "2024-03-01T09:00:00+01:00"})
    broken = export["interactions"][0] | {"interaction_id": "I4", "type": "fax"}
    export["interactions"] += [broken, broken]
    report = run(write_csv(tmp_path / "crm", export))
    assert report.tables["leads"].duplicates_collapsed == 1
    assert report.tables["leads"].rows_total == 2
    interactions = report.tables["interactions"]
    assert (interactions.rows_read, interactions.duplicates_collapsed, interactions.rows_rejected) == (5, 1, 1)


def test_contact_data_is_left_at_the_door(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Nothing of it reaches the warehouse file, by any column, kept or rejected."""
    secrets = [
        "ada@example.org",
        "+31 6 12345678",
        "0612345678",
        "(555) 010-9999",
        "Ada Lovelace",
        "please call me back",
    ]
    export["leads"][0] |= {"name": secrets[4], "email": secrets[0], "assigned_to": secrets[1], "lead_id": secrets[0]}
    export["leads"][1] |= {"name": "", "email": "", "assigned_to": "rep-07", "zip_code": "12345-6789"}
    for row in [*export["interactions"][:2], *export["appointments"], *export["projects"]]:
        row["lead_id"] = secrets[0]
    export["interactions"][0]["outcome"] = f"{secrets[5]} {'tomorrow ' * 9}"
    export["interactions"].append(export["interactions"][2] | {"interaction_id": secrets[2], "type": secrets[3]})
    export["interactions"].append(export["interactions"][2] | {"interaction_id": "I5", "occurred_at": secrets[0]})
    export["leads"][0]["zip_code"] = "1234 AB"
    report = run(write_csv(tmp_path / "crm", export))
    assert report.tables["leads"].columns_ignored == ["name", "email"]
    assert report.tables["leads"].pseudonymised == 2
    assert report.tables["interactions"].free_text_dropped == 1
    written = " ".join(map(str, query(EVERYTHING)))
    for secret in secrets:
        assert secret not in written
    assert query("select count(*) from raw.leads join raw.interactions using (lead_id)") == [(3,)]
    assert query("select outcome from raw.interactions where interaction_id = 'I1'") == [(None,)]
    assert query("select assigned_to, zip_code from raw.leads where lead_id = 'L2'") == [("rep-07", "12345-6789")]
    assert query("select count(*) from raw.rejects where key like 'pseudonym-%' and value like 'pseudonym-%'") == [(1,)]


def test_ids_are_not_taken_for_telephone_numbers(export: Export, tmp_path: Path, run: Extract) -> None:
    """Ids stay readable for those who look a lead up."""
    ids = ("0000123456", "1029384756", "2024-000123", "SR-2024-1", "112", "L173688")
    export["leads"] += [export["leads"][1] | {"lead_id": each} for each in ids]
    export["interactions"] += [
        export["interactions"][2] | {"lead_id": each, "interaction_id": f"I-{each}"} for each in ids
    ]
    tables = run(write_csv(tmp_path / "crm", export)).tables
    assert [(tables[name].rows_new, tables[name].pseudonymised) for name in ("leads", "interactions")] == [
        (8, 0), (9, 0)
    ]  # fmt: skip


def test_parquet_gives_the_same_rows_as_csv(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Typed columns and text come to one content; a rejected row is named by its number."""
    export["projects"].append(export["projects"][0] | {"project_id": "P2", "value": "-2"})
    folder = write_csv(tmp_path / "crm", export)
    run(folder)
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name in export:
            connection.execute(
                f"copy (from read_csv('{folder / name}.csv', header = true)) "
                f"to '{parquet / name}.parquet' (format parquet)"
            )
    report = run(parquet)
    unchanged = {name: table.rows_unchanged for name, table in report.tables.items() if table.rows_unchanged}
    assert unchanged == {"leads": 2, "interactions": 3, "appointments": 1, "projects": 1}
    assert query("select file, line from raw.rejects") == [("projects.parquet", 2)]


def test_plain_crm_is_recognised_and_flags_are_known_from_their_extraction(
    tmp_path: Path, run: Extract, query: Query
) -> None:
    """A flag's time stays that of the extraction that first saw it, also when another column changes."""
    folder = tmp_path / "crm"
    leads = [{"id": "7", "source": "web", "status": "new", "created_at": "2024-01-01", "assigned_to": "x"}]
    interaction = {
        "lead_id": "7", "type": "E-Mail", "timestamp": "2024-01-02T10:00:00Z", "outcome": "", "direction": "Outgoing",
        "opened": "true", "response_received": "0",
    }  # fmt: skip
    export: Export = {
        "leads": leads,
        "interactions": [interaction, interaction | {"type": "phone"}, interaction | {"opened": "perhaps"}],
        "appointments": [
            {"lead_id": "7", "scheduled_at": "2024-01-05", "completed": "false", "result": "no show"},
            {"lead_id": "7", "scheduled_at": "2024-02-05", "completed": "true", "result": "they liked it"},
        ],
        "projects": [{"lead_id": "7", "value": "10", "status": "Signed", "closed_at": "2024-01-09"}],
    }
    first = run(write_csv(folder, export))
    assert (first.mapping_name, first.as_of) == ("plain", datetime(2024, 1, 10, tzinfo=UTC))
    assert len(first.assumptions) == 9
    assert first.tables["interactions"].rejects_by_reason == {"unknown_flag": 1}
    assert query("select type, direction, opened_at, responded_at from raw.interactions order by 1") == [
        ("call", "outbound", first.as_of, None),
        ("email", "outbound", first.as_of, None),
    ]
    assert query("select status, booked_at, ended_at from raw.appointments order by scheduled_at") == [
        ("no_show", datetime(2024, 1, 5, tzinfo=UTC), None),
        ("completed", first.as_of, first.as_of),
    ]
    assert query("select status, proposed_at from raw.projects") == [
        ("won", datetime(2024, 1, 9, 23, 59, 59, 999_999, tzinfo=UTC))
    ]
    export["interactions"][0] = interaction | {"response_received": "1"}
    leads.append(leads[0] | {"id": "8", "created_at": "2024-03-01"})
    second = run(write_csv(folder, export))
    assert second.tables["interactions"].rows_changed == 1
    assert query("select opened_at, responded_at from raw.interactions where type = 'email'") == [
        (first.as_of, second.as_of)
    ]
    assert second.tables["appointments"].rows_unchanged == 2


@pytest.mark.parametrize("first", ["as_of", "default"])
def test_a_clock_before_the_export_does_not_date_back_what_the_export_tells(
    first: str, tmp_path: Path, run: Extract, query: Query
) -> None:
    """What has no time of its own is known from the export's last fact on, in whichever order the clocks come."""
    export: Export = {
        "leads": [{"id": "7", "source": "web", "status": "new", "created_at": "2026-01-10", "assigned_to": "x"}],
        "interactions": [
            {"lead_id": "7", "type": "email", "timestamp": at, "outcome": "", "direction": "out", "opened": opened}
            for at, opened in [("2026-03-02T10:00:00Z", "true"), ("2026-03-10T10:00:00Z", "false")]
        ],
        "appointments": [{"lead_id": "7", "scheduled_at": "2026-03-05", "completed": "true", "result": ""}],
        "projects": [{"lead_id": "7", "value": "10", "status": "open", "closed_at": ""}],
    }
    folder = write_csv(tmp_path / "crm", export)
    early, last = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 10, 10, 0, 1, tzinfo=UTC)
    for as_of in [early, None] if first == "as_of" else [None, early]:
        report = run(folder, as_of=as_of, present=datetime(2026, 4, 1, tzinfo=UTC))
        assert query("select as_of from raw.extraction") == [(report.as_of,)] == [(as_of or last,)]
        assert query(
            "select opened_at, ended_at, proposed_at from raw.interactions join raw.appointments using (lead_id) "
            "join raw.projects using (lead_id) where opened_at is not null"
        ) == [(last, last, last)]
    assert not any(table.rows_changed for table in report.tables.values())


def test_a_stated_delay_is_an_assumption_and_never_later_than_the_extraction(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """The delay counts from the event; the extraction saw the flag at the latest at its clock."""
    for row, opened in zip(export["interactions"], ["no", "yes", "yes"], strict=True):
        row["opened_at"] = opened
    export["interactions"][2]["occurred_at"] = "2024-03-09T08:00:00Z"
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(
        "name: delayed\nbased_on: contract\nsilence_closes_after_days: 90\ntables:\n  interactions:\n    columns:\n"
        "      opened_at: {flag: opened_at, known: {after: occurred_at, hours: 24}}\n"
    )
    report = run(folder)
    assert report.mapping_reason == "mapping.yml in the source folder"
    assert any("24 hours after occurred_at" in sentence for sentence in report.assumptions)
    assert query("select opened_at from raw.interactions order by interaction_id") == [
        (None,),
        (datetime(2024, 3, 2, 10, tzinfo=UTC),),
        (report.as_of,),
    ]
    (marker,) = query("select mapping, silence_closes_after_days, assumptions from raw.extraction")
    assert marker[:2] == ("delayed", 90)
    assert json.loads(marker[2]) == report.assumptions


def test_absent_tables_and_units(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A table that is declared absent exists and is empty; a number is multiplied exactly."""
    del export["appointments"]
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(
        "name: mine\nbased_on: contract\ntables: {appointments: {absent: true}, projects: {units: {value: 0.01}}}\n"
    )
    report = run(folder)
    assert report.tables["appointments"].rows_total == 0
    assert query("select count(*) from raw.appointments") == [(0,)]
    assert [str(value) for (value,) in query("select value from raw.projects")] == ["50.00"]


def test_all_leads_rejected_is_an_error(export: Export, tmp_path: Path, run: Extract) -> None:
    """The message counts the reasons and shows the first row, for there is no reject table to look at."""
    for lead in export["leads"]:
        lead["created_at"] = "yesterday"
    with pytest.raises(SourceContractError, match=r"2 rows of which none fits \(2 unparsable_time\)") as refused:
        run(write_csv(tmp_path / "crm", export))
    assert re.search(r"leads\.csv, line 2, column created_at: expected .*, found \"yesterday\"\. ", str(refused.value))


KILLED = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from store.source.extract import extract

def log(line):
    if line.startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[2])
extract(source=sys.argv[1], warehouse=f"duckdb:{home / 'warehouse.duckdb'}", state_dir=home / "dlt", as_of=None,
        present=datetime(2026, 1, 1, tzinfo=UTC), models=[], log=log)
"""


@pytest.mark.parametrize("moment", ["interactions", "history", "loading", "clock"])
def test_killed_run_is_completed_by_the_next(
    moment: str, export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Killed before the load or between its two halves, the next run ends with the content of an undisturbed one."""
    folder, home = write_csv(tmp_path / "crm", export), tmp_path / "home"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(home), moment], cwd=Path(__file__).parents[3], check=False
    )
    assert killed.returncode == -9
    if (home / "warehouse.duckdb").exists():
        assert query("select count(*) from duckdb_tables() where table_name = 'extraction'") == [(0,)]
    run(folder)
    after = query(f"{EVERYTHING} order by all")
    run(folder, warehouse=f"duckdb:{tmp_path / 'other.duckdb'}")
    with duckdb.connect(str(tmp_path / "other.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        assert connection.execute(f"{EVERYTHING} order by all").fetchall() == after


def test_what_a_killed_run_brought_is_counted_by_the_next(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Also where it finds nothing new any more: features of before are then seen to lag behind."""
    folder, home = write_csv(tmp_path / "crm", export), tmp_path / "home"
    run(folder)
    export["leads"][0]["source"] = "elsewhere"
    write_csv(folder, export)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(home), "clock"], cwd=Path(__file__).parents[3], check=False
    )
    assert killed.returncode == -9
    numbers = "select (select max(load_number) from raw.leads), (select load_number from raw.extraction)"
    assert query(numbers) == [(2, 1)]
    run(folder)
    assert query(numbers) == [(2, 2)]
    run(folder)
    assert query(numbers) == [(2, 2)]


def test_what_a_killed_load_left_pending_is_not_loaded(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """A package that dlt had extracted and not loaded is stale by the next run."""
    quiet_dlt()
    import dlt

    stale = dlt.pipeline(
        "leadline_crm",
        pipelines_dir=str(tmp_path / "home" / "dlt" / "pipelines"),
        destination=dlt.destinations.duckdb(str(tmp_path / "home" / "warehouse.duckdb")),
        dataset_name="raw",
    )
    stale.config.enable_runtime_trace = False
    stale.extract([{"lead_id": "stale"}], table_name="leads")
    assert stale.has_pending_data
    stale.deactivate()
    run(write_csv(tmp_path / "crm", export))
    assert query("select lead_id from raw.leads order by 1") == [("L1",), ("L2",)]


FULL = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from store.source.extract import extract
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
def full(job):
    raise OSError(28, "No space left on device")
DuckDbCopyJob.run = full
home = Path(sys.argv[2])
try:
    extract(source=sys.argv[1], warehouse=f"duckdb:{home / 'warehouse.duckdb'}", state_dir=home / "dlt", as_of=None,
            present=datetime(2026, 1, 1, tzinfo=UTC), models=())
except Exception as error:
    print("No space left on device" in str(error))
"""


def test_a_load_that_fails_prints_nothing_of_its_own(export: Export, tmp_path: Path) -> None:
    """Of the library that writes, as on a disk that is full: whoever called it says what has happened."""
    folder = write_csv(tmp_path / "crm", export)
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), str(tmp_path / "home")],
        cwd=Path(__file__).parents[3], check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("True\n", "")


OBSERVED = """
import sys
opened = []
def audit(event, arguments):
    if event == "socket.connect":
        sys.exit(f"connected to {arguments[1]}")
    elif event == "open" and str(arguments[0]).endswith(".anonymous_id"):
        sys.exit(f"telemetry's id at {arguments[0]}")
    elif event == "os.mkdir" or event == "open" and set(str(arguments[1])) & set("wax+"):
        opened.append(str(arguments[0]))
sys.addaudithook(audit)
from datetime import datetime, UTC
from pathlib import Path
sys.dont_write_bytecode = True
from store.source.extract import extract
home = Path(sys.argv[2])
extract(source=sys.argv[1], warehouse=f"duckdb:{home / 'warehouse.duckdb'}", state_dir=home / "dlt", as_of=None,
        present=datetime(2026, 1, 1, tzinfo=UTC), models=[])
# dlt writes statements into the temporary folder and moves them away
outside = {path for path in opened if not path.startswith((str(home), "/dev/null")) and Path(path).exists()}
print("\\n".join(sorted(outside)))
"""


def test_writes_nowhere_else_and_calls_nobody(export: Export, tmp_path: Path) -> None:
    """No telemetry, and no folder of dlt's own under the user's home; nothing stays in the state folder."""
    folder, home = write_csv(tmp_path / "crm", export), tmp_path / "home"
    observed = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", OBSERVED, str(folder), str(home)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert observed.stdout.strip() == ""
    assert observed.stderr.strip() == ""
    assert not list((home / "dlt").rglob("*.parquet"))


def test_time_in_future_allows_a_day(export: Export, tmp_path: Path, run: Extract) -> None:
    """Clocks differ, and so do time zones of an export."""
    export["interactions"][0]["occurred_at"] = (PRESENT + timedelta(days=1)).isoformat()
    assert run(write_csv(tmp_path / "crm", export)).tables["interactions"].rows_rejected == 0


def test_the_own_keys_of_leads_are_kept_only_where_that_is_asked_for(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Of leads whose keys are pseudonyms; what is not asked for any more is removed, from dlt's copies as well."""
    for table in export.values():
        for row in table:
            row["lead_id"] = {"L1": " ada@example.org"}.get(row["lead_id"], row["lead_id"])
    folder = write_csv(tmp_path / "crm", export)
    ids = "select source_id, lead_id in (select lead_id from raw.leads) from raw.source_ids"
    assert run(folder, source_ids=True).source_ids == 1
    assert query(ids) == [("ada@example.org", True)]
    assert "ada@" not in str(query(EVERYTHING))
    # a lead that the source does not have any more is still scored
    del export["leads"][0]
    run(write_csv(folder, export), source_ids=True)
    assert query(ids) == [("ada@example.org", True)]
    run(folder)
    assert query(f"{ids} union all select source_id, null from raw_staging.source_ids") == []
