"""Metrics against values worked out by hand or by another route, beside the baseline, and never NaN."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from models.candidate import Candidate
from models.evaluation import calibration_table, evaluate, missed_gates
from models.plots import calibration_plot


def measured(tmp_path, truth: list[str], probabilities: dict[str, list[float]], baseline: list[float]) -> Candidate:
    """Return a candidate with the given held-out predictions."""
    columns = {f"probability_{name}": values for name, values in probabilities.items()}
    pd.DataFrame({"truth": truth, **columns}).to_parquet(tmp_path / "evaluation.parquet")
    task = "binary" if len(probabilities) == 1 else "multiclass"
    manifest = {"task": task, "outcomes": list(probabilities), "baseline": baseline}
    return Candidate(model="m", version="v", directory=tmp_path, manifest=manifest)


def test_binary_metrics_by_hand(tmp_path):
    evaluation = evaluate(measured(tmp_path, ["1", "0", "1", "0"], {"won": [0.9, 0.8, 0.6, 0.1]}, [0.4]))
    assert evaluation.n == 4
    assert evaluation.metrics == {
        "auc": pytest.approx(0.75),
        "pr_auc": pytest.approx((1 + 2 / 3) / 2),
        "brier": pytest.approx((0.01 + 0.64 + 0.16 + 0.01) / 4),
        "log_loss": pytest.approx(-np.log([0.9, 0.2, 0.6, 0.9]).mean()),
        "ece_10": pytest.approx((0.1 + 0.8 + 0.4 + 0.1) / 4),
        "base_rate": 0.5,
    }
    assert evaluation.baseline["auc"] == pytest.approx(0.5)
    assert evaluation.baseline["pr_auc"] == pytest.approx(0.5)
    assert evaluation.baseline["log_loss"] == pytest.approx(-np.log([0.4, 0.6]).mean())
    assert evaluation.undefined == {}


def test_multiclass_metrics_by_hand(tmp_path):
    # the outcomes are not in alphabetical order, and one of them does not occur
    candidate = measured(
        tmp_path,
        ["walk", "call", "call", "walk"],
        {"walk": [0.6, 0.3, 0.5, 0.1], "call": [0.3, 0.6, 0.4, 0.9], "mail": [0.1, 0.1, 0.1, 0.0]},
        [0.25, 0.75, 0.0],
    )
    evaluation = evaluate(candidate)
    assert evaluation.metrics["accuracy"] == 0.5
    assert evaluation.metrics["macro_f1"] == evaluation.metrics["weighted_f1"] == pytest.approx(0.5)
    assert evaluation.metrics["macro_auc"] == pytest.approx((0.5 + 0.5) / 2)
    assert evaluation.recall == {"walk": 0.5, "call": 0.5, "mail": None}
    assert evaluation.baseline["accuracy"] == 0.5
    assert evaluation.baseline["macro_auc"] == 0.5
    expected = log_loss(
        ["walk", "call", "call", "walk"],
        [[0.3, 0.1, 0.6], [0.6, 0.1, 0.3], [0.4, 0.1, 0.5], [0.9, 0.0, 0.1]],
        labels=["call", "mail", "walk"],
    )
    assert evaluation.metrics["log_loss"] == pytest.approx(expected)


def test_undefined_metrics_are_none_with_a_reason(tmp_path):
    evaluation = evaluate(measured(tmp_path, ["1", "1"], {"won": [0.9, 0.8]}, [0.5]))
    assert evaluation.metrics["auc"] is None
    assert evaluation.undefined == dict.fromkeys(["auc", "pr_auc"], "all 2 held-out rows have the outcome 1")
    probabilities = {"a": [0.9, 0.8], "b": [0.1, 0.1], "c": [0.0, 0.1]}
    evaluation = evaluate(measured(tmp_path, ["a", "a"], probabilities, [0.5, 0.5, 0.0]))
    assert evaluation.metrics["macro_auc"] is None
    assert "'a'" in evaluation.undefined["macro_auc"]
    assert missed_gates(evaluation, {"macro_auc": 0.5}) == [
        "macro_auc is undefined: all 2 held-out rows have the outcome 'a'"
    ]


def test_an_outcome_of_probability_zero_that_occurs_leaves_log_loss_finite(tmp_path):
    probabilities = {"a": [1.0, 1.0], "b": [0.0, 0.0], "c": [0.0, 0.0]}
    evaluation = evaluate(measured(tmp_path, ["a", "c"], probabilities, [1.0, 0.0, 0.0]))
    assert evaluation.metrics["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)


def test_calibration_bins_hold_every_row_once():
    truth = np.array(["a", "b", "a", "b"], dtype=object)
    probability = np.array([[0.05, 0.95, 0], [0.05, 0.95, 0], [1.0, 0.0, 0], [0.31, 0.69, 0]])
    table = calibration_table(truth, probability, ("a", "b", "never"))
    first = table[0]
    assert (first.outcome, first.lower, first.upper, first.n) == ("a", 0.0, 0.1, 2)
    assert (first.mean_probability, first.observed_rate) == (pytest.approx(0.05), 0.5)
    assert {name: sum(each.n for each in table if each.outcome == name) for name in ("a", "b", "never")} == {
        "a": 4,
        "b": 4,
        "never": 0,
    }
    assert [each.upper for each in table if each.outcome == "a"][-1] == 1.0


def test_gates_know_which_way_is_better(tmp_path):
    evaluation = evaluate(measured(tmp_path, ["1", "0", "1", "0"], {"won": [0.9, 0.8, 0.6, 0.1]}, [0.4]))
    assert missed_gates(evaluation, {"auc": 0.75, "ece_10": 0.36}) == []
    assert missed_gates(evaluation, {"auc": 0.8, "ece_10": 0.3}) == [
        "auc is 0.7500, its gate 0.8000",
        "ece_10 is 0.3500, its gate 0.3000",
    ]


@pytest.mark.parametrize("name", ["converter", "recommender"])
def test_trained_models_beat_the_baseline_and_serialise(name, request):
    evaluation = evaluate(request.getfixturevalue(name))
    primary = "auc" if evaluation.task == "binary" else "macro_auc"
    assert evaluation.metrics[primary] > evaluation.baseline[primary] + 0.2
    assert evaluation.metrics["log_loss"] < evaluation.baseline["log_loss"] - 0.05
    read = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert read["metrics"] == evaluation.metrics
    assert len(read["calibration"]) == len(evaluation.calibration)


@pytest.mark.parametrize("name", ["converter", "recommender"])
def test_the_plot_is_a_png_of_what_was_measured(name, request):
    evaluation = evaluate(request.getfixturevalue(name))
    image = calibration_plot(evaluation)
    assert image.startswith(b"\x89PNG")
    assert image != calibration_plot(replace(evaluation, calibration=evaluation.calibration[:1]))
