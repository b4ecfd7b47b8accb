"""Measure what one export tells of the time at which a column was filled."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from models.decisions.known_since import ALL, COMMONEST, EMPTY, FILLED, NO_VALUE, OTHERS, Cell, Counted, KnownEvidence
from models.declaring.attribute import SEPARATOR, AttributeKind
from store.source.sql import one_row
from store.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_VALUES = 12
"""Values of a category that are counted each for itself."""

PARTS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the values of a number or date at which they are parted."""

UNIT_DAYS = 7
"""The unit of time for a year or more of leads; it is shorter for less."""

UNITS = 60
"""A history has at least so many units of time, unless it is shorter than as many days."""

UNITS_OF_CLOSING = 6
"""Half of the closed leads took at least so many units of time."""

LAST_UNIT = 160
"""Older leads count as so old."""


def measure(
    connection: DuckDBPyConnection,
    relation: str,
    *,
    kind: AttributeKind,
    clock: datetime,
    value: str = "value",
    created_at: str = "created_at",
    closed_at: str = "closed_at",
    called: str = "leads",
    from_history: bool = False,
) -> KnownEvidence:
    """Measure when a column was filled.

    Parameters
    ----------
    connection : DuckDBPyConnection
    relation : str
        SQL of a relation with a row per lead.
    kind : str
        Of the attribute.
    clock : datetime
        The clock of the extraction.
    value, created_at, closed_at : str
        SQL over the relation: the canonical text of the value, the time of creation, and the time of the first closing
        fact, null for an open lead.
    called : str
        The rows for people, in the plural.
    from_history : bool
        Whether the source has a history of the column.
    """
    now = f"timestamptz '{clock.isoformat()}'"
    connection.execute(
        f"create or replace temp table known_rows as select {value} as v, {created_at} as born, "
        f"case when {closed_at} <= {now} then greatest({closed_at}, {created_at}) end as ended "
        f"from {relation} where {created_at} <= {now}"
    )
    days, moments, takes = one_row(
        connection,
        f"select coalesce(date_diff('day', min(born), {now}), 0), count(distinct date_trunc('day', born)), "
        "coalesce(median(epoch(ended) - epoch(born)) / 86400, 365) from known_rows",
    )
    unit = max(1, min(UNIT_DAYS, days // UNITS, int(takes / UNITS_OF_CLOSING)))
    labels, commonest = _labels(connection, kind)
    length = unit * 86_400_000_000
    found = connection.execute(
        f"select label, age, after, count(*) from (select unnest({labels}) as label, "
        f"least({LAST_UNIT}, (epoch_us({now}) - epoch_us(born)) // {length})::integer as age, "
        f"case when ended is not null then least({LAST_UNIT}, (epoch_us(ended) - epoch_us(born)) // {length}) end"
        "::integer as after from known_rows) "
        "where label is not null group by all order by all"
    ).fetchall()
    connection.execute("drop table known_rows")
    cells: dict[str, list[Cell]] = {label: [] for label in (ALL, FILLED, EMPTY, COMMONEST, OTHERS)}
    for label, age, after, leads in found:
        cells.setdefault(label, []).append((age, after, leads))
    return KnownEvidence(
        unit_days=unit,
        counted=tuple(Counted(label=label, cells=tuple(each)) for label, each in cells.items()),
        called=called,
        commonest=commonest,
        has_times=moments > 1,
        from_history=from_history,
    )


def _labels(connection: DuckDBPyConnection, kind: AttributeKind) -> tuple[str, str]:
    """Return SQL of the list of labels of a row, and the commonest value."""
    figure = {
        "number": "try_cast(v as double)",
        "date": "(epoch_us(try_cast(v as timestamptz)) - epoch_us(born)) / 86400000000.0",
        "choices": f"len(string_split(v, {literal(SEPARATOR)}))",
    }.get(kind)
    if figure is not None:
        part = _parts(connection, figure, kind)
        labels = [part]
        if kind == "choices":
            options = connection.execute(
                f"select o from (select unnest(string_split(v, {literal(SEPARATOR)})) as o from known_rows) "
                f"group by 1 order by count(*) desc, 1 limit {MOST_VALUES}"
            ).fetchall()
            labels += [
                f"case when list_contains(string_split(v, {literal(SEPARATOR)}), {literal(each)}) "
                f"then {literal(repr(each))} end"
                for (each,) in options
            ]
    else:
        words = connection.execute(
            f"select v from known_rows where v is not null group by 1 order by count(*) desc, 1 limit {MOST_VALUES}"
        ).fetchall()
        cases = "".join(f" when {literal(word)} then {literal(repr(word))}" for (word,) in words)
        part = f"case v{cases} else case when v is not null then 'a rare value' end end" if words else "null::varchar"
        labels = [part]
    one = f"coalesce({part}, {literal(NO_VALUE)})"
    commonest = connection.execute(
        f"select {one} from known_rows group by 1 order by count(*) desc, 1 limit 1"
    ).fetchone()
    mode = commonest[0] if commonest else NO_VALUE
    return (
        f"[{literal(ALL)}, case when v is null then {literal(EMPTY)} else {literal(FILLED)} end, "
        f"case when {one} = {literal(mode)} then {literal(COMMONEST)} else {literal(OTHERS)} end, {', '.join(labels)}]",
        mode,
    )


def _parts(connection: DuckDBPyConnection, figure: str, kind: AttributeKind) -> str:
    """Return SQL for the part of the values, from the least to the largest, that a figure lies in."""
    (bounds,) = one_row(
        connection,
        f"select quantile_disc(x, [{', '.join(map(str, PARTS))}]) from (select {figure} as x from known_rows)",
    )
    said = {"number": "", "date": " days after the creation", "choices": " options"}[kind]
    distinct = sorted(set(bounds or ()))
    cases = "".join(f" when {figure} <= {bound!r} then {literal(f'at most {bound:g}{said}')}" for bound in distinct)
    if not cases:
        return "null::varchar"
    return f"case when v is null then null{cases} else {literal(f'more than {distinct[-1]:g}{said}')} end"
