"""The feature benchmark: every form computes what the view computes, or is caught, and ratios are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import feature_peers as peers
from benchmarks import feature_sql
from benchmarks.compiled import DATABASE, Model
from benchmarks.feature_measuring import Taken, assert_equal, by_hand
from benchmarks.feature_queries import FORTY
from benchmarks.feature_sql import JOIN, PACKED, RUNNING, SAME, VIEW, Form, Workload, figures
from benchmarks.feature_workload import connect, create, fill, given, observe, of_the_view
from benchmarks.measuring import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEADS = 60


@pytest.fixture(scope="module")
def facts(models: list[Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse with the synthetic facts and the timeline."""
    path = tmp_path_factory.mktemp("facts") / f"{DATABASE}.duckdb"
    fill(path, LEADS)
    create(path, given(models))
    return path


@pytest.mark.parametrize("density", ["dense", "sparse"])
def test_every_form_computes_what_the_view_computes(
    facts: Path, models: list[Model], in_this_process: Callable[..., None], tmp_path: Path, density: str
) -> None:
    in_this_process(feature_sql)
    described, observations = observe(facts, density)
    assert described.startswith(f"{LEADS} leads, ")
    view, same, *others = feature_sql._on_duckdb(facts, models, feature_sql.FORMS[density], 1)
    others += feature_sql._on_polars(facts, tmp_path, feature_sql.POLARS_FORMS[density], 1)
    assert [(form.engine, form.name) for form in (view, same)] == [("DuckDB", VIEW), ("DuckDB", SAME)]
    assert {form.name for form in others} == {*feature_sql.FORMS[density], *feature_sql.POLARS_FORMS[density]}
    assert all(form.runs[0].features == len(FORTY) == 40 for form in (same, *others))
    assert view.runs[0].features > 100
    taken, rows = peers.pandas_row_by_row(facts, tmp_path)
    assert rows == min(observations, peers.ROWS_OF_PANDAS)
    assert taken.seconds > 0


def test_sparse_observations_tie_with_facts_and_dense_ones_follow_each_interaction(facts: Path) -> None:
    ties = (
        "select count(*) from intermediate.observations semi join raw.interactions "
        "on observations.lead_id = interactions.lead_id and as_of = occurred_at"
    )
    _, sparse = observe(facts, "sparse")
    assert 3 * LEADS < sparse <= 4 * LEADS
    with connect(facts) as connection:
        assert connection.execute(ties).fetchall()[0][0] > 0
    _, dense = observe(facts, "dense")
    with connect(facts) as connection:
        moments = connection.execute("select count(distinct (lead_id, occurred_at)) from raw.interactions").fetchall()
        assert moments == [(dense,)]
        assert connection.execute(ties).fetchall()[0][0] < dense / 100


def test_a_form_with_another_value_or_fewer_rows_is_no_measurement(facts: Path, models: list[Model]) -> None:
    observe(facts, "sparse")
    create(facts, of_the_view(models))
    view = "select *, epoch_us(as_of) as as_of_us from features.lead_features"
    with connect(facts) as connection:
        assert_equal(connection, f"({view})", peers.AS_OF_US, ["calls_count_7d", "lead_source", "urgency_score"])
        for wrong in (
            "calls_count_7d + 1 as calls_count_7d",
            "null as lead_source",
            "urgency_score + 1e-6 as urgency_score",
        ):
            name = wrong.split()[-1]
            with pytest.raises(MeasurementError, match=rf"rows that differ by column: \{{'{name}': \d+\}}"):
                assert_equal(connection, f"(select * replace ({wrong}) from ({view}))", peers.AS_OF_US, [name])
        with pytest.raises(MeasurementError, match="found 3 rows with the same key"):
            assert_equal(connection, f"({view} limit 3)", peers.AS_OF_US, ["calls_count_7d"])
    with pytest.raises(MeasurementError, match=r'by_hand\."less": expected .* one for each observation, found 3'):
        by_hand(facts, "less", "from intermediate.observations limit 3")


