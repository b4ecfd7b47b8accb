"""Classification: the probability of each outcome."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models.tasks.costs import Costs
from models.tasks.task import Bin, Choice, Predictions, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

BINS = 10
"""Number of bins of equal width in which probabilities are compared with frequencies."""

EQUAL = 1e-12
"""Expected costs that differ by less than this share of the highest cost count as equal."""

RECALL = "recall"
"""A gate on the recall of each outcome of a multiclass task."""


@dataclass(frozen=True)
class Classification(Task):
    """The common part of binary and multiclass tasks: they predict probabilities, and their loss is log-loss."""

    loss = "log_loss"
    loss_words = "log-loss"
    quantity = "probabilities"
    prefix = "probability_"
    suffix = "_probability"
    ranking = "AUC"
    scaled = True
    takes: ClassVar[type[Costs]]
    """The class of costs that can be declared."""

    @property
    @abstractmethod
    def classes(self) -> tuple[int | str, ...]:
        """The classes of a fitted pipeline whose probabilities are predicted, by column."""

    # costs of errors

    @property
    @abstractmethod
    def labels(self) -> tuple[int | str, ...]:
        """All classes, in the order of their numbers in `truth`; each of them can be chosen."""

    @property
    @abstractmethod
    def choices(self) -> tuple[str, ...]:
        """The names of `labels`, for people."""

    @property
    @abstractmethod
    def constants(self) -> tuple[str, ...]:
        """The names, for people, of choosing one class in every row, in the order of `labels`."""

    @property
    def cost_matrix(self) -> np.ndarray:
        """The declared costs: a line for each class that happens, a column for each class that is chosen."""
        if self.costs is None:
            raise ValueError(f"this {self.name} task declares no costs of errors")
        return self.costs.matrix(self.outcomes)

    def class_weights(self) -> dict[int | str, float]:
        """Return the weight of a row of each class in learning by costs: the sum of the costs of its errors [1]_.

        References
        ----------
        .. [1] C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, and for more than two classes
           K. Ting, "An Instance-Weighting Method to Induce Cost-Sensitive Trees", IEEE TKDE 14, 2002.
        """
        return dict(zip(self.labels, map(float, self.cost_matrix.sum(axis=1)), strict=True))

    @abstractmethod
    def choice(self, threshold: float | None = None) -> Choice:
        """Return the way to choose at the least expected cost, provided that the probabilities are true.

        Parameters
        ----------
        threshold : float, optional
            For a binary task, in place of the threshold that follows from the costs.
        """

    @abstractmethod
    def choose(self, predicted: np.ndarray, choice: Choice) -> np.ndarray:
        """Return the number of the class that is chosen in each row: shape (n_rows,)."""

    @abstractmethod
    def of_all(self, predicted: np.ndarray) -> np.ndarray:
        """Return the probability of each class from predictions: shape (n_rows, n_classes)."""

    @abstractmethod
    def threshold(self) -> float | None:
        """Return the threshold that follows from the costs; None for a task without one."""

    def _cost_problems(self) -> list[str]:
        if self.costs is None:
            return []
        if not isinstance(self.costs, self.takes):
            return [f"a {self.name} task takes its costs as {self.takes.__name__}, found {type(self.costs).__name__}"]
        return self.costs.problems(self.outcomes)

    def baseline(self, label: pd.Series) -> list[float]:
        """Return the frequency of each outcome."""
        counts = label.value_counts(normalize=True)
        return [float(counts.get(name, 0.0)) for name in self.classes]

    def linear(self) -> BaseEstimator:
        """Return a regularised (multinomial) logistic regression."""
        from sklearn.linear_model import LogisticRegression

        # regularised enough to converge although features nearly repeat each other
        return LogisticRegression(C=0.1, max_iter=500, tol=1e-3)

    def predict(self, pipeline: Pipeline, features: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Predict the probability of each outcome; one that did not occur in training has probability 0."""
        import numpy as np

        probabilities = np.zeros((len(features), len(self.outcomes)))
        predicted = pipeline.predict_proba(features)
        for position, name in enumerate(pipeline.classes_):
            if name in self.classes:
                probabilities[:, self.classes.index(name)] = predicted[:, position]
        return probabilities

    def trivial_loss(self, predictions: Predictions) -> float:
        """Return the log-loss of predicting the rows' own frequencies."""
        import numpy as np

        share = np.bincount(predictions.truth) / len(predictions)
        occurring = share[share > 0]
        return float(-(occurring * np.log(occurring)).sum())

    def losses(self, predictions: Predictions) -> np.ndarray:
        """Return the log-loss of each row: minus the logarithm of the predicted probability of the actual class."""
        import numpy as np

        return -np.log(np.clip(self._probability_of_truth(predictions), np.finfo(np.float64).eps, 1))

    @abstractmethod
    def _probability_of_truth(self, predictions: Predictions) -> np.ndarray:
        """Return the predicted probability of the actual class: shape (n_rows,)."""

    def bins(self, predicted: np.ndarray) -> tuple[np.ndarray, Sequence[float]]:
        """Return the bin of each probability among ten of equal width, and the bounds of the bins."""
        import numpy as np

        numbers = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
        return numbers, [number / BINS for number in range(BINS + 1)]

    @classmethod
    def range_shown(cls, bins: Sequence[Bin]) -> tuple[float, float]:  # noqa: ARG003
        """Return 0 and 1."""
        return 0, 1

    def entities_of(self, predictions: Predictions) -> dict[str, int]:
        """Count the entities to which each outcome happened."""
        import numpy as np

        return {
            outcome: len(np.unique(predictions.group[predictions.actual(column)]))
            for column, outcome in enumerate(self.outcomes)
        }

    def spread(self, predicted: np.ndarray) -> np.ndarray:
        """Return the standard deviation of an event with this probability."""
        import numpy as np

        deviation: np.ndarray = np.sqrt(np.clip(predicted * (1 - predicted), 0, None))
        return deviation

    def alone(
        self, mean: np.ndarray, group: np.ndarray, actual: np.ndarray, weights: np.ndarray
    ) -> tuple[float, float | None]:
        """Measure predictions by the rate of the group with log-loss and the area under the ROC curve."""
        import numpy as np

        positive = np.bincount(group, weights * actual, len(mean))
        negative = np.bincount(group, weights, len(mean)) - positive
        base = positive.sum() / (positive.sum() + negative.sum())
        trivial = -(positive.sum() * np.log(base) + negative.sum() * np.log(1 - base))
        loss = -(positive * np.log(mean) + negative * np.log(1 - mean)).sum()
        _, place = np.unique(mean, return_inverse=True)
        positive, negative = np.bincount(place, positive), np.bincount(place, negative)
        below = negative.cumsum() - negative / 2
        area = (positive * below).sum() / (positive.sum() * negative.sum())
        return float(1 - loss / trivial), float(area)

    def tells(self, actual: np.ndarray, entities: np.ndarray, *, rows: int, happened: int) -> bool:
        """Return whether the outcome has enough rows and entities, and does not happen everywhere."""
        return rows <= actual.sum() < len(actual) and len(set(entities[actual])) >= happened

    def smallest_effect(self, baseline: Sequence[float], outcome: str) -> float:  # noqa: ARG002
        """Return half a percentage point: `amount` would show a smaller effect as 0.00."""
        return 0.005

    def amount(self, effect: float) -> str:
        """Return an effect on a probability with two decimals."""
        return f"{effect:.2f}"

    def rank_quality(self, actual: np.ndarray, predicted: np.ndarray) -> float | None:
        """Return the area under the ROC curve."""
        from sklearn.metrics import roc_auc_score

        return None if actual.all() or not actual.any() else float(roc_auc_score(actual, predicted))

    def bias(self, actual: np.ndarray, predicted: np.ndarray) -> float:
        """Return the mean probability less the observed rate."""
        return float(predicted.mean() - actual.mean())
