"""The whole loop on PostgreSQL: one command on an empty home, the scores of DuckDB, and readers who see them alone."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from models.declared.registry import DECLARATIONS
from tests.homes import ask, filled_in, open_to_others, reading
from tests.parity import Table, assert_same_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.homes import Home

PROBABILITY_TOLERANCE = 1e-9
"""Trees split where the last digit of a double may decide; nothing near that was seen."""

TOLERANCES = {f"importance_{model}": PROBABILITY_TOLERANCE for model in DECLARATIONS}
ANALYST = {"user": "analyst", "password": "analyst"}
KEYS = ("feature_view", "feature", "lead_id", "as_of")


def _rows(address: str, query: str, **login: str) -> list[tuple[Any, ...]]:
    with (
        closing(psycopg2.connect(address, **login, options="-c timezone=UTC")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query)
        return cursor.fetchall()


def _tables(address: str, schema: str) -> list[str]:
    found = _rows(address, f"select table_name from information_schema.tables where table_schema = '{schema}'")
    return sorted(name for (name,) in found)


def test_the_summary_names_where_readers_look(database_home: Home) -> None:
    summary = database_home.path.with_name("on_postgres.out").read_text()
    assert "schema marts, readable by the role leadline_reader" in summary
    assert "scored     " in summary


def test_what_a_run_writes_its_owner_alone_can_read(database_home: Home) -> None:
    assert open_to_others(database_home.path) == []


def test_the_docs_describe_the_same_columns_and_say_nothing_of_the_server(database_home: Home, filled: Home) -> None:
    text = database_home.docs.read_text(encoding="utf-8")
    assert str(database_home.path) not in text
    catalog, other = (filled_in(docs)[1] for docs in (text, filled.docs.read_text(encoding="utf-8")))
    for section in ("nodes", "sources"):
        columns, expected = (
            {name: list(table["columns"]) for name, table in each[section].items()} for each in (catalog, other)
        )
        assert columns == expected
    scores = catalog["nodes"]["model.leadline.lead_scores"]
    assert scores["columns"]["value"]["type"] == "numeric(18,2)"
    assert scores["metadata"]["schema"] == "marts_unpublished"


def test_the_scores_are_those_of_duckdb(database_address: str, filled: Home) -> None:
    columns = [
        name
        for (name,) in ask(
            filled.published,
            "select column_name from information_schema.columns where table_name = 'lead_scores' "
            "and column_name <> 'scored_at' and column_name not like '%version' order by ordinal_position",
        )
    ]
    query = f"select {', '.join(columns)} from marts.lead_scores order by lead_id"
    found, expected = _rows(database_address, query), ask(filled.published, query)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for name, value, wanted in zip(columns, one, other, strict=True):
            if isinstance(wanted, float):
                assert math.isclose(value, wanted, abs_tol=PROBABILITY_TOLERANCE), (one[0], name, value, wanted)
            else:
                assert value == wanted, (one[0], name)


def test_features_and_labels_are_those_of_duckdb(
    database_address: str, filled: Home, record_property: Callable[[str, object], None]
) -> None:
    """Every table, the catalogue among them: what was measured of the features, and what they are worth."""
    columns: dict[str, list[str]] = {}
    for schema, table, column in filled.ask(
        "select table_schema, table_name, column_name from information_schema.columns "
        "where table_schema in ('features', 'labels') order by table_schema, table_name, ordinal_position"
    ):
        # a hash of the build's SQL, to which each engine has its own dispatched macros
        if column != "build_code":
            columns.setdefault(f"{schema}.{table}", []).append(column)
    assert sorted(columns) == [
        f"{schema}.{table}" for schema in ("features", "labels") for table in _tables(database_address, schema)
    ]
    # this company has no customers
    empty = {name for name in columns if not filled.ask(f"select 1 from {name} limit 1")}
    assert empty == {"features.customer_features", "labels.churn_30d", "labels.churn_60d"}
    compared = [
        Table(name, [column for column in KEYS if column in listed], listed, tolerances=TOLERANCES)
        for name, listed in columns.items()
        if name not in empty
    ]
    assert "features.catalogue" in columns
    with reading(filled.warehouse) as store:
        cells = assert_same_rows(store, database_address, compared)
    record_property("summary", f"parity: the whole loop, {cells:,} cells equal on DuckDB and PostgreSQL")


@pytest.mark.slow(150)
def test_the_ledgers_grow_as_on_duckdb_and_a_second_run_changes_nothing_that_is_published(
    database_home: Home, database_address: str, filled: Home
) -> None:
    # one test and not two: the second run adds to the ledgers, and tests come in any order
    tables = _tables(database_address, "ml")
    assert tables
    for name in tables:
        count = f"select count(*) from ml.{name}"
        assert _rows(database_address, count) == filled.ask(count), name
    look = "select * from marts.lead_score_history order by lead_id, as_of"
    before = _rows(database_address, look), _rows(database_address, "select * from marts.lead_scores order by lead_id")
    # the shortest of the jobs that publish
    run = database_home.run("retrain_next_best_action")
    assert run.code == 0, run.err[-3000:]
    assert (
        _rows(database_address, look),
        _rows(database_address, "select * from marts.lead_scores order by lead_id"),
    ) == before


def test_runs_are_recorded_in_the_database(database_home: Home, database_address: str) -> None:
    assert _rows(database_address, "select count(*) from runs")[0][0] > 0
    assert not list((database_home.path / "dagster").rglob("*.db"))


def test_readers_read_the_marts_and_nothing_else(database_address: str) -> None:
    with closing(psycopg2.connect(database_address)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select 1 from pg_roles where rolname = 'analyst'")
        if cursor.fetchone() is None:
            cursor.execute("create role analyst login password 'analyst'")
        cursor.execute("grant leadline_reader to analyst")
    assert _rows(database_address, "select count(*) from marts.lead_scores", **ANALYST)[0][0] > 0
    assert _rows(database_address, "select count(*) from marts.lead_score_history", **ANALYST)[0][0] > 0
    refused = 0
    for schema in ("raw", "staging", "intermediate", "features", "labels", "ml", "marts_unpublished", "public"):
        for name in _tables(database_address, schema):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                _rows(database_address, f'select * from "{schema}"."{name}" limit 1', **ANALYST)
            refused += 1
    assert refused > 20
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _rows(database_address, "delete from marts.lead_scores", **ANALYST)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _rows(database_address, "create temporary table own (a int)", **ANALYST)
    # what the server gives to all in its other databases is no way around that
    for other in ("postgres", "template1"):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            _rows(database_address, "select 1", dbname=other, **ANALYST)
