"""A connection to a warehouse, queries that every engine answers alike, and scratch space in which models run again.

Scratch space has places and worlds. A place reads the tables of the warehouse and replaces some of them. A world holds
only copies of sources, and does not see the warehouse.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


Name = tuple[str, str]
"""Schema and name of a relation."""

RELATION = re.compile(r'"([^"]+)"\."([^"]+)"\."([^"]+)"')


GROUPS = 4096
"""The number of groups of entities, by three digits of a hash; a sample is some of the groups."""


class Readable(Protocol):
    """An object that runs statements with parameters ``$1``, ``$2`` …, in SQL that every engine understands."""

    def execute(self, query: str, parameters: Any = ..., /) -> Any:
        """Run a statement; the result has ``fetchall()``, ``fetchone()`` and ``df()``."""


def named(relation: str) -> Name:
    """Return the name of a relation that is written as ``schema.table``."""
    schema, _, table = relation.partition(".")
    return schema, table


@dataclass(frozen=True, kw_only=True)
class Model:
    """A compiled dbt model: its name, schema, materialization and query."""

    name: str
    schema: str
    materialized: str
    sql: str

    @property
    def relation(self) -> Name:
        """The relation that it writes."""
        return self.schema, self.name

    @property
    def reads(self) -> frozenset[Name]:
        """The relations that its query names."""
        return frozenset((schema, name) for _, schema, name in RELATION.findall(self.sql))


class ReplayError(RuntimeError):
    """A model does not run in a world; the message names it."""


class Related(ABC):
    """A set of tables and views that models make, and their names in a query."""

    @abstractmethod
    def relation(self, name: Name) -> str:
        """Return a relation as a query names it."""

    @abstractmethod
    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        """Make a table or view of a query."""

    def run(self, models: Iterable[Model]) -> None:
        """Run models here, in their order."""
        for model in models:
            self.make(model.relation, model.sql, kind=model.materialized)


class Place(Related):
    """A set of tables that replace tables of the warehouse with the same names, when compiled SQL runs in it.

    `Scratch.place` makes it. An engine defines the names of its schemas, and how they are dropped.

    Parameters
    ----------
    connection : Readable
    name : str
        The unique name of the place.
    prefix : str
        The beginning of the names of all places of one scratch space.

    Attributes
    ----------
    table : str
        The kind of table that is created for a model.
    outlasts_errors : bool
        Whether the tables still exist after a statement has failed.
    """

    table: ClassVar[str] = "table"
    outlasts_errors: ClassVar[bool] = True

    def __init__(self, connection: Readable, name: str, prefix: str) -> None:
        self.connection = connection
        self.name = name
        self._prefix = prefix
        self._warehouse: str = connection.execute("select current_database()").fetchall()[0][0]
        self.made: set[Name] = set()
        self.schemas: set[str] = set()

    @abstractmethod
    def schema(self, name: str) -> str:
        """Return a schema of this place as SQL names it."""

    @abstractmethod
    def drop(self) -> None:
        """Drop everything that was made here."""

    def filled(self, table: str) -> None:
        """Prepare a filled table for the planner."""

    def relation(self, name: Name) -> str:
        """Return the quoted relation of this place if it has one of this name, else that of the warehouse."""
        return self._own(name) if name in self.made else f'"{self._warehouse}"."{name[0]}"."{name[1]}"'

    def translated(self, sql: str) -> str:
        """Return SQL in which relations of this place replace those of the warehouse."""

        def found_here(found: re.Match[str]) -> str:
            # a relation of another place is not replaced
            return found[0] if found[1].startswith(f"{self._prefix}_") else self.relation((found[2], found[3]))

        return RELATION.sub(found_here, sql)

    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        """Make a table or view of a translated query; queries in this place read it from now on."""
        query = self.translated(query)
        if name[0] not in self.schemas:
            self.connection.execute(f"create schema {self.schema(name[0])}")
            self.schemas.add(name[0])
        self.connection.execute(f"create {self.table if kind == 'table' else kind} {self._own(name)} as {query}")
        self.made.add(name)
        if kind == "table":
            self.filled(self._own(name))

    def fill(self, name: Name, query: str) -> None:
        """Make a table with the columns of the warehouse's table, and fill it by a query with these columns."""
        query = self.translated(query)
        self.make(name, f"select * from {self.relation(name)} limit 0")
        self.connection.execute(f"insert into {self._own(name)} {query}")
        self.filled(self._own(name))

    def _own(self, name: Name) -> str:
        return f'{self.schema(name[0])}."{name[1]}"'


class World(Related):
    """A database that holds only copies of tables of schema ``raw``, and the tables that models make of them.

    `make` and `run` raise `ReplayError` if a query reads any other table, or does not run.
    """

    @abstractmethod
    def fill(self, name: Name, columns: Mapping[str, str], query: str) -> None:
        """Make a table with typed columns, and fill it by a query that reads the warehouse."""

    @abstractmethod
    def take(self, name: Name, other: World, condition: str) -> None:
        """Copy the rows of a table of another world that meet a condition."""

    @abstractmethod
    def rows(self, query: str) -> pa.Table:
        """Return the rows of a query that reads this world."""


