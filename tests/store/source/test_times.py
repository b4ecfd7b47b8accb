"""What a time says: plans are no facts, a date is a day, and the clock follows the bulk of the facts.

The same from CSV, Parquet and PostgreSQL, and in both warehouses.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.store.source.exports import PRESENT, Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from tests.store.source.conftest import Server

Export = dict[str, Rows]

CASE = Path(__file__).parents[4] / "shared" / "cases" / "02_planned_close_date_of_open_deals" / "crm"
SOURCES = ("csv", "parquet", "postgres")
PATHS = [("csv", "duckdb"), ("parquet", "postgres"), ("postgres", "duckdb")]
"""Each kind of source, and the warehouse that it is extracted into: the two know nothing of each other."""
END_OF_DAY = timedelta(days=1) - timedelta(microseconds=1)


def at(text: str) -> datetime:
    """Return a moment of 2024 in UTC."""
    return datetime.fromisoformat(f"2024-{text}").replace(tzinfo=UTC)


def deliver(form: str, export: Export, folder: Path, server: Server) -> str:
    """Write an export as files or into a database, with the column types that its values have; returns the source."""
    write_csv(folder / "csv", export)
    if form == "csv":
        return str(folder / "csv")
    (folder / "parquet").mkdir(exist_ok=True)
    types = {"TIMESTAMP WITH TIME ZONE": "timestamptz", "TIMESTAMP": "timestamptz", "DATE": "date"}
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name, rows in export.items():
            table = f"(from read_csv('{folder / 'csv' / name}.csv', header = true))"
            if form == "parquet":
                connection.execute(f"copy {table} to '{folder / 'parquet' / name}.parquet' (format parquet)")
                continue
            columns = [
                (column, types.get(kind, "text"))
                for column, kind, *_ in connection.execute(f"describe {table}").fetchall()
            ]
            defined = ", ".join(f"{column} {kind}" for column, kind in columns)
            values = ", ".join(
                "(" + ", ".join(f"'{row[column]}'" if row.get(column) else "null" for column, _ in columns) + ")"
                for row in rows
            )
            server.do(
                f"drop table if exists {name}",
                f"create table {name} ({defined})",
                f"insert into {name} values {values}",
            )
    return str(folder / "parquet") if form == "parquet" else server.address


@pytest.fixture
def stored(into: str, run: Extract, query: Query, server: Server, tmp_path: Path) -> tuple[Extract, Query]:
    """Return the extraction into a warehouse, and a query on it."""
    if into == "duckdb":
        return run, query
    return (
        lambda source, **options: run(
            source, **{"warehouse": server.address, "state_dir": tmp_path / "state", **options}
        ),
        server.rows,
    )


def with_plans(export: Export) -> Export:
    """Return an export with open deals and coming meetings that have a planned end."""
    deal = export["projects"][0]
    export["projects"] = [
        deal | {"expected_close_at": "2024-03-20T08:00:00Z"},
        deal | {"project_id": "P2", "status": "open", "closed_at": "2024-12-31T00:00:00Z"},
        # the day has passed, and the deal is as open as before
        deal | {"project_id": "P3", "status": "Open", "closed_at": "2024-03-08T08:00:00Z"},
        deal | {"project_id": "P4", "status": "open", "closed_at": "2027-06-30T08:00:00Z"},
        # it precedes the proposal, as only a plan may
        deal | {"project_id": "P5", "status": "", "closed_at": "2024-03-05T08:00:00Z"},
        deal | {"project_id": "P6", "status": "lost", "closed_at": "2024-03-09T07:00:00Z"},
        deal | {"project_id": "P7", "status": "open", "closed_at": ""},
    ]
    for row in export["projects"][1:]:
        row["expected_close_at"] = ""
    meeting = export["appointments"][0]
    export["appointments"] += [
        meeting | {"appointment_id": "A2", "status": "scheduled", "ended_at": "2024-09-01T10:00:00Z"},
        meeting | {"appointment_id": "A3", "status": "", "ended_at": "2024-03-05T09:30:00Z"},
        meeting | {"appointment_id": "A4", "status": "cancelled", "ended_at": "2024-03-04T09:00:00Z"},
    ]
    return export


PLANNED = [
    ("P1", datetime(2024, 3, 9, 8, 0, 0, 500_000, UTC), at("03-20T08:00")),
    ("P2", None, at("12-31T00:00")),
    ("P3", None, at("03-08T08:00")),
    ("P4", None, datetime(2027, 6, 30, 8, tzinfo=UTC)),
    ("P5", None, at("03-05T08:00")),
    ("P6", at("03-09T07:00"), None),
    ("P7", None, None),
]


@pytest.mark.parametrize(("form", "into"), PATHS)
def test_a_plan_ends_nothing_and_moves_no_clock(
    form: str, stored: tuple[Extract, Query], export: Export, tmp_path: Path, server: Server
) -> None:
    """By the status of its row, and where there is none: nothing says that it has happened."""
    run, query = stored
    source = deliver(form, with_plans(export), tmp_path, server)
    report = run(source)
    assert report.as_of == (PRESENT if form == "postgres" else at("03-09T08:00:01"))
    assert query("select project_id, closed_at, expected_close_at from raw.projects order by 1") == PLANNED
    assert query("select appointment_id, ended_at from raw.appointments order by 1") == [
        ("A1", at("03-05T09:00")),
        ("A2", None),
        ("A3", None),
        ("A4", at("03-04T09:00")),
    ]
    assert query("select distinct scheduled_at from raw.appointments") == [(at("03-05T08:00"),)]
    assert query("select * from raw.rejects") == []
    assert report.tables["projects"].plans == {"closed_at": 4}
    assert report.tables["appointments"].plans == {"ended_at": 2}
    assert report.assumptions[-2:] == [
        "appointments.ended_at is a plan in 2 rows, by their status (none 1, scheduled 1): it stands in scheduled_at "
        "where that is empty, ends nothing, and does not move the clock.",
        "projects.closed_at is a plan in 4 rows, by their status (open 3, none 1): it stands in expected_close_at "
        "where that is empty, ends nothing, and does not move the clock.",
    ]
    again = run(source)
    assert not any(table.rows_changed + table.rows_new for table in again.tables.values())


def test_a_source_without_any_status_has_plans_alone(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    del export["projects"][0]["status"]
    report = run(write_csv(tmp_path / "crm", export))
    assert report.tables["projects"].plans == {"closed_at": 1}
    assert query("select closed_at, expected_close_at from raw.projects") == [
        (None, datetime(2024, 3, 9, 8, 0, 0, 500_000, UTC))
    ]


def test_a_plan_dates_back_no_proposal(tmp_path: Path, run: Extract, query: Query) -> None:
    """A substitute takes the time of a closing, and none that was planned; one for a closing needs an end."""
    export = {
        "leads": [{"lead_id": "1", "source": "web", "created_at": "2024-01-01T08:00:00Z"}],
        "projects": [
            {"project_id": f"P{number}", "lead_id": "1", "status": status, "closed_at": "2024-01-05T08:00:00Z"}
            for number, status in enumerate(["open", "won", "lost"])
        ],
    }
    folder = write_csv(tmp_path / "crm", export)
    mapping = (
        "name: mine\nbased_on: contract\ntables:\n  interactions: {absent: true}\n  appointments: {absent: true}\n"
        "  projects: {columns: {%s}}\n"
    )
    (folder / "mapping.yml").write_text(mapping % "proposed_at: {substitute: earliest_of, of: [closed_at, extraction]}")
    clock = run(folder).as_of
    assert query("select proposed_at from raw.projects order by project_id") == [
        (clock,), (at("01-05T08:00"),), (at("01-05T08:00"),),
    ]  # fmt: skip
    (folder / "mapping.yml").write_text(
        mapping % "proposed_at: closed_at, closed_at: {substitute: earliest_of, of: [extraction]}"
    )
    run(folder)
    # what an extraction saw stays as it saw it
    assert query("select closed_at from raw.projects order by project_id") == [
        (None,), (at("01-05T08:00"),), (at("01-05T08:00"),),
    ]  # fmt: skip


def test_a_row_without_a_plan_has_the_hash_of_before(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """A home that an earlier state has filled is not written anew for a column that is empty."""
    run(write_csv(tmp_path / "crm", with_plans(export)))
    before = ", ".join(
        f"coalesce({column}::varchar, chr(30))"
        for column in (
            "project_id",
            "lead_id",
            "value",
            "cost",
            "status",
            "epoch_us(proposed_at)",
            "epoch_us(closed_at)",
        )
    )
    assert query(
        f"select project_id from raw.projects where row_hash = md5(concat_ws(chr(31), {before})) order by 1"
    ) == [("P6",), ("P7",)]


@pytest.mark.skipif(not CASE.is_dir(), reason="the case is not at ../shared/cases")
def test_planned_closings_of_open_deals(run: Extract, query: Query) -> None:
    """The clock went half a year ahead, two open deals were closed, and one was lost."""
    report = run(CASE, present=datetime(2026, 11, 29, tzinfo=UTC))
    assert report.as_of == at("04-12T09:00:01")
    assert query("select project_id, status, closed_at, expected_close_at from raw.projects order by 1") == [
        ("P1", "won", at("04-09T08:00"), None),
        ("P2", "open", None, at("12-31T00:00")),
        ("P3", "open", None, at("04-10T00:00")),
        ("P4", "open", None, datetime(2027, 6, 30, tzinfo=UTC)),
    ]
    assert query("select * from raw.rejects") == []


def ten_deals(export: Export) -> Export:
    """Return an export of ten deals that were proposed at 14:00, of which seven closed on that day, by its date."""
    deal = export["projects"][0] | {"proposed_at": "2024-03-06T14:00:00Z"}
    export["projects"] = [
        deal | {"project_id": f"P{number}", "closed_at": "2024-03-06" if number < 7 else f"2024-03-1{number}"}
        for number in range(10)
    ]
    return export


@pytest.mark.parametrize(("form", "into"), PATHS)
def test_a_date_is_known_from_the_end_of_its_day(
    form: str, stored: tuple[Extract, Query], export: Export, tmp_path: Path, server: Server
) -> None:
    """Text in CSV, dates in Parquet and PostgreSQL: a closing follows what happened on its day."""
    run, query = stored
    export = ten_deals(export)
    for lead in export["leads"]:
        lead["created_at"] = lead["created_at"][:10]
    report = run(deliver(form, export, tmp_path, server))
    assert query("select * from raw.rejects") == []
    assert query("select closed_at, count(*) from raw.projects group by 1 order by 1") == [
        (at("03-06T00:00") + END_OF_DAY, 7),
        *((at(f"03-1{number}T00:00") + END_OF_DAY, 1) for number in (7, 8, 9)),
    ]
    assert query("select created_at from raw.leads order by 1") == [
        (at("03-01T00:00") + END_OF_DAY,),
        (at("03-02T00:00") + END_OF_DAY,),
    ]
    assert {name: table.dates_only for name, table in report.tables.items() if table.dates_only} == {
        "leads": ["created_at"], "projects": ["closed_at"],
    }  # fmt: skip
    for column in ("leads.created_at", "projects.closed_at"):
        assert (
            f"{column} has dates without a time of day: each counts from the end of its day (UTC)."
            in report.assumptions
        )
    assert report.as_of == (PRESENT if form == "postgres" else at("03-20T00:00"))


@pytest.mark.parametrize(("form", "number"), [("csv", 19), *((form, 20) for form in SOURCES)])
def test_midnights_alone_are_dates(
    form: str, number: int, export: Export, tmp_path: Path, run: Extract, query: Query, server: Server
) -> None:
    """Spreadsheets and data frames write a date as its midnight; a few such times may be what they say."""
    deal = export["projects"][0]
    export["projects"] = [
        deal | {"project_id": f"P{each}", "proposed_at": "2024-03-06 00:00:00", "closed_at": "2024-03-06 00:00:00"}
        for each in range(number)
    ]
    run(deliver(form, export, tmp_path, server))
    expected = at("03-06T00:00") + (END_OF_DAY if number == 20 else timedelta(0))
    assert query("select distinct proposed_at, closed_at from raw.projects") == [(expected, expected)]


def test_a_date_beside_times(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A start that is a date is some moment of its day: what has a time on that day does not precede it."""
    first, second, third = export["interactions"]
    first |= {"occurred_at": "2024-03-01", "opened_at": "2024-03-01T10:00:00Z"}
    second["opened_at"] = "2024-03-01"
    third["occurred_at"] = "2024-03-02T08:00:00Z"
    export["interactions"].append(first | {"interaction_id": "I4", "opened_at": "2024-02-29T23:59:59Z"})
    report = run(write_csv(tmp_path / "crm", export))
    assert query("select interaction_id, occurred_at, opened_at from raw.interactions order by 1") == [
        ("I1", at("03-01T00:00") + END_OF_DAY, at("03-01T10:00")),
        ("I2", at("03-01T10:00"), at("03-01T00:00") + END_OF_DAY),
        ("I3", at("03-02T08:00"), None),
    ]
    assert query("select key, reason from raw.rejects") == [("I4", "end_before_start")]
    assert report.tables["interactions"].dates_only == []
    assert (
        "interactions.occurred_at has no time of day in 1 of 3 values: these count from the end of their day (UTC)."
        in report.assumptions
    )


