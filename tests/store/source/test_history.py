"""The history of overwritten columns: whose changes are in it, since when they are known, and that it only grows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from store.source.contract import SourceContractError
from tests.store.source.exports import Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from pathlib import Path

Export = dict[str, Rows]
CREATED = datetime(2024, 3, 1, 8, tzinfo=UTC)
FIRST = datetime(2024, 3, 9, 8, 0, 1, tzinfo=UTC)
"""The clock of an extraction of the valid export."""
OF_PROJECTS = {"projects.value": 1, "projects.expected_close_at": 0}
SECOND, THIRD = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
CHANGES = (
    "select column_name, value, known_at, origin from raw.changes where lead_id = 'L1' and project_id is null "
    "order by 3, 1"
)


@pytest.fixture
def export(export: Export) -> Export:
    """Return an export whose leads have every column that a CRM overwrites."""
    for lead in export["leads"]:
        lead |= {"assigned_to": "ann", "zip_code": "10115", "status": "new"}
    return export


def _told(number: int, column: str, value: str, changed_at: str, lead: str = "L1") -> dict[str, Any]:
    row = {"change_id": f"H{number}", "lead_id": lead, "column_name": column, "value": value, "changed_at": changed_at}
    return {key: str(each) for key, each in row.items()}


def test_the_first_extraction_of_a_lead(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """What is mostly entered with the lead counts from its creation, what its work overwrites from the extraction."""
    report = run(write_csv(tmp_path / "crm", export))
    assert query(CHANGES) == [
        ("property_value", "1000.50", CREATED, "extraction"),
        ("zip_code", "10115", CREATED, "extraction"),
        ("assigned_to", "ann", FIRST, "extraction"),
        ("status", "new", FIRST, "extraction"),
    ]
    # the other lead has no value
    assert report.changes_seen == {"status": 2, "assigned_to": 2, "property_value": 1, "zip_code": 2} | OF_PROJECTS
    assert report.tables["changes"].rows_total == 8
    assert report.tables["changes"].rows_read == report.tables["changes"].rows_new == 0
    assert report.assumptions == [
        "The source keeps no history of leads.status, leads.assigned_to, leads.property_value, leads.zip_code, "
        "projects.value, projects.expected_close_at: a change counts as known from the extraction that first saw it.",
        "The first value of leads.property_value, leads.zip_code, projects.value that an extraction shows is assumed "
        "known from the creation of its row.",
    ]


def test_a_change_is_known_from_the_extraction_that_saw_it(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """One row per column that changed, also to nothing and back; a rerun adds none, and none is ever touched."""
    folder = tmp_path / "crm"
    run(write_csv(folder, export))
    before = query("from raw.changes order by all")
    export["leads"][0] |= {"status": "won", "property_value": "900", "zip_code": ""}
    for _ in range(2):
        report = run(write_csv(folder, export), as_of=SECOND)
        assert query(CHANGES)[4:] == [
            ("property_value", "900.00", SECOND, "extraction"),
            ("status", "won", SECOND, "extraction"),
            ("zip_code", None, SECOND, "extraction"),
        ]
    assert set(report.changes_seen.values()) == {0}
    export["leads"][0]["zip_code"] = "10115"
    # a value that a lead gains later was not there from its creation
    export["leads"][1]["property_value"] = "5"
    assert run(write_csv(folder, export), as_of=THIRD).changes_seen["zip_code"] == 1
    assert query("select value, known_at from raw.changes where lead_id = 'L2' and column_name = 'property_value'") == [
        ("5.00", THIRD)
    ]
    assert set(before) <= set(query("from raw.changes"))
    assert query("select count(*), count(distinct change_id) from raw.changes") == [(13, 13)]


def test_an_earlier_clock_comes_after_what_was_seen_before(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """The order of the extractions is the order of what they saw, whatever clock they are given."""
    folder = tmp_path / "crm"
    run(write_csv(folder, export), as_of=SECOND)
    export["leads"][0]["status"] = "won"
    run(write_csv(folder, export), as_of=FIRST)
    assert run(folder, as_of=FIRST).changes_seen["status"] == 0
    statuses = query("select value, known_at from raw.changes where column_name = 'status' and lead_id = 'L1'")
    assert sorted(statuses, key=lambda row: row[1]) == [("new", SECOND), ("won", SECOND.replace(microsecond=1))]
    # a clock that nobody asked for is behind what extractions have seen: what is not known yet is said
    assert (
        "5 changes were seen by extractions with a later clock than this one, the last at "
        "2024-05-01T00:00:00Z: each counts once the clock has reached the time at which it was seen."
    ) in run(folder).assumptions


def test_a_history_of_the_source(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Its changes are known when they were made, and the extraction adds what it does not tell."""
    export["leads"][0]["status"] = "won"
    export["changes"] = [
        _told(1, "Status", "new", "2024-03-01T08:00:00Z"),
        _told(2, "status", "won", "2024-03-09T07:00:00Z"),
        # 900 is not what the lead shows: the history stopped before the last change
        _told(3, "property_value", "900", "2024-03-01T08:00:00Z"),
    ]
    report = run(write_csv(tmp_path / "crm", export))
    expected = [
        ("property_value", "900.00", CREATED, "source"),
        ("status", "new", CREATED, "source"),
        ("zip_code", "10115", CREATED, "extraction"),
        ("status", "won", datetime(2024, 3, 9, 7, tzinfo=UTC), "source"),
        ("assigned_to", "ann", FIRST, "extraction"),
        ("property_value", "1000.50", FIRST, "extraction"),
    ]
    assert query(CHANGES) == expected
    assert (report.tables["changes"].rows_read, report.tables["changes"].rows_new) == (3, 3)
    assert len(report.assumptions) == 1
    assert report.assumptions[0].endswith("unless its history has another value.")
    # what the extraction saw, the CRM tells later, a second time
    export["changes"].append(_told(4, "property_value", "1000.5", "2024-03-10T00:00:00Z"))
    again = run(write_csv(tmp_path / "crm", export))
    assert query(CHANGES) == [*expected, ("property_value", "1000.50", datetime(2024, 3, 10, tzinfo=UTC), "source")]
    assert (again.tables["changes"].rows_new, again.tables["changes"].rows_unchanged) == (1, 3)
    assert set(again.changes_seen.values()) == {0}


