"""Figures of predictions under many weightings of their entities at once.

Resampling entities gives each of them a whole-number weight. All figures here take the weights of every resample as one
matrix, because a call of scikit-learn's metrics for each of some hundred resamples, classes and models takes minutes.
With weights of one they are scikit-learn's metrics, which the tests hold them to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.tasks.task import Predictions

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 4_000_000
"""Row weights held in memory at a time: those of a few resamples stay in the processor's cache."""


def resampled(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Draw entities with replacement, again and again.

    Returns
    -------
    ndarray of float, shape (resamples, groups)
        How often each entity was drawn.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    draws = rng.integers(groups, size=(resamples, groups)) + groups * np.arange(resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype("float64")


def once(groups: int) -> np.ndarray:
    """Return the weights under which each entity counts once: shape (1, groups)."""
    import numpy as np

    return np.ones((1, groups))


def totals(predictions: Predictions, weights: np.ndarray, figures: np.ndarray) -> np.ndarray:
    """Sum figures of rows, shape (n_rows, k), under each weighting of the entities: shape (n_weightings, k)."""
    import numpy as np

    by_group = np.column_stack(
        [np.bincount(predictions.group, weights=column, minlength=weights.shape[1]) for column in figures.T]
    )
    summed: np.ndarray = weights @ by_group
    return summed


def means(predictions: Predictions, figure: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of a figure of each row under each weighting."""
    import numpy as np

    total, n = totals(predictions, weights, np.column_stack([figure, np.ones(len(figure))])).T
    return total / n


def calibration_error(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Measure the mean distance between predictions and actual values, by the bins of the task.

    Bins are weighted by their rows, and the result is the mean over the outcomes [1]_.

    Returns
    -------
    ndarray of shape (n_weightings,)

    References
    ----------
    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, and J. Nixon et al., "Measuring
       Calibration in Deep Learning", CVPR Workshops 2019, for the mean over classes.
    """
    import numpy as np

    errors = []
    for number in range(len(predictions.outcomes)):
        p = predictions.predicted[:, number]
        inside, bounds = predictions.task.bins(p)
        member = inside[:, None] == np.arange(len(bounds) - 1)
        distance = totals(predictions, weights, member * (p - predictions.actual(number))[:, None])
        errors.append(np.abs(distance).sum(axis=1))
    n = totals(predictions, weights, np.ones((len(predictions), 1)))[:, 0]
    return np.mean(errors, axis=0) / n


def ranking(
    happened: np.ndarray, score: np.ndarray, group: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the area under the ROC curve and the average precision under each weighting.

    Rows of equal score are one step of both curves.
    """
    import numpy as np

    order = np.argsort(-score, kind="stable")
    ordered, hit = score[order], happened[order].astype("float64")
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    group = group[order]
    areas, precisions = [], []
    size = max(1, _CHUNK // max(1, len(score)))
    for first in range(0, len(weights), size):
        row_weights = weights[first : first + size][:, group]
        positive = np.add.reduceat(row_weights * hit, starts, axis=1)
        everything = np.add.reduceat(row_weights, starts, axis=1)
        positive_so_far, so_far = positive.cumsum(axis=1), everything.cumsum(axis=1)
        total, n = positive_so_far[:, -1], so_far[:, -1]
        # positives that rank above a row of a step: all of earlier steps, and half of those in the same step
        above = positive_so_far - positive / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            areas.append(((everything - positive) * above).sum(axis=1) / (total * (n - total)))
            precision = np.where(so_far > 0, positive_so_far / so_far, 0)
            precisions.append((positive * precision).sum(axis=1) / total)
    return np.concatenate(areas), np.concatenate(precisions)
