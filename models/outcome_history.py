"""Where the outcomes of a source begin: a CRM that was filled later than it was opened has leads, and no ends of them.

An observation before that time would be labelled as lost although nobody wrote down what came of it. A pure function
from counts to a verdict; `assets.outcome_history` counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

__all__ = ["AGES", "OutcomesBegin", "Week", "outcomes_begin"]

AGES = (0, 7, 14, 28, 56, 112, 224)
"""Lower bounds, in days, of the bands of age in which leads are counted: young ones end at other rates."""
MIN_MISSING = 25
"""How many outcomes must be missing: the logarithm of how much less likely so few are than as many as afterwards, which
is the expected number where none came. Fewer can fail to come by chance, or by the way of one company."""
MOST_PRESENT = 0.2
"""Share of the expected outcomes up to which a period counts as one without outcomes."""
MOST_OF_ALL = 0.05
"""Share of all outcomes that such a period can hold: what comes after it says how many there should be."""


@dataclass(frozen=True)
class Week:
    """What was open and what ended in a week.

    Attributes
    ----------
    start : date
    open_days : tuple of float
        Days on which leads were open, by the bands of `AGES`.
    outcomes : tuple of int
        Successes among them, by the same bands.
    """

    start: date
    open_days: tuple[float, ...]
    outcomes: tuple[int, ...]


@dataclass(frozen=True)
class OutcomesBegin:
    """From when on a source tells how leads ended.

    Attributes
    ----------
    since : date or None
        The first day whose observations can be labelled; None where all can.
    reason : str
    """

    since: date | None
    reason: str


class _Counts:
    """The counts of several weeks."""

    def __init__(self) -> None:
        self.open_days = [0.0 for _ in AGES]
        self.outcomes = [0 for _ in AGES]

    def add(self, week: Week, sign: int = 1) -> None:
        for band in range(len(AGES)):
            self.open_days[band] += sign * week.open_days[band]
            self.outcomes[band] += sign * week.outcomes[band]


def outcomes_begin(weeks: Sequence[Week]) -> OutcomesBegin:
    """Decide from when on outcomes are recorded.

    For each possible beginning, what came before it is held against what the leads that were open then would have
    brought at the rate of leads of their age afterwards, the busiest week aside. The beginning is the one before which
    most is missing, by the likelihood of so few. It counts if that is beyond chance, if at most a fifth of the expected
    outcomes came, and if these are at most a twentieth of all. A company whose leads take long is none: its early leads
    are young, and nothing is expected of them.

    Parameters
    ----------
    weeks : sequence of Week
        In order, from the first lead to the clock.
    """
    bands = range(len(AGES))
    all_outcomes = sum(sum(week.outcomes) for week in weeks)
    before, after = _Counts(), _Counts()
    for week in weeks:
        after.add(week)
    most, found = 0.0, None
    for place, week in enumerate(weeks[:-1], start=1):
        before.add(week)
        after.add(week, -1)
        # one week into which somebody has entered the wins of a year says nothing of the others
        busiest = max(weeks[place:], key=lambda each: sum(each.outcomes))
        came = sum(before.outcomes)
        expected = 0.0
        for band in bands:
            days = after.open_days[band] - busiest.open_days[band]
            if days > 0:
                expected += before.open_days[band] * (after.outcomes[band] - busiest.outcomes[band]) / days
        if came > MOST_OF_ALL * all_outcomes:
            break
        if expected <= 0 or came > MOST_PRESENT * expected:
            continue
        missing = expected - came + (came * log(came / expected) if came else 0.0)
        if missing > most:
            most, found = missing, (weeks[place].start, came, expected)
    if found is None or most < MIN_MISSING:
        return OutcomesBegin(None, "Outcomes are recorded from the beginning.")
    since, came, expected = found
    return OutcomesBegin(
        since,
        f"Outcomes are recorded from about {since} on: before it {came:,} came, of {expected:,.0f} to be expected of "
        "leads of the same age. Earlier observations have no label.",
    )
