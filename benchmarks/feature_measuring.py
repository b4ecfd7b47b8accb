"""Measure the time and memory of one form of the features, and check that two forms give the same values."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.feature_queries import FORTY
from benchmarks.feature_workload import VIEW, connect, create
from benchmarks.measuring import MeasurementError
from benchmarks.processes import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.compiled import Model

OURS = f"features.{VIEW}"
RELATIVE_TOLERANCE = 1e-12
"""Tolerance for doubles, because Polars multiplies by the reciprocal instead of dividing. Counts must be equal."""
KEYS = ("lead_id", "as_of", "as_of_us", "observation_kind", "lead_created_at")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The time and memory of a form.

    Attributes
    ----------
    seconds : float
    cpu_seconds : float or None
        Over all threads; None if unknown.
    peak_bytes : int or None
    features : int
    """

    seconds: float
    cpu_seconds: float | None
    peak_bytes: int | None
    features: int


def ours(path: Path, models: Sequence[Model], memory_limit: str | None = None) -> Taken:
    """Materialize the feature view, and the models that only the view needs, in a DuckDB warehouse."""

    def build() -> None:
        create(path, models, memory_limit)

    return _measured(path, OURS, build)


def by_hand(path: Path, name: str, sql: str) -> Taken:
    """Materialize a query written by hand, as ``by_hand.<name>``."""

    def build() -> None:
        with connect(path) as connection:
            connection.execute("create schema if not exists by_hand")
            connection.execute(f'create or replace table by_hand."{name}" as {sql}')

    return _measured(path, f'by_hand."{name}"', build)


def _measured(path: Path, table: str, build: Callable[[], None]) -> Taken:
    began, cpu = time.perf_counter(), time.process_time()
    build()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = peak_bytes()
    with connect(path) as connection:
        columns = {name for (name, *_) in connection.execute(f"describe {table}").fetchall()}
        expected, found = connection.execute(
            f"select (select count(*) from intermediate.observations), (select count(*) from {table})"
        ).fetchall()[0]
    if expected != found:
        raise MeasurementError(f"{table}: expected {expected:,} rows, one for each observation, found {found:,}")
    return Taken(seconds=seconds, cpu_seconds=cpu, peak_bytes=peak, features=len(columns - set(KEYS)))


def assert_equal(
    connection: Any, relation: str, as_of_us: str, columns: Sequence[str] = FORTY, *, every_row: bool = True
) -> None:
    """Compare a form with the feature view, column by column.

    Parameters
    ----------
    connection : object
        To DuckDB or PostgreSQL, with ``execute(sql).fetchall()``.
    relation : str
        A relation with ``lead_id``, ``as_of_us`` and the columns.
    as_of_us : str
        Microseconds since 1970 of the view's ``as_of``, in the engine's SQL.
    columns : sequence of str
    every_row : bool
        Whether the relation has all of the view's rows, and not a sample.

    Raises
    ------
    MeasurementError
        If rows or values differ; the message has the number of differing rows by column.
    """
    schema, table = OURS.split(".")
    doubles = {
        name
        for (name,) in connection.execute(
            "select column_name from information_schema.columns "
            f"where table_schema = '{schema}' and table_name = '{table}' and lower(data_type) like 'double%'"
        ).fetchall()
    }
    differs = [
        f"abs(view.{name} - other.{name}) > {RELATIVE_TOLERANCE} * abs(view.{name})"
        f" or (view.{name} is null) <> (other.{name} is null)"
        if name in doubles
        else f"view.{name} is distinct from other.{name}"
        for name in columns
    ]
    counts = ", ".join(f"count(case when {condition} then 1 end)" for condition in differs)
    ((rows, *found),) = connection.execute(
        f"select count(*), {counts} from {OURS} as view inner join {relation} as other "
        f"on view.lead_id = other.lead_id and {as_of_us} = other.as_of_us"
    ).fetchall()
    counted = OURS if every_row else relation
    ((expected,),) = connection.execute(f"select count(*) from {counted} as counted").fetchall()
    different = {name: number for name, number in zip(columns, found, strict=True) if number}
    if rows != expected or different:
        raise MeasurementError(
            f"{relation}: expected the values of {OURS} in {expected:,} rows, found {rows:,} rows with the same key, "
            f"and rows that differ by column: {different or 'none'}"
        )
