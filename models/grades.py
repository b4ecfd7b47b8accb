"""Grades: bands of probability, cut where they divide a census, and kept until somebody asks for new ones."""

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
        Of the model that they were cut for.
    quantiles : mapping of str to float
        As declared then, from the best grade to the worst.
    bounds : mapping of str to float
        The lowest probability of each grade that is given, likewise.
    """

    horizon_days: int
    quantiles: Mapping[str, float]
    bounds: Mapping[str, float]


def why_new_grades(kept: GradesInForce | None, declaration: ModelDeclaration, *, asked: bool) -> str | None:
    """Say why grades are cut anew for a champion, or None where those in force are kept.

    A grade is a promise about a probability, so it outlives the version that it was cut for: what is as likely as
    before keeps its grade.
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
        Where two would begin together the better one is left out, so there are fewer.
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
