"""SQL that compares two sets of rows by key: at first by a hash of each row, and by value where the hashes differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW = "(row)"
"""Stands for a column where a row is missing, or where there is one too many."""


@dataclass(frozen=True)
class Pair:
    """Rows of the store, and those of a replay that should equal them.

    Attributes
    ----------
    stored, replayed : str
        Where the rows are: the end of a query, from ``from`` on.
    key : str
        The column that, with ``as_of``, identifies a row.
    values : mapping of str to str
        What is compared, as SQL, by column.
    """

    stored: str
    replayed: str
    key: str
    values: Mapping[str, str]

    def by_hash(self, row_hash: str) -> str:
        """Return the query of the rows on either side, those that differ, and a digest of those of the store."""
        return (
            f"with stored as (select {self.key}, as_of, {row_hash} as row_hash {self.stored}), "
            f"replayed as (select {self.key}, as_of, {row_hash} as row_hash {self.replayed}) "
            "select count(*), count(case when stored.row_hash is distinct from replayed.row_hash then 1 end), "
            "bit_xor(stored.row_hash) from stored full join replayed "
            f"on stored.{self.key} = replayed.{self.key} and stored.as_of = replayed.as_of"
        )

    def counts(self) -> str:
        """Return the query of how many rows are on one side alone, and how many differ in each column."""
        one_side = f"(stored.{self.key} is null or replayed.{self.key} is null)"
        listed = [f"count(case when {one_side} then 1 end)"]
        listed += [
            f"count(case when not {one_side} and stored.{name} is distinct from replayed.{name} then 1 end)"
            for name in self.values
        ]
        return f"{self._joined()} select {', '.join(listed)} {self._from()}"

    def examples(self, column: str, limit: int) -> str:
        """Return the query of the first rows that differ in a column, with both values as text."""
        key = f"coalesce(stored.{self.key}, replayed.{self.key}), coalesce(stored.as_of, replayed.as_of)"
        one_side = f"(stored.{self.key} is null or replayed.{self.key} is null)"
        if column == ROW:
            there = "case when {0}.{1} is null then 'missing' else 'there' end"
            values = ", ".join(there.format(side, self.key) for side in ("stored", "replayed"))
            differs = one_side
        else:
            values = ", ".join(f"cast({side}.{column} as text)" for side in ("stored", "replayed"))
            differs = f"not {one_side} and stored.{column} is distinct from replayed.{column}"
        return (
            f"{self._joined()} select {key}, {values} {self._from()} where {differs} order by 2 desc, 1 limit {limit}"
        )

    def _joined(self) -> str:
        listed = ", ".join([self.key, "as_of", *(f"{value} as {name}" for name, value in self.values.items())])
        return f"with stored as (select {listed} {self.stored}), replayed as (select {listed} {self.replayed})"

    def _from(self) -> str:
        return (
            f"from stored full join replayed on stored.{self.key} = replayed.{self.key} "
            "and stored.as_of = replayed.as_of"
        )
