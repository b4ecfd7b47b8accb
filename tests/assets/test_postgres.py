"""PostgreSQL as a warehouse: rows in bulk, frames as DuckDB gives them, schema ml, and the marts of readers."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from adbc_driver_manager import OperationalError

import assets.database_marts
from assets.compiled import scratch
from assets.database_marts import READER, MartsHeldError, publish
from assets.ml_tables import LOOK, TABLES, add_predictions, ensure, record_decision, record_source_health
from assets.postgres import PostgresConnection, WarehouseUnavailableError
from assets.source_health import SourceFigure
from assets.warehouse import Connection, Excerpt, NoExtractionError, Warehouse, columns_of, table_exists
from models.retraining import RetrainDecision, RetrainEvidence
from tests.postgres import database, server

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOCK = datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("postgres")) as address:
        yield address


@pytest.fixture
def warehouse(running: str) -> Iterator[Warehouse]:
    with database(running) as address:
        yield Warehouse(address=address)


@pytest.fixture(params=["duckdb", "postgres"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a connection to an empty warehouse of each engine."""
    if request.param == "duckdb":
        with duckdb.connect() as opened:
            opened.execute("set TimeZone = 'UTC'")
            yield opened
        return
    with request.getfixturevalue("warehouse").connect() as opened:
        yield opened


def execute(warehouse: Warehouse, *statements: str) -> None:
    with warehouse.connect() as connection:
        for statement in statements:
            connection.execute(statement)


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query).fetchall()


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
    for name, table in TABLES.items():
        assert columns_of(connection, "ml", name) == list(table.columns)
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


def test_a_decision_replaces_that_of_the_same_run(connection: Connection) -> None:
    ensure(connection)
    evidence = RetrainEvidence(
        model="conversion", version="v1", as_of=CLOCK, trained_at=None, last_trained_at=None, horizon_days=90
    )
    for reason in ("first", "second"):
        decision = RetrainDecision(outcome="wait", rule="no_champion", reason=reason, evidence_id="e")
        record_decision(connection, "run", evidence, decision, CLOCK)
    assert connection.execute("select reason, decided_at from ml.ml_decisions").fetchall() == [("second", CLOCK)]


def test_predictions_are_added_once(connection: Connection) -> None:
    ensure(connection)
    predictions = pd.DataFrame(
        {
            "model": "conversion", "version": "v1", "lead_id": ["L1", "L2"], "as_of": pd.Timestamp(CLOCK),
            "outcome": "converted", "probability": [0.25, 0.5], "score": [25, None], "grade": None,
            "reasons": ["calls", None],
        }
    )  # fmt: skip
    assert add_predictions(connection, predictions, CLOCK) == 2
    assert add_predictions(connection, predictions, CLOCK + timedelta(days=1)) == 0
    found = connection.execute("select lead_id, as_of, probability, score, grade, reasons, scored_at "
                               "from ml.ml_predictions order by lead_id").fetchall()  # fmt: skip
    assert found == [("L1", CLOCK, 0.25, 25, None, "calls", CLOCK), ("L2", CLOCK, 0.5, None, None, None, CLOCK)]


def build_marts(warehouse: Warehouse, *scores: int, history: tuple[int, ...] = ()) -> None:
    """Build the marts as dbt does: the scores anew, the history by appending."""
    execute(
        warehouse,
        "create schema if not exists marts_unpublished",
        "drop table if exists marts_unpublished.lead_scores",
        "create table marts_unpublished.lead_scores (lead_id bigint)",
        "comment on table marts_unpublished.lead_scores is 'One row per lead''s score'",
        "comment on column marts_unpublished.lead_scores.lead_id is 'The lead'",
        "create table if not exists marts_unpublished.lead_score_history "
        "(lead_id bigint, as_of timestamptz, conversion_model_version text, action_model_version text)",
        *(f"insert into marts_unpublished.lead_scores values ({each})" for each in scores),
        *(
            f"insert into marts_unpublished.lead_score_history values ({each}, timestamptz '2026-01-0{each}', 'v1')"
            for each in history
        ),
    )


def published(warehouse: Warehouse) -> tuple[list[Any], list[Any]]:
    return (
        [each for (each,) in rows(warehouse, "select lead_id from marts.lead_scores order by 1")],
        [each for (each,) in rows(warehouse, "select lead_id from marts.lead_score_history order by 1")],
    )


def test_marts_are_published_with_comments_and_grants_that_outlast_the_swap(warehouse: Warehouse) -> None:
    warnings: list[str] = []
    build_marts(warehouse, 1, 2, history=(1,))
    assert publish(warehouse, warnings.append) == {"lead_scores": 2, "lead_score_history": 1}
    build_marts(warehouse, 3, history=(2,))
    assert publish(warehouse, warnings.append) == {"lead_scores": 1, "lead_score_history": 2}
    assert published(warehouse) == ([3], [1, 2])
    assert publish(warehouse, warnings.append) == {"lead_scores": 1, "lead_score_history": 2}
    assert warnings == []
    described = rows(
        warehouse,
        "select obj_description('marts.lead_scores'::regclass), col_description('marts.lead_scores'::regclass, 1)",
    )
    assert described == [("One row per lead's score", "The lead")]
    allowed = rows(
        warehouse,
        f"select has_table_privilege('{READER}', 'marts.lead_scores', 'select'), "
        f"has_table_privilege('{READER}', 'marts.lead_scores', 'insert'), "
        f"has_schema_privilege('{READER}', 'marts_unpublished', 'usage')",
    )
    assert allowed == [(True, False, False)]


