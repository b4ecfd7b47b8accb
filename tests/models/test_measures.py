"""Metrics under many weightings are scikit-learn's, resample by resample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from models.tasks.binary import Binary
from models.tasks.measures import calibration_error, once, resampled
from models.tasks.multiclass import Multiclass
from models.tasks.task import Predictions

OUTCOMES = ("walk", "call", "mail")


def drawn(outcomes: tuple[str, ...], rows: int = 300, seed: int = 4) -> Predictions:
    """Return predictions with ties, of entities of unequal size."""
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(40, size=rows))
    group = np.unique(group, return_inverse=True)[1]
    if len(outcomes) == 1:
        probability = rng.uniform(size=(rows, 1)).round(1).clip(0.05, 0.95)
        truth = (rng.random(rows) < probability[:, 0]).astype(int)
    else:
        probability = rng.dirichlet([1] * len(outcomes), rows)
        truth = np.array([rng.choice(len(outcomes), p=p) for p in probability])
    task = Binary(outcomes) if len(outcomes) == 1 else Multiclass(outcomes)
    return Predictions(task=task, truth=truth, predicted=probability, group=group)


def expected_binary(each: Predictions, weight: np.ndarray) -> dict[str, float]:
    p = each.predicted[:, 0]
    return {
        "auc": roc_auc_score(each.truth, p, sample_weight=weight),
        "pr_auc": average_precision_score(each.truth, p, sample_weight=weight),
        "brier": brier_score_loss(each.truth, p, sample_weight=weight),
        "log_loss": log_loss(each.truth, p, sample_weight=weight),
        "base_rate": np.average(each.truth, weights=weight),
    }


def expected_multiclass(each: Predictions, weight: np.ndarray) -> dict[str, float]:
    chosen = each.predicted.argmax(axis=1)
    areas = [
        roc_auc_score(each.truth == k, each.predicted[:, k], sample_weight=weight) for k in range(len(each.outcomes))
    ]
    return {
        "accuracy": accuracy_score(each.truth, chosen, sample_weight=weight),
        "weighted_f1": f1_score(each.truth, chosen, average="weighted", sample_weight=weight),
        "macro_f1": f1_score(each.truth, chosen, average="macro", sample_weight=weight),
        "macro_auc": np.mean(areas),
        "log_loss": log_loss(each.truth, each.predicted, sample_weight=weight),
    }


@pytest.mark.parametrize(("outcomes", "expected"), [(("won",), expected_binary), (OUTCOMES, expected_multiclass)])
def test_metrics_are_those_of_scikit_learn_under_every_weighting(outcomes, expected):
    each = drawn(outcomes)
    weights = np.vstack([once(each.groups), resampled(each.groups, 4, seed=1)])
    found = each.measured(weights)
    for number, weighting in enumerate(weights):
        for name, value in expected(each, weighting[each.group]).items():
            assert found[name][number] == pytest.approx(value, abs=1e-12), (name, number)


def test_class_measures_are_those_of_scikit_learn():
    each = drawn(OUTCOMES)
    chosen = each.predicted.argmax(axis=1)
    found = each.task.by_outcome(each, once(each.groups))
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(each.truth, chosen, average=None)
        assert [found[outcome][name][0] for outcome in OUTCOMES] == pytest.approx(expected)
    assert sum(found[outcome]["share"][0] for outcome in OUTCOMES) == pytest.approx(1)


def test_resamples_are_of_entities_and_repeatable():
    weights = resampled(50, 30, seed=2)
    assert weights.shape == (30, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.std() > 0.5
    np.testing.assert_array_equal(weights, resampled(50, 30, seed=2))
    assert not np.array_equal(weights, resampled(50, 30, seed=3))


def test_rows_of_one_entity_widen_the_interval():
    one = drawn(("won",), rows=40)
    alike = Predictions(
        truth=np.repeat(one.truth, 25),
        predicted=np.repeat(one.predicted, 25, axis=0),
        group=np.repeat(np.arange(40), 25),
        task=one.task,
    )
    apart = Predictions(truth=alike.truth, predicted=alike.predicted, group=np.arange(1000), task=one.task)
    spreads = [each.measured(resampled(each.groups, 300, seed=1))["brier"].std() for each in (alike, apart)]
    assert spreads[0] == pytest.approx(5 * spreads[1], rel=0.2)


def test_calibration_error_by_hand():
    binary = Predictions(
        truth=np.array([1, 0, 1, 0]),
        predicted=np.array([[0.9], [0.8], [0.6], [0.1]]),
        group=np.arange(4),
        task=Binary(("won",)),
    )
    assert calibration_error(binary, once(4))[0] == pytest.approx((0.1 + 0.8 + 0.4 + 0.1) / 4)
    # the first row counts twice, the last not at all
    assert calibration_error(binary, np.array([[2, 1, 1, 0]]))[0] == pytest.approx((2 * 0.1 + 0.8 + 0.4) / 4)


def test_what_is_undefined_is_nan_and_nothing_else():
    one_class = Predictions(
        truth=np.array([1, 1]), predicted=np.array([[0.9], [0.8]]), group=np.arange(2), task=Binary(("won",))
    )
    found = one_class.measured(once(2))
    assert [name for name, value in found.items() if np.isnan(value[0])] == ["auc"]
    never = Predictions(
        truth=np.array([0, 1]),
        predicted=np.array([[0.6, 0.4, 0], [0.3, 0.7, 0]]),
        group=np.arange(2),
        task=Multiclass(OUTCOMES),
    )
    assert {name: value[0] for name, value in never.measured(once(2)).items()} == {
        "accuracy": 1,
        "weighted_f1": 1,
        "macro_f1": 1,
        "macro_auc": 1,
        "log_loss": pytest.approx(-(np.log(0.6) + np.log(0.7)) / 2),
    }
    assert all(
        np.isnan(value[0]) for name, value in never.task.by_outcome(never, once(2))["mail"].items() if name != "share"
    )


def test_an_outcome_of_probability_zero_that_occurs_leaves_log_loss_finite():
    sure = Predictions(
        truth=np.array([0, 2]),
        predicted=np.array([[1.0, 0, 0], [1, 0, 0]]),
        group=np.arange(2),
        task=Multiclass(OUTCOMES),
    )
    assert sure.measured(once(2))["log_loss"][0] == pytest.approx(-np.log(np.finfo(float).eps) / 2)
