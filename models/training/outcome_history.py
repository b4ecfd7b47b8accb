"""Where the outcomes of a source begin: a CRM that was filled later than it was opened has no ends of early entities.

An observation before that time would be labelled as lost although nobody wrote down what came of it. A pure function
from counts to a verdict; `store.features.builds` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import log

AGES = (0, 7, 14, 28, 56, 112, 224)
"""Lower bounds, in days, of the bands of age in which entities are counted: young ones end at other rates."""

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
        Days on which entities were open, by the bands of `AGES`.
    outcomes : tuple of int
        Successes among them, by the same bands.
    """

    start: date
    open_days: tuple[float, ...]
    outcomes: tuple[int, ...]


@dataclass(frozen=True)
class OutcomesBegin:
    """From when on a source tells how entities ended.

    Attributes
    ----------
    since : date or None
        The first day whose observations can be labelled; None where all can.
    reason : str
    """

    since: date | None
    reason: str


def outcomes_begin(weeks: Sequence[Week]) -> OutcomesBegin:
    """Decide from when on outcomes are recorded.

    For each possible beginning, what came before it is held against what those that were open then would have
    brought at the rate of others of their age afterwards, the busiest week aside. The beginning is the one before which
    most is missing, by the likelihood of so few. It counts if that is beyond chance, if at most a fifth of the expected
    outcomes came, and if these are at most a twentieth of all. A company whose sales take long is none: its early
    entities are young, and nothing is expected of them.

    Parameters
    ----------
    weeks : sequence of Week
        In order, from the first entity to the clock.
    """
    import numpy as np

    open_days = np.array([week.open_days for week in weeks], dtype="float64")
    outcomes = np.array([week.outcomes for week in weeks], dtype="int64")
    most, found = 0.0, None
    for place in range(1, len(weeks)):
        came = int(outcomes[:place].sum())
        if came > MOST_OF_ALL * outcomes.sum():
            break
        # one week into which somebody has entered the wins of a year says nothing of the others
        busiest = place + outcomes[place:].sum(axis=1).argmax()
        after = np.setdiff1d(np.arange(place, len(weeks)), busiest)
        days = open_days[after].sum(axis=0)
        rate = np.divide(outcomes[after].sum(axis=0), days, out=np.zeros(len(AGES)), where=days > 0)
        expected = float(open_days[:place].sum(axis=0) @ rate)
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
