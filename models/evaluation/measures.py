"""Measures: the metrics of predictions under many weightings of their entities at once.

Resampling entities gives each of them a whole-number weight. All metrics here take the weights of every resample as one
matrix, because a call of scikit-learn's metrics for each of some hundred resamples, classes and models takes minutes.
With weights of one they are scikit-learn's metrics, which the tests hold them to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BINS = 10

_CHUNK = 4_000_000
"""Row weights held in memory at a time: those of a few resamples stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions beside what happened.

    Attributes
    ----------
    truth : ndarray of int, shape (n_rows,)
        Position among the outcomes; for a binary task 1 where the outcome happened, and 0.
    probability : ndarray of float, shape (n_rows, n_outcomes)
        One column for a binary task.
    group : ndarray of int, shape (n_rows,)
        The entity of each row, numbered from 0.
    outcomes : tuple of str
    """

    truth: np.ndarray
    probability: np.ndarray
    group: np.ndarray
    outcomes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def groups(self) -> int:
        """How many entities there are."""
        return int(self.group.max()) + 1 if len(self) else 0

    def rows(self, chosen: np.ndarray) -> Predictions:
        """Return those of the chosen rows, whose entities are numbered anew."""
        import numpy as np

        _, group = np.unique(self.group[chosen], return_inverse=True)
        return Predictions(
            truth=self.truth[chosen], probability=self.probability[chosen], group=group, outcomes=self.outcomes
        )

    def happened(self, column: int) -> np.ndarray:
        """Say of each row whether the outcome of a column of the probabilities happened."""
        did: np.ndarray = self.truth == (1 if len(self.outcomes) == 1 else column)
        return did


def resampled(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Draw entities with replacement, again and again.

    Returns
    -------
    ndarray of float, shape (resamples, groups)
        How often each entity was drawn.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = rng.integers(groups, size=(resamples, groups)) + groups * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype("float64")


def once(groups: int) -> np.ndarray:
    """Return the weights under which each entity counts once: shape (1, groups)."""
    import numpy as np

    return np.ones((1, groups))


def metrics(
    predictions: Predictions, weights: np.ndarray, classes: dict[str, dict[str, np.ndarray]] | None = None
) -> dict[str, np.ndarray]:
    """Measure predictions under each weighting of the entities.

    Parameters
    ----------
    predictions : Predictions
    weights : ndarray of float, shape (n_weightings, n_groups)
    classes : dict of str to dict, optional
        What `class_measures` returns for the same arguments, of a caller who has it.

    Returns
    -------
    dict of str to ndarray of shape (n_weightings,)
        The metrics of the task (`models.declaring.policies.METRICS`); NaN where one is undefined.
    """
    if len(predictions.outcomes) == 1:
        return _binary(predictions, weights)
    return _multiclass(predictions, weights, class_measures(predictions, weights) if classes is None else classes)


def class_measures(predictions: Predictions, weights: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Measure each outcome of a multiclass task: share of the rows, precision, recall, F1 and area under the curve.

    The outcome of the highest probability counts as predicted.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (n_weightings,)
        By outcome and measure. NaN: recall and F1 of an outcome that does not occur, precision of one that is never
        predicted, and the area where it occurs nowhere or everywhere.
    """
    import numpy as np

    chosen = predictions.probability.argmax(axis=1)
    measured = {}
    n = _totals(predictions, weights, np.ones((len(predictions), 1)))[:, 0]
    for number, outcome in enumerate(predictions.outcomes):
        happened, named = predictions.happened(number), chosen == number
        hits, occurring, predicted = _totals(
            predictions, weights, np.column_stack([happened & named, happened, named])
        ).T
        with np.errstate(invalid="ignore", divide="ignore"):
            measured[outcome] = {
                "share": occurring / n,
                "precision": hits / predicted,
                "recall": hits / occurring,
                "f1": np.where(occurring > 0, 2 * hits / (occurring + predicted), np.nan),
                "auc": _ranking(happened, predictions.probability[:, number], predictions.group, weights)[0],
            }
    return measured


