"""Costs of errors, as the declaration of a classification task states them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Costs(ABC):
    """Costs of errors, in any unit: only their proportions count."""

    @abstractmethod
    def problems(self, outcomes: Sequence[str]) -> list[str]:
        """Return what is wrong with the costs for a task with these outcomes."""

    @abstractmethod
    def matrix(self, outcomes: Sequence[str]) -> np.ndarray:
        """Return the costs: a line for each class that happens, a column for each that is chosen."""


@dataclass(frozen=True, kw_only=True)
class ErrorCosts(Costs):
    """The costs of the two errors of a binary task.

    Parameters
    ----------
    false_positive : float
        The outcome is acted on and does not happen: an action is wasted.
    false_negative : float
        The outcome happens and was not acted on: a chance is missed.
    """

    false_positive: float
    false_negative: float

    def problems(self, outcomes: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Demand two costs above 0: where an error is free, the same is chosen everywhere."""
        return [
            f"the cost of a {name} must be a number above 0, found {value!r}: where an error costs nothing, the same "
            "is chosen everywhere"
            for name, value in (("false_positive", self.false_positive), ("false_negative", self.false_negative))
            if not (_is_number(value) and value > 0)
        ]

    def matrix(self, outcomes: Sequence[str]) -> np.ndarray:  # noqa: ARG002
        """Return the costs: lines by whether the outcome happens, columns by whether it is acted on."""
        import numpy as np

        return np.array([[0, self.false_positive], [self.false_negative, 0]], dtype="float64")


@dataclass(frozen=True)
class CostMatrix(Costs):
    """The cost of each error of a multiclass task.

    Parameters
    ----------
    costs : mapping of str to mapping of str to float
        Cost by the outcome that happens and the outcome that is chosen. A right choice costs 0 and may be left out.
    """

    costs: Mapping[str, Mapping[str, float]]

    def problems(self, outcomes: Sequence[str]) -> list[str]:
        """Demand a cost for each pair of outcomes that differ, and that no outcome or choice is free."""
        named = [*self.costs, *(chosen for line in self.costs.values() for chosen in line)]
        unknown = sorted({name for name in named if name not in outcomes})
        missing = [
            f"{happens} → {chosen}"
            for happens in outcomes
            for chosen in outcomes
            if happens != chosen and chosen not in self.costs.get(happens, {})
        ]
        given = {(happens, chosen): cost for happens, line in self.costs.items() for chosen, cost in line.items()}
        wrong = [f"{a} → {b} ({cost!r})" for (a, b), cost in given.items() if not (_is_number(cost) and cost >= 0)]
        right = [f"{a} ({cost!r})" for (a, b), cost in given.items() if a == b and cost != 0]
        found = [
            f"costs {words} {', '.join(names)}"
            for words, names in (
                ("name outcomes that the task does not have:", unknown),
                ("are missing for", missing),
                ("must be numbers of 0 or more, found", wrong),
                ("of right choices must be 0, found", right),
            )
            if names
        ]
        if found:
            return found
        matrix = self.matrix(outcomes)
        free = [name for name, cost in zip(outcomes, matrix.sum(axis=1), strict=True) if not cost]
        safe = [name for name, cost in zip(outcomes, matrix.sum(axis=0), strict=True) if not cost]
        if free:
            found.append(f"costs of all errors are 0 where {', '.join(free)} happens, so nothing tells it apart")
        if safe:
            found.append(f"costs are 0 whatever happens where {', '.join(safe)} is chosen, so it is chosen everywhere")
        return found

    def matrix(self, outcomes: Sequence[str]) -> np.ndarray:
        """Return the costs: lines by the outcome that happens, columns by the chosen one."""
        import numpy as np

        return np.array(
            [[self.costs[happens].get(chosen, 0) for chosen in outcomes] for happens in outcomes], dtype="float64"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
