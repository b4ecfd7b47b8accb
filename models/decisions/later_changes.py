"""Whether the first values of a column may count as known from the creation of their rows: a decision on later changes.

One export cannot show values that change without regard to age or closing. The extractions after it do: if values
change now, they have changed before the first extraction as well. The pace of changes, by the age of the rows, tells
how many of the first values are not those of the creation (the cumulative hazard of Nelson and Aalen).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp

FIRST_DAYS = 1
"""What happens within so many days of the creation counts as of the creation."""

SPAN_DAYS = (FIRST_DAYS, 7, 28, 91, 182, 364, 728, 36_500)
"""The ages between which the pace of changes is measured."""

LEAST_CHANGES = 5
"""Fewer changes tell nothing."""

LEAST_EXTRACTIONS = 3
"""Changes that fewer extractions have seen may be a renaming."""

MOST_WRONG = 0.05
"""A larger share of the first values may not differ from those of the creation."""


@dataclass(frozen=True, kw_only=True)
class LaterEvidence:
    """What the extractions after the first one tell of a column.

    Attributes
    ----------
    since : datetime
        The first extraction that read the column.
    until : datetime
        The last one.
    called : str
        The rows for people, in the plural.
    rows : int
        Rows that were older than `FIRST_DAYS` when an extraction first read the column of them.
    backdated : int
        Those of them that had a value, which counts as known from the creation.
    past_days : sequence of float
        Days in the life of `rows` before that extraction, by the spans of `SPAN_DAYS`, as all other sequences.
    watched_days : sequence of float
        Days in the life of all rows since then.
    changes : sequence of sequence of int
        Changes that one extraction has seen, for each one that has seen some.
    """

    since: datetime
    until: datetime
    called: str
    rows: int
    backdated: int
    past_days: Sequence[float]
    watched_days: Sequence[float]
    changes: Sequence[Sequence[int]]


def refutation(evidence: LaterEvidence) -> str | None:
    """Return a sentence that says why first values do not count as known from the creation, or None if they may.

    Parameters
    ----------
    evidence : LaterEvidence
    """
    # the extraction that saw most is left out: it may have seen a renaming
    *others, largest = sorted(evidence.changes, key=sum) or [()]
    seen = sum(map(sum, others))
    if seen < LEAST_CHANGES or len(others) < LEAST_EXTRACTIONS or not evidence.backdated:
        return None
    earlier = sum(
        past * changes / watched
        for past, watched, changes in zip(
            evidence.past_days, evidence.watched_days, map(sum, zip(*others, strict=True)), strict=True
        )
        if watched
    )
    changed = evidence.rows * (1 - exp(-earlier / evidence.rows))
    wrong = min(1.0, changed / evidence.backdated)
    if wrong <= MOST_WRONG:
        return None
    return (
        f"{seen + sum(largest):,} of its values have changed from {evidence.since:%Y-%m-%d} to "
        f"{evidence.until:%Y-%m-%d}, so about {100 * wrong:.0f} % of the values that the first extraction saw were not "
        f"those at the creation of the {evidence.called}"
    )
