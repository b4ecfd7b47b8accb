"""A third engine is one module: with `tests.third_engine` in the table, a pipeline runs on it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pytest

from benchmarks.planting import SUBJECT
from store.ledger.schema import ensure
from store.places import SettingError
from store.proof.point_in_time import prove
from store.publishing.publications import Publication
from store.settings import settings
from store.warehouse.connection import columns_of, insert_rows
from store.warehouse.engine import HISTORIES, Excerpt
from store.warehouse.warehouse import ENGINES, Warehouse
from tests.dbt.random_crm import CLOCK
from tests.snapshots import published_snapshot
from tests.third_engine import SCHEME, Folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.replayed import Store

VIEW = ("features", "lead_features")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, SCHEME, Folder)


@pytest.fixture
def warehouse(random_store: Store, tmp_path: Path) -> Warehouse:
    """Return a copy of a store on the third engine."""
    with random_store.warehouse.connect() as connection:
        connection.execute("checkpoint")
    shutil.copy(random_store.warehouse.shown, tmp_path / "warehouse.duckdb")
    return Warehouse(address=f"{SCHEME}{tmp_path}")


def test_settings_choose_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"LEADLINE_HOME": str(tmp_path / "home"), "LEADLINE_WAREHOUSE": f"{SCHEME}{tmp_path}"}
    chosen = settings(given)
    assert chosen.warehouse == chosen.warehouse_of_home == f"{SCHEME}{tmp_path}"
    with pytest.raises(SettingError, match="expected a warehouse that is a DuckDB file, found folder:"):
        settings({**given, "LEADLINE_PUBLISHED": "/srv"})
    monkeypatch.delitem(ENGINES, SCHEME)
    with pytest.raises(SettingError, match=r"LEADLINE_WAREHOUSE: expected duckdb:.*found 'folder:"):
        settings(given)


def tables(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            "select table_schema, table_name from information_schema.tables order by all"
        ).fetchall()


def test_compiled_sql_runs_beside_its_tables_and_leaves_nothing(warehouse: Warehouse, random_store: Store) -> None:
    before = tables(warehouse)
    with warehouse.connect() as connection, connection.scratch("elsewhere") as beside:
        listed = ", ".join(columns_of(connection, *VIEW))
        query = f"select {listed} from {{}} order by lead_id, as_of"
        with beside.place() as place:
            place.run(random_store.build.needed_for([VIEW]))
            found = connection.execute(query.format(place.relation(VIEW))).fetchall()
            assert place.relation(VIEW).startswith('"elsewhere_1_features".')
        assert found == connection.execute(query.format("features.lead_features")).fetchall()
    assert len(found) > 1000
    assert tables(warehouse) == before


def test_rows_are_appended_and_excerpts_are_analyzed(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("create table features.figures (name text, moment timestamptz, value double)")
        insert_rows(connection, "features", "figures", ["name", "value"], [["a", 0.5], ["b", None], ["c", 2.0]])
    with warehouse.analyze(Excerpt("features", "figures", where="value > 1")) as analysis:
        assert analysis.execute("from features.figures").fetchall() == [("c", None, 2.0)]
        assert [name for (name,) in analysis.execute("select table_name from duckdb_tables()").fetchall()] == [
            "figures"
        ]


def test_a_sample_of_the_size_that_it_replays_in_seconds_is_proved(warehouse: Warehouse, random_store: Store) -> None:
    with warehouse.connect() as connection:
        sampled = prove(connection, random_store.build, SUBJECT, CLOCK)
    with random_store.warehouse.connect() as connection:
        same = prove(connection, random_store.build, SUBJECT, CLOCK, max_facts=800)
    assert sampled.passed
    assert 0 < sampled.entities_share < 0.5
    assert [(each.table, each.rows, each.digest) for each in sampled.comparisons] == [
        (each.table, each.rows, each.digest) for each in same.comparisons
    ]


def test_marts_reach_readers_unless_they_would_lose_them(warehouse: Warehouse, tmp_path: Path) -> None:
    publication = Publication(path=str(tmp_path / "unused.duckdb"), record=str(tmp_path / "publication.json"))

    def publish(leads: int) -> dict[str, Any]:
        with warehouse.connect() as connection:
            ensure(connection)
            connection.execute("create schema if not exists marts")
            for mart in (key.path[-1] for key in published_snapshot().asset_deps[published_snapshot().key]):
                count = 40 if mart in HISTORIES else leads
                connection.execute(
                    f"create or replace table marts.{mart} as select 'L' || i as lead_id, i as customer_id, "
                    "timestamptz '2026-01-01' as as_of, 'v1' as conversion_model_version, "
                    "'a1' as action_model_version, 'l1' as churn_30d_model_version, 'l2' as churn_60d_model_version "
                    f"from range({count}) as numbers (i)"
                )
            connection.execute(
                "create or replace table raw.extraction as select now() as as_of, 'x' as source, "
                "'contract' as mapping, '[]' as closing_outcomes, null::int as silence_closes_after_days, "
                "'{}' as horizon_days, '[]' as assumptions"
            )
        result = published_snapshot()(dg.build_asset_context(), warehouse=warehouse, publication=publication)
        assert isinstance(result, dg.MaterializeResult)
        return dict(result.metadata or {})

    assert publish(40)["folder"] == str(tmp_path)
    with pytest.raises(dg.Failure) as failure:
        publish(3)
    assert failure.value.description.startswith(f"{tmp_path}: expected marts that lose nothing of the published ones")
    assert len(pd.read_parquet(tmp_path / "lead_scores.parquet")) == 40
    assert publish(39)["dagster/row_count"] == 2 * 39
    assert len(pd.read_parquet(tmp_path / "lead_scores.parquet")) == 39
