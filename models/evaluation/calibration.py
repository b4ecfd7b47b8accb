"""Calibration: a scaling of two numbers that makes probabilities agree with frequencies, and whether to apply it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.pickled.scaling import Scaling
from models.tasks.measures import means, resampled
from models.tasks.task import Predictions

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

COMPARABLE = 0.5
"""Folds must learn from at least this share of the training rows for their scaling to suit the model of all rows."""


@dataclass(frozen=True, kw_only=True)
class CalibrationEvidence:
    """The evidence on a scaling, from out-of-fold predictions.

    Attributes
    ----------
    scaling : Scaling
        Fitted on all out-of-fold predictions.
    gain, lower : float
        By how much scalings that were fitted on the other folds lower the log-loss, and the lower bound of the
        interval of this gain, over resampled entities.
    learnt_share : float
        Rows that the pipeline of a fold learnt from, as a share of those that the measured pipeline learnt from.
    """

    scaling: Scaling
    gain: float
    lower: float
    learnt_share: float


@dataclass(frozen=True, kw_only=True)
class CalibrationDecision:
    """Whether a scaling is applied, with the reason."""

    applied: bool
    reason: str


def calibration_evidence(
    predictions: Predictions, folds: np.ndarray, weights: np.ndarray, *, learnt_share: float, resamples: int, seed: int
) -> CalibrationEvidence | None:
    """Fit a scaling on out-of-fold predictions, and measure what it is worth on folds that it was not fitted on.

    Parameters
    ----------
    predictions : Predictions
        Out-of-fold predictions.
    folds : ndarray of int, shape (n_rows,)
        The fold of each row; all rows of an entity are in one.
    weights : ndarray of float, shape (n_rows,)
        How much of a census each row stands for: without weights, busy entities would decide about the scaling.
    learnt_share : float
        As in `CalibrationEvidence`.
    resamples, seed : int
        Number and seed of the resamples of the entities, for the interval.

    Returns
    -------
    CalibrationEvidence or None
        None for a task without a scaling.

    Notes
    -----
    scikit-learn's `CalibratedClassifierCV` would fit the estimator anew on every row that the scaling is learnt from,
    and does not return the two numbers.
    """
    import numpy as np

    scaling = predictions.task.fit_scaling(predictions, weights)
    if scaling is None:
        return None
    scaled = scaled_by_others(predictions, folds, weights)
    gain_by_row = (predictions.losses() - scaled.losses()) * weights
    draws = resampled(predictions.groups, resamples, seed)
    gain_by_draw = means(predictions, gain_by_row, draws) / means(predictions, weights, draws)
    return CalibrationEvidence(
        scaling=scaling,
        gain=float(gain_by_row.sum() / weights.sum()),
        lower=float(np.quantile(gain_by_draw, 0.025)),
        learnt_share=learnt_share,
    )


def scaled_by_others(predictions: Predictions, folds: np.ndarray, weights: np.ndarray) -> Predictions:
    """Scale the predictions of each fold by the scaling that fits the other folds best."""
    import numpy as np

    scaled = predictions.predicted.copy()
    for fold in np.unique(folds):
        inside = folds == fold
        scaling = predictions.task.fit_scaling(predictions.rows(~inside), weights[~inside])
        if scaling is not None:
            scaled[inside] = scaling.apply(predictions.predicted[inside])
    return replace(predictions, predicted=scaled)


def decide_calibration(evidence: CalibrationEvidence) -> CalibrationDecision:
    """Decide whether a scaling is applied: only if it lowers the out-of-fold log-loss beyond noise.

    A needless scaling does harm, because it adds the noise of two numbers to every score. A scaling that would reverse
    the order of the scores is not applied, nor one from pipelines that learnt from far fewer rows: a model of few rows
    is too sure of its predictions, and the scaling that corrects them makes a model of many rows too unsure. (On the
    simulated CRM, folds of 9,600 of 120,000 rows gave a temperature of 1.11; applied, it raised the held-out log-loss
    of `next_best_action` from .502 to .508 and its calibration error from .007 to .017.)
    """
    if evidence.learnt_share < COMPARABLE:
        return CalibrationDecision(
            applied=False,
            reason=f"its folds learnt from {evidence.learnt_share:.0%} of the training rows, and a model that learns "
            "from all of them errs in another way",
        )
    if evidence.scaling.slope <= 0:
        return CalibrationDecision(
            applied=False,
            reason=f"its slope, {evidence.scaling.slope:.3f}, would reverse the order of the scores",
        )
    figures = f"it lowers the out-of-fold log-loss by {evidence.gain:.5f} (lower bound {evidence.lower:.5f})"
    if evidence.lower > 0:
        return CalibrationDecision(applied=True, reason=figures)
    return CalibrationDecision(applied=False, reason=f"{figures}: not beyond noise")


def scale(pipeline: Pipeline, scaling: Scaling) -> Pipeline:
    """Return a fitted pipeline, as one object, whose probabilities are scaled."""
    from sklearn.pipeline import Pipeline

    from models.pickled.estimators import ScaledClassifier

    *steps, (name, estimator) = pipeline.steps
    return Pipeline([*steps, (name, ScaledClassifier(estimator, scaling))])
