"""Places where the SQL of the feature store runs on other sources and finds nothing else.

On DuckDB a world is a database of its own in memory, in which the compiled text runs as it is: the warehouse does not
exist there, and neither files nor other databases can be reached. On PostgreSQL a world is a group of schemas of a
transaction that is never committed, with names translated; the plan of each query must read tables of the world alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assets.postgres import PostgresConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets.compiled import Model, Name, Place, Scratch
    from assets.warehouse import Connection


_OF_THE_DATABASE = """
    select 'the cast from ' || format_type(castsource, null) || ' to ' || format_type(casttarget, null)
    from pg_catalog.pg_cast
    where oid >= 16384 and castsource < 16384 and casttarget < 16384 and castfunc <> 0
    union all
    select proname || '()' from pg_catalog.pg_proc as added
    where
        oid >= 16384 and pronamespace = 'pg_catalog'::regnamespace
        and exists (select 1 from pg_catalog.pg_proc as own where own.proname = added.proname and own.oid < 16384)
    order by 1
"""
"""Casts between types of PostgreSQL, and functions under its own names, that somebody has added: ids from 16384 on."""


class ReplayError(RuntimeError):
    """A model does not run where the warehouse does not exist; the message names it."""


class World(ABC):
    """A place with some tables of schema ``raw``, and what models made of them."""

    def run(self, models: Iterable[Model]) -> None:
        """Run models here, in their order.

        Raises
        ------
        ReplayError
            If one names what is not here, or does not run.
        """
        for model in models:
            self.make(model.relation, model.sql, kind=model.materialized)

    @abstractmethod
    def fill(self, name: Name, columns: Mapping[str, str], query: str) -> None:
        """Make a table with columns of given types, and fill it by a query that reads the warehouse."""

    @abstractmethod
    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        """Make a table or view of a query that reads this world.

        Raises
        ------
        ReplayError
            If the query names what is not here, or does not run.
        """

    @abstractmethod
    def take(self, name: Name, other: World, condition: str) -> None:
        """Make a table of the rows of one of another world that meet a condition."""

    @abstractmethod
    def relation(self, name: Name) -> str:
        """Return a relation of this world as a query of `make` names it."""

    @abstractmethod
    def rows(self, query: str) -> pa.Table:
        """Return the rows of a query that reads this world."""


class _OfItsOwn(World):
    """A database in memory."""

    def __init__(self, warehouse: DuckDBPyConnection) -> None:
        import duckdb

        self._warehouse = warehouse
        self._name: str = warehouse.execute("select current_database()").fetchall()[0][0]
        self._world: DuckDBPyConnection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "enable_external_access": "false",
            },
        )
        for statement in (
            f"attach ':memory:' as \"{self._name}\"",
            f'use "{self._name}"',
            "set TimeZone = 'UTC'",
            "set enable_progress_bar = false",
            # variables of this process are no tables
            "set python_enable_replacements = false",
            "set lock_configuration = true",
        ):
            self._world.execute(statement)
        self._schemas: set[str] = set()

    def fill(self, name: Name, columns: Mapping[str, str], query: str) -> None:
        self._schema(name)
        types = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
        self._world.execute(f"create table {self.relation(name)} ({types})")
        self._world.register("incoming", arrow(self._warehouse, query))
        self._world.execute(f"insert into {self.relation(name)} select * from incoming")
        self._world.unregister("incoming")

    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        import duckdb

        self._schema(name)
        try:
            self._world.execute(f"create {kind} {self.relation(name)} as {query}")
        except duckdb.Error as error:
            raise _refused(name, error) from error

    def take(self, name: Name, other: World, condition: str) -> None:
        self._schema(name)
        self._world.register("incoming", other.rows(f"select * from {other.relation(name)} where {condition}"))
        self._world.execute(f"create table {self.relation(name)} as select * from incoming")
        self._world.unregister("incoming")

    def relation(self, name: Name) -> str:
        return f'"{self._name}"."{name[0]}"."{name[1]}"'

    def rows(self, query: str) -> pa.Table:
        return arrow(self._world, query)

    def close(self) -> None:
        self._world.close()

    def _schema(self, name: Name) -> None:
        if name[0] not in self._schemas:
            self._world.execute(f'create schema "{name[0]}"')
            self._schemas.add(name[0])


class _InTransaction(World):
    """Schemas of a transaction."""

    def __init__(self, connection: PostgresConnection, place: Place) -> None:
        self._connection = connection
        self._place = place

    def fill(self, name: Name, columns: Mapping[str, str], query: str) -> None:
        del columns  # the table of the warehouse has them
        self._place.fill(name, query)

    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        from adbc_driver_manager import Error

        try:
            read = set(_relations(self._connection.plan(self._place.translated(query))))
            if foreign := sorted(read - {self._place.placed(each) for each in self._place.made}):
                raise ReplayError(
                    f"{'.'.join(name)}: expected to read what the feature store is built from, found "
                    f"{', '.join('.'.join(each) for each in foreign)}. Name relations by ref() and source()."
                )
            self._place.make(name, query, kind=kind)
        except Error as error:
            raise _refused(name, error) from error

    def take(self, name: Name, other: World, condition: str) -> None:
        self._place.make(name, f"select * from {other.relation(name)} where {condition}")

    def relation(self, name: Name) -> str:
        return self._place.relation(name)

    def rows(self, query: str) -> pa.Table:
        return arrow(self._connection, query)


@contextmanager
def world(connection: Connection, beside: Scratch) -> Iterator[World]:
    """Make a world beside a warehouse, and drop it at the end.

    Parameters
    ----------
    connection : Connection
        To the warehouse.
    beside : Scratch
        Of this connection.
    """
    if isinstance(connection, PostgresConnection):
        # functions, operators and types of the database itself would read it: here they are not found
        connection.execute("set local search_path = pg_catalog")
        if there := connection.execute(_OF_THE_DATABASE).fetchall():
            raise ReplayError(
                "Expected casts and functions of PostgreSQL alone under its own names, found of this database: "
                f"{', '.join(name for (name,) in there)}. No query tells them apart, and they may read anything."
            )
        with beside.place() as place:
            yield _InTransaction(connection, place)
        return
    own = _OfItsOwn(connection)  # type: ignore[arg-type]
    try:
        yield own
    finally:
        own.close()


def arrow(connection: Connection, query: str) -> pa.Table:
    """Return the rows of a query as Arrow has them."""
    if isinstance(connection, PostgresConnection):
        return connection.execute(query).to_arrow_table()
    return connection.sql(query).to_arrow_table()  # type: ignore[attr-defined]


def _refused(name: Name, error: Exception) -> ReplayError:
    # PostgreSQL's driver repeats the query before what the server says of it
    said = " ".join(str(error).rpartition("ERROR:")[2].split())
    return ReplayError(
        f"{'.'.join(name)}: expected SQL that runs on the sources and models of the feature store alone, where nothing "
        f"else exists, found: {said}"
    )


def _relations(plan: Any) -> Iterator[Name]:
    """Yield schema and name of each relation that a plan of PostgreSQL reads."""
    if isinstance(plan, dict):
        if "Relation Name" in plan:
            yield plan["Schema"], plan["Relation Name"]
        plan = list(plan.values())
    if isinstance(plan, list):
        for each in plan:
            yield from _relations(each)
