"""Two sets of rows compared by key: at first by a hash of each row, and by value where the hashes differ."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

ROW = "(row)"
"""Stands for a column where a row is missing, or where there is one too many."""


@dataclass(frozen=True)
class Pair:
    """Rows as they should be, and those of a replay, in a database of their own.

    Attributes
    ----------
    connection : DuckDBPyConnection
        With the rows as ``expected_rows`` and ``replayed_rows``.
    key : str
        The column that, with ``as_of``, identifies a row.
    values : mapping of str to str
        What is compared, as SQL, by column.
    condition : str
        Which rows are compared, as SQL.
    """

    connection: DuckDBPyConnection
    key: str
    values: Mapping[str, str]
    condition: str

    def by_hash(self) -> tuple[int, int, str]:
        """Return how many rows there are on either side, how many differ, and a digest of those that should be."""
        row_hash = f"hash({', '.join(self.values.values())})"
        rows, differing, digest = self._rows(
            f"{self._with(f'{row_hash} as row_hash')} "
            "select count(*), count(*) filter (expected.row_hash is distinct from replayed.row_hash), "
            f"bit_xor(expected.row_hash) {self._from()}"
        )[0]
        return rows, differing, str(digest)

    def counts(self) -> dict[str, int]:
        """Return how many rows are on one side alone, as `ROW`, and how many differ in each column, where any do."""
        listed = [f"count(*) filter ({self._one_side()})"]
        listed += [f"count(*) filter ({self._differs(name)})" for name in self.values]
        (found,) = self._rows(f"{self._joined()} select {', '.join(listed)} {self._from()}")
        return {name: rows for name, rows in zip((ROW, *self.values), found, strict=True) if rows}

    def examples(self, column: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the latest rows that differ in a column: their key, ``as_of``, and both values as text."""
        key = f"coalesce(expected.{self.key}, replayed.{self.key}), coalesce(expected.as_of, replayed.as_of)"
        if column == ROW:
            there = "case when {0}.{1} is null then 'missing' else 'there' end"
            values = ", ".join(there.format(side, self.key) for side in ("expected", "replayed"))
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
        return self._with(", ".join(f"{value} as {name}" for name, value in self.values.items()))

    def _with(self, selected: str) -> str:
        sides = (
            f"{side} as (select {self.key}, as_of, {selected} from {side}_rows where {self.condition})"
            for side in ("expected", "replayed")
        )
        return f"with {', '.join(sides)}"

    def _from(self) -> str:
        return (
            f"from expected full join replayed on expected.{self.key} = replayed.{self.key} "
            "and expected.as_of = replayed.as_of"
        )


@contextmanager
def in_memory(**tables: pa.Table) -> Iterator[DuckDBPyConnection]:
    """Open a database of DuckDB in memory, in UTC, that has some tables under their names and nothing else."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        for name, rows in tables.items():
            connection.register(name, rows)
        yield connection


@contextmanager
def paired(
    expected: pa.Table, replayed: pa.Table, key: str, values: Mapping[str, str], condition: str
) -> Iterator[Pair]:
    """Set rows as they should be beside those of a replay while the context lasts.

    Parameters
    ----------
    expected, replayed : pyarrow.Table
        With `key`, ``as_of`` and what `values` name.
    key : str
    values : mapping of str to str
        What is compared, as SQL of DuckDB, by column.
    condition : str
        Which rows are compared, as SQL of DuckDB.
    """
    with in_memory(expected_rows=expected, replayed_rows=replayed) as connection:
        yield Pair(connection, key, values, condition)
