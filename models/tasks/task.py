"""A task: what a model predicts, as an object that supplies all that depends on the kind of target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from models.pickled.scaling import Scaling
from models.tasks.costs import Costs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

Interval = dict[str, list[float]]
"""As stored in JSON: ``bounds`` between parts of the predictions, and for each part the numbers that are added to a
prediction for the ``lower`` and the ``upper`` end of its interval."""

Choice = dict[str, Any]
"""As stored in JSON: the threshold or the costs by which a task with costs of errors chooses from predictions."""

ByOutcome = dict[str, dict[str, "np.ndarray"]]
"""Figures by outcome and measure, each of shape (n_weightings,)."""


class Bin(Protocol):
    """A bin of predictions, with the actual values."""

    @property
    def mean_predicted(self) -> float:
        """The mean of the predictions."""

    @property
    def mean_actual(self) -> float:
        """The mean of the actual values."""


@dataclass(frozen=True)
class Task(ABC):
    """What a model predicts.

    Attributes
    ----------
    outcomes : tuple of str
        Names of what is predicted, one for each column of the predictions.
    costs : Costs or None
        Costs of errors: `ErrorCosts` of a binary task, `CostMatrix` of a multiclass one, None if not declared. They
        decide for each prediction whether it is acted on, and weight the classes in learning if that saves costs
        beyond noise (`models.evaluation.costs`).
    name : str
        The kind of task, as stored in versions.
    metrics : tuple of str
        The metrics, in the order in which they are shown.
    less_is_better : frozenset of str
        The metrics of which less is better.
    loss, loss_words : str
        The metric that is the mean of `losses`, and its name for people.
    area : str or None
        The metric that is an area under the ROC curve.
    by_outcome_gates : tuple of str
        Names of gates that hold for each outcome.
    words : mapping of str to str
        Names for people of metrics whose identifiers are not clear.
    graded, scaled, ruled : bool
        Whether predictions can have grades, may be scaled to agree with actual values, and have the unit of
        `Entity.values`, so that a rule can be compared with them.
    predicted_is : str
        A sentence for people: what counts as predicted in `confusion`.
    quantity : str
        The name for people of the predictions, in the plural.
    prefix, suffix : str
        Text before the name of an outcome in the files of a version, and after it in published columns.
    ranking : str
        What `rank_quality` measures, for people.
    """

    outcomes: tuple[str, ...]
    costs: Costs | None = field(default=None, hash=False)

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    less_is_better: ClassVar[frozenset[str]]
    loss: ClassVar[str]
    loss_words: ClassVar[str]
    area: ClassVar[str | None] = None
    by_outcome_gates: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[Mapping[str, str]] = {}
    graded: ClassVar[bool] = False
    scaled: ClassVar[bool] = False
    ruled: ClassVar[bool] = False
    predicted_is: ClassVar[str] = ""
    quantity: ClassVar[str]
    prefix: ClassVar[str]
    suffix: ClassVar[str]
    ranking: ClassVar[str]

    @property
    def chosen_gates(self) -> tuple[str, ...]:
        """Names of gates on what is chosen by the declared costs of errors."""
        return ()

    @property
    def columns(self) -> list[str]:
        """Return the published columns of the predictions."""
        return [name + self.suffix for name in self.outcomes]

    @property
    def stored_columns(self) -> list[str]:
        """Return the columns of the predictions in the files of a version."""
        return [self.prefix + name for name in self.outcomes]

    # labels

    @abstractmethod
    def problems(self) -> list[str]:
        """Return what is wrong with the outcomes and costs of a declaration."""

    @abstractmethod
    def cast(self, label: pd.Series) -> pd.Series:
        """Return labels in the type from which estimators learn."""

    @abstractmethod
    def unknown(self, label: pd.Series) -> tuple[pd.Series, str]:
        """Return which labels do not belong to this task, and what was expected, for people."""

    @abstractmethod
    def truth(self, label: pd.Series) -> np.ndarray:
        """Return labels, which may be texts, as the numbers of `Predictions.truth`: shape (n_rows,)."""

    @abstractmethod
    def named(self, truth: float) -> str:
        """Return the name, for people, of a label of `truth`."""

    def summary(self, label: pd.Series) -> dict[str, float]:
        """Summarise labels for people: how many there are of each."""
        return {str(name): int(count) for name, count in label.value_counts().sort_index().items()}

    def observed_sql(self, column: str) -> str:
        """Return a column of labels, in SQL, as `truth` takes it."""
        return column

    # learning

    @abstractmethod
    def baseline(self, label: pd.Series) -> list[float]:
        """Return the constant that the trivial model predicts for each outcome, from the training labels."""

    @abstractmethod
    def linear(self) -> BaseEstimator:
        """Return the unfitted linear estimator with which every model is compared."""

    @abstractmethod
    def predict(self, pipeline: Pipeline, features: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Predict some rows with a fitted pipeline: shape (n_rows, n_outcomes)."""

    def fit_scaling(self, predictions: Predictions, weights: np.ndarray) -> Scaling | None:  # noqa: ARG002
        """Fit the scaling of the lowest loss, with a weight for each row; None where this task has none."""
        return None

    # measuring

    @abstractmethod
    def actual(self, truth: np.ndarray, column: int) -> np.ndarray:
        """Return the actual values of the outcome of a column, by row: whether it happened, or a number."""

    @abstractmethod
    def losses(self, predictions: Predictions) -> np.ndarray:
        """Return the loss of each row, on which contests are decided: less is better, shape (n_rows,)."""

    @abstractmethod
    def trivial_loss(self, predictions: Predictions) -> float:
        """Return the mean loss of the best constant on these rows."""

    @abstractmethod
    def measure(
        self, predictions: Predictions, weights: np.ndarray, by_outcome: ByOutcome | None = None
    ) -> dict[str, np.ndarray]:
        """Measure predictions under each weighting of the entities.

        Parameters
        ----------
        predictions : Predictions
        weights : ndarray of float, shape (n_weightings, n_groups)
        by_outcome : dict of str to dict, optional
            The result of `by_outcome` for the same arguments, if the caller has it.

        Returns
        -------
        dict of str to ndarray of shape (n_weightings,)
            The metrics; NaN where one is undefined.
        """

    def by_outcome(self, predictions: Predictions, weights: np.ndarray) -> ByOutcome:  # noqa: ARG002
        """Measure each outcome by itself; empty where `measure` says all."""
        return {}

    @abstractmethod
    def bins(self, predicted: np.ndarray) -> tuple[np.ndarray, Sequence[float]]:
        """Return the bin of each prediction of an outcome, and the bounds of the bins, one more than bins."""

    @classmethod
    @abstractmethod
    def range_shown(cls, bins: Sequence[Bin]) -> tuple[float, float]:
        """Return the ends of the axis on which predictions are drawn."""

    @abstractmethod
    def confusion(self, predictions: Predictions, baseline: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the names of the classes and counts by actual (line) and predicted class; both empty for a number."""

    @abstractmethod
    def entities_of(self, predictions: Predictions) -> dict[str, int]:
        """Count the entities to which each outcome happened; empty where that has no meaning."""

    @abstractmethod
    def spread(self, predicted: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the actual value that follows from each prediction: shape (n_rows,)."""

    def worth(self, predictions: Predictions, value: np.ndarray) -> tuple[float, float] | None:  # noqa: ARG002
        """Return the expected and the actual sum of the values; None for a task without such a sum."""
        return None

    # hindsight

    @abstractmethod
    def alone(
        self, mean: np.ndarray, group: np.ndarray, actual: np.ndarray, weights: np.ndarray
    ) -> tuple[float, float | None]:
        """Measure how well one feature alone predicts an outcome.

        Parameters
        ----------
        mean : ndarray of float, shape (n_groups,)
            The prediction for each group of values of the feature.
        group, actual, weights : ndarray, shape (n_rows,)

        Returns
        -------
        tuple of (float, float or None)
            The skill, 1 - loss / loss of the best constant, and the area under the ROC curve.
        """

    @abstractmethod
    def tells(self, actual: np.ndarray, entities: np.ndarray, *, rows: int, happened: int) -> bool:
        """Return whether `alone` has enough to go by: `rows` of the outcome or more, of `happened` entities or more."""

    # scoring and drift

    def score(self, predicted: np.ndarray) -> list[int | None]:
        """Return the scores of predictions, 1 to 99; None where this task has none."""
        return [None] * len(predicted)

    def residuals(self, predictions: Predictions) -> Interval | None:  # noqa: ARG002
        """Measure the interval around a prediction that holds nine of ten held-out rows; None if the task has none."""
        return None

    def interval(self, predicted: np.ndarray, residuals: Interval | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end of an interval around each prediction, from `residuals`; NaN for none."""
        import numpy as np

        if residuals is None:
            return np.full(len(predicted), np.nan), np.full(len(predicted), np.nan)
        part = np.searchsorted(residuals["bounds"], predicted, side="right")
        return predicted + np.array(residuals["lower"])[part], predicted + np.array(residuals["upper"])[part]

    def chosen(self, predicted: np.ndarray, choice: Choice | None) -> np.ndarray | None:  # noqa: ARG002
        """Return whether each prediction is chosen: shape (n_rows, n_outcomes); None without a choice."""
        return None

    @abstractmethod
    def smallest_effect(self, baseline: Sequence[float], outcome: str) -> float:
        """Return the least effect on a prediction with which a feature counts as a reason."""

    @abstractmethod
    def amount(self, effect: float) -> str:
        """Return the amount of an effect, for people."""

    @abstractmethod
    def rank_quality(self, actual: np.ndarray, predicted: np.ndarray) -> float | None:
        """Measure how well predictions of an outcome order rows: 1 is perfect; None if that is undefined."""

    @abstractmethod
    def bias(self, actual: np.ndarray, predicted: np.ndarray) -> float:
        """Return the mean prediction of an outcome less the actual mean, in a unit that models of the task share."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions, with the actual labels.

    Attributes
    ----------
    task : Task
    truth : ndarray, shape (n_rows,)
        As `Task.truth` returns it.
    predicted : ndarray of float, shape (n_rows, n_outcomes)
    group : ndarray of int, shape (n_rows,)
        The entity of each row, numbered from 0.
    """

    task: Task
    truth: np.ndarray
    predicted: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names of the columns of `predicted`."""
        return self.task.outcomes

    @property
    def groups(self) -> int:
        """The number of entities."""
        return int(self.group.max()) + 1 if len(self) else 0

    def rows(self, chosen: np.ndarray) -> Predictions:
        """Return the predictions of the chosen rows, with their entities numbered anew."""
        import numpy as np

        _, group = np.unique(self.group[chosen], return_inverse=True)
        return Predictions(task=self.task, truth=self.truth[chosen], predicted=self.predicted[chosen], group=group)

    def actual(self, column: int) -> np.ndarray:
        """Return the actual values of the outcome of a column, by row: whether it happened, or a number."""
        return self.task.actual(self.truth, column)

    def measured(self, weights: np.ndarray, by_outcome: ByOutcome | None = None) -> Mapping[str, np.ndarray]:
        """Return the metrics under each weighting of the entities."""
        return self.task.measure(self, weights, by_outcome)

    def losses(self) -> np.ndarray:
        """Return the loss of each row."""
        return self.task.losses(self)
