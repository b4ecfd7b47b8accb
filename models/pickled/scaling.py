"""A change of probabilities, linear in their logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1 where their logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A change of probabilities, linear in their logits.

    Attributes
    ----------
    method : {"sigmoid", "temperature"}
        Platt's sigmoid on the logit of a binary task [1]_; one temperature, 1 / slope, for a multiclass one [2]_.
    slope : float
        Below 1 the probabilities were too far from the base rate, above 1 too near to it.
    intercept : float
        Above 0 the outcome is more frequent than predicted; 0 for a multiclass task.

    References
    ----------
    .. [1] J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    .. [2] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """

    method: Literal["sigmoid", "temperature"]
    slope: float
    intercept: float

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Return the scaled probabilities: shape (n_rows, n_outcomes), one column for a binary task."""
        import numpy as np

        if self.method == "sigmoid":
            scaled: np.ndarray = 1 / (1 + np.exp(-(self.slope * logit(probability) + self.intercept)))
            return scaled
        logits = self.slope * np.log(np.clip(probability, SMALLEST, 1))
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        # a probability of 0 stays 0
        exponentials = np.where(probability > 0, exponentials, 0)
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def logit(probability: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities, which are kept off 0 and 1."""
    import numpy as np

    p = np.clip(probability, SMALLEST, 1 - SMALLEST)
    logit: np.ndarray = np.log(p / (1 - p))
    return logit