def test_a_database_tells_of_nothing_that_has_not_happened(
    export: Export, tmp_path: Path, run: Extract, query: Query, server: Server
) -> None:
    """What is dated today has happened by the extraction, and a history of today is not told anew tomorrow."""
    export["projects"][0] |= {"closed_at": "2024-03-09"}
    export["changes"] = [
        {"change_id": "H1", "lead_id": "L1", "column_name": "status", "value": "won", "changed_at": "2024-03-09"}
    ]
    source = deliver("postgres", export, tmp_path, server)
    noon = at("03-09T12:00")
    run(source, present=noon)
    known = "select closed_at, changed_at from raw.projects, raw.changes where origin = 'source'"
    just = noon - timedelta(microseconds=1)
    assert query(known) == [(just, just)]
    run(source, present=noon + timedelta(days=1))
    assert query(known) == [(at("03-09T00:00") + END_OF_DAY, just)]
    assert query("select * from raw.rejects") == []


def test_a_folder_whose_last_date_is_today_is_as_of_the_present(export: Export, tmp_path: Path, run: Extract) -> None:
    """The day is not over: what comes this afternoon is not known, and an export of the evening has a later clock."""
    export["projects"][0] |= {"closed_at": "2024-03-09"}
    source = write_csv(tmp_path / "crm", export)
    noon = at("03-09T12:00")
    assert run(source, present=noon).as_of == noon
    assert run(source, present=noon + timedelta(hours=4)).as_of == noon + timedelta(hours=4)
    assert run(source, present=noon + timedelta(days=3)).as_of == at("03-10T00:00")


