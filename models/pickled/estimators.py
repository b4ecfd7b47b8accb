"""Estimators of this project's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from models.pickled.scaling import Scaling


class QuantileClipper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Clip each column at two of its own quantiles, so that no row has to be dropped for its values.

    Parameters
    ----------
    lower, upper : float
        The quantiles, of the values that are there. A bound is a value that occurs.
    min_distinct : int
        A column with fewer distinct values is left as it is: its extremes are categories or small counts, no outliers.
    levels : int, optional
        Values of a column with more distinct ones than this are rounded up to the nearest of so many of its quantiles,
        at least 2. Boosted trees that split on at most that many bins then split between these, which are quantiles
        of the unweighted rows. HistGradientBoosting of scikit-learn 1.9 would take those of the weighted rows, for
        which it sorts each column once per bin; that took longer than growing all trees.

    Attributes
    ----------
    lower_, upper_ : ndarray of float, shape (n_features,)
        The bounds; infinite for a column that is left as it is.
    levels_ : dict of int to ndarray of float
        The rising levels of each column that is rounded.
    """

    def __init__(
        self, lower: float = 0.001, upper: float = 0.999, min_distinct: int = 20, levels: int | None = None
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.min_distinct = min_distinct
        self.levels = levels

    def fit(self, X: Any, y: Any = None) -> QuantileClipper:  # noqa: ARG002, N803 (scikit-learn's interface)
        """Learn the bounds of each column; missing values do not count."""
        values = validate_data(self, X, dtype="float64", ensure_all_finite="allow-nan")
        # missing values sort behind all others
        ordered = np.sort(values, axis=0)
        present = np.count_nonzero(~np.isnan(ordered), axis=0)
        distinct = np.count_nonzero(np.diff(ordered, axis=0) > 0, axis=0) + 1
        columns = np.arange(ordered.shape[1])
        last = np.maximum(present - 1, 0)
        first, final = np.floor(self.lower * last).astype(int), np.ceil(self.upper * last).astype(int)
        clipped = (present > 0) & (distinct >= self.min_distinct)
        self.lower_ = np.where(clipped, ordered[first, columns], -np.inf)
        self.upper_ = np.where(clipped, ordered[final, columns], np.inf)
        self.levels_ = {}
        if self.levels is not None:
            for column in columns[clipped & (distinct > self.levels)]:
                positions = np.linspace(first[column], final[column], self.levels).astype(int)
                self.levels_[int(column)] = np.unique(ordered[positions, column])
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803 (scikit-learn's interface)
        """Return the values within the bounds; missing ones stay missing."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype="float64", ensure_all_finite="allow-nan", reset=False)
        within: np.ndarray = np.clip(values, self.lower_, self.upper_)
        for column, levels in self.levels_.items():
            there = ~np.isnan(within[:, column])
            within[there, column] = levels[np.searchsorted(levels, within[there, column])]
        return within

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class ScaledClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose probabilities are scaled.

    Parameters
    ----------
    estimator : classifier
        Fitted, with ``predict_proba``.
    scaling : Scaling
    """

    def __init__(self, estimator: Any, scaling: Scaling) -> None:
        self.estimator = estimator
        self.scaling = scaling

    @property
    def classes_(self) -> np.ndarray:
        """The classes, in the order of the columns of ``predict_proba``."""
        return self.estimator.classes_

    def fit(self, X: Any, y: Any) -> ScaledClassifier:  # noqa: ARG002, N803 (scikit-learn's interface)
        """Refuse: a scaling belongs to the fitted classifier that it was made for."""
        raise TypeError("a scaled classifier is fitted already; fit a new pipeline and scale that")

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 (scikit-learn's interface)
        """Return the most probable class of each row."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803 (scikit-learn's interface)
        """Return the scaled probabilities: shape (n_rows, n_classes)."""
        probability = self.estimator.predict_proba(X)
        if self.scaling.method == "temperature":
            return self.scaling.apply(probability)
        happening = self.scaling.apply(probability[:, 1:])
        return np.column_stack([1 - happening, happening])

    def __sklearn_is_fitted__(self) -> bool:
        return True


class WeightedPipeline(Pipeline):  # type: ignore[misc]
    """A pipeline whose last step weighs rows, for estimators that cannot take missing values as they are."""

    def fit(
        self,
        X: Any,  # noqa: N803 (scikit-learn's interface)
        y: Any = None,
        sample_weight: np.ndarray | None = None,
    ) -> WeightedPipeline:
        """Fit all steps, the last one with the weights."""
        super().fit(X, y, **{f"{self.steps[-1][0]}__sample_weight": sample_weight})
        return self
