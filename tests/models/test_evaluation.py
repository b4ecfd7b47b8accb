"""What was measured of a version, against values worked out by hand or by another route, and never NaN."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from models.declared.registry import DECLARATIONS
from models.evaluation.calibration import CalibrationDecision
from models.evaluation.held_out import HeldOut, calibration_table, confusion, gains, measure_held_out, segments
from models.evaluation.hindsight import Hindsight
from models.evaluation.records import EVALUATION, Validation
from models.tasks.multiclass import Multiclass
from models.tasks.task import Predictions
from models.versions.candidate import evaluate

CONVERSION, NEXT = DECLARATIONS["conversion"], DECLARATIONS["next_best_action"]
NOTHING = Validation(cross_validation=None, note="none", learning_curve=(), importance=(), importance_rows=0)
UNSUSPECTED = Hindsight(alone=(), one_sided=())


def binary(truth: list[int], probability: list[float], group: list[int] | None = None) -> Predictions:
    return Predictions(
        truth=np.array(truth),
        predicted=np.array(probability, dtype=float)[:, None],
        group=np.array(group if group is not None else range(len(truth))),
        task=CONVERSION.task,
    )


def measured(model: Predictions, baseline: float | list[float], declared=CONVERSION, segmented=None):
    """Return the evaluation of predictions beside a baseline that gives every row the same."""
    constant = replace(model, predicted=np.tile(baseline, (len(model), 1)))
    held_out = HeldOut(
        model=model,
        before_scaling=model,
        after_scaling=model,
        linear=constant,
        baseline=constant,
        segments=pd.DataFrame(index=range(len(model))) if segmented is None else segmented,
        linear_rows=0,
    )
    return measure_held_out(
        declared, "v", held_out, None, CalibrationDecision(applied=False, reason="none"), 0, NOTHING, None, UNSUSPECTED
    )


def test_metrics_stand_beside_the_baseline_on_the_same_rows():
    evaluation = measured(binary([1, 0, 1, 0], [0.9, 0.8, 0.6, 0.1]), 0.4)
    assert (evaluation.n, evaluation.entities) == (4, 4)
    assert evaluation.metrics["auc"] == pytest.approx(0.75)
    assert evaluation.metrics["brier"] == pytest.approx((0.01 + 0.64 + 0.16 + 0.01) / 4)
    assert evaluation.baseline["auc"] == pytest.approx(0.5)
    assert evaluation.baseline["pr_auc"] == pytest.approx(0.5)
    assert evaluation.over_baseline["auc"].value == pytest.approx(0.25)
    # less is better, so a smaller loss is an improvement
    assert evaluation.over_baseline["log_loss"].value == pytest.approx(
        evaluation.baseline["log_loss"] - evaluation.metrics["log_loss"]
    )
    assert evaluation.undefined == {}


def test_the_interval_of_a_difference_is_paired():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.9, 600)
    model = binary((rng.random(600) < p).astype(int).tolist(), p.tolist(), (np.arange(600) // 3).tolist())
    worse = replace(model, predicted=model.predicted + 0.01)
    held_out = HeldOut(
        model=model, before_scaling=model, after_scaling=model, linear=worse, baseline=worse,
        segments=pd.DataFrame(index=range(600)), linear_rows=0,
    )  # fmt: skip
    evaluation = measure_held_out(
        CONVERSION, "v", held_out, None, CalibrationDecision(applied=False, reason=""), 0, NOTHING, None, UNSUSPECTED
    )
    alone = evaluation.intervals["log_loss"]
    assert alone.lower < alone.value < alone.upper
    difference = evaluation.over_baseline["log_loss"]
    assert difference.upper - difference.lower < (alone.upper - alone.lower) / 5


def test_undefined_metrics_are_none_with_a_reason():
    evaluation = measured(binary([1, 1], [0.9, 0.8]), 0.5)
    assert evaluation.metrics["auc"] is None
    assert evaluation.undefined == {"auc": "all 2 held-out rows have the outcome 1"}
    only = Predictions(
        truth=np.zeros(2, dtype=int), predicted=np.tile([0.6, 0.1, 0.1, 0.1, 0.1], (2, 1)), group=np.arange(2),
        task=NEXT.task,
    )  # fmt: skip
    evaluation = measured(only, [0.2] * 5, NEXT)
    assert evaluation.undefined == {"macro_auc": "all 2 held-out rows have the outcome 'call_immediate'"}
    assert evaluation.recall == {**dict.fromkeys(NEXT.outcomes), "call_immediate": 1.0}
    json.dumps(asdict(evaluation), allow_nan=False)


def test_calibration_bins_hold_every_row_once():
    predictions = Predictions(
        truth=np.array([0, 1, 0, 1]),
        predicted=np.array([[0.05, 0.95, 0], [0.05, 0.95, 0], [1.0, 0.0, 0], [0.31, 0.69, 0]]),
        group=np.arange(4),
        task=Multiclass(("a", "b", "never")),
    )
    table = calibration_table(predictions)
    first = table[0]
    assert (first.outcome, first.lower, first.upper, first.n) == ("a", 0.0, 0.1, 2)
    assert (first.mean_predicted, first.mean_actual) == (pytest.approx(0.05), 0.5)
    assert {name: sum(each.n for each in table if each.outcome == name) for name in ("a", "b", "never")} == {
        "a": 4, "b": 4, "never": 0
    }  # fmt: skip
    assert [each.upper for each in table if each.outcome == "a"][-1] == 1.0


def test_confusion_by_hand():
    counted = confusion(binary([1, 0, 1, 0], [0.9, 0.8, 0.3, 0.1]), [0.5])
    assert counted.labels == ("not converted", "converted")
    assert counted.rows == ((1, 1), (1, 1))
    assert confusion(binary([1, 0, 1, 0], [0.9, 0.8, 0.3, 0.1]), [0.3]).rows == ((1, 1), (0, 2))


def test_gains_by_hand():
    (found,) = gains(binary([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], [0.9, 0.8, 0.7, *[0.1] * 7]))
    assert found.lift == {"10%": pytest.approx(5), "20%": pytest.approx(5)}
    assert found.found[:3] == (0, pytest.approx(0.25), pytest.approx(0.5))
    assert found.found[4] == found.found[-1] == 1
    # rows that the model does not tell apart are found in proportion
    (alike,) = gains(binary([1, 0, 0, 0], [0.3] * 4))
    assert alike.lift == {"10%": pytest.approx(1), "20%": pytest.approx(1)}


def test_segments_are_measured_apart_and_small_ones_only_counted():
    truth = [0, 1] * 60 + [0, 1] * 20 + [1] * 60
    probability = [0.2, 0.8] * 60 + [0.8, 0.2] * 20 + [0.5] * 60
    column = pd.DataFrame({"lead_source": ["web"] * 120 + ["fair"] * 40 + [None] * 60})
    found = {each.value: each for each in segments(CONVERSION, binary(truth, probability), column)}
    assert list(found) == ["web", "(missing)", "fair"]
    web = found["web"]
    assert (web.rows, web.primary.value, web.predicted, web.observed) == (120, 1, pytest.approx(0.5), 0.5)
    assert found["fair"].primary is None, "too few rows"
    assert found["(missing)"].primary is None, "one class"
    assert found["fair"].rows == 40


@pytest.mark.parametrize("name", ["converter", "recommender"])
def test_what_was_written_is_read_again(name, request, tmp_path):
    candidate = request.getfixturevalue(name)
    evaluation = evaluate(candidate)
    evaluation.write(tmp_path)
    assert (tmp_path / EVALUATION).read_bytes() == (candidate.directory / EVALUATION).read_bytes()
    assert (evaluation.model, evaluation.version) == (candidate.model, candidate.version)


@pytest.mark.parametrize("name", ["converter", "recommender"])
def test_trained_models_beat_the_baseline_and_know_their_world(name, request):
    evaluation = evaluate(request.getfixturevalue(name))
    assert evaluation.over_baseline[evaluation.primary_metric].lower > 0.2
    assert evaluation.over_baseline["log_loss"].lower > 0.05
    assert evaluation.over_linear.keys() == evaluation.metrics.keys()
    decisive = "calls_count_7d" if evaluation.task == "binary" else "source_channel"
    assert evaluation.validation.importance[0].feature == decisive
    assert {each.feature: each.rise for each in evaluation.validation.importance}["always_one"] == 0
    assert sum(map(sum, evaluation.confusion.rows)) == evaluation.n
