"""A source with the tables that were assembled from its own."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.assembling.assembly import Assembly
from store.source.mapping.binding import TableBinding
from store.source.reading.sources import Source
from store.source.reading.tables import Reading, Tables
from store.source.values.texts import folded
from store.sql import literals


def create_said(connection: DuckDBPyConnection, missing: Sequence[str]) -> None:
    """Create the functions of a scratch database that return a value, or a part of a text, null where it is missing."""
    words = literals(sorted(set(map(folded, missing))))
    connection.execute(
        # a key that may be missing becomes a floating-point number in some exports, and one that is there stays whole
        f"create macro said(v) as case when folded(cleaned(v)) in ({words}) then null "
        r"when typeof(v) in ('DOUBLE', 'FLOAT') then regexp_replace(cleaned(v), '\.0$', '') else cleaned(v) end"
    )
    connection.execute(
        # a part of a part would be computed nine times (the list of one element makes DuckDB compute it once)
        "create macro said_part(v) as "
        f"list_transform([cleaned(v)], lambda w: case when folded(w) in ({words}) then null else w end)[1]"
    )


class AssembledTables(Tables):
    """The tables of a source and those that were assembled; only the former are listed."""

    def __init__(self, tables: Tables, assemblies: dict[str, Assembly]) -> None:
        super().__init__(tables.place, list(tables), tables.others, tables.__getitem__)
        self._assemblies = assemblies

    def __getitem__(self, name: str) -> Sequence[str]:
        """Return the columns of a table."""
        return self._assemblies[name].columns if name in self._assemblies else super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        """Say whether there is a table of this name."""
        return name in self._assemblies or super().__contains__(name)


class AssembledSource:
    """A source whose tables and assembled tables are read alike.

    Parameters
    ----------
    reader : Source
        The source itself.
    """

    def __init__(self, reader: Source) -> None:
        self.reader = reader
        self.folder = reader.folder
        self.description = reader.description
        self._assemblies: dict[str, Assembly] = {}
        self._tables = AssembledTables(reader.columns(), self._assemblies)

    def add(self, assembly: Assembly) -> None:
        """Add an assembled table under its name."""
        self._assemblies[assembly.name] = assembly

    @property
    def assemblies(self) -> list[Assembly]:
        """The assembled tables."""
        return list(self._assemblies.values())

    def is_base(self, source_table: str, called: str) -> bool:
        """Say whether the rows of an assembled table are those of one source table, which the mapping calls so."""
        assembly = self._assemblies.get(source_table)
        return assembly is not None and assembly.is_of(called)

    @property
    def notes(self) -> list[str]:
        """Sentences about tables and columns that a shipped mapping names and the source lacks."""
        absent: dict[str, list[str]] = {}
        for assembly in self.assemblies:
            for table in assembly.absent_tables:
                absent.setdefault(table, []).append(assembly.table.name)
        return [
            *(
                f"The source has no {table}: what the mapping takes from it for {' and '.join(names)} is missing."
                for table, names in absent.items()
            ),
            *(note for assembly in self.assemblies for note in assembly.notes),
        ]

    def read_of(self, source_table: str, bindings: Iterable[TableBinding]) -> set[str]:
        """Return the columns of a table, or of the source table whose rows it has, that any table is made of."""
        base = self._base_of(source_table)
        columns = {column for assembly in self.assemblies for column in assembly.used_of(base)}
        return columns.union(*(each.source_columns for each in bindings if self._base_of(each.source_table) == base))

    def _base_of(self, source_table: str) -> str | None:
        assembly = self._assemblies.get(source_table)
        return self._tables.find(source_table) if assembly is None else assembly.base

    def unread(self, bound: Collection[str]) -> list[str]:
        """Return the files or tables that neither a binding nor an assembly reads."""
        read = {self._tables.find(name) or name for name in bound}
        read.update(name for assembly in self.assemblies for name in assembly.source_tables)
        return [self.place(name) for name in self._tables if name not in read]

    def unread_columns(self, bound: Collection[str]) -> dict[str, list[str]]:
        """Return the columns that nothing reads of tables that are joined or parts of a union, by file or table.

        Those of a table whose rows are the rows of a contract table stand in the report of the latter.
        """
        bases = {self._base_of(name) for name in bound}
        tables = dict.fromkeys(name for assembly in self.assemblies for name in assembly.source_tables)
        unread: dict[str, list[str]] = {}
        for name in (each for each in tables if each not in bases):
            read = {column for assembly in self.assemblies for column in assembly.read_of(name)}
            if left := [column for column in self._tables[name] if column not in read]:
                unread[self.place(name)] = left
        return unread

    def columns(self) -> Tables:
        """Return the columns by table."""
        return self._tables

    def place(self, source_table: str) -> str:
        """Return the files or database tables of a table."""
        if (assembly := self._assemblies.get(source_table)) is not None:
            return assembly.place
        return self.reader.place(source_table)

    def type_of(self, source_table: str, column: str) -> str | None:
        """Return the type of a column as the source names it."""
        if (assembly := self._assemblies.get(source_table)) is not None:
            return assembly.type_of(column)
        return self.reader.type_of(source_table, column)

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None = None,
        nested: Collection[str] = (),
        most: int | None = None,
        some: tuple[str, str] | None = None,
    ) -> Reading:
        """Create ``source_<table>`` from a table of the source, or by its assembly."""
        if (assembly := self._assemblies.get(source_table)) is not None:
            return assembly.read(connection, columns)
        return self.reader.read(
            connection,
            table=table,
            source_table=source_table,
            columns=columns,
            since=since,
            nested=nested,
            most=most,
            some=some,
        )
