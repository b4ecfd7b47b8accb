"""A PostgreSQL database as the warehouse of an extraction."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from duckdb import DuckDBPyConnection
from sqlalchemy import URL, create_engine, inspect, literal_column, make_url, select, text
from sqlalchemy.exc import ArgumentError, OperationalError

from store.settings import session_options
from store.source.contract import TABLES, SourceContractError
from store.source.loading.into_duckdb import DuckdbTarget
from store.source.loading.stored import (
    BATCH_ROWS,
    RAW,
    WORD_COLUMNS,
    Wanted,
    counted_words,
    definition_of,
    keep_words,
    quiet_dlt,
    renames,
)
from store.source.reading.sources import describe
from store.source.record import SQL_TYPES

CONNECT_TIMEOUT_SECONDS = 15


class PostgresTarget(DuckdbTarget):
    """A PostgreSQL database as a warehouse."""

    def __init__(self, address: str) -> None:
        self._url = database_url(address)
        self._description = describe(address)

    @contextmanager
    def known(self, connection: DuckDBPyConnection, wanted: Mapping[str, Wanted]) -> Iterator[set[str]]:
        """Copy columns of tables of ``raw`` to ``known_<table>`` while the context lasts; yields those that exist."""
        engine = create_engine(self._url)
        try:
            inspector = inspect(engine)
            stored_as = self._stored_as(inspector.get_table_names(RAW))
            existing = set(stored_as)
            with engine.connect() as opened:
                words = [
                    (table, column, opened.execute(text(counted_words(f"{RAW}.{stored_as[table]}", column))).all())
                    for table in existing.intersection(wanted)
                    for column in {
                        each["name"] for each in inspector.get_columns(stored_as[table], schema=RAW)
                    }.intersection(wanted[table].words)
                ]
        except OperationalError as error:
            raise ConnectionError(
                f"warehouse {self._description}: expected a PostgreSQL database that answers, found "
                f"{str(error.orig).strip()}. Check the warehouse's address and that the server runs."
            ) from None
        finally:
            engine.dispose()
        try:
            connection.execute(f"create table known_words ({definition_of(WORD_COLUMNS)})")
            for each in words:
                keep_words(connection, *each)
            for table, want in wanted.items():
                connection.execute(f"create table known_{table} ({want.definition})")
                if table not in existing:
                    continue

                def chosen(_: Any, stored: Any, want: Wanted = want) -> Any:
                    # a warehouse of an earlier version lacks the columns that have been added since
                    columns = [stored.c[name] for name in want.columns if name in stored.c]
                    if want.filled:
                        columns.append(literal_column(want.mask(stored.c.keys())).label("filled"))
                    return select(*columns).select_from(stored)

                self._copy(connection, stored_as[table], f"known_{table}", chosen)
            yield existing
        finally:
            for table in wanted:
                connection.execute(f"drop table if exists known_{table}")
            connection.execute("drop table if exists known_words")

    def stored_rows(self, connection: DuckDBPyConnection, table: str, columns: Sequence[str]) -> None:
        """Copy columns of a table of ``raw`` that exists to ``stored_<table>``."""
        kinds = {column.name: SQL_TYPES[column.kind] for column in TABLES[table].columns}
        connection.execute(f"create table stored_{table} ({definition_of({name: kinds[name] for name in columns})})")

        self._copy(
            connection,
            table,
            f"stored_{table}",
            lambda _, stored: select(*(stored.c[name] for name in columns if name in stored.c)),
        )

    def rename_earlier(self) -> None:
        """Give tables of schema ``raw`` their present names, each in one transaction: no row is copied or lost."""
        engine = create_engine(self._url)
        try:
            existing = inspect(engine).get_table_names(RAW)
            for earlier, statements in renames():
                if earlier in existing:
                    with engine.begin() as opened:
                        for statement in statements:
                            opened.execute(text(statement))
        finally:
            engine.dispose()

    def _copy(self, connection: DuckDBPyConnection, table: str, relation: str, query: Any) -> None:
        """Append rows of a table of ``raw`` to a relation; ``query`` makes the SELECT from the reflected table."""
        quiet_dlt()
        from dlt.sources.sql_database import sql_table

        for batch in sql_table(
            credentials=self._url.render_as_string(hide_password=False),
            schema=RAW,
            table=table,
            backend="pyarrow",
            # types are those of the query, not of the table
            reflection_level="minimal",
            query_adapter_callback=query,
            engine_kwargs={"connect_args": {"connect_timeout": CONNECT_TIMEOUT_SECONDS}},
            chunk_size=BATCH_ROWS,
        ):
            connection.register("batch", batch)
            connection.execute(f"insert into {relation} by name from batch")
            connection.unregister("batch")

    def destination(self) -> Any:
        """Return the dlt destination."""
        from dlt.destinations import postgres

        # dlt asks for a password even where there is none, or libpq takes it from a file; an empty one is none to libpq
        url = self._url.set(drivername="postgresql", password=self._url.password or "")
        if options := session_options():
            # dlt sets options of its own, and libpq would leave those of the environment out
            url = url.update_query_dict({"options": options})
        return postgres(
            credentials=url.render_as_string(hide_password=False),
            replace_strategy="insert-from-staging",
        )


def database_url(address: str) -> URL:
    """Parse the address of a warehouse.

    Raises
    ------
    SourceContractError
        When it cannot be parsed; the message does not repeat it, because it may hold a password.
    """
    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise SourceContractError(
            "the database address cannot be read: expected postgresql://user:password@host:port/database. "
            "Correct it, and percent-encode special characters in the password."
        ) from None
    # dlt asks for a host even where the query names a socket, which then takes precedence
    return url.set(drivername="postgresql+psycopg2", host=url.host or "localhost")
