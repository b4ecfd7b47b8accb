"""PostgreSQL as a warehouse: rows in bulk, frames as DuckDB gives them, and schema ml."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
import duckdb
import pandas as pd
import pytest
from adbc_driver_manager import OperationalError

from models.decisions.promotion import SAME_VERSION, Decision, UntrainableEvidence
from models.decisions.retraining import RetrainDecision, RetrainEvidence
from models.declared.registry import DECLARATIONS
from models.untrainable import Untrainable
from models.versions.candidate import Candidate
from store.ledger.champions import RETIRED, VOUCHED_ANEW, follow, promote
from store.ledger.decisions import record_decision, why_no_champion
from store.ledger.measurements import LOOK, SourceFigure, record_source_health
from store.ledger.predictions import add_predictions, scored
from store.ledger.schema import TABLES, ensure
from store.warehouse.connection import Connection, columns_of, insert_rows, table_exists
from store.warehouse.engine import AlterationRefusedError, Excerpt, WarehouseUnavailableError
from store.warehouse.postgres import locks
from store.warehouse.postgres.engine import PostgresConnection
from store.warehouse.warehouse import NoExtractionError, Warehouse
from tests.postgres import database, execute, rows

if TYPE_CHECKING:
    from collections.abc import Iterator


CLOCK = datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture(params=["duckdb", "postgres"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a connection to an empty warehouse of each engine."""
    if request.param == "duckdb":
        with Warehouse(address="duckdb::memory:").connect() as opened:
            yield opened
        return
    with request.getfixturevalue("warehouse").connect() as opened:
        yield opened


TYPED = (
    "create table raw.values (text text, count bigint, number double precision, flag boolean, money decimal(18, 2), "
    "moment timestamptz)"
)
VALUES = (
    "select 'a' as text, cast(7 as bigint) as count, cast(0.1 as double precision) as number, true as flag, "
    "cast(12345.60 as decimal(18, 2)) as money, timestamp with time zone '2026-01-31 12:30:00.123456+00' as moment "
    "union all select null, null, null, null, null, null"
)


def test_rows_and_frames_have_the_types_of_duckdb(warehouse: Warehouse) -> None:
    execute(warehouse, "create schema raw", TYPED, f"insert into raw.values {VALUES}")
    with duckdb.connect() as duck, warehouse.connect() as connection:
        duck.execute("set TimeZone = 'UTC'")
        query = "select * from {} order by text nulls last"
        expected, found = duck.execute(query.format(f"({VALUES})")), connection.execute(query.format("raw.values"))
        assert found.fetchall() == expected.fetchall()
        frame = duck.execute(query.format(f"({VALUES})")).df()
        pd.testing.assert_frame_equal(connection.execute(query.format("raw.values")).df(), frame)


@pytest.mark.parametrize("count", [0, 3, 70_000])
def test_an_excerpt_is_copied_with_its_types(warehouse: Warehouse, count: int) -> None:
    execute(
        warehouse,
        "create schema features",
        "create table features.view (lead_id text, as_of timestamptz, value decimal(18, 2), other bigint)",
        f"insert into features.view select 'lead ' || n, timestamptz '2026-01-01', n / 4.0, n "
        f"from generate_series(1, {count}) as n",
    )
    excerpt = Excerpt("features", "view", ["lead_id", "value"], "other <> 2")
    with warehouse.analyze(excerpt) as analysis:
        kept = count - (count >= 2)
        assert analysis.execute("select count(*) from features.view").fetchall() == [(kept,)]
        described = analysis.execute("describe features.view").fetchall()
        assert [(name, kind) for name, kind, *_ in described] == [("lead_id", "VARCHAR"), ("value", "DECIMAL(18,2)")]
        if kept:
            first = analysis.execute("select value from features.view where lead_id = 'lead 1'").fetchall()
            assert first == [(Decimal("0.25"),)]


EARLIER = (
    "create schema ml",
    "create table ml.ml_champions (model text primary key, version text not null, artifact text not null, "
    "manifest_sha256 text not null, promoted_at timestamptz not null)",
    "insert into ml.ml_champions values ('conversion', 'v1', 'v1', 'a', timestamptz '2026-01-01')",
    "create table ml.ml_decisions (run_id text, model text, kind text, version text, evidence text, rule text, "
    "outcome text, reason text, decided_at timestamptz, primary key (run_id, model, kind))",
)
"""A part of a ledger as an earlier state made it."""


