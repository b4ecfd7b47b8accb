"""Regression: the expected value of a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from models.tasks.measures import totals
from models.tasks.task import Bin, ByOutcome, Interval, Predictions, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

PARTS = 10
"""Number of bins with equally many predictions, in which these are compared with actual values."""

MOST_PARTS, LEAST_IN_A_PART = 5, 100
"""Errors grow with values: intervals are measured in up to so many parts of the held-out rows, of so many or more."""

OUTSIDE = (0.05, 0.95)
"""Quantiles of the errors at which an interval ends."""


@dataclass(frozen=True)
class Regression(Task):
    """A number; the loss is the squared error, because predictions are added up and their mean must be right."""

    name = "regression"
    metrics = ("r2", "mae", "squared_error", "mean_actual", "mean_predicted")
    less_is_better = frozenset({"mae", "squared_error"})
    loss = "squared_error"
    loss_words = "squared error"
    words = MappingProxyType({"mae": "mean absolute error", "squared_error": "squared error"})
    ruled = True
    quantity = "values"
    prefix = "value_"
    suffix = ""
    ranking = "rank correlation"

    def problems(self) -> list[str]:
        """Demand one name, and no costs."""
        found = [] if len(self.outcomes) == 1 else [f"a regression has one outcome, found {self.outcomes}"]
        if self.costs is not None:
            found.append(
                "a regression takes no costs of errors, because it chooses nothing: declare a binary task of the "
                "outcome to act on"
            )
        return found

    def cast(self, label: pd.Series) -> pd.Series:
        """Return labels as floating-point numbers."""
        return label.astype("float64")

    def unknown(self, label: pd.Series) -> tuple[pd.Series, str]:
        """Return which labels are no finite numbers, and what was expected."""
        import numpy as np
        import pandas as pd

        numbers = pd.to_numeric(label, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
        return pd.Series(~np.isfinite(numbers), index=label.index), "finite numbers"

    def truth(self, label: pd.Series) -> np.ndarray:
        """Return labels as numbers."""
        return label.to_numpy(dtype="float64")

    def named(self, truth: float) -> str:
        """Return the number."""
        return f"{truth:g}"

    def summary(self, label: pd.Series) -> dict[str, float]:
        """Return the number of labels and their quantiles."""
        return {"count": len(label), **{f"{q:.0%}": float(label.quantile(q)) for q in (0, 0.25, 0.5, 0.75, 1)}}

    def baseline(self, label: pd.Series) -> list[float]:
        """Return the mean."""
        return [float(label.mean())]

    def linear(self) -> BaseEstimator:
        """Return a ridge regression."""
        from sklearn.linear_model import Ridge

        return Ridge(alpha=10)

    def predict(self, pipeline: Pipeline, features: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Predict the expected value."""
        import numpy as np

        return np.asarray(pipeline.predict(features), dtype="float64").reshape(-1, 1)

    def actual(self, truth: np.ndarray, column: int) -> np.ndarray:  # noqa: ARG002
        """Return the actual values."""
        return truth

    def losses(self, predictions: Predictions) -> np.ndarray:
        """Return the squared error of each row."""
        squared: np.ndarray = (predictions.predicted[:, 0] - predictions.truth) ** 2
        return squared

    def trivial_loss(self, predictions: Predictions) -> float:
        """Return the variance of the rows."""
        return float(predictions.truth.var())

    def measure(
        self,
        predictions: Predictions,
        weights: np.ndarray,
        by_outcome: ByOutcome | None = None,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
        """Measure the errors, and the means of actual and predicted values."""
        import numpy as np

        y, p = predictions.truth, predictions.predicted[:, 0]
        # centred, because squares of large values would lose the digits of the variance
        centred = y - y.mean()
        figures = np.column_stack([np.ones(len(y)), centred, centred**2, p, np.abs(p - y), (p - y) ** 2])
        n, sum_centred, squares, sum_p, absolute, squared = totals(predictions, weights, figures).T
        variance = squares / n - (sum_centred / n) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            r2 = np.where(variance > 0, 1 - squared / n / variance, np.nan)
        return {
            "r2": r2,
            "mae": absolute / n,
            "squared_error": squared / n,
            "mean_actual": y.mean() + sum_centred / n,
            "mean_predicted": sum_p / n,
        }

    def bins(self, predicted: np.ndarray) -> tuple[np.ndarray, Sequence[float]]:
        """Return the bin of each prediction among ten of equally many, and the bounds of the bins."""
        import numpy as np

        if not len(predicted):
            return np.zeros(0, dtype=int), [0.0, 0.0]
        bounds = np.unique(np.quantile(predicted, np.linspace(0, 1, PARTS + 1)))
        numbers = np.clip(np.searchsorted(bounds, predicted, side="right") - 1, 0, max(0, len(bounds) - 2))
        return numbers, [*map(float, bounds)] if len(bounds) > 1 else [float(bounds[0])] * 2

    def residuals(self, predictions: Predictions) -> Interval | None:
        """Return quantiles of actual less predicted values in up to five equal parts; None with too few rows."""
        import numpy as np

        p, errors = predictions.predicted[:, 0], predictions.truth - predictions.predicted[:, 0]
        parts = min(MOST_PARTS, len(p) // LEAST_IN_A_PART)
        if not parts:
            return None
        bounds = np.unique(np.quantile(p, np.linspace(0, 1, parts + 1)[1:-1]))
        part = np.searchsorted(bounds, p, side="right")
        # many equal predictions leave parts without a row
        filled = np.unique(part)
        ends = [np.quantile(errors[part == number], OUTSIDE) for number in filled]
        return {
            "bounds": [*map(float, bounds[filled[1:] - 1])],
            "lower": [float(each[0]) for each in ends],
            "upper": [float(each[1]) for each in ends],
        }

    @classmethod
    def range_shown(cls, bins: Sequence[Bin]) -> tuple[float, float]:
        """Return the least and the largest mean of the bins."""
        means = [value for each in bins for value in (each.mean_predicted, each.mean_actual)] or [0, 1]
        return min(means), max(means)

    def confusion(self, predictions: Predictions, baseline: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:  # noqa: ARG002
        """Return an empty table: a regression has no classes."""
        import numpy as np

        return (), np.zeros((0, 0), dtype=int)

    def entities_of(self, predictions: Predictions) -> dict[str, int]:  # noqa: ARG002
        """Return nothing: every entity has a value."""
        return {}

    def spread(self, predicted: np.ndarray) -> np.ndarray:
        """Return 0: a predicted mean does not say how far values lie from it."""
        import numpy as np

        return np.zeros(len(predicted))

    def alone(
        self, mean: np.ndarray, group: np.ndarray, actual: np.ndarray, weights: np.ndarray
    ) -> tuple[float, float | None]:
        """Measure predictions by the mean of the group with the squared error."""
        import numpy as np

        trivial = np.average((actual - np.average(actual, weights=weights)) ** 2, weights=weights)
        return float(1 - np.average((actual - mean[group]) ** 2, weights=weights) / trivial), None

    def tells(self, actual: np.ndarray, entities: np.ndarray, *, rows: int, happened: int) -> bool:
        """Return whether there are enough rows and entities, and values that differ."""
        return len(actual) >= rows and len(set(entities)) >= happened and actual.min() < actual.max()

    def smallest_effect(self, baseline: Sequence[float], outcome: str) -> float:
        """Return half a per cent of the mean of the training rows."""
        return 0.005 * abs(baseline[self.outcomes.index(outcome)])

    def amount(self, effect: float) -> str:
        """Return an effect in the unit of the values."""
        return f"{effect:,.0f}" if effect >= 100 else f"{effect:.3g}"

    def rank_quality(self, actual: np.ndarray, predicted: np.ndarray) -> float | None:
        """Return Spearman's rank correlation."""
        from scipy.stats import spearmanr

        if actual.min() == actual.max() or predicted.min() == predicted.max():
            return None
        return float(spearmanr(actual, predicted).statistic)

    def bias(self, actual: np.ndarray, predicted: np.ndarray) -> float:
        """Return the mean prediction less the actual mean, as a share of the actual mean; 0 if that is 0."""
        mean = float(actual.mean())
        return float(predicted.mean() - mean) / abs(mean) if mean else 0.0
