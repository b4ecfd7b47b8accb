"""The moment from which on a source records outcomes: a CRM may lack the ends of entities from before it was in use.

An observation before that moment would be labelled as lost, although nobody wrote down its outcome. The decision is a
pure function of when entities began and ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import log
from typing import TYPE_CHECKING

from models.declaring.entity import Entity

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DAY = 86_400.0

AGES = (0, 7, 14, 28, 56, 112, 224)
"""Lower bounds, in days, of the bands of age in which entities are counted, because rates of success vary with age."""

MIN_MISSING = 25
"""So many outcomes must be missing at least, because fewer can be missing by chance, or by the habits of one company.
They are measured by the logarithm of a likelihood ratio: if no outcome came, it is the number to expect."""

MOST_PRESENT = 0.2
"""A period counts as one without outcomes if it has at most this share of the expected ones."""

MOST_OF_ALL = 0.05
"""Such a period has at most this share of all outcomes, because the later ones say how many to expect."""


@dataclass(frozen=True)
class Week:
    """The open entities and the successes of a week.

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
    """The decision from when on a source records outcomes.

    Attributes
    ----------
    since : date or None
        The first day whose observations can be labelled; None where all can.
    reason : str
    """

    since: date | None
    reason: str


def outcomes_begin(weeks: Sequence[Week], entity: Entity) -> OutcomesBegin:
    """Decide from when on outcomes are recorded.

    For each possible beginning, the outcomes before it are compared with the number to expect from the entities that
    were open then, at the rate of entities of their age afterwards, without the busiest week. The beginning is the one
    with the strongest evidence of missing outcomes. It counts if the evidence is beyond chance, if at most a fifth of
    the expected outcomes came, and if these are at most a twentieth of all. A company with slow sales has none: its
    early entities are young, and few outcomes are expected of them.

    Parameters
    ----------
    weeks : sequence of Week
        In order, from the first entity to the clock.
    entity : Entity
    """
    import numpy as np

    open_days = np.array([week.open_days for week in weeks], dtype="float64")
    outcomes = np.array([week.outcomes for week in weeks], dtype="int64")
    strongest, found = 0.0, None
    for place in range(1, len(weeks)):
        count = int(outcomes[:place].sum())
        if count > MOST_OF_ALL * outcomes.sum():
            break
        # somebody may have entered the wins of a year in one week, which says nothing about other weeks
        busiest = place + outcomes[place:].sum(axis=1).argmax()
        after = np.setdiff1d(np.arange(place, len(weeks)), busiest)
        days = open_days[after].sum(axis=0)
        rate = np.divide(outcomes[after].sum(axis=0), days, out=np.zeros(len(AGES)), where=days > 0)
        expected = float(open_days[:place].sum(axis=0) @ rate)
        if expected <= 0 or count > MOST_PRESENT * expected:
            continue
        missing = expected - count + (count * log(count / expected) if count else 0.0)
        if missing > strongest:
            strongest, found = missing, (weeks[place].start, count, expected)
    if found is None or strongest < MIN_MISSING:
        return OutcomesBegin(None, "Outcomes are recorded from the beginning.")
    since, count, expected = found
    return OutcomesBegin(
        since,
        f"Outcomes are recorded from about {since} on: before it {count:,} came, of {expected:,.0f} to be expected of "
        f"{entity.plural} of the same age. Earlier observations have no label.",
    )


def weeks_of(ends: pd.DataFrame, clock: datetime) -> list[Week]:
    """Count open entities and successes by week, from the Monday before the first entity, and by age.

    Parameters
    ----------
    ends : DataFrame
        One row per entity: when it was ``created``, ``succeeded`` and ``refused``, in seconds since 1970, or NaN.
    clock : datetime
    """
    import numpy as np

    if ends.empty:
        return []
    end = clock.timestamp()
    # 1970-01-05 was a Monday
    first = (ends["created"].min() // DAY - 4) // 7 * 7 + 4
    number = int((end / DAY - first) // 7) + 1
    created = ends["created"].to_numpy() / DAY - first
    succeeded = np.maximum(ends["succeeded"].to_numpy() / DAY - first, created)
    until = np.fmin(
        np.fmin(succeeded, np.maximum(ends["refused"].to_numpy() / DAY - first, created)), end / DAY - first
    )
    until = np.where(np.isnan(until), end / DAY - first, until)
    is_success = ~np.isnan(succeeded) & (succeeded <= until)
    open_days = np.zeros((number, len(AGES)))
    outcomes = np.zeros((number, len(AGES)), dtype=int)
    edges = np.arange(number + 1) * 7.0
    for band, low in enumerate(AGES):
        high = AGES[band + 1] if band + 1 < len(AGES) else np.inf
        start, stop = created + low, np.fmin(created + high, until)
        has_days = stop > start
        # open days up to each edge, summed over intervals: those of one rise from its start to its stop
        passed = _ramps(start[has_days], edges) - _ramps(stop[has_days], edges)
        open_days[:, band] = np.diff(passed)
        age = succeeded - created
        ended = is_success & (age >= low) & (age < high)
        outcomes[:, band] = np.bincount((succeeded[ended] // 7).astype(int), minlength=number)[:number]
    monday = datetime.fromtimestamp(first * DAY, UTC).date()
    return [
        Week(monday + timedelta(weeks=week), tuple(open_days[week].tolist()), tuple(outcomes[week].tolist()))
        for week in range(number)
    ]


def _ramps(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return for each edge the sum of its distances from all points before it."""
    import numpy as np

    ordered = np.sort(points)
    before = np.searchsorted(ordered, edges)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return before * edges - sums[before]
