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