def test_the_night_after_a_day_of_many_dates_is_no_other_time(
    export: Export, tmp_path: Path, run: Extract, query: Query, server: Server
) -> None:
    """A database tells until now of what is dated today, and to the end of the day from tomorrow on."""
    noon = at("04-09T12:00")
    export["leads"] += [{"lead_id": f"N{each}", "source": "web", "created_at": "2024-04-09"} for each in range(60)]
    for row in export["leads"][:2]:
        row["created_at"] = "2024-02-01"
    source = deliver("postgres", export, tmp_path, server)
    run(source, present=noon)
    assert run(source, present=noon + timedelta(days=1)).accepted == []
    assert query("select distinct created_at from raw.leads where lead_id like 'N%'") == [
        (at("04-09T00:00") + END_OF_DAY,)
    ]


def test_rows_of_a_date_that_was_read_already_are_read_again(
    export: Export, tmp_path: Path, run: Extract, query: Query, server: Server
) -> None:
    """A watermark that is a date does not tell what was changed later that day."""
    for row in export["leads"]:
        row["updated_at"] = "2024-04-09"
    source = deliver("postgres", export, tmp_path, server)
    mapping = tmp_path / "mine.yml"
    mapping.write_text("name: mine\nbased_on: contract\ntables: {leads: {watermark: updated_at}}\n")
    run(source, present=at("04-09T10:00"), mapping=str(mapping))
    server.do(
        "insert into leads (lead_id, source, created_at, updated_at) "
        "values ('L9', 'web', '2024-04-01T00:00:00Z', '2024-04-09')"
    )
    run(source, present=at("04-09T18:00"), mapping=str(mapping))
    assert query("select count(*) from raw.leads where lead_id = 'L9'") == [(1,)]


