"""The source: broken feeds, null spikes and new categories are found and stay found; growth and small feeds are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from store.ledger.champions import RETIRED, follow
from store.ledger.measurements import SOURCE_DELIVERIES, record_source_health
from store.ledger.schema import ensure
from store.ledger.table import replace_measurement
from store.measuring.source_deliveries import Delivered, delivered_at_training, measure_deliveries
from store.measuring.source_health import CHECKS, judge_source_health, measure_source_health, oldest_training, own_clock
from store.source.contract import TABLES
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, TRAINED_DAY = 300, 120
DAY_US = 86_400_000_000


@pytest.fixture
def connection() -> Iterator[DuckDBPyConnection]:
    """Return a warehouse with 15 leads, 20 calls, 10 e-mails and one note a day."""
    rng = np.random.default_rng(2)

    def moments(per_day: int) -> np.ndarray:
        day = np.repeat(np.arange(DAYS), per_day)
        us = int(START.timestamp() * 1e6) + day * DAY_US + rng.integers(0, DAY_US, len(day))
        return np.sort(us)

    leads = moments(15)
    frames = {
        "leads": pd.DataFrame(
            {
                "known_us": leads,
                "lead_source": rng.choice(["web", "ads"], len(leads)).astype(object),
                "property_value": np.where(rng.random(len(leads)) < 0.1, np.nan, 1.0),
                "zip_code": "10115",
            }
        ),
        "interactions": pd.concat(
            pd.DataFrame(
                {
                    "known_us": moments(per_day), "interaction_type": kind, "direction": direction,
                    "outcome": outcome, "performed_by": "r1",
                }
            ).assign(
                opened_us=lambda rows: (rows["known_us"] + DAY_US // 2).where(rows["interaction_type"] == "email"),
                responded_us=lambda rows: rows["known_us"].where(rows["interaction_type"] == "letter"),
            )
            for kind, direction, outcome, per_day in (
                ("call", "outbound", "reached", 20), ("email", "outbound", None, 10), ("note", "internal", None, 1)
            )
        ),
        "appointments": pd.DataFrame({"booked_us": moments(1), "ended_us": moments(1)}),
        "projects": pd.DataFrame({"proposed_us": moments(1), "closed_us": moments(1), "current_value": 1.0}),
    }  # fmt: skip
    with Warehouse(address="duckdb::memory:").connect() as opened:
        opened.execute("create schema staging")
        for name, frame in frames.items():
            opened.register("frame", frame)
            opened.execute(f"create table staging.stg_{name} as from frame")
        for table in TABLES.values():
            if table.of == "customers" or table.name == "customers":
                times = [each.name.replace("_at", "_us") for each in table.columns if each.kind == "time"]
                texts = [each.staged or each.name for each in table.columns if each.kind != "time"]
                columns = ", ".join(
                    [*(f"{each} bigint" for each in ("known_us", *times)), *(f"{each} text" for each in texts)]
                )
                opened.execute(f"create table staging.stg_{table.name} ({columns})")
        yield opened


def failed(connection: DuckDBPyConnection, day: float, trained_day: float | None = TRAINED_DAY) -> set[str]:
    figures = measure_source_health(
        connection,
        clock=START + timedelta(days=day),
        trained_at=None if trained_day is None else START + timedelta(days=trained_day),
    )
    verdicts = judge_source_health(figures)
    assert [each.check for each in verdicts] == list(CHECKS)
    return {each.check for each in verdicts if each.failed}


def since(day: int) -> str:
    return str(int((START + timedelta(days=day)).timestamp() * 1e6))


def test_a_quiet_source_is_healthy(connection: DuckDBPyConnection) -> None:
    for day in (121, 128, 160, 250, 300):
        assert failed(connection, day) == set(), day
        assert failed(connection, day, None) == set(), day


def test_a_feed_that_has_stopped_is_found_within_days_and_stays_found(connection: DuckDBPyConnection) -> None:
    connection.execute(
        f"delete from staging.stg_interactions where interaction_type = 'email' and known_us >= {since(150)}"
    )
    assert failed(connection, 150) == set()
    assert failed(connection, 156) == {"volume"}
    # a reference that slid along would have forgotten it by now
    assert failed(connection, 290) == {"volume"}
    assert failed(connection, 290, None) == set()


def test_the_figure_names_the_feed_and_the_rows(connection: DuckDBPyConnection) -> None:
    connection.execute(
        f"delete from staging.stg_interactions where interaction_type = 'email' and known_us >= {since(150)}"
    )
    figures = measure_source_health(
        connection, clock=START + timedelta(days=160), trained_at=START + timedelta(days=TRAINED_DAY)
    )
    broken = {each.subject: (each.value, each.rows_reference, each.rows_current) for each in figures if each.failed}
    # what is not sent cannot be opened
    assert broken == {"interactions: email outbound": (0, 70, 0), "openings": (0, 70, 0)}
    # seven notes a week are too few to miss
    assert not any("note" in each.subject for each in figures if each.check == "volume")


def test_a_stale_source_is_found(connection: DuckDBPyConnection) -> None:
    connection.execute(f"delete from staging.stg_leads where known_us >= {since(200)}")
    assert failed(connection, 202.9) == set()
    assert failed(connection, 203.5) == {"data_age"}
    assert failed(connection, 206) == {"data_age", "volume"}


def test_a_null_spike_is_found_and_stays_found(connection: DuckDBPyConnection) -> None:
    connection.execute(
        f"update staging.stg_leads set property_value = null where known_us >= {since(150)} and known_us % 10 < 8"
    )
    assert failed(connection, 152) == set()
    assert failed(connection, 157) == {"nulls"}
    assert failed(connection, 290) == {"nulls"}


def test_another_mix_of_feeds_is_no_null_spike(connection: DuckDBPyConnection) -> None:
    # e-mails have no outcome: with five times as many, half of all interactions have none
    for _ in range(4):
        connection.execute(
            "insert into staging.stg_interactions select * from staging.stg_interactions "
            f"where interaction_type = 'email' and known_us >= {since(150)} and performed_by = 'r1' limit 1500"
        )
    assert failed(connection, 170) == set()


def test_a_new_category_is_found_beyond_its_bound(connection: DuckDBPyConnection) -> None:
    connection.execute(
        f"update staging.stg_leads set lead_source = 'social' where known_us >= {since(150)} and known_us % 100 < 4"
    )
    assert failed(connection, 170) == set()
    connection.execute(
        f"update staging.stg_leads set lead_source = 'social' where known_us >= {since(150)} and known_us % 100 < 20"
    )
    assert failed(connection, 170) == {"categories"}
    # trained with it, it is no news
    assert failed(connection, 220, trained_day=200) == set()


def test_growth_and_a_young_source_are_no_fault(connection: DuckDBPyConnection) -> None:
    connection.execute(f"insert into staging.stg_leads select * from staging.stg_leads where known_us >= {since(150)}")
    assert failed(connection, 200) == set()
    assert failed(connection, 9, None) == set()


def test_tracking_that_stops_is_a_broken_feed(connection: DuckDBPyConnection) -> None:
    connection.execute(f"update staging.stg_interactions set opened_us = null where opened_us > {since(150)}")
    assert failed(connection, 151) == set()
    assert failed(connection, 158) == {"volume"}


def test_a_change_that_was_meant_can_be_accepted(connection: DuckDBPyConnection) -> None:
    connection.execute(
        f"delete from staging.stg_interactions where interaction_type = 'email' and known_us > {since(150)}"
    )
    clock, changed = START + timedelta(days=170), START + timedelta(days=150)

    def failures(accepted_since: datetime | None) -> set[str]:
        figures = measure_source_health(
            connection, clock=clock, trained_at=START + timedelta(days=TRAINED_DAY), accepted_since=accepted_since
        )
        return {each.check for each in figures if each.failed}

    assert failures(None) == {"volume"}
    assert failures(changed + timedelta(days=1)) == set()


def test_without_rows_nothing_is_said(connection: DuckDBPyConnection) -> None:
    for name in ("leads", "interactions", "appointments", "projects"):
        connection.execute(f"delete from staging.stg_{name}")
    assert measure_source_health(connection, clock=START + timedelta(days=10), trained_at=None) == []
    assert failed(connection, 10) == set()


def test_what_comes_after_the_clock_is_not_looked_at(connection: DuckDBPyConnection) -> None:
    clock = START + timedelta(days=160)
    before = measure_source_health(connection, clock=clock, trained_at=START + timedelta(days=TRAINED_DAY))
    for name, known in (
        ("leads", "known_us"), ("interactions", "known_us"), ("appointments", "booked_us"), ("projects", "proposed_us")
    ):  # fmt: skip
        connection.execute(f"delete from staging.stg_{name} where {known} > {since(160)}")
    assert measure_source_health(connection, clock=clock, trained_at=START + timedelta(days=TRAINED_DAY)) == before


def test_figures_are_recorded_once_for_a_clock(connection: DuckDBPyConnection) -> None:
    ensure(connection)
    clock = START + timedelta(days=160)
    figures = measure_source_health(connection, clock=clock, trained_at=None)
    for run in ("first", "second"):
        record_source_health(connection, run, clock, figures, clock)
    assert connection.execute("select run_id, count(*) from ml.ml_source_health group by 1").fetchall() == [
        # and one row that says that the source was looked at
        ("first", len(figures) + 1)
    ]


@pytest.mark.parametrize(
    ("change", "check", "subject", "value", "rows"),
    [
        # a tenth was null
        ("update staging.stg_leads set property_value = null", "nulls", "leads, property_value", 0.9, (1350, 210)),
        ("update staging.stg_leads set lead_source = 'Website'", "categories", "leads, lead_source", 1.0, (1350, 210)),
        (
            "update staging.stg_interactions set interaction_type = 'mail' where interaction_type = 'email'",
            "volume", "interactions: email outbound", 0.0, (70, 0),
        ),
        ("update staging.stg_interactions set opened_us = null", "volume", "openings", 0.0, (70, 0)),
        (
            "delete from staging.stg_interactions where direction = 'outbound'",
            "volume", "interactions: call outbound", 0.0, (140, 0),
        ),
    ],
)  # fmt: skip
def test_what_is_overwritten_in_all_of_history_is_found(
    connection: DuckDBPyConnection, change: str, check: str, subject: str, value: float, rows: tuple[int, int]
) -> None:
    trained, clock = START + timedelta(days=TRAINED_DAY), START + timedelta(days=160)
    earlier = Delivered.of(trained, measure_deliveries(connection, clock=trained, since=None, days=90))
    assert not any(
        each.failed for each in measure_source_health(connection, clock=clock, trained_at=trained, earlier=earlier)
    )
    connection.execute(change)
    # the rows themselves are all alike
    assert failed(connection, 160) == set()
    figures = measure_source_health(connection, clock=clock, trained_at=trained, earlier=earlier)
    (found,) = [each for each in figures if (each.check, each.subject) == (check, subject)]
    assert found.failed
    assert found.value == pytest.approx(value, abs=0.02)
    assert (found.rows_reference, found.rows_current) == rows


def test_the_reference_is_what_was_stored_at_the_training_of_the_oldest_champion(
    connection: DuckDBPyConnection,
) -> None:
    ensure(connection)
    now = START + timedelta(days=200)

    def reference(load_number: int) -> datetime | None:
        delivered = delivered_at_training(connection, as_of=now, load_number=load_number)
        return None if delivered is None else delivered.as_of

    assert reference(1) is None
    for number, day in enumerate((100, 110, 120, 130), start=1):
        clock = START + timedelta(days=day)
        deliveries = measure_deliveries(connection, clock=clock, since=None, days=90)
        for run in (f"run-{day}", "again"):
            looked_at = {"as_of": clock, "load_number": number}
            replace_measurement(connection, SOURCE_DELIVERIES, looked_at, deliveries, run_id=run, measured_at=clock)
    assert connection.execute("select count(distinct run_id) from ml.ml_source_deliveries").fetchall() == [(4,)]
    # without a champion the last one
    assert reference(5) == START + timedelta(days=130)
    assert reference(4) is None
    for model, trained, run in (
        ("a", 110, "run-110"),
        ("a", 120, "run-120"),
        ("b", 115, "another"),
        ("c", 130, "run-130"),
    ):
        connection.execute(
            "insert into ml.ml_training_logs by name select ? as run_id, ? as model, 'v' as version, '' as "
            "training_set_id, 1 as rows, 1 as entities, false as reused, '' as reason, ? as started_at, "
            "? as finished_at, ? as as_of",
            [run, model, *[START + timedelta(days=trained)] * 3],
        )
    for model, expected in (("c", 130), ("a", 120), ("b", 110)):
        connection.execute(
            "insert into ml.ml_champion_history values ($1, 1, 'promoted', 'v', '', '', $2, $2)", [model, START]
        )
        assert reference(5) == START + timedelta(days=expected)
    # nothing was loaded since: the rows themselves tell
    assert reference(2) is None
    delivered = delivered_at_training(connection, as_of=now, load_number=5)
    assert delivered is not None
    assert (delivered.days, delivered.rows["appointments", "appointments"]) == (90, 90)
    assert delivered.categories["leads", "lead_source"] == {"web", "ads"}


def test_an_export_that_ends_is_no_stale_feed(connection: DuckDBPyConnection) -> None:
    """Its clock is its own, and of a single one nobody knows which feed goes on."""
    connection.execute(f"delete from staging.stg_leads where known_us >= {since(280)}")
    clock = own_clock(connection, START + timedelta(days=900))
    assert START + timedelta(days=299) < clock <= START + timedelta(days=301)
    assert own_clock(connection, START + timedelta(days=200)) == START + timedelta(days=200)
    figures = measure_source_health(connection, clock=clock, trained_at=clock, single_export=True)
    assert {each.check for each in figures} == {"nulls", "categories"}
    assert [each.statement.startswith("Not enough evidence") for each in judge_source_health(figures)] == [
        True,
        True,
        False,
        False,
    ]
    # the next one has no new leads either
    trained = clock - timedelta(days=1)
    earlier = Delivered.of(trained, measure_deliveries(connection, clock=trained, since=None, days=90))
    assert not earlier.is_of_same_export(measure_deliveries(connection, clock=clock, since=None, days=90))
    assert earlier.is_of_same_export(measure_deliveries(connection, clock=trained, since=None, days=90))
    figures = measure_source_health(connection, clock=clock, trained_at=trained, earlier=earlier)
    assert {(each.check, each.subject) for each in figures if each.failed} == {
        ("data_age", "leads"),
        ("volume", "leads"),
    }


def test_the_reference_ends_with_the_oldest_champion(connection: DuckDBPyConnection) -> None:
    ensure(connection)
    assert oldest_training(connection) is None
    for model, version, last_as_of, logged in (("a", "a1", 10, 30), ("a", "a0", 5, 50), ("b", "b1", 20, None)):
        connection.execute(
            "insert into ml.ml_models by name select ? as model, ? as version, '' as training_set_id, "
            "1 as horizon_days, 1 as rows, 1 as entities, ? as first_as_of, ? as last_as_of, '' as artifact, "
            "'' as manifest_sha256, '' as metrics, '' as baseline, '' as missed_gates, '' as libraries, "
            "? as created_at",
            [model, version, START, START + timedelta(days=last_as_of), START],
        )
        if logged is not None:
            connection.execute(
                "insert into ml.ml_training_logs by name select version as run_id, model, version, '' as "
                "training_set_id, 1 as rows, 1 as entities, false as reused, '' as reason, created_at as started_at, "
                "created_at as finished_at, cast(? as timestamptz) as as_of from ml.ml_models where version = ?",
                [START + timedelta(days=logged), version],
            )
        if version != "a0":
            connection.execute(
                "insert into ml.ml_champion_history values ($1, 1, 'promoted', $2, '', '', $3, $3)",
                [model, version, START],
            )
    # a version of before the log knew clocks: its last observation stands in
    assert oldest_training(connection) == START + timedelta(days=20)
    follow(connection, "b", "b1", RETIRED, START)
    assert oldest_training(connection) == START + timedelta(days=30)
