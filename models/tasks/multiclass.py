"""One of several outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.pickled.scaling import SMALLEST, Scaling
from models.tasks.classification import EQUAL, RECALL, Classification
from models.tasks.costs import CostMatrix
from models.tasks.measures import means, ranking, totals
from models.tasks.task import ByOutcome, Choice, Predictions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Multiclass(Classification):
    """Which one of three or more outcomes happens; labels are their names."""

    name = "multiclass"
    metrics = ("accuracy", "weighted_f1", "macro_f1", "macro_auc", "log_loss")
    less_is_better = frozenset({"log_loss"})
    area = "macro_auc"
    predicted_is = "The most probable class counts as predicted."
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
        """The names of choosing one outcome in every row."""
        return tuple(f"always {name}" for name in self.outcomes)

    def threshold(self) -> float | None:
        """Return None: the choice depends on all probabilities of a row."""
        return None

    def choice(self, threshold: float | None = None) -> Choice:  # noqa: ARG002
        """Return the costs, from which `choose` works."""
        return {"costs": self.cost_matrix.tolist()}

    def choose(self, predicted: np.ndarray, choice: Choice) -> np.ndarray:
        """Return the number of the outcome with the least expected cost; if costs are equal, the first declared."""
        import numpy as np

        costs = np.array(choice["costs"])
        # term by term: a product of matrices may round equal sums differently from row to row
        expected = sum(predicted[:, [number]] * line for number, line in enumerate(costs))
        # costs that differ only by rounding are equal
        is_cheapest: np.ndarray = expected <= expected.min(axis=1, keepdims=True) + EQUAL * costs.max()
        return is_cheapest.argmax(axis=1)

    def chosen(self, predicted: np.ndarray, choice: Choice | None) -> np.ndarray | None:
        """Return whether each outcome is the chosen one of its row: shape (n_rows, n_outcomes)."""
        import numpy as np

        return None if choice is None else self.choose(predicted, choice)[:, None] == np.arange(len(self.outcomes))

    def of_all(self, predicted: np.ndarray) -> np.ndarray:
        """Return the predictions unchanged."""
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
        """Return labels as texts."""
        return label.astype(str)

    def unknown(self, label: pd.Series) -> tuple[pd.Series, str]:
        """Return which labels are no declared outcome, and what was expected."""
        return ~label.isin(self.outcomes), str(list(self.outcomes))

    def truth(self, label: pd.Series) -> np.ndarray:
        """Return the position of each label among the outcomes."""
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
        """Return whether the outcome of a column happened, by row."""
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
            happened, is_predicted = predictions.actual(number), chosen == number
            hits, occurring, predicted = totals(
                predictions, weights, np.column_stack([happened & is_predicted, happened, is_predicted])
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
        """Measure the most probable outcome as the prediction, and means over the outcomes."""
        import numpy as np

        each_outcome = self.by_outcome(predictions, weights) if by_outcome is None else by_outcome
        shares, f1, areas = (
            np.array([each[name] for each in each_outcome.values()]) for name in ("share", "f1", "auc")
        )
        # means are over outcomes that occur or, for F1, are predicted; an outcome of no row or every row has no area
        chosen = predictions.predicted.argmax(axis=1)
        is_predicted = totals(predictions, weights, chosen[:, None] == np.arange(len(self.outcomes))).T > 0
        f1 = np.nan_to_num(f1)
        counted = (shares > 0) | is_predicted
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
        """Count rows; the most probable outcome counts as predicted."""
        import numpy as np

        n = len(self.outcomes)
        numbers = predictions.truth * n + predictions.predicted.argmax(axis=1)
        return self.outcomes, np.bincount(numbers, minlength=n * n).reshape(n, n)

    def _probability_of_truth(self, predictions: Predictions) -> np.ndarray:
        import numpy as np

        probability: np.ndarray = predictions.predicted[np.arange(len(predictions)), predictions.truth]
        return probability
