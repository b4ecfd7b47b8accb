"""Gates: the declared bounds of a version, each beside its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.declaring.policies import COST_AT_LEAST, COST_GATES
from models.evaluation.records import Evaluation


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A declared bound with the measured value.

    Attributes
    ----------
    name : str
        A metric, ``recall_<outcome>``, ``f1`` of the choice by costs, or one of `models.declaring.policies.COST_GATES`.
    value : float or None
        None where it is undefined.
    bound : float
    at_most : bool
        Whether the bound is a maximum; else it is a minimum.
    undefined : str
        Why there is no value.
    """

    name: str
    value: float | None
    bound: float
    at_most: bool
    undefined: str

    @property
    def met(self) -> bool:
        """Whether the value is there and keeps the bound."""
        if self.value is None:
            return False
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    @property
    def sentence(self) -> str:
        """The value and the bound, for people."""
        if self.value is None:
            return f"{self.name} is undefined: {self.undefined}"
        side = "most" if self.at_most else "least"
        return f"{self.name} is {self.value:.4g}, its gate at {side} {self.bound:g}"


def gates(
    declared: Mapping[str, float],
    evaluation: Evaluation,
    cost: Mapping[str, float],
) -> tuple[Gate, ...]:
    """Compare measured values with the declared bounds; a gate by outcome applies to each outcome that occurs.

    Parameters
    ----------
    declared : mapping of str to float
        `models.declaring.declaration.ModelDeclaration.gates`.
    evaluation : Evaluation
    cost : mapping of str to float
        `models.versions.candidate.Candidate.cost`.
    """
    cross_validation = evaluation.validation.cross_validation
    chosen = {} if evaluation.costs is None else evaluation.costs.chosen
    found: dict[str, tuple[float | None, str]] = {
        **{name: (value, evaluation.undefined.get(name, "")) for name, value in evaluation.metrics.items()},
        "cv_spread": (None, evaluation.validation.note) if cross_validation is None else (cross_validation.spread, ""),
        **{name: (each.value, "nothing is chosen and nothing happens") for name, each in chosen.items()},
        **{name: (value, "") for name, value in cost.items()},
    }
    at_most = {*evaluation.kind.less_is_better, *COST_GATES} - COST_AT_LEAST
    measured = []
    for name, bound in declared.items():
        values: Mapping[str, tuple[float | None, str]] = (
            {
                f"{name}_{outcome}": (each[name].value, "")
                for outcome, each in evaluation.classes.items()
                if each[name].value is not None
            }
            if name in evaluation.kind.by_outcome_gates
            else {name: found[name]}
        )
        measured += [
            Gate(
                name=each,
                value=value,
                bound=bound,
                at_most=name in at_most,
                undefined=undefined,
            )
            for each, (value, undefined) in values.items()
        ]
    return tuple(measured)