def bins(probability: np.ndarray) -> np.ndarray:
    """Return the number of the bin, of ten of equal width, in which each probability lies."""
    import numpy as np

    numbers: np.ndarray = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    return numbers


def calibration_error(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Measure the mean distance of predicted probabilities from observed rates.

    Ten bins of equal width, weighted by rows; for a multiclass task the mean over its outcomes [1]_.

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
        p = predictions.probability[:, number]
        inside = bins(p)[:, None] == np.arange(BINS)
        distance = _totals(predictions, weights, inside * (p - predictions.happened(number))[:, None])
        errors.append(np.abs(distance).sum(axis=1))
    n = _totals(predictions, weights, np.ones((len(predictions), 1)))[:, 0]
    return np.mean(errors, axis=0) / n


def losses(predictions: Predictions) -> np.ndarray:
    """Return the log-loss of each row: minus the logarithm of the probability that was given to what happened."""
    import numpy as np

    if len(predictions.outcomes) == 1:
        p = predictions.probability[:, 0]
        given = np.where(predictions.truth == 1, p, 1 - p)
    else:
        given = predictions.probability[np.arange(len(predictions)), predictions.truth]
    return -np.log(np.clip(given, np.finfo(np.float64).eps, 1))


def mean_losses(predictions: Predictions, loss: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of a figure of each row under each weighting."""
    import numpy as np

    total, n = _totals(predictions, weights, np.column_stack([loss, np.ones(len(loss))])).T
    return total / n


def _binary(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    p = predictions.probability[:, 0]
    auc, average_precision = _ranking(predictions.truth == 1, p, predictions.group, weights)
    return {
        "auc": auc,
        "pr_auc": average_precision,
        "brier": mean_losses(predictions, (p - predictions.truth) ** 2, weights),
        "log_loss": mean_losses(predictions, losses(predictions), weights),
        "ece_10": calibration_error(predictions, weights),
        "base_rate": mean_losses(predictions, predictions.truth.astype("float64"), weights),
    }


def _multiclass(
    predictions: Predictions, weights: np.ndarray, classes: dict[str, dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    import numpy as np

    shares, f1, areas = (np.array([each[name] for each in classes.values()]) for name in ("share", "f1", "auc"))
    # the means are over the outcomes that occur or, for F1, are named; one on one side only has no area
    chosen = predictions.probability.argmax(axis=1)
    named = _totals(predictions, weights, chosen[:, None] == np.arange(len(predictions.outcomes))).T > 0
    f1 = np.nan_to_num(f1)
    counted = (shares > 0) | named
    defined = ~np.isnan(areas)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": mean_losses(predictions, (chosen == predictions.truth).astype("float64"), weights),
            "weighted_f1": (f1 * shares).sum(axis=0),
            "macro_f1": (f1 * counted).sum(axis=0) / counted.sum(axis=0),
            "macro_auc": np.where(defined, areas, 0).sum(axis=0) / defined.sum(axis=0),
            "log_loss": mean_losses(predictions, losses(predictions), weights),
        }


def _totals(predictions: Predictions, weights: np.ndarray, figures: np.ndarray) -> np.ndarray:
    """Sum figures of the rows, shape (n_rows, k), under each weighting: first by entity, so that rows count once."""
    import numpy as np

    by_group = np.column_stack(
        [np.bincount(predictions.group, weights=column, minlength=weights.shape[1]) for column in figures.T]
    )
    totals: np.ndarray = weights @ by_group
    return totals


def _ranking(
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
        # of the rows at each step, those of positives that rank above: all before it, and half of the step itself
        above = positive_so_far - positive / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            areas.append(((everything - positive) * above).sum(axis=1) / (total * (n - total)))
            precision = np.where(so_far > 0, positive_so_far / so_far, 0)
            precisions.append((positive * precision).sum(axis=1) / total)
    return np.concatenate(areas), np.concatenate(precisions)
