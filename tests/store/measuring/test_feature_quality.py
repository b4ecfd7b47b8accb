"""Planted faults of features are flagged, sound features are not, and a rerun replaces the rows of its clock alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from assets.monitoring.feature_quality import feature_quality_asset
from models.declared.lead_features import LEAD_FEATURES
from store.features.dbt_project import manifest_path
from store.measuring.feature_quality import feature_groups, measure_features, rank_correlations
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.ledger.measurements import FeatureQuality

ROWS = 20_000
FEATURES = {
    "sound": "random() * 100",
    "other": "cast(floor(random() * 5) as bigint)",
    "cents": "cast(random() * 1000 as decimal(18, 2))",
    "yes_or_no": "random() < 0.3",
    "kind": "['a', 'b', 'c'][1 + cast(floor(random() * 3) as bigint)]",
    "rare": "case when random() < 0.97 then random() end",
    "half_empty": "case when random() < 0.5 then random() end",
    "never": "cast(null as double)",
    "always_seven": "7",
    "always_same_kind": "'unknown'",
    "sometimes_seven": "case when random() < 0.96 then 7 end",
    "spike": "case when i % 2000 = 0 then 1e9 else random() end",
}
COPIES = {"copy": "sound * 3 + 1", "reversed": "-exp(other)"}
FLAGGED_INCOMPLETE = {"half_empty", "never"}
FLAGGED_CONSTANT = {"never", "always_seven", "always_same_kind"}
FLAGGED_REDUNDANT = {"sound": "copy", "copy": "sound", "other": "reversed", "reversed": "other"}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        # one thread draws the random numbers in one order
        connection.execute("set threads = 1")
        connection.execute("select setseed(0.22)")
        drawn = ", ".join(f"{expression} as {name}" for name, expression in FEATURES.items())
        copied = ", ".join(f"{expression} as {name}" for name, expression in COPIES.items())
        connection.execute(
            f"create table features as select *, {copied} from (select 'L' || i as lead_id, "
            f"make_timestamptz((i % 90) * 86400000000) as as_of, {drawn} from range({ROWS}) as rows (i))"
        )
        yield connection


def measured(connection: duckdb.DuckDBPyConnection, relation: str = "features") -> dict[str, FeatureQuality]:
    groups = dict.fromkeys((*FEATURES, *COPIES), "temporal")
    return {each.feature: each for each in measure_features(connection, relation, "lead_id", groups)}


def test_planted_faults_are_flagged_and_nothing_else(connection: duckdb.DuckDBPyConnection) -> None:
    found = measured(connection)

    assert {name for name, each in found.items() if each.incomplete} == FLAGGED_INCOMPLETE
    assert {name for name, each in found.items() if each.constant} == FLAGGED_CONSTANT
    assert {name: each.most_correlated_with for name, each in found.items() if each.redundant} == FLAGGED_REDUNDANT


def test_figures_are_of_all_rows(connection: duckdb.DuckDBPyConnection) -> None:
    found = measured(connection)

    for name in ("rare", "half_empty", "never", "kind"):
        ((present,),) = connection.execute(f"select count({name}) from features").fetchall()
        assert found[name].completeness == present / ROWS
    assert {each.rows for each in found.values()} == {ROWS}
    spike = found["spike"]
    assert (spike.maximum, spike.upper_bound) == (1e9, pytest.approx(1, abs=0.01))
    (beyond,) = connection.execute(
        "select avg(case when spike < ? or spike > ? then 1 else 0 end) from features",
        [spike.lower_bound, spike.upper_bound],
    ).fetchall()
    assert spike.outlier_share == pytest.approx(beyond[0])
    assert spike.outlier_share is not None
    # ten of the rows are spikes, and the other bound cuts off its thousandth
    assert 10 / ROWS < spike.outlier_share < 0.005
    assert (found["yes_or_no"].minimum, found["yes_or_no"].maximum) == (0, 1)
    assert (found["kind"].minimum, found["kind"].correlation, found["kind"].outlier_share) == (None, None, None)
    assert found["reversed"].correlation == -1


def test_the_order_of_the_rows_changes_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create table turned as select * from features order by lead_id desc")

    assert measured(connection, "turned") == measured(connection)


def test_an_empty_view_is_measured(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create view nothing as select * from features where false")

    found = measured(connection, "nothing")
    assert {(each.rows, each.completeness, each.correlation) for each in found.values()} == {(0, 1.0, None)}


def test_without_missing_values_it_is_spearman() -> None:
    rng = np.random.default_rng(3)
    values = pd.DataFrame(rng.integers(0, 9, size=(400, 5)).astype(float), columns=list("abcde"))
    values["f"] = values["a"] + rng.normal(size=400)

    np.testing.assert_allclose(rank_correlations(values), values.corr(method="spearman").to_numpy(), atol=1e-6)


def test_correlation_takes_the_rows_that_have_both() -> None:
    rng = np.random.default_rng(4)
    values = pd.DataFrame({"whole": rng.normal(size=3000)})
    values["part"] = values["whole"].where(values.index % 3 == 0) * 2
    values["elsewhere"] = values["whole"].where(values.index % 3 == 1)
    values["few"] = values["whole"].where(values.index < 20)
    values["constant_there"] = values["whole"].where(values.index % 3 == 1, 5.0).where(values.index % 3 < 2)

    found = pd.DataFrame(rank_correlations(values), index=values.columns, columns=values.columns)
    assert found.loc["whole", "part"] > 0.99
    assert np.isnan(found.loc["part", "elsewhere"]), "no row has both"
    assert np.isnan(found.loc["whole", "few"]), "too few rows have both"
    assert np.isnan(found.loc["part", "constant_there"]), "constant where the other has a value"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse with 500 rows of noise in the real feature view, in which a few faults are planted."""
    path = tmp_path / "warehouse.duckdb"
    columns = json.loads(manifest_path().read_text())["nodes"]["model.leadline.lead_features"]["columns"]
    listed = ", ".join(
        f"cast({_noise(column['data_type'], salt)} as {column['data_type']}) as {name}"
        for salt, (name, column) in enumerate(columns.items())
    )
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema features")
        connection.execute(
            f"create table features.lead_features as select * replace (cast(i as text) as lead_id) "
            f"from (select i, {listed} from range(500) as rows (i))"
        )
        connection.execute("update features.lead_features set response_rate = null where i < 100")
        connection.execute("update features.lead_features set sms_count_7d = 0, zip_prefix = 'unknown'")
        connection.execute("update features.lead_features set lead_age_days = days_since_last_fact + 1")
    _set_clock(warehouse := Warehouse(address=f"duckdb:{path}"), "2026-01-01 00:00:00+00")
    return warehouse


