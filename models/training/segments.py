"""Which further texts of a view divide the held-out rows into segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MIN_FILLED = 0.5
"""Share of the rows in which a text has a value."""

FREQUENT = 0.01
"""Share of the filled rows from which a value counts as frequent."""

MAX_FREQUENT = 12
"""The number of frequent values, of which there are at least two."""

MIN_COVERED = 0.8
"""Share of the filled rows that have a frequent value."""


def telling(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return those of some texts that are filled and have few frequent values, which cover most rows.

    Parameters
    ----------
    frame : DataFrame
        Training rows; columns that it lacks are left out.
    columns : sequence of str
    """
    found = []
    for column in columns:
        if column not in frame or frame[column].notna().mean() < MIN_FILLED:
            continue
        shares = frame[column].value_counts(normalize=True)
        frequent = shares[shares >= FREQUENT]
        if 2 <= len(frequent) <= MAX_FREQUENT and frequent.sum() >= MIN_COVERED:
            found.append(column)
    return found