def test_what_others_have_built_on_an_earlier_ledger_is_named_and_nothing_is_changed(warehouse: Warehouse) -> None:
    execute(
        warehouse, *EARLIER, "create schema bi", "create view bi.champions as select * from ml.ml_champions",
        "create view bi.decisions as select run_id, reason from ml.ml_decisions group by run_id, model, kind",
    )  # fmt: skip
    before = rows(warehouse, "select table_name, table_type from information_schema.tables where table_schema = 'ml'")
    for blocked, table in (("bi.champions", "ml_champions"), ("bi.decisions", "ml_decisions")):
        with warehouse.connect() as connection, pytest.raises(AlterationRefusedError) as refused:
            ensure(connection)
        assert str(refused.value).startswith(f"ml.{table}: expected no objects of others that depend on it")
        assert f"found {blocked}. Keep the definition" in str(refused.value)
        found = "select table_name, table_type from information_schema.tables where table_schema = 'ml'"
        assert rows(warehouse, found) == before
        execute(warehouse, f"drop view {blocked}")
    with warehouse.connect() as connection:
        ensure(connection)
    assert rows(warehouse, "select model, version from ml.ml_champions") == [("conversion", "v1")]


def test_who_could_read_a_table_can_read_the_view_that_takes_its_place(warehouse: Warehouse) -> None:
    role = f"reader_{uuid4().hex[:12]}"
    execute(
        warehouse, *EARLIER, f"create role {role}", f"grant select (model) on ml.ml_champions to {role}",
        "grant select on ml.ml_champions to public",
    )  # fmt: skip
    with warehouse.connect() as connection:
        ensure(connection)
    may = "has_table_privilege('{0}', 'ml.{1}', 'select'), has_column_privilege('{0}', 'ml.{1}', 'model', 'select')"
    assert rows(warehouse, f"select {may.format(role, 'ml_champions')}") == [(True, True)]
    assert rows(warehouse, f"select {may.format(role, 'ml_champion_history')}") == [(False, False)]
    execute(warehouse, "revoke select on ml.ml_champions from public")
    assert rows(warehouse, f"select {may.format(role, 'ml_champions')}") == [(False, True)]
    execute(warehouse, f"drop owned by {role}", f"drop role {role}")


