"""The rows in which hindsight is looked for, read on both engines: when a lead was settled, and by what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from models.evaluation.one_sided import SETTLED_AT
from store.features.compiled import microseconds
from store.measuring import hindsight
from store.measuring.hindsight import recent_rows
from store.warehouse.warehouse import Extraction, Warehouse
from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.warehouse.connection import Connection

CONVERSION = DECLARATIONS["conversion"]
CLOCK = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def extraction(*closing_outcomes: str) -> Extraction:
    return Extraction(
        as_of=CLOCK, load_number=1, source="here", mapping="contract",
        closing={"closing_outcomes": [*closing_outcomes]},
        silence_closes_after_days=30, horizon_days={}, assumptions=[],
    )  # fmt: skip


@pytest.fixture(params=["duckdb", "postgres"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a connection to a warehouse of each engine with four leads, each observed at the clock and before."""
    if request.param == "duckdb":
        with Warehouse(address="duckdb::memory:").connect() as opened:
            _fill(opened)
            yield opened
        return
    with database(request.getfixturevalue("running")) as address, Warehouse(address=address).connect() as opened:
        _fill(opened)
        yield opened


def _fill(connection: Connection) -> None:
    connection.execute("create schema features")
    connection.execute("create schema intermediate")
    connection.execute("create schema staging")
    connection.execute("create table staging.stg_changes (lead_id text, lead_column text, value text, known_us bigint)")
    connection.execute("create table features.lead_features (lead_id text, as_of timestamptz, calls bigint)")
    connection.execute("create table intermediate.timeline (lead_id text, fact text, outcome text, known_us bigint)")
    for lead in ("lost", "refused", "silent", "later"):
        for number, days in enumerate((0, 10, 179, 181)):
            connection.execute(
                "insert into features.lead_features values ($1, $2, $3)", [lead, CLOCK - days * DAY, number]
            )
    facts = [
        ("lost", "project_closed", "lost", -5),
        ("lost", "project_closed", "won", -2),
        ("refused", "interaction", "no, 'thanks'", -4),
        ("refused", "interaction", "reached", -9),
        ("silent", "interaction", "reached", -100),
        ("silent", "appointment_ended", "no, 'thanks'", -50),
        ("later", "project_closed", "won", 1),
    ]
    for lead, fact, outcome, days in facts:
        connection.execute(
            "insert into intermediate.timeline values ($1, $2, $3, $4)",
            [lead, fact, outcome, microseconds(CLOCK + days * DAY)],
        )


def settled(connection: Connection, *closing_outcomes: str) -> dict[str, datetime | None]:
    frame = recent_rows(connection, CONVERSION, extraction(*closing_outcomes))
    assert frame is not None
    by_lead = frame.groupby("lead_id")[SETTLED_AT].agg(lambda times: times.iloc[0])
    return {lead: None if moment is by_lead.dtype.na_value else moment for lead, moment in by_lead.items()}


def test_the_first_fact_that_settles_a_lead_counts(connection: Connection) -> None:
    found = settled(connection, "no, 'thanks'", "gone")
    assert found["lost"] == CLOCK - 5 * DAY
    assert found["refused"] == CLOCK - 4 * DAY
    # neither silence nor what is known from the clock on
    assert (found["silent"], found["later"]) == (None, None)


def test_without_closing_outcomes_projects_alone_settle(connection: Connection) -> None:
    found = settled(connection)
    assert found["lost"] == CLOCK - 5 * DAY
    assert found["refused"] is None


def test_rows_of_the_last_months_are_read_with_all_columns(connection: Connection) -> None:
    frame = recent_rows(connection, CONVERSION, extraction())
    assert frame is not None
    assert set(frame.columns) == {"lead_id", AS_OF, "calls", SETTLED_AT}
    assert len(frame) == 4 * 3
    assert frame[AS_OF].min() == CLOCK - 179 * DAY
    assert str(frame[SETTLED_AT].dtype).endswith(", UTC]")


def test_where_nothing_is_settled_the_times_are_null(connection: Connection) -> None:
    connection.execute("delete from intermediate.timeline")
    frame = recent_rows(connection, CONVERSION, extraction())
    assert frame is not None
    assert frame[SETTLED_AT].isna().all()
    assert str(frame[SETTLED_AT].dtype).endswith(", UTC]")


def test_of_many_rows_those_of_some_leads_are_read_whole(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute(
        "insert into features.lead_features select 'L' || lead_id || n, as_of, calls from features.lead_features, "
        "(values (1), (2), (3), (4), (5), (6), (7), (8), (9)) as copies (n)"
    )
    everything = recent_rows(connection, CONVERSION, extraction())
    monkeypatch.setattr(hindsight, "ROWS_READ", 40)
    some = recent_rows(connection, CONVERSION, extraction())
    assert everything is not None
    assert some is not None
    assert 0 < len(some) < len(everything) == 120
    assert set(some.groupby("lead_id").size()) == {3}
