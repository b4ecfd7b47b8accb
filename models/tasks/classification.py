"""Classification: which of two or more outcomes happens, as probabilities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models.pickled.scaling import SMALLEST, Scaling, logit
from models.tasks.costs import CostMatrix, Costs, ErrorCosts
from models.tasks.measures import calibration_error, means, ranking, totals
from models.tasks.task import Bin, ByOutcome, Choice, Predictions, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

BINS = 10
"""Bins of equal width in which probabilities are held to frequencies."""

EQUAL = 1e-12
"""Expected costs that differ by less, as a part of the highest cost, are equal."""

RECALL = "recall"
"""A gate on the recall of each outcome of a multiclass task."""


@dataclass(frozen=True)
class Classification(Task):
    """What classes have in common: probabilities, of which log-loss is the loss."""

    loss = "log_loss"
    loss_words = "log-loss"
    quantity = "probabilities"
    prefix = "probability_"
    suffix = "_probability"
    ranking = "AUC"
    scaled = True
    takes: ClassVar[type[Costs]]
    """The costs that can be declared."""

    @property
    @abstractmethod
    def classes(self) -> tuple[int | str, ...]:
        """The classes of a fitted pipeline whose probabilities are predicted, by column."""

    # costs of errors

    @property
    @abstractmethod
    def labels(self) -> tuple[int | str, ...]:
        """All classes, by the numbers of `truth`; each can be chosen, too."""

    @property
    @abstractmethod
    def choices(self) -> tuple[str, ...]:
        """How people call them."""

    @property
    @abstractmethod
    def constants(self) -> tuple[str, ...]:
        """How people call the choice of each class everywhere."""

    @property
    def cost_matrix(self) -> np.ndarray:
        """The declared costs by the number of the class that happens and of the one that is chosen."""
        if self.costs is None:
            raise ValueError(f"this {self.name} task declares no costs of errors")
        return self.costs.matrix(self.outcomes)

    def class_weights(self) -> dict[int | str, float]:
        """Return what a row of each class weighs in learning by costs: what it costs to miss it [1]_, over all errors.

        References
        ----------
        .. [1] C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, and for more than two classes
           K. Ting, "An Instance-Weighting Method to Induce Cost-Sensitive Trees", IEEE TKDE 14, 2002.
        """
        return dict(zip(self.labels, map(float, self.cost_matrix.sum(axis=1)), strict=True))

    @abstractmethod
    def choice(self, threshold: float | None = None) -> Choice:
        """Return how is chosen at the least expected cost, of probabilities that are true.

        Parameters
        ----------
        threshold : float, optional
            Of a binary task, another one than that of the costs.
        """

    @abstractmethod
    def choose(self, predicted: np.ndarray, choice: Choice) -> np.ndarray:
        """Return the number of the class that is chosen in each row: shape (n_rows,)."""

    @abstractmethod
    def of_all(self, predicted: np.ndarray) -> np.ndarray:
        """Return the probability of each class from predictions: shape (n_rows, n_classes)."""

    @abstractmethod
    def threshold(self) -> float | None:
        """Return the threshold that follows from the costs; None where classes have none of their own."""

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

        # strong enough to converge among features that nearly repeat each other
        return LogisticRegression(C=0.1, max_iter=500, tol=1e-3)

    def predict(self, pipeline: Pipeline, features: pd.DataFrame) -> np.ndarray:
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
        """Return the log-loss of each row: minus the logarithm of the probability that was given to what happened."""
        import numpy as np

        return -np.log(np.clip(self._given(predictions), np.finfo(np.float64).eps, 1))

    @abstractmethod
    def _given(self, predictions: Predictions) -> np.ndarray:
        """Return the probability that was given to what happened."""

    def bins(self, predicted: np.ndarray) -> tuple[np.ndarray, Sequence[float]]:
        """Return the bins of ten of equal width."""
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
        """Return that of an event of this probability."""
        import numpy as np

        deviation: np.ndarray = np.sqrt(np.clip(predicted * (1 - predicted), 0, None))
        return deviation

    def alone(
        self, mean: np.ndarray, group: np.ndarray, actual: np.ndarray, weights: np.ndarray
    ) -> tuple[float, float | None]:
        """Measure the rates of groups by log-loss and by the area under the ROC curve."""
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
        """Say whether the outcome has enough rows and entities, and does not happen everywhere."""
        return rows <= actual.sum() < len(actual) and len(set(entities[actual])) >= happened

    def smallest_effect(self, baseline: Sequence[float], outcome: str) -> float:  # noqa: ARG002
        """Return half a percentage point: below it an effect would read as 0.00 or 0.01."""
        return 0.005

    def amount(self, effect: float) -> str:
        """Return an effect in parts of 1."""
        return f"{effect:.2f}"

    def rank_quality(self, actual: np.ndarray, predicted: np.ndarray) -> float | None:
        """Return the area under the ROC curve."""
        from sklearn.metrics import roc_auc_score

        return None if actual.all() or not actual.any() else float(roc_auc_score(actual, predicted))

    def bias(self, actual: np.ndarray, predicted: np.ndarray) -> float:
        """Return the mean probability less the observed rate."""
        return float(predicted.mean() - actual.mean())


@dataclass(frozen=True)
class Binary(Classification):
    """Whether one outcome happens; labels are 0 and 1, or booleans."""

    name = "binary"
    metrics = ("auc", "pr_auc", "brier", "log_loss", "ece_10", "base_rate")
    less_is_better = frozenset({"brier", "log_loss", "ece_10"})
    area = "auc"
    graded = True
    predicted_is = "Predicted are the rows at least as probable as the training rows on average."
    takes = ErrorCosts

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The positive one."""
        return (1,)

    @property
    def labels(self) -> tuple[int | str, ...]:
        """Whether the outcome happens."""
        return (0, 1)

    @property
    def choices(self) -> tuple[str, ...]:
        """Whether the outcome happens, in words."""
        return f"not {self.outcomes[0]}", self.outcomes[0]

    @property
    def constants(self) -> tuple[str, ...]:
        """To act on nothing, and on everything."""
        return ("never act", "always act")

    def threshold(self) -> float | None:
        """Return the probability from which on a missed chance is dearer than a wasted action."""
        wasted, missed = self.cost_matrix[[0, 1], [1, 0]]
        return float(wasted / (wasted + missed))

    def choice(self, threshold: float | None = None) -> Choice:
        """Return the threshold."""
        return {"threshold": self.threshold() if threshold is None else threshold}

    def choose(self, predicted: np.ndarray, choice: Choice) -> np.ndarray:
        """Return 1 where the probability is the threshold or more."""
        picked: np.ndarray = (predicted[:, 0] >= choice["threshold"]).astype("int64")
        return picked

    def chosen(self, predicted: np.ndarray, choice: Choice | None) -> np.ndarray | None:
        """Say of each probability whether it is the threshold or more."""
        return None if choice is None else self.choose(predicted, choice)[:, None] == 1

    def of_all(self, predicted: np.ndarray) -> np.ndarray:
        """Return the probability that the outcome does not happen, and that it does."""
        import numpy as np

        return np.column_stack([1 - predicted[:, 0], predicted[:, 0]])

    def problems(self) -> list[str]:
        """Demand one outcome, and costs of its two errors if there are any."""
        found = [] if len(self.outcomes) == 1 else [f"a binary task has one outcome, found {self.outcomes}"]
        return found + self._cost_problems()

    def cast(self, label: pd.Series) -> pd.Series:
        """Return 0 and 1."""
        return label.astype("int64")

    def unknown(self, label: pd.Series) -> tuple[pd.Series, str]:
        """Expect 0 and 1."""
        return ~label.isin((0, 1)), "[0, 1]"

    def truth(self, label: pd.Series) -> np.ndarray:
        """Return 1 where the outcome happened, and 0."""
        return label.to_numpy(dtype="int64")

    def named(self, truth: float) -> str:
        """Return the label."""
        return str(int(truth))

    def observed_sql(self, column: str) -> str:
        """Return 0 or 1, also of a boolean."""
        return f"cast({column} as integer)"

    def fit_scaling(self, predictions: Predictions, weights: np.ndarray) -> Scaling | None:
        """Fit Platt's sigmoid on the logit."""
        from sklearn.linear_model import LogisticRegression

        logistic = LogisticRegression(C=1e6, solver="newton-cholesky").fit(
            logit(predictions.predicted), predictions.truth, sample_weight=weights / weights.mean()
        )
        return Scaling(method="sigmoid", slope=float(logistic.coef_[0, 0]), intercept=float(logistic.intercept_[0]))

    def actual(self, truth: np.ndarray, column: int) -> np.ndarray:  # noqa: ARG002
        """Say of each row whether the outcome happened."""
        happened: np.ndarray = truth == 1
        return happened

    def measure(
        self,
        predictions: Predictions,
        weights: np.ndarray,
        by_outcome: ByOutcome | None = None,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
        """Measure ranking, calibration and what they come to."""
        p = predictions.predicted[:, 0]
        auc, average_precision = ranking(predictions.truth == 1, p, predictions.group, weights)
        return {
            "auc": auc,
            "pr_auc": average_precision,
            "brier": means(predictions, (p - predictions.truth) ** 2, weights),
            "log_loss": means(predictions, self.losses(predictions), weights),
            "ece_10": calibration_error(predictions, weights),
            "base_rate": means(predictions, predictions.truth.astype("float64"), weights),
        }

    def confusion(self, predictions: Predictions, baseline: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:
        """Count the outcome as predicted where it is at least as probable as in the training rows on average."""
        import numpy as np

        predicted = (predictions.predicted[:, 0] >= baseline[0]).astype(int)
        counts = np.bincount(predictions.truth * 2 + predicted, minlength=4).reshape(2, 2)
        return self.choices, counts

    def worth(self, predictions: Predictions, value: np.ndarray) -> tuple[float, float] | None:
        """Return the values by their probability, and those of the entities to which it happened."""
        return float(predictions.predicted[:, 0] @ value), float(predictions.truth @ value)

    def score(self, predicted: np.ndarray) -> list[int | None]:
        """Return the probability in per cent, 1 to 99."""
        import numpy as np

        return [int(each) for each in np.clip(np.rint(100 * predicted), 1, 99)]

    def _given(self, predictions: Predictions) -> np.ndarray:
        import numpy as np

        p = predictions.predicted[:, 0]
        return np.where(predictions.truth == 1, p, 1 - p)


@dataclass(frozen=True)
class Multiclass(Classification):
    """Which one of three or more outcomes happens; labels are their names."""

    name = "multiclass"
    metrics = ("accuracy", "weighted_f1", "macro_f1", "macro_auc", "log_loss")
    less_is_better = frozenset({"log_loss"})
    area = "macro_auc"
    predicted_is = "Predicted is the most probable class."
    by_outcome_gates = (RECALL,)
    takes = CostMatrix

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The outcomes."""
        return self.outcomes

    @property
    def labels(self) -> tuple[int | str, ...]:
        """The outcomes."""
        return self.outcomes

    @property
    def choices(self) -> tuple[str, ...]:
        """The outcomes."""
        return self.outcomes

    @property
    def constants(self) -> tuple[str, ...]:
        """To choose the same outcome everywhere."""
        return tuple(f"always {name}" for name in self.outcomes)

    def threshold(self) -> float | None:
        """Return None: what is chosen depends on all probabilities of a row."""
        return None

    def choice(self, threshold: float | None = None) -> Choice:  # noqa: ARG002
        """Return the costs."""
        return {"costs": self.cost_matrix.tolist()}

    def choose(self, predicted: np.ndarray, choice: Choice) -> np.ndarray:
        """Return the outcome of the least expected cost; of equal ones the first declared."""
        import numpy as np

        costs = np.array(choice["costs"])
        # term by term: a product of matrices may round equal sums differently from row to row
        expected = sum(predicted[:, [number]] * line for number, line in enumerate(costs))
        # what differs by rounding alone is equal
        near: np.ndarray = expected <= expected.min(axis=1, keepdims=True) + EQUAL * costs.max()
        return near.argmax(axis=1)

    def chosen(self, predicted: np.ndarray, choice: Choice | None) -> np.ndarray | None:
        """Say of each outcome of a row whether it is the chosen one."""
        import numpy as np

        return None if choice is None else self.choose(predicted, choice)[:, None] == np.arange(len(self.outcomes))

    def of_all(self, predicted: np.ndarray) -> np.ndarray:
        """Return them as they are."""
        return predicted

    def problems(self) -> list[str]:
        """Demand three outcomes that differ, and costs of all their errors if there are any."""
        found = []
        if len(self.outcomes) < 3:
            found.append(f"a multiclass task has three or more outcomes, found {self.outcomes}")
        if len(set(self.outcomes)) != len(self.outcomes):
            found.append(f"outcomes must differ, found {self.outcomes}")
        return found + self._cost_problems()

    def cast(self, label: pd.Series) -> pd.Series:
        """Return texts."""
        return label.astype(str)

    def unknown(self, label: pd.Series) -> tuple[pd.Series, str]:
        """Expect the declared outcomes."""
        return ~label.isin(self.outcomes), str(list(self.outcomes))

    def truth(self, label: pd.Series) -> np.ndarray:
        """Return the position among the outcomes."""
        return label.map({name: number for number, name in enumerate(self.outcomes)}).to_numpy(dtype="int64")

    def named(self, truth: float) -> str:
        """Return the outcome."""
        return repr(self.outcomes[int(truth)])

    def fit_scaling(self, predictions: Predictions, weights: np.ndarray) -> Scaling | None:
        """Fit one temperature."""
        import numpy as np
        from scipy.optimize import minimize_scalar

        rows = np.arange(len(predictions))
        logits = np.log(np.clip(predictions.predicted, SMALLEST, 1))

        def log_loss(log_slope: float) -> float:
            scaled = np.exp(log_slope) * logits
            highest = scaled.max(axis=1)
            normaliser = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
            return float(np.average(normaliser - scaled[rows, predictions.truth], weights=weights))

        found = minimize_scalar(log_loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6})
        return Scaling(method="temperature", slope=float(np.exp(found.x)), intercept=0.0)

    def actual(self, truth: np.ndarray, column: int) -> np.ndarray:
        """Say of each row whether the outcome happened."""
        happened: np.ndarray = truth == column
        return happened

    def by_outcome(self, predictions: Predictions, weights: np.ndarray) -> ByOutcome:
        """Measure each outcome: share of the rows, precision, recall, F1 and area under the curve.

        The outcome of the highest probability counts as predicted.

        Returns
        -------
        dict of str to dict of str to ndarray of shape (n_weightings,)
            By outcome and measure. NaN: recall and F1 of an outcome that does not occur, precision of one that is
            never predicted, and the area where it occurs nowhere or everywhere.
        """
        import numpy as np

        chosen = predictions.predicted.argmax(axis=1)
        measured = {}
        n = totals(predictions, weights, np.ones((len(predictions), 1)))[:, 0]
        for number, outcome in enumerate(self.outcomes):
            happened, named = predictions.actual(number), chosen == number
            hits, occurring, predicted = totals(
                predictions, weights, np.column_stack([happened & named, happened, named])
            ).T
            with np.errstate(invalid="ignore", divide="ignore"):
                measured[outcome] = {
                    "share": occurring / n,
                    "precision": hits / predicted,
                    "recall": hits / occurring,
                    "f1": np.where(occurring > 0, 2 * hits / (occurring + predicted), np.nan),
                    "auc": ranking(happened, predictions.predicted[:, number], predictions.group, weights)[0],
                }
        return measured

    def measure(
        self, predictions: Predictions, weights: np.ndarray, by_outcome: ByOutcome | None = None
    ) -> dict[str, np.ndarray]:
        """Measure the choice of the most probable outcome, and the means over the outcomes."""
        import numpy as np

        each_outcome = self.by_outcome(predictions, weights) if by_outcome is None else by_outcome
        shares, f1, areas = (
            np.array([each[name] for each in each_outcome.values()]) for name in ("share", "f1", "auc")
        )
        # the means are over the outcomes that occur or, for F1, are named; one on one side only has no area
        chosen = predictions.predicted.argmax(axis=1)
        named = totals(predictions, weights, chosen[:, None] == np.arange(len(self.outcomes))).T > 0
        f1 = np.nan_to_num(f1)
        counted = (shares > 0) | named
        defined = ~np.isnan(areas)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "accuracy": means(predictions, (chosen == predictions.truth).astype("float64"), weights),
                "weighted_f1": (f1 * shares).sum(axis=0),
                "macro_f1": (f1 * counted).sum(axis=0) / counted.sum(axis=0),
                "macro_auc": np.where(defined, areas, 0).sum(axis=0) / defined.sum(axis=0),
                "log_loss": means(predictions, self.losses(predictions), weights),
            }

    def confusion(self, predictions: Predictions, baseline: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:  # noqa: ARG002
        """Count the most probable outcome as predicted."""
        import numpy as np

        n = len(self.outcomes)
        numbers = predictions.truth * n + predictions.predicted.argmax(axis=1)
        return self.outcomes, np.bincount(numbers, minlength=n * n).reshape(n, n)

    def _given(self, predictions: Predictions) -> np.ndarray:
        import numpy as np

        given: np.ndarray = predictions.predicted[np.arange(len(predictions)), predictions.truth]
        return given
