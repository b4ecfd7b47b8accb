"""Hindsight: what a feature tells before the outcome that only somebody who knew the outcome could have entered.

A replay cannot find this, for the source itself holds the value as if it had been there from the start: the price of a
deal that is 0 once the deal is lost, an address that is asked for with the contract. Two measures show it. How well a
feature predicts alone, on held-out rows. And whether it takes a value only in entities that were settled later, and
never in those that are still open.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.evaluation.one_sided import ENOUGH, Groups, OneSided
from models.evaluation.validation import Observed
from models.tasks.task import Task

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
        1 - loss / loss of the best constant on these rows: 0 says nothing, 1 says everything.
    auc : float or None
        None where a task has none.
    """

    feature: str
    outcome: str
    skill: float
    auc: float | None


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


def measure_alone(train: Observed, test: Observed, task: Task) -> tuple[Alone, ...]:
    """Predict each outcome from each feature alone: by its mean among the training rows of a group of values.

    Parameters
    ----------
    train, test : Observed
        The means are those of `train`, and what they are worth is measured on `test`.
    task : Task

    Returns
    -------
    tuple of Alone
        The best first, each feature with the outcome that it predicts best. An outcome that occurs in fewer than
        `ENOUGH` rows of a side, to fewer than `ENOUGH_HAPPENED` entities, or everywhere there, is left out.
    """
    import numpy as np

    there_is = {}
    for column, outcome in enumerate(task.outcomes):
        sides = [task.actual(task.truth(side.label), column) for side in (train, test)]
        if all(
            task.tells(actual, side.entities, rows=ENOUGH, happened=ENOUGH_HAPPENED)
            for actual, side in zip(sides, (train, test), strict=True)
        ):
            there_is[outcome] = sides
    found = []
    for feature in map(str, train.features.columns):
        groups = Groups(train.features[feature])
        there, here = groups.of(train.features[feature]), groups.of(test.features[feature])
        known = np.bincount(there, train.stands_for, len(groups))
        measured = []
        for outcome, (learnt, came) in there_is.items():
            sums = np.bincount(there, train.stands_for * learnt, len(groups))
            base = sums.sum() / known.sum()
            # a group of few rows says little: as if as many rows as are enough had been added to it at the plain mean
            added = ENOUGH * train.stands_for.mean()
            skill, auc = task.alone((sums + added * base) / (known + added), here, came, test.stands_for)
            measured.append(Alone(feature=feature, outcome=outcome, skill=skill, auc=auc))
        if measured:
            found.append(max(measured, key=lambda each: each.skill))
    return tuple(sorted(found, key=lambda each: (-each.skill, each.feature)))