def test_what_only_the_view_needs_counts_as_the_view() -> None:
    def model(name: str, schema: str, *reads: str) -> Model:
        return Model(name=name, schema=schema, materialized="table", sql=" ".join(f'"w".{each}' for each in reads))

    timeline, observations, records = (f'"intermediate"."{name}"' for name in ("timeline", "observations", "records"))
    everything = [
        model("stg_leads", "staging"),
        model("stg_reps", "staging"),
        model("timeline", "intermediate", '"staging"."stg_leads"'),
        model("lead_closings", "intermediate", timeline),
        model("observations", "intermediate", timeline),
        model("records", "intermediate", timeline, observations, '"staging"."stg_reps"'),
        model("lead_features", "features", timeline, observations, records),
        model("feature_clock", "features", timeline),
    ]
    assert [each.name for each in of_the_view(everything)] == ["records", "lead_features"]
    assert [each.name for each in given(everything)] == ["stg_leads", "stg_reps", "timeline", "lead_closings"]


def took(engine: str, name: str, seconds: float, features: int = 40) -> Form:
    runs = [
        Taken(seconds=each, cpu_seconds=each, peak_bytes=9_000_000_000, features=features)
        for each in (seconds, 100 * seconds, seconds / 100)
    ]
    return Form(engine, name, runs)


def test_figures_compare_medians_with_the_best_by_hand_and_observations_with_each_other() -> None:
    sparse = Workload("M", "sparse", 100, [
        took("DuckDB", VIEW, 3.0, 100), took("DuckDB", SAME, 2.5), took("DuckDB", JOIN, 2.5),
        took("DuckDB", PACKED, 2.0), took("PostgreSQL", VIEW, 15.0, 100), took("PostgreSQL", SAME, 16.0),
        took("PostgreSQL", JOIN, 10.0), took("Polars", JOIN, 6.0), took("Polars", RUNNING, 9.0),
        took("pandas", "row by row", 300.0),
    ])  # fmt: skip
    dense = Workload(
        "M", "dense", 1000,
        [took("DuckDB", VIEW, 60.0, 100), took("DuckDB", SAME, 45.0), took("DuckDB", RUNNING, 30.0)],
    )  # fmt: skip
    largest = Workload(
        "X", "sparse", 1000,
        [took("DuckDB", VIEW, 33.0, 100), took("DuckDB", SAME, 25.0), took("DuckDB", PACKED, 20.0)],
    )  # fmt: skip
    found = {figure.name: (figure.value, figure.verdict) for figure in figures([sparse, dense, largest])}
    assert found == {
        "M sparse: DuckDB, the view, the same forty over the best by hand (join, packed sums)": (1.25, "met"),
        "M sparse: DuckDB, the view over the best by hand (join, packed sums)": (1.5, ""),
        "M sparse: PostgreSQL, the view, the same forty over the best by hand (join)": (1.6, "MISSED"),
        "M sparse: PostgreSQL, the view over the best by hand (join)": (1.5, ""),
        "M sparse: Polars over the view": (2.0, ""),
        "M sparse: pandas over the view": (100.0, ""),
        "M dense: DuckDB, the view, the same forty over the best by hand (running sums)": (1.5, "MISSED"),
        "M dense: DuckDB, the view over the best by hand (running sums)": (2.0, ""),
        "X sparse: DuckDB, the view, the same forty over the best by hand (join, packed sums)": (1.25, "met"),
        "X sparse: DuckDB, the view over the best by hand (join, packed sums)": (1.65, ""),
        "X sparse: peak memory of the view": (9.0, "MISSED"),
        "time of an observation, X sparse over M sparse": (pytest.approx(1.1), "met"),
        "time of an observation, M dense over M sparse": (2.0, "MISSED"),
    }
