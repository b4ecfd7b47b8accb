"""What the last extraction left for everything after it to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from store.warehouse.tables import Connection

FEATURE_CLOCK = ("features", "feature_clock")

CLOCKS = (("raw", "extraction"), FEATURE_CLOCK)
"""The tables that say of which clock facts and features are."""


class NoExtractionError(RuntimeError):
    """Nothing has been extracted yet."""


class StaleFeaturesError(RuntimeError):
    """Features and labels are not those of the last extraction."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The commit marker of the last extraction.

    Attributes
    ----------
    as_of : datetime
        The clock, UTC.
    load_number : int
        The last extraction that brought something, counted from 1; 0 in a warehouse from before they were counted.
    source, mapping : str
    closing_outcomes, closing_lead_statuses, closing_project_statuses : list of str
        What ends a lead, beside a won project.
    silence_closes_after_days : int or None
    horizon_days : dict of str to int
        The mapping's default horizons by model.
    assumptions : list of str
    accepted : list of str
        What the source delivers no more, and a person has accepted.
    """

    as_of: datetime
    load_number: int
    source: str
    mapping: str
    closing_outcomes: list[str]
    silence_closes_after_days: int | None
    horizon_days: dict[str, int]
    assumptions: list[str]
    accepted: list[str] = field(default_factory=list)
    closing_lead_statuses: list[str] = field(default_factory=list)
    closing_project_statuses: list[str] = field(default_factory=list)


def tables_ahead(connection: Connection, load_number: int) -> list[str]:
    """Return the tables of schema ``raw`` to which an extraction after that number has brought rows."""
    # rows of an earlier version have no number
    numbered = connection.execute(
        "select table_name from information_schema.columns where table_schema = 'raw' and column_name = 'load_number' "
        "and table_name <> 'extraction' and table_catalog = current_database() order by table_name"
    ).fetchall()
    later = "select 1 from raw.{} where load_number > $1 limit 1"
    return [name for (name,) in numbered if connection.execute(later.format(name), [load_number]).fetchone()]
