"""Scaling finds the two numbers that it should, and is applied only where it helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.evaluation.calibration import (
    CalibrationEvidence,
    calibration_evidence,
    decide_calibration,
    scale,
)
from models.pickled.scaling import Scaling
from models.tasks.binary import Binary
from models.tasks.multiclass import Multiclass
from models.tasks.task import Predictions

ROWS = 6000


def binary(slope: float, intercept: float) -> Predictions:
    """Return predictions whose truth follows their logits after the given scaling."""
    rng = np.random.default_rng(1)
    logit = rng.normal(size=ROWS)
    truth = (rng.random(ROWS) < 1 / (1 + np.exp(-(slope * logit + intercept)))).astype(int)
    probability = 1 / (1 + np.exp(-logit))
    return Predictions(truth=truth, predicted=probability[:, None], group=np.arange(ROWS) // 3, task=Binary(("won",)))


def multiclass(slope: float) -> Predictions:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(ROWS, 3))
    true, stated = (np.exp(k * logits) / np.exp(k * logits).sum(axis=1, keepdims=True) for k in (slope, 1))
    truth = (true.cumsum(axis=1) < rng.random((ROWS, 1))).sum(axis=1).clip(0, 2)
    return Predictions(truth=truth, predicted=stated, group=np.arange(ROWS) // 3, task=Multiclass(("a", "b", "c")))


def _scaling(predictions: Predictions, weights: np.ndarray) -> Scaling:
    found = predictions.task.fit_scaling(predictions, weights)
    assert found is not None
    return found


def test_a_sigmoid_finds_slope_and_intercept():
    found = _scaling(binary(0.5, -1.0), np.ones(ROWS))
    assert found.method == "sigmoid"
    assert (found.slope, found.intercept) == (pytest.approx(0.5, abs=0.08), pytest.approx(-1, abs=0.08))


def test_a_temperature_finds_its_slope():
    found = _scaling(multiclass(2.0), np.ones(ROWS))
    assert (found.method, found.intercept) == ("temperature", 0)
    assert found.slope == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("predictions", [binary(0.5, -1.0), multiclass(0.5)])
def test_probabilities_that_are_wrong_are_scaled(predictions):
    evidence = calibration_evidence(
        predictions, predictions.group % 5, np.ones(ROWS), learnt_share=0.8, resamples=100, seed=1
    )
    assert evidence.gain > evidence.lower > 0.01
    assert decide_calibration(evidence).applied


@pytest.mark.parametrize("predictions", [binary(1.0, 0.0), multiclass(1.0)])
def test_probabilities_that_are_right_are_left_alone(predictions):
    evidence = calibration_evidence(
        predictions, predictions.group % 5, np.ones(ROWS), learnt_share=0.8, resamples=100, seed=1
    )
    assert abs(evidence.gain) < 0.001
    decision = decide_calibration(evidence)
    assert not decision.applied
    assert "not beyond noise" in decision.reason


@pytest.mark.parametrize("made", [lambda k: binary(k, 0.0), multiclass])
def test_the_scaling_follows_the_weights(made):
    """Of rows that ask for two scalings, those that stand for more decide."""
    sharp, flat = made(2.0), made(0.5)
    both = Predictions(
        truth=np.r_[sharp.truth, flat.truth],
        predicted=np.concatenate([sharp.predicted, flat.predicted]),
        group=np.r_[sharp.group, flat.group + sharp.groups],
        task=sharp.task,
    )
    for weights, slope in ((np.repeat([1_000.0, 1], ROWS), 2.0), (np.repeat([1, 1_000.0], ROWS), 0.5)):
        assert _scaling(both, weights).slope == pytest.approx(slope, rel=0.15)
        evidence = calibration_evidence(both, both.group % 5, weights, learnt_share=0.8, resamples=50, seed=1)
        assert evidence.scaling == _scaling(both, weights)
        assert evidence.gain > evidence.lower > 0
    # weights are shares: their unit changes nothing
    assert _scaling(sharp, np.full(ROWS, 7.0)).slope == pytest.approx(_scaling(sharp, np.ones(ROWS)).slope, 1e-4)


def test_rules():
    scaling = Scaling(method="sigmoid", slope=0.9, intercept=0.0)
    evidence = CalibrationEvidence(scaling=scaling, gain=0.01, lower=0.001, learnt_share=0.5)
    assert decide_calibration(evidence).applied
    assert not decide_calibration(replace(evidence, lower=0.0)).applied
    small = decide_calibration(replace(evidence, learnt_share=0.08))
    assert not small.applied
    assert "learnt from 8% of the training rows" in small.reason
    turned = decide_calibration(replace(evidence, scaling=replace(scaling, slope=-0.1)))
    assert not turned.applied
    assert "-0.100" in turned.reason


def test_what_cannot_happen_stays_impossible_and_sums_stay_one():
    scaled = Scaling(method="temperature", slope=0.3, intercept=0.0).apply(np.array([[0.9, 0.1, 0.0], [1.0, 0, 0]]))
    assert (scaled[:, 2] == 0).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert scaled[1].tolist() == [1, 0, 0]
    certain = Scaling(method="sigmoid", slope=1.0, intercept=0.0).apply(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(certain[:, 0], [0, 1], atol=1e-9)


def test_a_scaled_pipeline_is_one_pipeline():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 2))
    scaling = Scaling(method="sigmoid", slope=0.5, intercept=0.2)
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, x[:, 0] > 0)
    scaled = scale(plain, scaling)
    np.testing.assert_allclose(scaled.predict_proba(x)[:, 1:], scaling.apply(plain.predict_proba(x)[:, 1:]))
    np.testing.assert_allclose(scaled.predict_proba(x).sum(axis=1), 1)
    assert scaled.classes_.tolist() == [False, True]
    with pytest.raises(TypeError, match="fitted already"):
        scaled.fit(x, x[:, 0] > 0)