def _noise(data_type: str, salt: int) -> str:
    if data_type == "timestamp with time zone":
        return "'2026-01-01 00:00:00+00'"
    return f"hash(i + {1000 * salt}) % {2 if data_type == 'boolean' else 1000}"


def _set_clock(warehouse: Warehouse, clock: str) -> None:
    with warehouse.connect() as connection:
        connection.execute("create schema if not exists raw")
        connection.execute(
            f"create or replace table raw.extraction as select timestamptz '{clock}' as as_of, 'here' as source, "
            "'contract' as mapping, '[]' as closing_outcomes, cast(null as bigint) as silence_closes_after_days, "
            "'{}' as horizon_days, '[]' as assumptions"
        )
        connection.execute("create or replace table features.feature_clock as select as_of from raw.extraction")


def _materialize(warehouse: Warehouse) -> dict[str, Any]:
    result = dg.materialize([feature_quality_asset(LEAD_FEATURES)], resources={"warehouse": warehouse})
    assert result.get_asset_check_evaluations() == [], "a flag is information, and no check is yellow for one"
    (event,) = result.get_asset_materialization_events()
    return {name: each.value for name, each in event.materialization.metadata.items()}


def _rows(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute("select * from ml.ml_feature_quality order by all").fetchall()


def test_what_is_flagged_is_named_with_its_bound(warehouse: Warehouse) -> None:
    shown = _materialize(warehouse)

    assert shown["incomplete_below"] == shown["redundant_beyond"] == 0.95
    assert [tuple(each.data.values()) for each in shown["seldom_filled"].records] == [
        ("response_rate", "engagement", "0.800", ""),
        ("sms_count_7d", "behavioural", "1.000", "yes"),
        ("zip_prefix", "demographic", "1.000", "yes"),
    ]
    assert [tuple(each.data.values()) for each in shown["correlated"].records] == [
        ("lead_age_days", "days_since_last_fact", "1.000"),
        ("days_since_last_fact", "lead_age_days", "1.000"),
    ]
    assert (shown["features_incomplete"], shown["features_constant"], shown["features_redundant"]) == (1, 2, 2)


def test_a_rerun_replaces_the_rows_of_its_clock_alone(warehouse: Warehouse) -> None:
    _materialize(warehouse)
    first = _rows(warehouse)
    assert {row[2] for row in first} == set(feature_groups("lead_features"))

    _materialize(warehouse)
    assert _rows(warehouse) == first

    _set_clock(warehouse, "2026-01-02 00:00:00+00")
    with warehouse.connect() as connection:
        connection.execute("update features.lead_features set sms_count_7d = 5")
    _materialize(warehouse)
    with warehouse.connect() as connection:
        connection.execute("update features.lead_features set sms_count_7d = 6")
    _materialize(warehouse)
    later = _rows(warehouse)
    assert len(later) == 2 * len(first)
    assert [row for row in later if row[1] == first[0][1]] == first
    assert [row[11:13] for row in later if row[2] == "sms_count_7d"] == [(0, 0), (6, 6)]


def test_groups_come_from_the_dbt_project() -> None:
    groups = feature_groups("lead_features")

    assert groups["zip_prefix"] == "demographic"
    assert set(groups.values()) == {
        "temporal",
        "behavioural",
        "engagement",
        "demographic",
        "funnel",
        "own_history",
        "track_record",
    }
    assert not {"lead_id", "as_of", "observation_kind", "lead_created_at"} & set(groups)
