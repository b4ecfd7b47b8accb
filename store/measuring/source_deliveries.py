"""Deliveries: counts of the rows that the source delivered up to a clock. The ledger keeps them.

The rows themselves do not tell later, because an extraction may overwrite them. This module lists the feeds and columns
whose health is watched, counts their rows, and finds the counts from the time at which the champions were trained.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from store.features.compiled import microseconds
from store.ledger.measurements import Delivery
from store.source.contract import TABLES
from store.warehouse.connection import Connection

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


MOST_CATEGORIES = 1_000
"""The values of a column with more distinct values are not kept: it is no column of categories."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One or more feeds of a staging table whose health is watched: of rows, or of parts that are added to rows later.

    Attributes
    ----------
    name : str
        A name for people.
    staging : str
        The table.
    known : str
        The column with the time at which the row or part became known, in microseconds since 1970.
    feed : str
        SQL expression of the feed that a row belongs to; each feed can break alone.
    aged : bool
        Whether the age of its last fact is checked.
    filled : tuple of str
        Columns whose share of nulls is checked, by feed.
    categories : tuple of str
        Columns whose values are checked.
    """

    name: str
    staging: str
    known: str
    feed: str
    aged: bool = True
    filled: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


FED = [table for table in TABLES.values() if table.feed is not None]

WATCHED = (
    *(
        Watched(
            name=table.name,
            staging=table.staging,
            known=table.staged_known,
            feed=str(table.feed),
            filled=tuple(sorted(column.staged or column.name for column in table.columns if column.watched)),
            categories=tuple(column.staged or column.name for column in table.columns if column.categories),
        )
        for table in FED
    ),
    # a part of a row has a feed of its own, such as the tracking of e-mails
    *(
        Watched(name=part.feed, staging=table.staging, known=part.staged, feed=f"'{part.feed}'", aged=False)
        for table in FED
        for part in table.parts
    ),
)

STAGING = sorted(table.staging for table in FED)


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """The deliveries of a source up to a clock, arranged for comparison.

    Attributes
    ----------
    as_of : datetime
        The clock up to which they were counted.
    days : float
        Length of the period; 0 where there is none.
    rows : mapping of (str, str) to int
        By table and feed.
    nulls : mapping of (str, str) to tuple of int
        Rows and nulls, by feed and column.
    categories : mapping of (str, str) to frozenset of str
        Values, by table and column.
    """

    as_of: datetime
    days: float
    rows: Mapping[tuple[str, str], int]
    nulls: Mapping[tuple[str, str], tuple[int, int]]
    categories: Mapping[tuple[str, str], frozenset[str]]

    @classmethod
    def of(cls, as_of: datetime, deliveries: Iterable[Delivery]) -> "Delivered":
        """Arrange deliveries."""
        listed = list(deliveries)
        categories: dict[tuple[str, str], set[str]] = {}
        for each in listed:
            if each.category:
                categories.setdefault((each.table_name, each.column_name), set()).add(each.category)
        return cls(
            as_of=as_of,
            days=max((each.days for each in listed), default=0.0),
            rows={(each.table_name, each.subject): each.rows for each in listed if not each.column_name},
            nulls={
                (each.subject, each.column_name): (each.rows, each.nulls)
                for each in listed
                if each.column_name and not each.category
            },
            categories={key: frozenset(values) for key, values in categories.items()},
        )

    def is_of_same_export(self, deliveries: Iterable[Delivery]) -> bool:
        """Say whether these deliveries are of the same export, read under another clock."""
        return self == Delivered.of(self.as_of, deliveries)


def measure_deliveries(
    connection: "DuckDBPyConnection", *, clock: datetime, since: datetime | None, days: int
) -> list[Delivery]:
    """Count the rows that were delivered in some days up to a clock.

    Parameters
    ----------
    connection : DuckDBPyConnection
        To a warehouse whose staging was filled at `clock` or later.
    clock : datetime
        UTC.
    since : datetime or None
        The time before which the source is ignored.
    days : int
        Length of the period; shorter if the source begins later.
    """
    if (first := bound_of_facts(connection, "min")) is None:
        return []
    if since is not None:
        first = max(first, microseconds(since))
    end = microseconds(clock)
    start = max(first - 1, microseconds(clock - timedelta(days=days)))
    length = max(0, end - start) / 86_400_000_000
    return [each for table in WATCHED for each in _of_table(connection, table, start, end, length)]


def _of_table(
    connection: "DuckDBPyConnection", table: Watched, start: int, end: int, days: float
) -> Iterator[Delivery]:
    within = f"{table.known} > {start} and {table.known} <= {end}"
    nulls = "".join(f", count(*) filter (where {name} is null)" for name in table.filled)
    for feed, rows, *empty in connection.execute(
        f"select {table.feed} as feed, count(*){nulls} from staging.{table.staging} where {within} "
        "group by feed order by feed"
    ).fetchall():
        yield Delivery(
            table_name=table.name, subject=feed, column_name="", category="", rows=rows, nulls=0, days=days
        )  # fmt: skip
        for name, count in zip(table.filled, empty, strict=True):
            yield Delivery(
                table_name=table.name, subject=feed, column_name=name, category="", rows=rows, nulls=count, days=days
            )  # fmt: skip
    for name in table.categories:
        # every earlier value counts as known, however old
        values = connection.execute(
            f"select {name}, count(*) from staging.{table.staging} where {table.known} <= {end} and {name} is not null "
            f"and {name} <> '' group by {name} order by {name} limit {MOST_CATEGORIES + 1}"
        ).fetchall()
        if len(values) <= MOST_CATEGORIES:
            for value, rows in values:
                yield Delivery(
                    table_name=table.name, subject=table.name, column_name=name, category=value, rows=rows, nulls=0,
                    days=days,
                )  # fmt: skip


def bound_of_facts(connection: "DuckDBPyConnection", which: Literal["min", "max"]) -> int | None:
    """Return when the first or the last fact became known, in microseconds since 1970; None without facts."""
    bounds = " union all ".join(f"select {which}({table.known}) as t from staging.{table.staging}" for table in WATCHED)
    return connection.execute(f"select {which}(t) from ({bounds})").fetchall()[0][0]


def delivered_at_training(connection: Connection, *, as_of: datetime, load_number: int) -> Delivered | None:
    """Return the deliveries that were stored when the oldest champion was trained.

    These are the deliveries stored by the run of the training, else the last ones stored before the training ended,
    else the first ones of all. Without a champion they are the last ones stored.

    Parameters
    ----------
    connection : Connection
    as_of : datetime
    load_number : int
        Clock and number of the extraction in the warehouse.

    Returns
    -------
    Delivered or None
        None where nothing is stored, or nothing has been loaded since: then the rows themselves can be counted.
    """
    kept = connection.execute(
        "select distinct as_of, load_number, run_id, measured_at from ml.ml_source_deliveries order by measured_at"
    ).fetchall()
    if not kept:
        return None
    trained = connection.execute(
        "select model, logs.as_of, logs.finished_at, logs.run_id from ml.ml_champions as champions "
        "left join ml.ml_training_logs as logs using (model, version) order by logs.as_of nulls first, logs.finished_at"
    ).fetchall()
    if trained:
        # the oldest among the latest trainings of the champions
        _, clock, ended, run_id = min({model: (model, *rest) for model, *rest in trained}.values(), key=_age)
        in_the_run = [each for each in kept if each[2] == run_id]
        before = [each for each in kept if clock is not None and each[3] <= ended]
        chosen = in_the_run[-1] if in_the_run else before[-1] if before else kept[0]
    else:
        chosen = next((each for each in reversed(kept) if each[:2] != (as_of, load_number)), kept[-1])
    if chosen[1] == load_number:
        return None
    names = [field.name for field in fields(Delivery)]
    rows = connection.execute(
        f"select {', '.join(names)} from ml.ml_source_deliveries where as_of = $1 and load_number = $2",
        [chosen[0], chosen[1]],
    ).fetchall()
    return Delivered.of(chosen[0], (Delivery(**dict(zip(names, row, strict=True))) for row in rows))


def _age(training: tuple[str, datetime | None, datetime | None, str | None]) -> tuple[bool, datetime | None]:
    # a version without a logged training is older than any other
    return (training[1] is not None, training[1])
