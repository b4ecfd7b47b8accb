"""What cannot be learnt from: a model whose source holds too little for it is no fault of code or data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Untrainable:
    """What stands in place of a training set or a version where a model cannot be trained.

    Attributes
    ----------
    reason : str
        Why, and what would help: sentences for whoever reads the scores.
    horizon_matters : bool
        Whether it may be otherwise over a shorter horizon.
    """

    reason: str
    horizon_matters: bool


class UntrainableError(ValueError):
    """A model cannot be trained on what is there; `value` says why."""

    def __init__(self, reason: str, *, horizon_matters: bool = True) -> None:
        super().__init__(reason)
        self.value = Untrainable(reason=reason, horizon_matters=horizon_matters)
