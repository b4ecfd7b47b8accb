"""Hindsight: what a feature tells before the outcome that only somebody who knew the outcome could have entered.

A replay cannot find this, for the source itself holds the value as if it had been there from the start: the price of a
deal that is 0 once the deal is lost, an address that is asked for with the contract. Two measures show it. How well a
feature predicts alone, on held-out rows. And whether it takes a value only in entities that were settled later, and
never in those that are still open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.evaluation.one_sided import ENOUGH, Groups, OneSided
from models.evaluation.validation import Observed

if TYPE_CHECKING:
    import numpy as np

RECENT_DAYS = 180
"""How far back recent rows reach: long enough for sales that take months, and short enough for the world to be one."""

ENOUGH_HAPPENED = 10
"""Entities of an outcome below which nothing is too good: rows of one entity are much alike."""


@dataclass(frozen=True, kw_only=True)
class Alone:
    """How well one feature predicts an outcome alone, on held-out rows that count for what they stand for.

    Attributes
    ----------
    feature, outcome : str
        The outcome that it predicts best.
    skill : float
        1 - log-loss / log-loss of the plain frequency of these rows: 0 says nothing, 1 says everything.
    auc : float
    """

    feature: str
    outcome: str
    skill: float
    auc: float


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """What was measured of each feature; one of which too little is known is left out.

    Attributes
    ----------
    alone : tuple of Alone
        The best first.
    one_sided : tuple of OneSided
        Of each feature the value of which least was seen on the other side; the least first.
    """

    alone: tuple[Alone, ...]
    one_sided: tuple[OneSided, ...]


def measure_alone(train: Observed, test: Observed, outcomes: tuple[str, ...]) -> tuple[Alone, ...]:
    """Predict each outcome from each feature alone: by its rate among the training rows of a group of values.

    Parameters
    ----------
    train, test : Observed
        The rates are those of `train`, and what they are worth is measured on `test`.
    outcomes : tuple of str
        For a binary task the one positive outcome.

    Returns
    -------
    tuple of Alone
        The best first, each feature with the outcome that it predicts best. An outcome that occurs in fewer than
        `ENOUGH` rows of a side, to fewer than `ENOUGH_HAPPENED` entities, or everywhere there, is left out.
    """
    import numpy as np

    binary = len(outcomes) == 1
    happened = {}
    for outcome in outcomes:
        sides = [(side.label == (1 if binary else outcome)).to_numpy() for side in (train, test)]
        whom = [len(np.unique(rows.entities[side])) for rows, side in zip((train, test), sides, strict=True)]
        if all(ENOUGH <= side.sum() < len(side) for side in sides) and min(whom) >= ENOUGH_HAPPENED:
            happened[outcome] = sides
    found = []
    for feature in map(str, train.features.columns):
        groups = Groups(train.features[feature])
        there, here = groups.of(train.features[feature]), groups.of(test.features[feature])
        known = np.bincount(there, train.stands_for, len(groups))
        rows = np.bincount(here, test.stands_for, len(groups))
        measured = []
        for outcome, (learnt, occurred) in happened.items():
            hits = np.bincount(there, train.stands_for * learnt, len(groups))
            base = hits.sum() / known.sum()
            # a group of few rows says little: as if as many rows as are enough had been added to it at the plain rate
            added = ENOUGH * train.stands_for.mean()
            rate = (hits + added * base) / (known + added)
            positive = np.bincount(here, test.stands_for * occurred, len(groups))
            measured.append(
                Alone(
                    feature=feature,
                    outcome=outcome,
                    skill=_skill(rate, positive, rows - positive),
                    auc=_area(rate, positive, rows - positive),
                )
            )
        if measured:
            found.append(max(measured, key=lambda each: each.skill))
    return tuple(sorted(found, key=lambda each: (-each.skill, each.feature)))


def _skill(rate: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the skill of predicting a rate in each group, of what happened there and what did not."""
    import numpy as np

    base = positive.sum() / (positive.sum() + negative.sum())
    trivial = -(positive.sum() * np.log(base) + negative.sum() * np.log(1 - base))
    loss = -(positive * np.log(rate) + negative * np.log(1 - rate)).sum()
    return float(1 - loss / trivial)


def _area(rate: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the area under the ROC curve of groups in the order of their rate."""
    import numpy as np

    _, place = np.unique(rate, return_inverse=True)
    positive, negative = np.bincount(place, positive), np.bincount(place, negative)
    below = negative.cumsum() - negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))
