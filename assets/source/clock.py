"""The default clock of a folder: which of its last facts are so far from the others that they pass for mistyped."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

__all__ = ["LastFacts", "last_facts"]

MIN_DAYS = 20
"""Days with facts that it takes to say how far apart they are."""
TIMES_LONGEST = 3
"""How many times the longest pause before it a gap must be."""
LONG_GAP = 100
"""Days of a summer's pause: after a longer gap a fact is far from the others if they are a hundred times as many."""
SHORT_GAP = 7
"""Days of the shortest gap that counts: the others must then be five thousand times as many, or the fact one alone."""
ONE_ROW = 2
"""Times that one mistyped row may have, such as when a lead was created and changed."""
ENOUGH = 100
"""Facts before a gap of less than a summer's pause that let a single row after it pass for mistyped."""


@dataclass(frozen=True)
class LastFacts:
    """What the days of the facts say of the last of them.

    Attributes
    ----------
    last_day : date
        The last day that the clock follows.
    far : int
        Facts after it that are far from the others.
    reason : str or None
        Why they are; None where there are none.
    """

    last_day: date
    far: int = 0
    reason: str | None = None


def last_facts(days: Sequence[tuple[date, int]]) -> LastFacts:
    """Decide which facts at the end are mistyped: few, after a gap that is long for this company.

    A gap counts when it is three times as long as every pause before it, and the facts after it are next to nothing
    beside those of as many days before it: at most one in a hundred, or one row alone, after more than a summer's
    pause; at most one in five thousand, or one row alone beside `ENOUGH` facts, after a shorter one. A company with
    facts on fewer than twenty days is too young to be judged.

    So the first row after a holiday waits for the next one. That is said, and a clock that a mistyped date moves is
    not.

    Parameters
    ----------
    days : sequence of (date, int)
        The days on which something happened, in order, and how many facts there are on each; at least one.
    """
    totals = [0, *accumulate(count for _, count in days)]
    longest = 0
    for place in range(1, len(days)):
        day, before = days[place][0], days[place - 1][0]
        gap = (day - before).days
        after = totals[-1] - totals[place]
        if place >= MIN_DAYS and gap >= SHORT_GAP and gap > TIMES_LONGEST * longest:
            # as many days before the gap as the gap and what follows it are long
            first = bisect_left(
                days, before.toordinal() - (days[-1][0] - before).days, key=lambda each: each[0].toordinal()
            )
            beside = totals[place] - totals[first]
            few = max(ONE_ROW, beside // 100)
            if gap <= LONG_GAP:
                few = max(ONE_ROW if beside >= ENOUGH else 0, beside // 5000)
            if after <= few:
                facts, pause = "fact lies" if after == 1 else "facts lie", "day" if longest == 1 else "days"
                reason = (
                    f"{after:,} {facts} after a gap of {gap} days ({before} to {day}); the longest pause before it is "
                    f"{longest} {pause}, and as many days before it have {beside:,} facts."
                )
                return LastFacts(before, after, reason)
        longest = max(longest, gap)
    return LastFacts(days[-1][0])
