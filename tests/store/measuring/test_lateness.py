"""How late facts come, measured on both engines, and kept by clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from store.ledger.measurements import LATENESS, Lateness
from store.ledger.schema import ensure
from store.ledger.table import replace_measurement
from store.measuring.lateness import measure_lateness
from store.source import contract
from store.source.record import SQL_TYPES
from store.warehouse.warehouse import Warehouse
from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.warehouse.connection import Connection

FIRST, SECOND = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
"""Clocks of the extractions."""
DAY = timedelta(days=1)
TABLES = {
    "leads": "lead_id text, created_at timestamptz, extracted_at timestamptz",
    "interactions": "type text, occurred_at timestamptz, recorded_at timestamptz, opened_at timestamptz, "
    "responded_at timestamptz, extracted_at timestamptz",
    "appointments": "booked_at timestamptz, ended_at timestamptz, extracted_at timestamptz",
    "projects": "proposed_at timestamptz, closed_at timestamptz, extracted_at timestamptz",
    "changes": "lead_id text, known_at timestamptz, origin text, extracted_at timestamptz, customer_id text",
}


@pytest.fixture(params=["duckdb", "postgres"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a connection to a warehouse of each engine with an empty schema ``raw``."""
    if request.param == "duckdb":
        with Warehouse(address="duckdb::memory:").connect() as opened:
            _create(opened)
            yield opened
        return
    with database(request.getfixturevalue("running")) as address, Warehouse(address=address).connect() as opened:
        _create(opened)
        yield opened


def _create(connection: Connection) -> None:
    connection.execute("create schema raw")
    for name, columns in TABLES.items():
        connection.execute(f"create table raw.{name} ({columns})")
    for table in contract.TABLES.values():
        if table.name not in TABLES:
            columns = ", ".join(f"{each.name} {SQL_TYPES[each.kind]}" for each in table.columns)
            connection.execute(f"create table raw.{table.name} ({columns}, extracted_at timestamptz)")


def _insert(connection: Connection, table: str, *rows: tuple[object, ...]) -> None:
    for row in rows:
        values = ", ".join("null" if value is None else f"'{value}'" for value in row)
        columns = ", ".join(each.split()[0] for each in TABLES[table].split(", ")[: len(row)])
        connection.execute(f"insert into raw.{table} ({columns}) values ({values})")


def test_until_the_crm_recorded_it(connection: Connection) -> None:
    """By type; what has no time of recording is not measured, and a clock that runs ahead is not early."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for hours in (-1, *range(1, 10), 24 * 40):
        _insert(connection, "interactions", ("call", start, start + timedelta(hours=hours), None, None, FIRST))
    _insert(connection, "interactions", ("web", start, None, None, None, FIRST))

    (found,) = measure_lateness(connection)

    assert (found.measure, found.table_name, found.type, found.rows) == ("recording", "interactions", "call", 11)
    assert found.median_days == pytest.approx(5 / 24)
    assert found.p90_days == pytest.approx(9 / 24)
    assert found.p99_days == found.max_days == 40
    assert found.share_over_1d == found.share_over_7d == found.share_over_30d == pytest.approx(1 / 11)


def test_until_an_extraction_brought_it(connection: Connection) -> None:
    """Only what came in a later extraction than the first; of a row that changed, its last fact."""
    long_ago = FIRST - 100 * DAY
    _insert(connection, "leads", ("old", long_ago, SECOND), ("new", SECOND - 2 * DAY, SECOND))
    _insert(
        connection,
        "changes",
        ("old", long_ago, "extraction", FIRST),
        # the lead changed, and is not late for it
        ("old", SECOND, "extraction", SECOND),
        ("new", SECOND - 2 * DAY, "extraction", SECOND),
        ("new", SECOND - DAY, "source", SECOND),
    )
    _insert(
        connection,
        "interactions",
        ("email", long_ago, long_ago, None, None, FIRST),
        ("email", long_ago, long_ago, SECOND - 3 * DAY, None, SECOND),
    )
    _insert(connection, "appointments", (long_ago, SECOND - 31 * DAY, SECOND))
    _insert(connection, "projects", (long_ago, None, FIRST), (SECOND + DAY, None, SECOND))

    found = {each.table_name: each for each in measure_lateness(connection) if each.measure == "extraction"}

    assert {name: (each.type, each.rows, each.max_days) for name, each in found.items()} == {
        "leads": ("", 1, 2.0),
        "changes": ("", 1, 1.0),
        "interactions": ("email", 1, 3.0),
        "appointments": ("", 1, 31.0),
        # a clock before the fact
        "projects": ("", 1, 0.0),
    }
    late = found["appointments"]
    assert (late.share_over_1d, late.share_over_7d, late.share_over_30d) == (1.0, 1.0, 1.0)


def test_figures_are_kept_by_clock_and_written_once(connection: Connection) -> None:
    """A rerun at one clock keeps the rows of the first; other figures take their place."""
    figures = [_figure("call", 2.0), _figure("email", 3.0)]
    ensure(connection)
    written = "select run_id, type, max_days from ml.ml_lateness where as_of = $1 order by type"
    replace_measurement(connection, LATENESS, {"as_of": FIRST}, figures, run_id="run 1", measured_at=FIRST)
    replace_measurement(connection, LATENESS, {"as_of": FIRST}, figures, run_id="run 2", measured_at=SECOND)
    assert connection.execute(written, [FIRST]).fetchall() == [("run 1", "call", 2.0), ("run 1", "email", 3.0)]
    replace_measurement(connection, LATENESS, {"as_of": FIRST}, figures[:1], run_id="run 3", measured_at=SECOND)
    replace_measurement(connection, LATENESS, {"as_of": SECOND}, figures, run_id="run 3", measured_at=SECOND)
    assert connection.execute(written, [FIRST]).fetchall() == [("run 3", "call", 2.0)]
    assert len(connection.execute(written, [SECOND]).fetchall()) == 2


def _figure(kind: str, latest: float) -> Lateness:
    return Lateness(
        measure="recording", table_name="interactions", type=kind, rows=1000, median_days=0.5, p90_days=1.0,
        p99_days=1.5, max_days=latest, share_over_1d=0.25, share_over_7d=0.0, share_over_30d=0.0,
    )  # fmt: skip
