"""Compare two sets of rows by key: first by a hash of each row, then by value if hashes differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.features.certificates import ROW
from store.warehouse.duckdb.engine import opened

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Selected:
    """The compared part of a table.

    Attributes
    ----------
    values : mapping of str to str
        The compared value of each column, as SQL of DuckDB.
    condition : str
        The condition on the rows, as SQL of DuckDB.
    """

    values: Mapping[str, str]
    condition: str = "1 = 1"


@dataclass(frozen=True)
class Pair:
    """Expected rows and the rows of a replay, in a database of their own.

    Attributes
    ----------
    connection : DuckDBPyConnection
        With the rows as ``expected_rows`` and ``replayed_rows``.
    key : str
        The column that, with ``as_of``, identifies a row.
    expected, replayed : Selected
        The compared parts of both sides, with the same columns.
    """

    connection: DuckDBPyConnection
    key: str
    expected: Selected
    replayed: Selected

    def by_hash(self) -> tuple[int, int, str]:
        """Return the number of keys on either side, of those that differ, and a digest of the expected rows."""
        hashed = self._with(lambda values: f"hash({', '.join(values.values())}) as row_hash")
        rows, differing, digest = self._rows(
            f"{hashed} "
            "select count(*), count(*) filter (expected.row_hash is distinct from replayed.row_hash), "
            f"bit_xor(expected.row_hash) {self._from()}"
        )[0]
        return rows, differing, str(digest)

    def counts(self) -> dict[str, int]:
        """Return how many rows only one side has, as `ROW`, and how many differ in each column; without zeros."""
        listed = [f"count(*) filter ({self._one_side()})"]
        listed += [f"count(*) filter ({self._differs(name)})" for name in self.expected.values]
        (found,) = self._rows(f"{self._joined()} select {', '.join(listed)} {self._from()}")
        return {name: rows for name, rows in zip((ROW, *self.expected.values), found, strict=True) if rows}

    def examples(self, column: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the latest rows that differ in a column: their key, ``as_of``, and both values as text."""
        key = f"coalesce(expected.{self.key}, replayed.{self.key}), coalesce(expected.as_of, replayed.as_of)"
        if column == ROW:
            state = "case when {0}.{1} is null then 'missing' else 'there' end"
            values = ", ".join(state.format(side, self.key) for side in ("expected", "replayed"))
            differs = self._one_side()
        else:
            values = ", ".join(f"cast({side}.{column} as text)" for side in ("expected", "replayed"))
            differs = self._differs(column)
        return self._rows(
            f"{self._joined()} select {key}, {values} {self._from()} where {differs} order by 2 desc, 1 limit {limit}"
        )

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def _one_side(self) -> str:
        return f"(expected.{self.key} is null or replayed.{self.key} is null)"

    def _differs(self, column: str) -> str:
        return f"(not {self._one_side()} and expected.{column} is distinct from replayed.{column})"

    def _joined(self) -> str:
        return self._with(lambda values: ", ".join(f"{value} as {name}" for name, value in values.items()))

    def _with(self, listed: Callable[[Mapping[str, str]], str]) -> str:
        sides = (
            f"{side} as (select {self.key}, as_of, {listed(part.values)} from {side}_rows where {part.condition})"
            for side, part in (("expected", self.expected), ("replayed", self.replayed))
        )
        return f"with {', '.join(sides)}"

    def _from(self) -> str:
        return (
            f"from expected full join replayed on expected.{self.key} = replayed.{self.key} "
            "and expected.as_of = replayed.as_of"
        )


@contextmanager
def in_memory(**tables: pa.Table) -> Iterator[DuckDBPyConnection]:
    """Open a database of DuckDB in memory, in UTC, with only the tables given, under their names."""
    with opened() as connection:
        for name, rows in tables.items():
            connection.register(name, rows)
        yield connection


@contextmanager
def paired(
    connection: DuckDBPyConnection,
    expected: pa.Table,
    replayed: pa.Table,
    key: str,
    of_expected: Selected,
    of_replayed: Selected,
) -> Iterator[Pair]:
    """Pair expected rows with the rows of a replay while the context lasts.

    Parameters
    ----------
    connection : DuckDBPyConnection
        A database of `in_memory`.
    expected, replayed : pyarrow.Table
        With `key`, ``as_of`` and the selected columns.
    key : str
    of_expected, of_replayed : Selected
        The compared parts, with the same columns.
    """
    sides = {"expected_rows": expected, "replayed_rows": replayed}
    for name, rows in sides.items():
        connection.register(name, rows)
    try:
        yield Pair(connection, key, of_expected, of_replayed)
    finally:
        for name in sides:
            connection.unregister(name)
