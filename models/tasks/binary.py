"""One outcome that happens or does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.pickled.scaling import Scaling, logit
from models.tasks.classification import Classification
from models.tasks.costs import ErrorCosts
from models.tasks.measures import calibration_error, means, ranking
from models.tasks.task import ByOutcome, Choice, Predictions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Binary(Classification):
    """Whether one outcome happens; labels are 0 and 1, or booleans."""

    name = "binary"
    metrics = ("auc", "pr_auc", "brier", "log_loss", "ece_10", "base_rate")
    less_is_better = frozenset({"brier", "log_loss", "ece_10"})
    area = "auc"
    graded = True
    predicted_is = "A row counts as predicted if its probability reaches the frequency in the training rows."
    takes = ErrorCosts

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The positive class alone, 1."""
        return (1,)

    @property
    def labels(self) -> tuple[int | str, ...]:
        """Both classes: 0 if the outcome does not happen, and 1."""
        return (0, 1)

    @property
    def choices(self) -> tuple[str, ...]:
        """The names of both classes, for people."""
        return f"not {self.outcomes[0]}", self.outcomes[0]

    @property
    def constants(self) -> tuple[str, ...]:
        """The names of acting on no row, and on every row."""
        return ("never act", "always act")

    @property
    def chosen_gates(self) -> tuple[str, ...]:
        """Precision, recall and F1 at the threshold, if there are costs."""
        return () if self.costs is None else ("precision", "recall", "f1")

    def threshold(self) -> float | None:
        """Return the probability from which on not acting costs more than acting, on average."""
        wasted, missed = self.cost_matrix[[0, 1], [1, 0]]
        return float(wasted / (wasted + missed))

    def choice(self, threshold: float | None = None) -> Choice:
        """Return the threshold, by default that of the costs."""
        return {"threshold": self.threshold() if threshold is None else threshold}

    def choose(self, predicted: np.ndarray, choice: Choice) -> np.ndarray:
        """Return 1 where the probability reaches the threshold, else 0."""
        picked: np.ndarray = (predicted[:, 0] >= choice["threshold"]).astype("int64")
        return picked

    def chosen(self, predicted: np.ndarray, choice: Choice | None) -> np.ndarray | None:
        """Return whether each probability reaches the threshold: shape (n_rows, 1)."""
        return None if choice is None else self.choose(predicted, choice)[:, None] == 1

    def of_all(self, predicted: np.ndarray) -> np.ndarray:
        """Return the probabilities of both classes: shape (n_rows, 2)."""
        import numpy as np

        return np.column_stack([1 - predicted[:, 0], predicted[:, 0]])

    def problems(self) -> list[str]:
        """Demand one outcome, and costs of its two errors if there are any."""
        found = [] if len(self.outcomes) == 1 else [f"a binary task has one outcome, found {self.outcomes}"]
        return found + self._cost_problems()

    def cast(self, label: pd.Series) -> pd.Series:
        """Return labels as the integers 0 and 1."""
        return label.astype("int64")

    def unknown(self, label: pd.Series) -> tuple[pd.Series, str]:
        """Return which labels are neither 0 nor 1, and what was expected."""
        return ~label.isin((0, 1)), "[0, 1]"

    def truth(self, label: pd.Series) -> np.ndarray:
        """Return 1 where the outcome happened, else 0."""
        return label.to_numpy(dtype="int64")

    def named(self, truth: float) -> str:
        """Return the label as text."""
        return str(int(truth))

    def observed_sql(self, column: str) -> str:
        """Return a cast to 0 or 1, as labels may be booleans."""
        return f"cast({column} as integer)"

    def fit_scaling(self, predictions: Predictions, weights: np.ndarray) -> Scaling | None:
        """Fit Platt's sigmoid on the logit."""
        from sklearn.linear_model import LogisticRegression

        logistic = LogisticRegression(C=1e6, solver="newton-cholesky").fit(
            logit(predictions.predicted), predictions.truth, sample_weight=weights / weights.mean()
        )
        return Scaling(method="sigmoid", slope=float(logistic.coef_[0, 0]), intercept=float(logistic.intercept_[0]))

    def actual(self, truth: np.ndarray, column: int) -> np.ndarray:  # noqa: ARG002
        """Return whether the outcome happened, by row."""
        happened: np.ndarray = truth == 1
        return happened

    def measure(
        self,
        predictions: Predictions,
        weights: np.ndarray,
        by_outcome: ByOutcome | None = None,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
        """Measure ranking, calibration, losses and the base rate."""
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
        """Count rows; the outcome is predicted where its probability reaches its frequency in training."""
        import numpy as np

        predicted = (predictions.predicted[:, 0] >= baseline[0]).astype(int)
        counts = np.bincount(predictions.truth * 2 + predicted, minlength=4).reshape(2, 2)
        return self.choices, counts

    def worth(self, predictions: Predictions, value: np.ndarray) -> tuple[float, float] | None:
        """Return the sum of probability times value, and the sum of the values where the outcome happened."""
        return float(predictions.predicted[:, 0] @ value), float(predictions.truth @ value)

    def score(self, predicted: np.ndarray) -> list[int | None]:
        """Return the probability in per cent, 1 to 99."""
        import numpy as np

        return [int(each) for each in np.clip(np.rint(100 * predicted), 1, 99)]

    def _probability_of_truth(self, predictions: Predictions) -> np.ndarray:
        import numpy as np

        p = predictions.predicted[:, 0]
        return np.where(predictions.truth == 1, p, 1 - p)
