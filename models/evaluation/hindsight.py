"""Hindsight: features whose values only somebody who already knew the outcome could have entered.

A replay cannot find hindsight, because the source itself holds the value as if it had been there from the start: the
price of a deal is set to 0 once the deal is lost, an address is asked for with the contract. Two measures show it: how
well a feature alone predicts held-out rows, and whether it has a value only in entities that were settled later, and
never in entities that are still open.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.evaluation.one_sided import ENOUGH, Groups, OneSided
from models.evaluation.validation import Observed
from models.tasks.task import Task

RECENT_DAYS = 180
"""How far back recent rows reach: long enough for sales that take months, short enough for an unchanged world."""

ENOUGH_HAPPENED = 10
"""With fewer entities of an outcome no figure counts as too good, because rows of one entity are much alike."""


@dataclass(frozen=True, kw_only=True)
class Alone:
    """How well one feature alone predicts an outcome, on held-out rows weighted by what they stand for.

    Attributes
    ----------
    feature, outcome : str
        The outcome that it predicts best.
    skill : float
        1 - loss / loss of the best constant on these rows: 0 is as good as the constant, 1 is perfect.
    auc : float or None
        None for a task without one.
    """

    feature: str
    outcome: str
    skill: float
    auc: float | None


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """The measures of hindsight by feature; a feature with too few rows is left out.

    Attributes
    ----------
    alone : tuple of Alone
        The best first.
    one_sided : tuple of OneSided
        For each feature the value that is rarest on the other side; the rarest first.
    """

    alone: tuple[Alone, ...]
    one_sided: tuple[OneSided, ...]


def measure_alone(train: Observed, test: Observed, task: Task) -> tuple[Alone, ...]:
    """Predict each outcome from each feature alone: by its mean over the training rows of the same group of values.

    Parameters
    ----------
    train, test : Observed
        The means are those of `train`; as predictions they are measured on `test`.
    task : Task

    Returns
    -------
    tuple of Alone
        The best first, each feature with the outcome that it predicts best. An outcome that occurs in fewer than
        `ENOUGH` rows of a side, to fewer than `ENOUGH_HAPPENED` entities, or in every row of it, is left out.
    """
    import numpy as np

    measurable = {}
    for column, outcome in enumerate(task.outcomes):
        sides = [task.actual(task.truth(side.label), column) for side in (train, test)]
        if all(
            task.tells(actual, side.entities, rows=ENOUGH, happened=ENOUGH_HAPPENED)
            for actual, side in zip(sides, (train, test), strict=True)
        ):
            measurable[outcome] = sides
    found = []
    for feature in map(str, train.features.columns):
        groups = Groups(train.features[feature])
        learnt_group, test_group = groups.of(train.features[feature]), groups.of(test.features[feature])
        weights = np.bincount(learnt_group, train.stands_for, len(groups))
        measured = []
        for outcome, (train_actual, test_actual) in measurable.items():
            sums = np.bincount(learnt_group, train.stands_for * train_actual, len(groups))
            base = sums.sum() / weights.sum()
            # a group of few rows says little: `ENOUGH` rows of the overall mean are added to each
            added = ENOUGH * train.stands_for.mean()
            skill, auc = task.alone((sums + added * base) / (weights + added), test_group, test_actual, test.stands_for)
            measured.append(Alone(feature=feature, outcome=outcome, skill=skill, auc=auc))
        if measured:
            found.append(max(measured, key=lambda each: each.skill))
    return tuple(sorted(found, key=lambda each: (-each.skill, each.feature)))
