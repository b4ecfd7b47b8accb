"""Untrainable models: the source holds too little for the model, while neither code nor data is at fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Untrainable:
    """The record that replaces a training set or a version of a model that cannot be trained.

    Attributes
    ----------
    reason : str
        Sentences for readers of the scores: why the model cannot be trained, and what would help.
    horizon_matters : bool
        Whether the model may be trainable over a shorter horizon.
    """

    reason: str
    horizon_matters: bool


class UntrainableError(ValueError):
    """A model cannot be trained on the rows that there are; `value` says why."""

    def __init__(self, reason: str, *, horizon_matters: bool = True) -> None:
        super().__init__(reason)
        self.value = Untrainable(reason=reason, horizon_matters=horizon_matters)