def test_what_were_dates_are_dates_among_few_rows_and_beside_times(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Whether midnights are dates was decided by many rows once: one row more does not decide it anew."""
    deal = export["projects"][0] | {"proposed_at": "2024-03-06 00:00:00", "closed_at": "2024-03-06 00:00:00"}
    export["projects"] = [deal | {"project_id": f"P{each}"} for each in range(20)]
    run(write_csv(tmp_path / "crm", export))
    export["projects"] += [deal | {"project_id": "Q", "closed_at": "2024-03-08T15:00:00Z"}]
    run(write_csv(tmp_path / "crm", export))
    end = at("03-06T00:00") + END_OF_DAY
    assert query("select distinct proposed_at, closed_at from raw.projects order by 2") == [
        (end, end),
        (end, at("03-08T15:00")),
    ]


def test_a_column_that_comes_to_have_dates_has_not_moved(export: Export, tmp_path: Path, run: Extract) -> None:
    """The twentieth midnight says that all of them are dates, which is no other time."""
    deal = export["projects"][0] | {"proposed_at": "2024-03-06 00:00:00", "closed_at": "2024-03-07 00:00:00"}
    export["projects"] = [deal | {"project_id": f"P{each}"} for each in range(19)]
    run(write_csv(tmp_path / "crm", export))
    export["projects"] += [deal | {"project_id": "Q"}]
    report = run(write_csv(tmp_path / "crm", export))
    assert report.tables["projects"].rows_changed == 19
    assert report.accepted == []


@pytest.mark.parametrize(("form", "into"), PATHS[:2])
def test_a_mistyped_date_does_not_move_the_clock(
    form: str, stored: tuple[Extract, Query], export: Export, tmp_path: Path, server: Server
) -> None:
    """It is set aside with what belongs to it, named and counted, unless somebody asks for a clock after it."""
    run, query = stored
    first = export["interactions"][0]
    days = [at("03-01T09:00") + timedelta(days=day) for day in range(40)]
    export["interactions"] = [
        first | {"interaction_id": f"I{number}", "occurred_at": day.isoformat()} for number, day in enumerate(days)
    ]
    export["leads"].append(export["leads"][0] | {"lead_id": "L3", "created_at": "2025-03-01T08:00:00Z"})
    export["interactions"].append(
        first | {"interaction_id": "I40", "lead_id": "L3", "occurred_at": "2024-03-02T08:00:00Z"}
    )
    source = deliver(form, export, tmp_path, server)
    report = run(source)
    assert report.as_of == days[-1] + timedelta(seconds=1)
    assert query("select table_name, key, column_name, reason from raw.rejects order by 1") == [
        ("interactions", "I40", "lead_id", "orphan"),
        ("leads", "L3", "created_at", "far_from_others"),
    ]
    ((message,),) = query("select message from raw.rejects where table_name = 'leads'")
    assert "expected a time near those of other facts, found" in message
    assert message.endswith("Correct the time in the CRM; if it is right, set a clock after it (AS_OF=…).")
    assert report.assumptions[-1] == (
        "1 fact lies after a gap of 326 days (2024-04-09 to 2025-03-01); the longest pause before it is 1 day, and as "
        "many days before it have 47 facts. 1 row is set aside for it (far_from_others in raw.rejects), and the clock "
        "follows the facts before it. If it is right, set a clock after it (AS_OF=…)."
    )
    # a clock before it leaves it aside
    assert run(source, as_of=at("05-01T00:00")).tables["leads"].rejects_by_reason == {"far_from_others": 1}
    asked = run(source, as_of=datetime(2025, 4, 1, tzinfo=UTC))
    assert asked.tables["leads"].rows_new == asked.tables["interactions"].rows_new == 1
    assert query("select * from raw.rejects") == []
