"""Grades: bands of probability whose bounds divide a census as declared, and stay until somebody asks for new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class GradesInForce:
    """The grades of a model.

    Attributes
    ----------
    horizon_days : int
        The horizon of the model when the bounds were cut.
    quantiles : mapping of str to float
        The quantiles declared at that time, from the best grade to the worst.
    bounds : mapping of str to float
        The lowest probability of each grade in use, in the same order.
    """

    horizon_days: int
    quantiles: Mapping[str, float]
    bounds: Mapping[str, float]


def why_new_grades(kept: GradesInForce | None, declaration: ModelDeclaration, *, asked: bool) -> str | None:
    """Return why the grades of a champion get new bounds, as a sentence; None if they keep those in force.

    A grade stands for a probability, so a new version keeps the bounds: an entity that is as likely as before keeps its
    grade.
    """
    if not declaration.grades:
        return None
    if kept is None:
        return "These are the first grades of the model."
    if kept.horizon_days != declaration.horizon_days:
        return f"The horizon is {declaration.horizon_days} days now, and was {kept.horizon_days}."
    if dict(kept.quantiles) != dict(declaration.grades):
        return f"The declaration says {dict(declaration.grades)} now, and said {dict(kept.quantiles)}."
    return "New grades were asked for." if asked else None


def grade_bounds(declaration: ModelDeclaration, probability: np.ndarray) -> dict[str, float]:
    """Cut grades at the declared quantiles of the probabilities of a census.

    Returns
    -------
    dict of str to float
        The lowest probability of each grade, strictly falling from the best grade to the worst, which begins at 0.
        If two grades would have the same bound, the better one is left out.
    """
    import numpy as np

    if not len(probability):
        return {}
    cut = {
        grade: float(np.quantile(probability, quantile)) if quantile else 0.0
        for grade, quantile in declaration.grades.items()
    }
    bounds: dict[str, float] = {}
    for grade in reversed(cut):
        if not bounds or cut[grade] > max(bounds.values()):
            bounds[grade] = cut[grade]
    return dict(reversed(bounds.items()))


def grades_of(probability: np.ndarray, bounds: Mapping[str, float]) -> list[str | None]:
    """Return for each probability the best grade whose bound it reaches, or None where there are no grades."""
    if not bounds:
        return [None] * len(probability)
    names = list(bounds)
    reached = probability[:, None] >= list(bounds.values())
    return [names[k] for k in reached.argmax(axis=1)]
