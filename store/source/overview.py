"""An overview of extracted rows: how many facts lie where in time, by feed, and examples of rejected rows.

It reads schema ``raw`` alone, so it needs no dbt.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from store.source.contract import TABLES
from store.warehouse.connection import Connection

EXAMPLES = 2
"""A reason is shown with the messages of at most so many rejected rows."""


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The facts of a table, or of a part that is added to its rows later.

    Attributes
    ----------
    name : str
    by_day : mapping of date to int
        Facts until the clock by their day, UTC.
    later : int
        Facts after the clock, which do not count yet.
    """

    name: str
    by_day: Mapping[date, int]
    later: int


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The rejected rows of a table with one reason.

    Attributes
    ----------
    table, reason : str
    rows : int
    examples : tuple of str
        The messages of the first of them.
    """

    table: str
    reason: str
    rows: int
    examples: tuple[str, ...]


def measure_feeds(connection: Connection, clock: datetime) -> tuple[Feed, ...]:
    """Count the facts of each table that the source has by day, those of its parts apart.

    Parameters
    ----------
    connection : Connection
        To a warehouse that is a DuckDB file, with schema ``raw``.
    clock : datetime
        UTC.
    """
    return tuple(_feeds(connection, clock))


def _feeds(connection: Connection, clock: datetime) -> Iterator[Feed]:
    (leads,) = connection.execute("select count(*) from raw.leads").fetchall()[0]
    for table in TABLES.values():
        # a source of customers alone lacks the tables of leads, and another one those of customers
        if (table.optional or not leads) and not connection.execute(
            f"select 1 from raw.{table.name} limit 1"
        ).fetchone():
            continue
        named = {table.name: table.occurred, **{part.feed: part.time for part in table.parts}}
        for name, time in named.items():
            counted = connection.execute(
                f"select cast(timezone('UTC', {time}) as date) as day, count(*) filter (where {time} < $1), "
                f"count(*) filter (where {time} >= $1) from raw.{table.name} "
                f"where {time} is not null and {table.from_source or '1 = 1'} group by day order by day",
                [clock],
            ).fetchall()
            yield Feed(
                name=name,
                by_day={day: before for day, before, _ in counted if before},
                later=sum(later for *_, later in counted),
            )


def first_rejects(connection: Connection) -> tuple[Rejected, ...]:
    """Count the rejected rows by table and reason, the most frequent first, with the first messages of each.

    Rows with the same value count as one example.
    """
    found = connection.execute(
        "with rejects as (select *, row_number() over (partition by table_name, reason, column_name, value "
        "order by line nulls last, key) as place from raw.rejects) "
        "select table_name, reason, count(*) as rows, "
        f"(list(message order by line nulls last, key, message) filter (where place = 1))[:{EXAMPLES}] "
        "from rejects group by table_name, reason order by rows desc, table_name, reason"
    ).fetchall()
    return tuple(
        Rejected(table=table, reason=reason, rows=rows, examples=tuple(messages))
        for table, reason, rows, messages in found
    )
