"""Watermarks: from where on a table of a database is read, and which rows only the overlap has brought."""

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
    """Where the reading of a table begins that has a watermark.

    Attributes
    ----------
    column : str
        Of the source.
    since : datetime
        The value from which rows are read.
    loaded : datetime
        The last value that is stored.
    """

    column: str
    since: datetime
    loaded: datetime


def watermark_of(connection: DuckDBPyConnection, binding: TableBinding, earlier: Earlier) -> Watermark | None:
    """Return where the reading of a table begins; None to read it whole."""
    name, column = binding.table.name, binding.watermark
    if column is None or not isinstance(form := binding.forms[column], str) or needs_whole(binding, earlier):
        return None
    said = said_time(binding, column, "VARCHAR", f"plain(json_extract_string(row, '$.{column}'))").value
    loaded, rejected, unplaced = one_row(
        connection,
        f"select (select max({column}) from known_{name}), min(t), count(*) filter (t is null) from "
        f"(select {said} as t from known_rejects "
        f"where table_name in ({literals([name, EARLIER_NAMES.get(name, name)])}))",
    )
    # a rejected row whose time is unreadable could be anywhere
    if loaded is None or unplaced:
        return None
    # a time that was ahead then would hide the rows of the days until it; the clock is a whole second
    since = loaded if earlier.as_of is None else min(loaded, earlier.as_of + timedelta(seconds=1))
    if column in earlier.dates(name) or binding.zone(column) != UTC_ZONE:
        # rows of the same date, which is a day of another zone perhaps, may have been added or changed since; and the
        # database compares a time without a zone as if it were UTC
        since = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    # a transaction that began before the last value was read, and was committed after it, has earlier values
    since -= timedelta(minutes=binding.overlap_minutes)
    return Watermark(form, min(since, rejected or since), loaded)


def rows_by_overlap(
    connection: DuckDBPyConnection, bindings: Mapping[str, TableBinding | None], marks: Mapping[str, Watermark]
) -> dict[str, tuple[int, timedelta]]:
    """Count by table the new or changed rows before the last value that was stored, and how far the first lies back."""
    late = {}
    for name, mark in marks.items():
        if (binding := bindings[name]) is None:
            continue
        # rows from further back are read again because one was rejected, or for the sake of dates
        overlap = mark.loaded - timedelta(minutes=binding.overlap_minutes)
        before = (
            f"{binding.watermark} >= timestamptz '{overlap.isoformat()}' "
            f"and {binding.watermark} < timestamptz '{mark.loaded.isoformat()}'"
        )
        origin = " and origin = 'source'" if name == CHANGES else ""
        rows, first = one_row(
            connection, f"select count(*), min({binding.watermark}) from delta_{name} where {before}{origin}"
        )
        late[name] = (rows, mark.loaded - first if rows else timedelta(0))
    return late


def overlap_sentences(
    bindings: Mapping[str, TableBinding | None], late: Mapping[str, tuple[int, timedelta]]
) -> list[str]:
    """Return sentences on the rows that only the overlap has brought."""
    return [
        f"{name}: {rows:,} new or changed row{'' if rows == 1 else 's'} lay before the last {binding.watermark} that "
        f"was loaded, by up to {back.total_seconds() / 60:.0f} minutes, and came by the overlap of "
        f"{binding.overlap_minutes} minutes. What is committed later than that is not read: raise overlap_minutes in "
        "the mapping if such rows come from further back."
        for name, (rows, back) in late.items()
        if rows and (binding := bindings[name]) is not None
    ]