def test_a_history_is_read_as_the_leads_are(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Units and value maps of leads serve for their history, so that the same says the same."""
    export["leads"][0]["status"] = "Gewonnen"
    export["changes"] = [
        _told(1, "Stufe", "GEWONNEN", "2024-03-01T08:00:00Z"),
        _told(2, "property_value", "1000.5", "2024-03-01T08:00:00Z"),
        _told(3, "assigned_to", "N/A", "2024-03-01T08:00:00Z"),
        _told(4, "property_value", "NULL", "2024-03-01T08:00:00Z", lead="L2"),
    ]
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(
        "name: mine\nbased_on: contract\ntables:\n"
        "  leads: {values: {status: {gewonnen: won}}, units: {property_value: 1000}}\n"
        "  changes: {values: {column_name: {stufe: status}}}\n"
    )
    report = run(folder)
    assert report.changes_seen == {"status": 1, "assigned_to": 2, "property_value": 0, "zip_code": 2} | OF_PROJECTS
    assert query("select value from raw.changes where origin = 'source' order by change_id") == [
        ("won",),
        ("1000500.00",),
        (None,),
        (None,),
    ]
    assert report.tables["changes"].missing_words == {"value": 2}


def test_other_columns_of_a_history_stay_in_the_crm(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A history tells of names and telephone numbers as well: they are neither loaded nor rejected, but named."""
    export["changes"] = [
        _told(1, "last_name", "Lovelace", "2024-03-01"),
        _told(2, "phone", "0612345678", "never") | {"lead_id": "L9"},
        _told(3, "assigned_to", "ada@example.org", "2024-03-01"),
        _told(4, "assigned_to", "0612345678", "2024-03-02", lead="L9"),
    ]
    report = run(write_csv(tmp_path / "crm", export))
    assert report.tables["changes"].columns_ignored == ["changes of last_name", "changes of phone"]
    assert report.tables["changes"].rejects_by_reason == {"orphan": 1}
    assert (report.tables["changes"].rows_read, report.tables["changes"].pseudonymised) == (2, 2)
    written = str(query("select t::varchar from raw.changes t union all select t::varchar from raw.rejects t"))
    assert not any(secret in written for secret in ("Lovelace", "0612345678", "ada@"))


def test_what_a_history_told_once_stays(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A change that is told differently the second time is set aside: it was in use as it was told first."""
    export["changes"] = [_told(1, "status", "new", "2024-03-01T08:00:00Z")]
    run(write_csv(tmp_path / "crm", export))
    before = query(CHANGES)
    export["changes"] = [_told(1, "status", "lost", "2024-03-01T08:00:00Z")]
    report = run(write_csv(tmp_path / "crm", export))
    assert report.tables["changes"].rejects_by_reason == {"rewritten_history": 1}
    assert query("select message from raw.rejects") == [
        (
            'changes.csv, line 2, column change_id: expected the change that is stored under this key, found "H1". '
            "A stored change stays; enter the present value as a new change.",
        )
    ]
    assert query(CHANGES) == before


def test_numbers_of_a_history_are_numbers(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """As in the table of leads; an empty one says that the column was emptied."""
    values = {1: "1.000 EUR", 2: "-1", 3: "0", 4: ""}
    export["changes"] = [
        _told(number, "property_value", value, f"2024-03-0{number}T08:00:00Z") for number, value in values.items()
    ]
    run(write_csv(tmp_path / "crm", export))
    assert query("select key, reason from raw.rejects order by 1") == [
        ("H1", "unparsable_number"), ("H2", "negative_number")
    ]  # fmt: skip


def test_a_history_without_its_values_is_refused(export: Export, tmp_path: Path, run: Extract) -> None:
    """It would say that every column was emptied."""
    export["changes"] = [_told(1, "status", "new", "2024-03-01")]
    del export["changes"][0]["value"]
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text("name: mine\nbased_on: contract\n")
    with pytest.raises(SourceContractError, match=r"table changes.*expected the required column value"):
        run(folder)


def test_columns_that_the_source_lacks_have_no_history(export: Export, tmp_path: Path, run: Extract) -> None:
    """Not to export a column is not to empty it."""
    folder = tmp_path / "crm"
    run(write_csv(folder, export))
    for lead in export["leads"]:
        del lead["zip_code"]
    with pytest.raises(SourceContractError, match=r"leads\.zip_code: a value in 2 of 2 rows before") as stopped:
        run(write_csv(folder, export), as_of=SECOND)
    accept = str(stopped.value).split("LEADLINE_ACCEPT_EXTRACTION=")[1]
    assert run(folder, as_of=SECOND, accept=accept).changes_seen == {
        "status": 0,
        "assigned_to": 0,
        "property_value": 0,
        "projects.value": 0,
        "projects.expected_close_at": 0,
    }


def test_a_warehouse_of_an_earlier_version_gains_a_history(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Where there was no history, every lead is as good as new."""
    import duckdb

    folder = write_csv(tmp_path / "crm", export)
    run(folder)
    expected = query(f"select * from ({CHANGES})")
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")) as connection:
        # dlt keeps a list of the tables that it has made
        for statement in (
            "drop table raw.changes",
            "drop schema raw_staging cascade",
            "delete from raw._dlt_version",
        ):
            connection.execute(statement)
    run(folder)
    assert query(CHANGES) == expected


@pytest.mark.parametrize("killed", [False, True])
def test_the_history_of_an_earlier_state_is_kept_under_its_present_name(
    killed: bool, tmp_path: Path, export: dict[str, Rows], run: Extract, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table was called `lead_changes`: no row is lost, and none is new, also where a run was killed in between."""
    export["lead_changes"] = [_told(1, "status", "new", "2024-03-01T08:00:00Z")]
    export["leads"][1]["status"] = "open"
    folder = write_csv(tmp_path / "crm", export)
    first = run(folder)
    assert first.notices == [
        "the table lead_changes of the source is called changes now: it is read, and may be renamed."
    ]
    before = query("from raw.changes order by change_id")
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")) as connection:
        connection.execute("alter table raw.changes rename to lead_changes")
        connection.execute(
            "update raw.extraction set delivered = replace(delivered, '\"changes\"', '\"lead_changes\"')"
        )
        connection.execute("create schema staging")
        connection.execute("create view staging.stg_lead_changes as from raw.lead_changes")
    export["changes"] = [*export.pop("lead_changes"), _told(2, "zip_code", "10115", "2024-03-01T09:00:00Z")]
    (folder / "lead_changes.csv").unlink()
    write_csv(folder, export)
    if killed:
        with monkeypatch.context() as patched:
            patched.setattr("store.source.extract.load", _killed)
            with pytest.raises(KeyboardInterrupt):
                run(folder)
    report = run(folder)
    assert report.notices == []
    assert (report.tables["changes"].rows_new, report.tables["changes"].rows_unchanged) == (1, 1)
    assert set(report.changes_seen.values()) == {0}
    assert set(before) < set(query("from raw.changes"))
    assert query("select count(*) from raw.changes") == [(len(before) + 1,)]
    tables = "select schema_name || '.' || table_name from duckdb_tables() where table_name like '%changes' and "
    assert query(f"{tables} schema_name = 'raw'") == [("raw.changes",)]
    assert query("select count(*) from duckdb_views() where view_name = 'stg_lead_changes'") == [(0,)]
    assert run(folder).tables["changes"].rows_unchanged == 2


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_both_names_at_once_are_refused(tmp_path: Path, export: dict[str, Rows], run: Extract, query: Query) -> None:
    """Of a table of the source, unless the mapping says which is meant; in a mapping; in the warehouse."""
    export["lead_changes"] = [_told(1, "status", "new", "2024-03-01T08:00:00Z")]
    export["changes"] = [_told(1, "status", "new", "2024-03-01T08:00:00Z")]
    folder = write_csv(tmp_path / "crm", export)
    with pytest.raises(SourceContractError, match=r"found changes and lead_changes, its earlier name\. Remove"):
        run(folder)
    path = folder / "mapping.yml"
    path.write_text("name: mine\nbased_on: contract\ntables:\n  changes: {}\n  lead_changes: {}\n")
    with pytest.raises(SourceContractError, match=r"line 5, tables.lead_changes: expected tables.changes alone, found"):
        run(folder)
    path.write_text("name: mine\nbased_on: contract\ntables: {lead_changes: {table: lead_changes}}\n")
    report = run(folder)
    assert report.notices == [f"{path}: the table lead_changes is called changes now: rename it under tables."]
    assert report.tables["changes"].rows_read == 1
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")) as connection:
        connection.execute("create table raw.lead_changes as from raw.changes")
    with pytest.raises(SourceContractError, match=r"expected raw\.changes, found raw\.lead_changes, its earlier name"):
        run(folder)


def test_a_table_of_the_same_name_may_be_another(tmp_path: Path, export: dict[str, Rows], run: Extract) -> None:
    """`changes` is a common word: a table without any required column of the contract is none of its."""
    export["changes"] = [{"id": "1", "file": "main.c"}]
    folder = write_csv(tmp_path / "crm", export)
    assert run(folder).tables["changes"].rows_read == 0
    (folder / "mapping.yml").write_text("name: mine\nbased_on: contract\n")
    assert run(folder).tables["changes"].rows_read == 0
    export["lead_changes"] = [_told(1, "status", "new", "2024-03-01T08:00:00Z")]
    assert run(write_csv(folder, export)).tables["changes"].rows_read == 1