def test_an_earlier_ledger_that_others_hold_is_refused_in_time(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(locks, "LOCK_SECONDS", 1)
    monkeypatch.setattr(locks, "PAUSE_SECONDS", 0)
    execute(warehouse, *EARLIER)
    with warehouse.connect() as reader, warehouse.connect() as connection:
        reader.begin()
        ((pid,),) = reader.execute("select pg_backend_pid() from ml.ml_champions").fetchall()
        with pytest.raises(AlterationRefusedError, match=f"found them held by pid {pid} .* Nothing has changed"):
            ensure(connection)
        reader.rollback()
        ensure(connection)
        assert connection.execute("select version from ml.ml_champions").fetchall() == [("v1",)]


def test_what_is_not_committed_is_not_there(warehouse: Warehouse) -> None:
    execute(warehouse, "create table kept (a int)")
    with warehouse.connect() as connection:
        connection.begin()
        connection.execute("insert into kept values (1)")
    assert rows(warehouse, "select count(*) from kept") == [(0,)]
    with warehouse.connect() as connection:
        connection.begin()
        connection.execute("insert into kept values (1)")
        connection.commit()
        connection.execute("insert into kept values (2)")
    assert rows(warehouse, "select count(*) from kept") == [(2,)]


def test_a_database_that_does_not_answer_is_named_without_its_password(running: str) -> None:
    with pytest.raises(WarehouseUnavailableError) as caught:
        PostgresConnection("postgresql://me:hidden@127.0.0.1:1/leadline")
    assert "hidden" not in str(caught.value)
    assert "127.0.0.1:1/leadline: expected a PostgreSQL database that answers" in str(caught.value)
    assert "LEADLINE_WAREHOUSE" in str(caught.value)


def test_a_step_that_loses_its_connection_is_tried_again(warehouse: Warehouse) -> None:
    execute(warehouse, "create table counted (a int)")
    attempts = []

    @dg.op
    def step() -> None:
        attempts.append(1)
        with warehouse.connect() as connection:
            connection.begin()
            connection.execute("insert into counted values (1)")
            if len(attempts) == 1:
                own = connection.execute("select pg_backend_pid()").fetchall()[0][0]
                execute(warehouse, f"select pg_terminate_backend({own})")
            connection.execute("insert into counted values (2)")
            connection.commit()

    @dg.job
    def job() -> None:
        step()

    assert job.execute_in_process().success
    assert len(attempts) == 2
    assert rows(warehouse, "select count(*) from counted") == [(2,)]


def test_a_step_that_loses_its_connection_while_an_excerpt_is_copied_is_tried_again(warehouse: Warehouse) -> None:
    """Between two batches, which have 16 MB each."""
    execute(
        warehouse,
        "create schema raw",
        "create table raw.long as select n, repeat('x', 200) as text from generate_series(1, 200000) as n",
    )
    lost: list[str | None] = ["n <> 200000 or pg_terminate_backend(pg_backend_pid())", None]
    copied = []

    @dg.op
    def step() -> None:
        with warehouse.analyze(Excerpt("raw", "long", where=lost.pop(0))) as analysis:
            copied.extend(analysis.execute("select count(*), sum(n) from raw.long").fetchall())

    @dg.job
    def job() -> None:
        step()

    assert job.execute_in_process().success
    assert copied == [(200_000, 200_000 * 200_001 // 2)]


@pytest.mark.parametrize("at", [1, 200_000])
def test_an_excerpt_that_the_server_refuses_is_not_tried_again(warehouse: Warehouse, at: int) -> None:
    """Before the first batch, and after: a batch has 16 MB."""
    execute(
        warehouse,
        "create schema raw",
        "create table raw.long as select n, repeat('x', 200) as text from generate_series(1, 200000) as n",
    )
    with (
        pytest.raises(OSError, match="division by zero"),
        warehouse.analyze(Excerpt("raw", "long", where=f"1 / (n - {at}) >= 0")),
    ):
        pass


def test_a_connection_that_is_lost_outside_a_step_is_named(warehouse: Warehouse) -> None:
    execute(warehouse, "create schema raw", "create table raw.short as select 1 as n")
    with pytest.raises(WarehouseUnavailableError, match="expected a connection that lasts, found it lost") as caught:
        execute(warehouse, "select pg_terminate_backend(pg_backend_pid())")
    assert isinstance(caught.value.__cause__, OperationalError)
    excerpt = Excerpt("raw", "short", where="pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(WarehouseUnavailableError, match="found it lost"), warehouse.analyze(excerpt):
        pass


def test_an_empty_database_has_no_extraction(warehouse: Warehouse) -> None:
    with pytest.raises(NoExtractionError, match="expected an extraction"):
        warehouse.extraction()


def test_the_tables_of_schema_ml_are_the_same_on_both_engines(connection: Connection) -> None:
    ensure(connection)
    ensure(connection)
    for table in TABLES:
        assert columns_of(connection, "ml", table.name) == list(table.columns)
    assert not table_exists(connection, "ml", "nothing")


def test_a_look_is_written_once_and_replaced_where_it_differs(connection: Connection) -> None:
    ensure(connection)
    figure = SourceFigure(
        check="volume", subject="e-mails", value=0.5, threshold=0.25, failed=False, rows_reference=70, rows_current=35
    )
    for run, figures in (("one", [figure]), ("two", [figure]), ("three", [])):
        record_source_health(connection, run, CLOCK, figures, CLOCK)
        found = connection.execute(
            "select run_id, check_name, value, measured_at from ml.ml_source_health order by check_name"
        ).fetchall()
        first = "three" if not figures else "one"
        assert [row[:2] for row in found] == [(first, LOOK), *([(first, "volume")] if figures else [])]
        assert {row[3] for row in found} == {CLOCK}


def test_a_decision_replaces_that_of_the_same_run_and_version(connection: Connection) -> None:
    ensure(connection)
    for version, reason in (("v1", "first"), ("v1", "second"), ("v2", "of another candidate")):
        evidence = RetrainEvidence(
            model="conversion", version=version, as_of=CLOCK, trained_at=None, last_trained_at=None, horizon_days=90
        )
        decision = RetrainDecision(outcome="wait", rule="no_champion", reason=reason, evidence_id="e")
        record_decision(connection, "run", evidence, decision, CLOCK)
    found = connection.execute("select version, reason, decided_at from ml.ml_decisions order by version").fetchall()
    assert found == [("v1", "second", CLOCK), ("v2", "of another candidate", CLOCK)]


def test_a_step_that_runs_again_keeps_its_promotion(connection: Connection) -> None:
    ensure(connection)
    untrainable = Untrainable(reason="", horizon_matters=False)
    evidence = UntrainableEvidence(model="conversion", horizon_days=90, untrainable=untrainable)
    promoted, same = (
        Decision("promote", "first_champion", "It is good."),
        Decision("keep", SAME_VERSION, "It is there."),
    )
    for run, decision in (("a", promoted), ("a", same), ("b", same), ("c", same)):
        # all at one moment
        record_decision(connection, run, evidence, decision, CLOCK)
    found = connection.execute("select run_id, rule from ml.ml_decisions order by run_id").fetchall()
    assert found == [("a", "first_champion"), ("b", SAME_VERSION), ("c", SAME_VERSION)]
    connection.execute("update ml.ml_decisions set reason = run_id")
    assert why_no_champion(connection, "conversion") == "c", "the last of those of one moment is always the same"


def test_the_history_of_champions_only_grows_and_its_last_row_is_the_champion(connection: Connection) -> None:
    ensure(connection)
    # the clock goes back, and the order is told all the same
    one, two, three, four, five = (CLOCK - timedelta(days=days) for days in range(5))
    first, second = (
        Candidate(model="conversion", version=name, directory=Path("models") / name, manifest={})
        for name in ("v1", "v2")
    )

    def champion() -> list[tuple[Any, ...]]:
        return connection.execute("select version, manifest_sha256, promoted_at from ml.ml_champions").fetchall()

    promote(connection, first, "a", one)
    follow(connection, "conversion", "v2", RETIRED, two)
    assert champion() == [("v1", "a", one)], "of another version"
    follow(connection, "conversion", "v1", VOUCHED_ANEW, two, "b")
    assert champion() == [("v1", "b", one)]
    promote(connection, second, "c", three)
    assert champion() == [("v2", "c", three)]
    follow(connection, "conversion", "v2", RETIRED, four)
    follow(connection, "conversion", "v2", RETIRED, five)
    assert champion() == []
    promote(connection, first, "b", five)
    promote(connection, first, "b", CLOCK)
    assert champion() == [("v1", "b", five)]
    history = connection.execute(
        "select number, event, artifact, manifest_sha256, promoted_at, happened_at "
        "from ml.ml_champion_history order by number"
    ).fetchall()
    assert history == [
        (1, "promoted", "v1", "a", one, one),
        (2, "trained_again", "v1", "b", one, two),
        (3, "promoted", "v2", "c", three, three),
        (4, "retired", "v2", "c", three, four),
        (5, "promoted", "v1", "b", five, five),
    ]


def test_predictions_are_added_once(connection: Connection) -> None:
    ensure(connection)
    predictions = pd.DataFrame(
        {
            "model": "conversion", "version": "v1", "entity": "lead", "entity_id": ["L1", "L2"],
            "as_of": pd.Timestamp(CLOCK), "target": "converted", "value": [0.25, 0.5], "lower": None,
            "upper": [None, 0.75], "score": [25, None], "grade": None,
            "reasons": ["calls", None], "outside_training": [None, "lead_age_days = 512"],
            "chosen": pd.array([True, None], dtype="boolean"),
        }
    )  # fmt: skip
    assert add_predictions(connection, predictions, CLOCK) == 2
    assert add_predictions(connection, predictions, CLOCK + timedelta(days=1)) == 0
    found = connection.execute(
        "select entity, entity_id, as_of, value, upper, score, grade, reasons, scored_at, outside_training, origin, "
        "chosen from ml.ml_predictions order by entity_id"
    ).fetchall()
    assert found == [
        ("lead", "L1", CLOCK, 0.25, None, 25, None, "calls", CLOCK, None, "batch", True),
        ("lead", "L2", CLOCK, 0.5, 0.75, None, None, None, CLOCK, "lead_age_days = 512", "batch", None),
    ]
    connection.execute("create schema features")
    connection.execute(
        "create table features.lead_features as select entity_id as lead_id, as_of from ml.ml_predictions"
    )
    conversion = DECLARATIONS["conversion"]
    found = scored(connection, conversion, "v1", CLOCK)
    assert (found.entities, found.means) == (2, {"converted": 0.375})
    assert found.highest == [
        ("L2", "converted", 0.5, None, None, "lead_age_days = 512"), ("L1", "converted", 0.25, None, "calls", None)
    ]  # fmt: skip
    # of several targets the one that was chosen, and the highest of each first
    other = predictions.assign(target="lost", value=0.75, chosen=pd.array([False, False], dtype="boolean"))
    for rows_of in (other, other[:1].assign(entity_id="L3", value=0.9)):
        add_predictions(connection, rows_of, CLOCK)
    connection.execute("insert into features.lead_features select 'L3', as_of from features.lead_features limit 1")
    found = scored(connection, conversion, "v1", CLOCK)
    assert [row[:3] for row in found.highest] == [("L3", "lost", 0.9), ("L1", "converted", 0.25), ("L2", "lost", 0.75)]
    assert (found.entities, found.means) == (3, {"converted": 0.375, "lost": pytest.approx(0.8)})
    connection.execute("delete from features.lead_features where lead_id = 'L1'")
    assert scored(connection, conversion, "v1", CLOCK).entities == 2


def test_a_place_reads_one_state_whatever_is_built_meanwhile(warehouse: Warehouse) -> None:
    execute(warehouse, "create schema raw", "create table raw.leads as select 1 as n", "create table raw.clock (n int)")
    with (
        warehouse.connect() as reader,
        warehouse.connect() as build,
    ):
        with reader.scratch("asked", [("raw", "leads"), ("raw", "none")]):
            assert reader.execute("select n from raw.leads").fetchall() == [(1,)]
            build.execute("insert into raw.leads values (2)")
            build.execute("insert into raw.clock values (2)")
            assert reader.execute("select n from raw.leads").fetchall() == [(1,)]
            assert reader.execute("select n from raw.clock").fetchall() == []
        with reader.scratch("asked", [("raw", "leads")]):
            # a swapped table would be empty for one who reads the state of before
            build.execute("set lock_timeout = '100ms'")
            with pytest.raises(Exception, match="lock timeout"):
                build.execute("drop table raw.leads")
        assert reader.execute("select n from raw.leads order by n").fetchall() == [(1,), (2,)]


def test_two_may_make_places_at_once(warehouse: Warehouse) -> None:
    with (
        warehouse.connect() as one,
        warehouse.connect() as other,
        one.scratch("asked") as beside,
        beside.place() as place,
    ):
        place.make(("raw", "leads"), "select 1 as n")
        other.execute("set lock_timeout = '100ms'")
        with other.scratch("asked") as beside_too, beside_too.place() as another:
            another.make(("raw", "leads"), "select 2 as n")
            assert other.execute(f"select n from {another.relation(('raw', 'leads'))}").fetchall() == [(2,)]
        assert one.execute(f"select n from {place.relation(('raw', 'leads'))}").fetchall() == [(1,)]


def test_a_database_that_does_not_have_every_text_is_refused(running: str) -> None:
    other = " encoding 'SQL_ASCII' locale 'C' template template0"
    with (
        database(running, options=other) as address,
        pytest.raises(WarehouseUnavailableError, match="expected a database with the encoding UTF8, found SQL_ASCII"),
    ):
        PostgresConnection(address)


def test_a_table_gets_another_key_and_keeps_its_rows(connection: Connection) -> None:
    columns = "a bigint not null, b bigint not null, c text"
    connection.execute("create schema keyed")
    connection.execute(f"create table keyed.rows ({columns}, primary key (a))")
    insert_rows(connection, "keyed", "rows", ["a", "b", "c"], [[1, 1, "x"], [2, 1, None]])
    connection.begin()
    connection.change_key("keyed", "rows", ["a", "b"], f"{columns}, primary key (a, b)")
    connection.commit()
    insert_rows(connection, "keyed", "rows", ["a", "b", "c"], [[1, 2, "y"]])
    kept = [(1, 1, "x"), (1, 2, "y"), (2, 1, None)]
    assert connection.execute("select a, b, c from keyed.rows order by a, b").fetchall() == kept
    with pytest.raises(Exception, match=r"(?i)duplicate key"):
        insert_rows(connection, "keyed", "rows", ["a", "b", "c"], [[1, 2, "z"]])
