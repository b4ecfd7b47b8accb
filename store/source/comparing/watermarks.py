"""Watermarks: the value from which a table of a database is read, and the rows that only the overlap has brought."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckdb import DuckDBPyConnection

from store.source.checking.times import said_time
from store.source.comparing.evidence import Earlier, needs_whole
from store.source.contract import CHANGES, EARLIER_NAMES
from store.source.mapping.binding import TableBinding
from store.source.sql import one_row
from store.source.values.functions import UTC_ZONE
from store.sql import literals


@dataclass(frozen=True)
class Watermark:
    """The value of a table's watermark from which the table is read.

    Attributes
    ----------
    column : str
        Column of the source.
    since : datetime
        The value from which rows are read.
    loaded : datetime
        The last value that is stored.
    """

    column: str
    since: datetime
    loaded: datetime


def watermark_of(connection: DuckDBPyConnection, binding: TableBinding, earlier: Earlier) -> Watermark | None:
    """Return the watermark from which a table is read; None to read it whole."""
    name, column = binding.table.name, binding.watermark
    if column is None or not isinstance(form := binding.forms[column], str) or needs_whole(binding, earlier):
        return None
    unreadable = said_time(binding, column, "VARCHAR", f"plain(json_extract_string(row, '$.{column}'))").value
    loaded, rejected, unplaced = one_row(
        connection,
        f"select (select max({column}) from known_{name}), min(t), count(*) filter (t is null) from "
        f"(select {unreadable} as t from known_rejects "
        f"where table_name in ({literals([name, EARLIER_NAMES.get(name, name)])}))",
    )
    # a rejected row without a readable time could be anywhere
    if loaded is None or unplaced:
        return None
    # a stored time in the future would hide rows before it, so reading starts at the last clock, a whole second
    since = loaded if earlier.as_of is None else min(loaded, earlier.as_of + timedelta(seconds=1))
    if column in earlier.dates(name) or binding.zone(column) != UTC_ZONE:
        # rows of the same date, perhaps of another zone, may have been added or changed since; and the database
        # compares a time without a zone as if it were UTC
        since = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    # a transaction that was committed after the last reading may have earlier values
    since -= timedelta(minutes=binding.overlap_minutes)
    return Watermark(form, min(since, rejected or since), loaded)


def rows_by_overlap(
    connection: DuckDBPyConnection, bindings: Mapping[str, TableBinding | None], marks: Mapping[str, Watermark]
) -> dict[str, tuple[int, timedelta]]:
    """Count by table the new or changed rows before the last stored value, and how far before it the first one lies."""
    counts = {}
    for name, mark in marks.items():
        if (binding := bindings[name]) is None:
            continue
        # earlier rows are read again only because of a rejected row or of dates
        overlap = mark.loaded - timedelta(minutes=binding.overlap_minutes)
        in_overlap = (
            f"{binding.watermark} >= timestamptz '{overlap.isoformat()}' "
            f"and {binding.watermark} < timestamptz '{mark.loaded.isoformat()}'"
        )
        origin = " and origin = 'source'" if name == CHANGES else ""
        rows, first = one_row(
            connection, f"select count(*), min({binding.watermark}) from delta_{name} where {in_overlap}{origin}"
        )
        counts[name] = (rows, mark.loaded - first if rows else timedelta(0))
    return counts


def overlap_sentences(
    bindings: Mapping[str, TableBinding | None], by_overlap: Mapping[str, tuple[int, timedelta]]
) -> list[str]:
    """Return sentences on the rows that only the overlap has brought."""
    return [
        f"{name}: {rows:,} new or changed row{'' if rows == 1 else 's'} lay before the last {binding.watermark} that "
        f"was loaded, by up to {back.total_seconds() / 60:.0f} minutes, and came by the overlap of "
        f"{binding.overlap_minutes} minutes. Rows that are committed later than that are not read: raise "
        "overlap_minutes in the mapping if there are such rows."
        for name, (rows, back) in by_overlap.items()
        if rows and (binding := bindings[name]) is not None
    ]