class Scratch(ABC):
    """Scratch space of a connection.

    Parameters
    ----------
    connection : Readable
    prefix : str
        The beginning of the names of its places.

    Attributes
    ----------
    dialect : str
        The dialect of its SQL, by its name in sqlglot.
    max_facts : int
        Rows of schema ``raw`` that the proof replays in seconds.
    places : type of Place
    """

    dialect: ClassVar[str]
    max_facts: ClassVar[int]
    places: ClassVar[type[Place]]

    def __init__(self, connection: Readable, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._made = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Make a place, and drop it at the end."""
        self._made += 1
        place = self.places(self._connection, f"{self._prefix}_{self._made}", self._prefix)
        try:
            yield place
        except Exception:
            if place.outlasts_errors:
                place.drop()
            raise
        place.drop()

    @abstractmethod
    def world(self) -> AbstractContextManager[World]:
        """Make a world, and drop it at the end.

        Raises
        ------
        ReplayError
            If the database cannot keep a world apart from the warehouse.
        """


def refused(name: Name, error: Exception) -> ReplayError:
    """Return the error of a model that does not run in a world."""
    # PostgreSQL's driver puts the query before the server's message
    message = " ".join(str(error).rpartition("ERROR:")[2].split())
    return ReplayError(
        f"{'.'.join(name)}: expected SQL that runs on the sources and models of the feature store alone, where nothing "
        f"else exists, found: {message}"
    )


class Connection(Readable, Protocol):
    """A connection to a warehouse, of any engine."""

    def begin(self) -> Any:
        """Begin a transaction."""

    def commit(self) -> Any:
        """Commit the transaction."""

    def rollback(self) -> Any:
        """Undo the transaction."""

    def register(self, name: str, frame: Any, /) -> Any:
        """Make a frame a table of this connection."""

    def unregister(self, name: str, /) -> Any:
        """Drop the table of a frame."""

    def append(self, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Append rows, at least one, to a table."""

    def altering(
        self, schema: str, tables: Collection[str], replaced: Collection[str] = (), rekeyed: Collection[str] = ()
    ) -> AbstractContextManager[None]:
        """Alter tables of a schema, in one transaction.

        Parameters
        ----------
        schema : str
        tables : collection of str
            Existing tables that may be altered.
        replaced : collection of str
            Tables that are replaced by views of the same name, with the same rights to read.
        rekeyed : collection of str
            Tables that get another key.

        Raises
        ------
        AlterationRefusedError
            If objects of others depend on a replaced table or an old key, or another session locks a table for
            minutes; nothing has changed then.
        """

    def change_key(self, schema: str, table: str, key: Sequence[str], definition: str) -> None:
        """Give a table another primary key, in the open transaction; no row is lost.

        Parameters
        ----------
        schema, table : str
        key : sequence of str
            The columns of the key.
        definition : str
            All columns of the table, and the key, as ``create table`` takes them.
        """

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as an Arrow table."""

    def scratch(self, prefix: str, reads: Collection[Name] = ()) -> AbstractContextManager[Scratch]:
        """Make scratch space, which is removed when the context ends.

        Nothing else may write by this connection while the context lasts.

        Parameters
        ----------
        prefix : str
            The beginning of the names of its places.
        reads : collection of Name
            Relations of the warehouse that are read, if they exist; all are read in one state of the warehouse.
        """


def table_exists(connection: Readable, schema: str, name: str) -> bool:
    """Say whether there is such a table or view."""
    return bool(columns_of(connection, schema, name))


def columns_of(connection: Readable, schema: str, name: str) -> list[str]:
    """Return the columns of a table or view in their order; an empty list if it does not exist."""
    return list(column_types(connection, schema, name))


def column_types(connection: Readable, schema: str, name: str, *, catalog: str | None = None) -> dict[str, str]:
    """Return the columns of a table or view in their order, with their types; an empty dict if it does not exist.

    Parameters
    ----------
    connection : Readable
    schema, name : str
    catalog : str, optional
        An attached database; by default the warehouse itself.
    """
    listed = (
        "select column_name, data_type from information_schema.columns where table_schema = $1 and table_name = $2 "
        f"and table_catalog = {'current_database()' if catalog is None else repr(catalog)} order by ordinal_position"
    )
    return dict(connection.execute(listed, [schema, name]).fetchall())


def in_groups(key: str, groups: int) -> str:
    """Return the condition that an entity is in the first groups by its hash; fewer groups are a subset of more."""
    return "1 = 1" if groups >= GROUPS else f"substr(md5({key}), 1, 3) < '{groups:03x}'"


def insert_rows(
    connection: Connection, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows by one statement: a hundred small statements took longer than the measurement that they wrote."""
    if rows:
        connection.append(schema, table, columns, rows)
