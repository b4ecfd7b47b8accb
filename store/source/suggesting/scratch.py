"""The tables of a source in a scratch database, as texts; of a large table some rows, and some columns whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from store.source.reading.databases import below_share
from store.source.reading.rows import BYTES, NESTED
from store.source.reading.sources import Source
from store.source.sql import of_source, one_row
from store.source.values.texts import MISSING
from store.sql import literal, literals

SAMPLE_ROWS = 20_000
"""Rows of a table on which spellings and the order of times are measured; keys and words are measured on all that were
read."""

MOST_ROWS = 50_000
"""Rows of a table of a database that are read with all columns; of a larger one about as many are."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A table as texts: ``t<number>``, and ``s<number>`` with fewer rows; the columns are ``c0``, ….

    Attributes
    ----------
    number : int
    columns : sequence of str
        Their names in the source, by place.
    rows, rows_in_all : int
        Rows that were read, and rows that the table has.
    parts : tuple of Texts
        The tables that this one is the union of; empty for a table of the source.
    name : str
        In the source; empty for a union.
    """

    number: int
    columns: Sequence[str]
    rows: int
    rows_in_all: int
    parts: "tuple[Texts, ...]" = ()
    name: str = ""

    @property
    def share(self) -> float:
        """The share of the rows that were read."""
        return self.rows / self.rows_in_all if self.rows_in_all else 1.0


@dataclass
class Scratch:
    """The scratch database with the tables that were read.

    Attributes
    ----------
    connection : DuckDBPyConnection
        With the functions on one value.
    reader : Source
    """

    connection: DuckDBPyConnection
    reader: Source
    _next: int = 0

    def read(self, name: str, found: Sequence[str]) -> Texts:
        """Read a table, whole or in part.

        Raises
        ------
        SourceContractError
            If it cannot be read.
        """
        kinds = {column: self.reader.type_of(name, column) or "" for column in found}
        columns = [column for column in found if not kinds[column].startswith((*NESTED, *BYTES))]
        rows_in_all = self._texts(name, columns, range(len(columns)), f"t{self._next}", MOST_ROWS)
        return self._sampled(columns, rows_in_all=rows_in_all, name=name)

    def united(self, parts: Sequence[Texts]) -> Texts:
        """Return the union of tables with nearly the same columns."""
        columns = list(dict.fromkeys(column for part in parts for column in part.columns))
        tables = [f"select {_listed(part, dict(enumerate(columns)))} from t{part.number}" for part in parts]
        self.connection.execute(
            f"create table t{self._next} as select row_number() over () - 1 as record, * from "
            f"({' union all '.join(tables)})"
        )
        return self._sampled(columns, rows_in_all=sum(part.rows_in_all for part in parts), parts=tuple(parts))

    def of_some(self, table: Texts, places: Iterable[int], by: int, share: float) -> str:
        """Return a relation of all rows of a share of the values of a column, with some of the columns.

        Parameters
        ----------
        table : Texts
        places : iterable of int
            Of the columns.
        by : int
            The place of the column whose values are divided; equal values of two tables fall alike.
        share : float
        """
        below = below_share(share)
        if share >= 1:
            return f"t{table.number}"
        if table.rows == table.rows_in_all:
            return f"(from t{table.number} where md5(c{by}) < {literal(below)})"
        wanted = sorted({*places, by})
        if table.parts:
            names = {place: table.columns[place] for place in wanted}
            selects = []
            for part in (each for each in table.parts if table.columns[by] in each.columns):
                held = [part.columns.index(name) for name in names.values() if name in part.columns]
                relation = self.of_some(part, held, part.columns.index(table.columns[by]), share)
                selects.append(f"select {_listed(part, names)} from {relation}")
            return f"({' union all '.join(selects)})"
        relation = f"some{self._next}"
        self._next += 1
        columns = [table.columns[place] for place in wanted]
        self._texts(table.name, columns, wanted, relation, some=(table.columns[by], below))
        return relation

    def _texts(
        self,
        name: str,
        columns: Sequence[str],
        places: Iterable[int],
        relation: str,
        most: int | None = None,
        some: tuple[str, str] | None = None,
    ) -> int | None:
        """Create a relation with the texts of columns, null where one is missing; return all rows if some are read."""
        scratch = f"profile_{relation}"
        reading = self.reader.read(
            self.connection, table=scratch, source_table=name, columns=columns, most=most, some=some
        )
        # the cleaning of the extraction, as far as it is cheap
        texts, trimmed = "", ""
        for place, column in zip(places, columns, strict=True):
            texts += f", case when lower(v{place}) not in ('', {literals(MISSING)}) then v{place} end as c{place}"
            trimmed += f", trim(cast({of_source(column)} as varchar)) as v{place}"
        self.connection.execute(
            f"create table {relation} as select record{texts} from (select record{trimmed} from source_{scratch})"
        )
        self.connection.execute(f"drop view source_{scratch}")
        for kind in ("file", "database"):
            self.connection.execute(f"drop table if exists {kind}_{scratch}")
        return None if reading.part is None else reading.part.rows

    def _sampled(
        self, columns: Sequence[str], *, rows_in_all: int | None, parts: tuple[Texts, ...] = (), name: str = ""
    ) -> Texts:
        number = self._next
        self._next += 1
        (rows,) = one_row(self.connection, f"select count(*) from t{number}")
        # every so many rows, so that a second look takes the same ones
        step = max(1, rows // SAMPLE_ROWS)
        self.connection.execute(f"create table s{number} as from t{number} where record % {step} = 0")
        return Texts(number=number, columns=columns, rows=rows, rows_in_all=rows_in_all or rows, parts=parts, name=name)


def _listed(part: Texts, names: Mapping[int, str]) -> str:
    return ", ".join(
        f"{f'c{part.columns.index(name)}' if name in part.columns else 'null'} as c{place}"
        for place, name in names.items()
    )
