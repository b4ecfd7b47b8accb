"""Scratch space in a transaction that is never committed: schemas in the database of the warehouse.

Nobody else sees the schemas, and nothing of them is left, even if the process is killed. A world is a place with names
translated; the plan of each query must read only tables of the world.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from store.warehouse.connection import Connection, Name, Place, ReplayError, Scratch, World, refused

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE_TABLES = ("set local enable_nestloop = off", "set local work_mem = '64MB'")
"""Settings for a transaction that reads whole tables; the macro ``plan_for_whole_tables`` sets the same for dbt."""

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
"""A query for casts between PostgreSQL's own types, and functions with its own names, that somebody has added: their
ids are 16384 or more."""


_OF_THE_QUERY = ("0A", "21", "22", "23", "2F", "38", "39", "3F", "42", "P0")
"""PostgreSQL's classes of codes for errors of the SQL itself. Other errors, such as a full disk or a cancelled query,
are no faults of a model."""


class _Place(Place):
    # a log would only help after a crash, which removes the table anyway
    table = "unlogged table"
    # after an error the server refuses all statements, and rolls the transaction back
    outlasts_errors = False

    def schema(self, name: str) -> str:
        return f'"{self.name}_{name}"'

    def drop(self) -> None:
        for name in self.schemas:
            self.connection.execute(f"drop schema {self.schema(name)} cascade")

    def filled(self, table: str) -> None:
        self.connection.execute(f"analyze {table}")


class _World(World):
    """A place in which the plan of every query is checked before the query runs."""

    def __init__(self, connection: Connection, planned: Callable[[str], set[Name]], place: Place) -> None:
        self._connection = connection
        self._planned = planned
        self._place = place

    def fill(
        self,
        name: Name,
        columns: Mapping[str, str],  # noqa: ARG002 - of the shared interface
        query: str,
    ) -> None:
        self._place.fill(name, query)

    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        from adbc_driver_manager import Error

        try:
            own_relations = {(f"{self._place.name}_{schema}", table) for schema, table in self._place.made}
            if foreign := sorted(self._planned(self._place.translated(query)) - own_relations):
                raise ReplayError(
                    f"{'.'.join(name)}: expected to read only sources and models of the feature store, found "
                    f"{', '.join('.'.join(each) for each in foreign)}. Name relations by ref() and source()."
                )
            self._place.make(name, query, kind=kind)
        except Error as error:
            if (error.sqlstate or "").startswith(_OF_THE_QUERY):
                raise refused(name, error) from error
            raise

    def take(self, name: Name, other: World, condition: str) -> None:
        self._place.make(name, f"select * from {other.relation(name)} where {condition}")

    def relation(self, name: Name) -> str:
        return self._place.relation(name)

    def rows(self, query: str) -> pa.Table:
        return self._connection.arrow(query)


class _Scratch(Scratch):
    dialect = "postgres"
    # fewer than on DuckDB, because the same SQL takes several times as long here
    max_facts = 100_000
    places = _Place

    def __init__(self, connection: Connection, planned: Callable[[str], set[Name]], prefix: str) -> None:
        super().__init__(connection, prefix)
        self._opened = connection
        self._planned = planned

    @contextmanager
    def world(self) -> Iterator[World]:
        self._opened.execute("set local search_path = pg_catalog")
        if added := self._opened.execute(_OF_THE_DATABASE).fetchall():
            raise ReplayError(
                "Expected only PostgreSQL's own casts and functions under its names, found others in this database: "
                f"{', '.join(name for (name,) in added)}. A query cannot tell them apart, and they may read anything."
            )
        with self.place() as place:
            yield _World(self._opened, self._planned, place)


@contextmanager
def scratch(
    connection: Connection, planned: Callable[[str], set[Name]], prefix: str, reads: Collection[Name]
) -> Iterator[Scratch]:
    """Begin a transaction that reads the present state of the database, and roll it back at the end.

    Parameters
    ----------
    connection : Connection
    planned : callable
        Returns the relations that a query would read.
    prefix : str
        The beginning of the names of its places.
    reads : collection of Name
        Relations of the warehouse that are read, if they exist.
    """
    # the id of the session makes names unique; otherwise two sessions would wait for each other
    (pid,) = connection.execute("select pg_backend_pid()").fetchall()[0]
    while not _holds(connection, reads):
        connection.rollback()
    for setting in WHOLE_TABLES:
        connection.execute(setting)
    try:
        yield _Scratch(connection, planned, f"{prefix}_{pid}")
    finally:
        connection.rollback()


def _holds(connection: Connection, reads: Collection[Name]) -> bool:
    """Begin a transaction and lock the relations that are read; return False if a build has just dropped some."""
    from adbc_driver_manager import ProgrammingError

    existing = set(connection.execute("select table_schema, table_name from information_schema.tables").fetchall())
    connection.begin()
    connection.execute("set transaction isolation level repeatable read")
    if locked := sorted(existing.intersection(reads)):
        # the first query fixes the state, so the locks come first: a table swapped in after it would look empty
        listed = ", ".join(f'"{schema}"."{name}"' for schema, name in locked)
        try:
            connection.execute(f"lock table {listed} in access share mode")
        except ProgrammingError as error:
            # undefined_table
            if error.sqlstate != "42P01":
                raise
            return False
    return True