def test_the_published_history_gets_the_rows_that_it_lacks_also_those_of_an_earlier_clock(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, history=(3,))
    publish(warehouse, pytest.fail)
    build_marts(warehouse, 1, history=(2,))
    execute(warehouse, "insert into marts_unpublished.lead_score_history values (2, '2026-01-02', 'v1', 'a1')")
    for _ in range(2):
        publish(warehouse, pytest.fail)
        assert rows(
            warehouse,
            "select lead_id, conversion_model_version, action_model_version from marts.lead_score_history "
            "order by lead_id, action_model_version",
        ) == [(2, "v1", "a1"), (2, "v1", None), (3, "v1", None)]


def test_a_view_on_a_mart_survives_and_shows_the_new_rows(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, 2)
    publish(warehouse, pytest.fail)
    execute(warehouse, "create schema bi", "create view bi.leads as select lead_id from marts.lead_scores")
    build_marts(warehouse, 3)
    publish(warehouse, pytest.fail)
    assert rows(warehouse, "select lead_id from bi.leads") == [(3,)]


def test_a_publication_that_fails_changes_nothing(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, 2, history=(1,))
    publish(warehouse, pytest.fail)
    build_marts(warehouse, 3, history=(2,))
    # a foreign key holds the table, so that it can be neither swapped nor emptied; the history comes before it
    execute(
        warehouse,
        "alter table marts.lead_scores add primary key (lead_id)",
        "create table held (lead_id bigint references marts.lead_scores)",
        "insert into held values (1)",
    )
    with pytest.raises(Exception, match="depend"):
        publish(warehouse, pytest.fail)
    assert published(warehouse) == ([1, 2], [1])


def test_readers_of_before_go_on_reading_while_the_marts_are_swapped(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    publish(warehouse, pytest.fail)
    with closing(PostgresConnection(warehouse.address)) as reader:
        assert reader.execute("select lead_id from marts.lead_scores").fetchall() == [(1,)]
        build_marts(warehouse, 2)
        publish(warehouse, pytest.fail)
        assert reader.execute("select lead_id from marts.lead_scores").fetchall() == [(2,)]


def test_a_reader_in_a_transaction_stops_the_publication_for_a_while_and_not_other_readers(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets.database_marts, "LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(assets.database_marts, "LOCK_SECONDS", 1)
    monkeypatch.setattr(assets.database_marts, "PAUSE_SECONDS", 0)
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, pytest.fail)
    build_marts(warehouse, 2, history=(2,))
    warnings: list[str] = []
    with closing(PostgresConnection(warehouse.address)) as reader:
        (pid,) = reader.execute("select pg_backend_pid()").fetchall()[0]
        reader.begin()
        reader.execute("select * from marts.lead_scores")
        with pytest.raises(MartsHeldError, match=rf"found them held by pid {pid} \(\w+\)\. Nothing has changed"):
            publish(warehouse, warnings.append)
        assert len(warnings) == 1
        assert f"pid {pid}" in warnings[0]
        assert published(warehouse) == ([1], [1])

        # one that ends in time costs nothing but the wait
        def leaves(_: str) -> None:
            reader.rollback()

        publish(warehouse, leaves)
    assert published(warehouse) == ([2], [1, 2])


def test_what_schema_marts_grants_by_default_outlasts_the_swap(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    publish(warehouse, pytest.fail)
    # a role is of the whole server
    role = f"reader_of_{warehouse.address.split('?')[0].rpartition('/')[2]}"
    execute(
        warehouse,
        f"create role {role}",
        f"alter default privileges in schema marts grant select on tables to {role}",
    )
    try:
        publish(warehouse, pytest.fail)
        assert rows(warehouse, f"select has_table_privilege('{role}', 'marts.lead_scores', 'select')") == [(True,)]
    finally:
        execute(warehouse, f"drop owned by {role}", f"drop role {role}")


def test_a_place_reads_one_state_whatever_is_built_meanwhile(warehouse: Warehouse) -> None:
    execute(warehouse, "create schema raw", "create table raw.leads as select 1 as n", "create table raw.clock (n int)")
    with (
        closing(PostgresConnection(warehouse.address)) as reader,
        closing(PostgresConnection(warehouse.address)) as build,
    ):
        with scratch(reader, "asked", [("raw", "leads"), ("raw", "none")]):
            assert reader.execute("select n from raw.leads").fetchall() == [(1,)]
            build.execute("insert into raw.leads values (2)")
            build.execute("insert into raw.clock values (2)")
            assert reader.execute("select n from raw.leads").fetchall() == [(1,)]
            assert reader.execute("select n from raw.clock").fetchall() == []
        with scratch(reader, "asked", [("raw", "leads")]):
            # a swapped table would be empty for one who reads the state of before
            build.execute("set lock_timeout = '100ms'")
            with pytest.raises(Exception, match="lock timeout"):
                build.execute("drop table raw.leads")
        assert reader.execute("select n from raw.leads order by n").fetchall() == [(1,), (2,)]


def test_two_may_make_places_at_once(warehouse: Warehouse) -> None:
    with (
        closing(PostgresConnection(warehouse.address)) as one,
        closing(PostgresConnection(warehouse.address)) as other,
        scratch(one, "asked") as beside,
        beside.place() as place,
    ):
        place.make(("raw", "leads"), "select 1 as n")
        other.execute("set lock_timeout = '100ms'")
        with scratch(other, "asked") as beside_too, beside_too.place() as another:
            another.make(("raw", "leads"), "select 2 as n")
            assert other.execute(f"select n from {another.relation(('raw', 'leads'))}").fetchall() == [(2,)]
        assert one.execute(f"select n from {place.relation(('raw', 'leads'))}").fetchall() == [(1,)]
