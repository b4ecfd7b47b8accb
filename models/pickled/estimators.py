"""Estimators and transformers that this project defines itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from models.pickled.scaling import Scaling


class QuantileClipper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Clip each column at two of its own quantiles, so that no row has to be dropped for its values.

    Parameters
    ----------
    lower, upper : float
        The quantiles, of the values that are not missing. Each bound is a value of the column.
    min_distinct : int
        A column with fewer distinct values is left as it is: its extremes are categories or small counts, no outliers.
    levels : int, optional
        At least 2. In a column with more distinct values than this, values are rounded up to the nearest of so many
        quantiles. Boosted trees with as many bins then split between quantiles of the unweighted rows.
        HistGradientBoosting of scikit-learn 1.9 alone would take quantiles of the weighted rows and sort each column
        once per bin, which took longer than growing all trees.

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
            present = ~np.isnan(within[:, column])
            within[present, column] = levels[np.searchsorted(levels, within[present, column])]
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
        return _scaled(self.estimator.predict_proba(X), self.scaling)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _scaled(probability: np.ndarray, scaling: Scaling) -> np.ndarray:
    if scaling.method == "temperature":
        return scaling.apply(probability)
    happening = scaling.apply(probability[:, 1:])
    return np.column_stack([1 - happening, happening])


class ClassWeighted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that learns with a weight for each class, and corrects its probabilities for the weights.

    An estimator for which the rows of class k weigh w_k sees that class w_k times as often as it occurs, as its
    probabilities q_k say. Divided by the weights and normalised, they are the probabilities of the unweighted rows
    [1]_: p_k = (q_k / w_k) / Σ (q_j / w_j). This holds as far as the fit has converged; the deviation of a regularised
    fit is corrected by a scaling that was fitted on other rows.

    Parameters
    ----------
    estimator : classifier
        Unfitted; its ``fit`` takes ``sample_weight``.
    weights : dict
        Weight by class; only the proportions count. The total weight of all rows stays as it was, so that a
        regularisation stays as strong.
    scaling : Scaling, optional
        The scaling of the corrected probabilities.

    Attributes
    ----------
    estimator_ : classifier
        The fitted estimator.

    References
    ----------
    .. [1] C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2; M. Saerens et al., "Adjusting
       the Outputs of a Classifier to New a Priori Probabilities", Neural Computation 14, 2002.

    Notes
    -----
    ``class_weight`` of some of scikit-learn's classifiers does the same to the fit, and leaves the probabilities
    shifted.
    """

    def __init__(self, estimator: Any, weights: dict[Any, float], scaling: Scaling | None = None) -> None:
        self.estimator = estimator
        self.weights = weights
        self.scaling = scaling

    @property
    def classes_(self) -> np.ndarray:
        """The classes, in the order of the columns of ``predict_proba``."""
        return self.estimator_.classes_

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ClassWeighted:  # noqa: N803 (scikit-learn's interface)
        """Fit the estimator, with the weights of the rows times those of their classes."""
        row_weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype="float64")
        classes, places = np.unique(np.asarray(y), return_inverse=True)
        weight = row_weights * self._weights_of(classes)[places]
        self.estimator_ = clone(self.estimator).fit(X, y, sample_weight=weight * (row_weights.sum() / weight.sum()))
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 (scikit-learn's interface)
        """Return the most probable class of each row."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803 (scikit-learn's interface)
        """Return the corrected probabilities, scaled if there is a scaling: shape (n_rows, n_classes)."""
        relative = self.estimator_.predict_proba(X) / self._weights_of(self.classes_)
        probability = relative / relative.sum(axis=1, keepdims=True)
        return probability if self.scaling is None else _scaled(probability, self.scaling)

    def _weights_of(self, classes: np.ndarray) -> np.ndarray:
        return np.array([self.weights[each] for each in classes.tolist()], dtype="float64")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.estimator.__sklearn_tags__().input_tags.allow_nan
        return tags


def learner(estimator: Any) -> Any:
    """Return the inner estimator of a `ClassWeighted`, or the given estimator itself."""
    return estimator.estimator if isinstance(estimator, ClassWeighted) else estimator


class WeightedPipeline(Pipeline):  # type: ignore[misc]
    """A pipeline that passes row weights to its last step: for estimators that need an imputer before them."""

    def fit(
        self,
        X: Any,  # noqa: N803 (scikit-learn's interface)
        y: Any = None,
        sample_weight: np.ndarray | None = None,
    ) -> WeightedPipeline:
        """Fit all steps, the last one with the weights."""
        super().fit(X, y, **{f"{self.steps[-1][0]}__sample_weight": sample_weight})
        return self
