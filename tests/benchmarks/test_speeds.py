"""The benchmarks of features, drift and training: at small sizes they run to their end and compare the same work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from benchmarks import drift_speed, feature_sql, training_speed
from benchmarks.compiled import DATABASE
from benchmarks.measuring import MeasurementError
from models.registry import DECLARATIONS, declaration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.compiled import Model

LEADS = 60


def without_labels(models: list[Model]) -> list[Model]:
    return [model for model in models if model.schema != "labels"]


@pytest.fixture(scope="module")
def facts(models: list[Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse with the synthetic facts."""
    path = tmp_path_factory.mktemp("facts") / f"{DATABASE}.duckdb"
    said = feature_sql._fill(path, LEADS, without_labels(models))
    assert said.startswith(f"{LEADS} leads, ")
    return path


def test_view_and_query_by_hand_count_the_same_facts(facts: Path, models: list[Model]) -> None:
    for seconds, peak, columns in (feature_sql._run_view(facts, models), feature_sql._run_by_hand(facts)):
        assert seconds > 0
        assert peak > 0
        assert columns >= 40
    assert columns == 43
    with duckdb.connect(str(facts), read_only=True) as connection:
        both, apart, ties = connection.execute(
            "select count(*), count(*) filter ("
            + " or ".join(
                f"view.{kind}s_count_{window} <> by_hand.{kind}s_{window}"
                for kind in ("call", "email", "web", "meeting")
                for window in feature_sql.WINDOWS
                if f"{kind}s_count_{window}" in _columns(connection)
            )
            + "), (select count(*) from intermediate.observations semi join raw.interactions "
            "on observations.lead_id = interactions.lead_id and as_of = occurred_at) "
            "from features.lead_features as view join by_hand "
            "on view.lead_id = by_hand.lead_id and epoch_us(view.as_of) = by_hand.as_of_us"
        ).fetchall()[0]
        observations = connection.execute("select count(*) from intermediate.observations").fetchall()[0][0]
    assert both == observations
    assert 3 * LEADS < observations <= 4 * LEADS
    assert apart == 0
    assert ties > 0, "some observations are made at the very moment of a fact, which is not counted"


def _columns(connection: duckdb.DuckDBPyConnection) -> set[str]:
    found = {name for (name, *_) in connection.execute("describe features.lead_features").fetchall()}
    assert {"calls_count_7d", "calls_count_lifetime", "emails_count_30d"} <= found
    return found


def test_a_form_that_loses_an_observation_is_no_measurement(facts: Path) -> None:
    with pytest.raises(MeasurementError, match=r"main\.less: expected .* one for each observation, found 3"):
        feature_sql._timed(facts, {"main.less": "from intermediate.observations limit 3"}, 2)


def test_the_feature_benchmark_compares_both_forms_at_each_size(
    models: list[Model], in_this_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(feature_sql)
    monkeypatch.setattr(feature_sql, "SIZES", {"S": 20, "M": 40})
    monkeypatch.setattr(feature_sql, "compiled", lambda folder, variables, layers: without_labels(models))
    report = feature_sql.run()
    assert [figure.name.split(": ")[0] for figure in report.figures] == ["S"] * 3 + ["M"] * 3
    assert all(figure.value > 0 for figure in report.figures)
    whole, each, _ = report.figures[:3]
    view = next(int(line.split()[1]) for line in report.details if line.strip().startswith("view"))
    assert each.value == pytest.approx(whole.value * 43 / view)
    assert report.details[0].startswith("S: 20 leads")


def test_the_drift_benchmark_compares_what_it_runs_at_each_size(
    in_this_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(drift_speed)
    monkeypatch.setattr(drift_speed, "SIZES", (200, 400))
    monkeypatch.setattr(drift_speed, "LARGEST_FOR_EVIDENTLY", 200)
    monkeypatch.setattr(drift_speed, "COLUMNS", 3)
    report = drift_speed.run()
    assert [figure.name for figure in report.figures] == [
        "200 rows: time, SciPy over SQL", "200 rows: time, Evidently over SQL", "400 rows: time, SciPy over SQL",
    ]  # fmt: skip
    assert all(figure.value > 0 for figure in report.figures)


def test_the_drift_benchmark_has_something_to_find() -> None:
    reference, current = drift_speed.frames(20_000)
    assert reference.shape == current.shape == (20_000, drift_speed.COLUMNS)
    assert ((current.mean() - reference.mean()) > 0.05).all()


def test_the_training_benchmark_times_both_on_the_same_rows(
    in_this_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(training_speed)
    monkeypatch.setattr(training_speed, "ROWS", 400)
    monkeypatch.setattr(training_speed, "NUMBERS", 4)
    monkeypatch.setattr(training_speed, "SINGLE_ROWS", 2)
    report = training_speed.run()
    assert [figure.name for figure in report.figures] == [
        f"{name}: {what}"
        for name in DECLARATIONS
        for what in ("fit, pipeline over bare estimator", "one prediction", "file")
    ]
    assert all(figure.value > 0 for figure in report.figures)
    assert len(report.details) == 1 + len(DECLARATIONS)


def test_the_rows_of_the_training_benchmark_can_be_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_speed, "ROWS", 3_000)
    frame, label = training_speed.rows_of(declaration("conversion"))
    assert 0.05 < frame["number_0"].isna().mean() < 0.15
    assert label.mean() == pytest.approx(0.3, abs=0.01)
    present = frame[["number_0", "number_1"]].notna().all(axis=1)
    assert np.corrcoef((frame["number_0"] - frame["number_1"])[present], label[present])[0, 1] > 0.4
    _, actions = training_speed.rows_of(declaration("next_best_action"))
    assert set(actions) == set(declaration("next_best_action").outcomes)
