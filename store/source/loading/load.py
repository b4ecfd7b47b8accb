"""The load: dlt merges the new rows into schema ``raw`` of a DuckDB file or a PostgreSQL database."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection
from sqlalchemy import URL, create_engine, inspect, literal_column, make_url, select, text
from sqlalchemy.exc import ArgumentError, OperationalError

from models.artifacts import make_folder
from store.addresses import is_database
from store.settings import session_options
from store.source.contract import EARLIER_NAMES, TABLES, SourceContractError
from store.source.loading.stored import (
    BATCH_ROWS,
    EXTRACTION_COLUMNS,
    RAW,
    WORD_COLUMNS,
    Delta,
    Wanted,
    counted_words,
    definition_of,
    further_columns,
    keep_words,
    quiet_dlt,
    renames,
)
from store.source.reading.sources import describe
from store.source.record import SQL_TYPES
from store.source.sql import quoted
from store.sql import literal
from store.warehouse.duckdb.engine import patiently

CONNECT_TIMEOUT_SECONDS = 15

PIPELINE = "leadline_crm"


class DuckdbTarget:
    """A DuckDB file as a warehouse."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def known(self, connection: DuckDBPyConnection, wanted: Mapping[str, Wanted]) -> Iterator[set[str]]:
        """Expose tables of ``raw`` as ``known_<table>`` while the context lasts; yield the names of those that exist.

        Parameters
        ----------
        connection : DuckDBPyConnection
            The scratch database.
        wanted : mapping of str to Wanted
            The wanted columns by table. A table that does not exist is exposed empty.
        """
        stored_as: dict[str, str] = {}
        if attached := self._path.exists():
            attach = f"attach {literal(str(self._path))} as warehouse (read_only)"
            patiently(str(self._path), lambda: connection.execute(attach))
            stored_as = self._stored_as(
                {
                    name
                    for (name,) in connection.execute(
                        "select table_name from duckdb_tables() where database_name = 'warehouse' "
                        f"and schema_name = {literal(RAW)}"
                    ).fetchall()
                }
            )
        try:
            connection.execute(f"create table known_words ({definition_of(WORD_COLUMNS)})")
            for table, want in wanted.items():
                if table in stored_as:
                    place = f"warehouse.{RAW}.{stored_as[table]}"
                    stored = {name for name, *_ in connection.execute(f"describe {place}").fetchall()}
                    # a warehouse of an earlier version lacks the columns that have been added since
                    listed = [
                        quoted(name) if name in stored else f"cast(null as {kind}) as {quoted(name)}"
                        for name, kind in want.columns.items()
                    ]
                    if want.filled:
                        listed.append(f"{want.mask(stored)} as filled")
                    connection.execute(f"create view known_{table} as select {', '.join(listed)} from {place}")
                    for column in stored.intersection(want.words):
                        keep_words(
                            connection, table, column, connection.execute(counted_words(place, column)).fetchall()
                        )
                else:
                    connection.execute(f"create table known_{table} ({want.definition})")
            yield set(stored_as)
        finally:
            # views of the warehouse stay in the scratch database, but cannot be read any more
            if attached:
                connection.execute("detach warehouse")

    def stored_rows(self, connection: DuckDBPyConnection, table: str, columns: Sequence[str]) -> None:
        """Expose columns of a table of ``raw`` that exists as ``stored_<table>``, in the context of `known`."""
        place = f"warehouse.{RAW}.{table}"
        stored = {name for name, *_ in connection.execute(f"describe {place}").fetchall()}
        listed = [quoted(name) if name in stored else f"null as {quoted(name)}" for name in columns]
        connection.execute(f"create view stored_{table} as select {', '.join(listed)} from {place}")

    def _stored_as(self, tables: Collection[str]) -> dict[str, str]:
        """Return the name of each table in schema ``raw``; a table with its earlier name is renamed later."""
        stored_as = {name: name for name in tables}
        for name, earlier in EARLIER_NAMES.items():
            if earlier not in stored_as:
                continue
            if name in stored_as:
                raise SourceContractError(
                    f"warehouse: expected {RAW}.{name}, found {RAW}.{earlier}, its earlier name, as well: an earlier "
                    f"release of Leadline has written to this warehouse since. {RAW}.{name} is complete up to that "
                    f"time: drop {RAW}.{earlier}, or bring the warehouse back from a backup."
                )
            stored_as[name] = stored_as.pop(earlier)
        return stored_as

    def bring_up_to_date(self) -> None:
        """Give the tables of schema ``raw`` their present names and columns, without any row copied or lost.

        A table without a new row is not loaded, and would lack the columns that have been added since.
        """
        import duckdb

        if not self._path.exists():
            return
        with patiently(str(self._path), lambda: duckdb.connect(str(self._path))) as connection:
            for earlier, statements in renames():
                found = connection.execute(
                    f"select 1 from duckdb_tables() where schema_name = {literal(RAW)} "
                    f"and table_name = {literal(earlier)}"
                ).fetchone()
                if found is not None:
                    connection.begin()
                    for statement in statements:
                        connection.execute(statement)
                    connection.commit()
            stored: dict[str, set[str]] = {}
            for table, column in connection.execute(
                f"select table_name, column_name from duckdb_columns() where schema_name = {literal(RAW)}"
            ).fetchall():
                stored.setdefault(table, set()).add(column)
            for statement in further_columns(stored):
                connection.execute(statement)

    def write_marker(self, connection: DuckDBPyConnection) -> None:
        """Replace ``raw.extraction`` by ``new_extraction`` of the scratch database, as one change."""
        attach = f"attach {literal(str(self._path))} as warehouse"
        patiently(str(self._path), lambda: connection.execute(attach))
        try:
            connection.execute(f"create or replace table warehouse.{RAW}.extraction as from new_extraction")
        finally:
            connection.execute("detach warehouse")

    def destination(self) -> Any:
        """Return the dlt destination."""
        from dlt.destinations import duckdb

        self._path.parent.mkdir(parents=True, exist_ok=True)
        # this strategy replaces a table in one transaction: a killed run leaves the old rows
        return duckdb(credentials=str(self._path), replace_strategy="insert-from-staging")


class PostgresTarget(DuckdbTarget):
    """A PostgreSQL database as a warehouse."""

    def __init__(self, address: str) -> None:
        self._url = database_url(address)
        self._description = describe(address)

    @contextmanager
    def known(self, connection: DuckDBPyConnection, wanted: Mapping[str, Wanted]) -> Iterator[set[str]]:
        """Copy columns of tables of ``raw`` to ``known_<table>`` while the context lasts; yield the existing tables."""
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
            # the copies use memory
            for table in wanted:
                connection.execute(f"drop table if exists known_{table}")

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

    def bring_up_to_date(self) -> None:
        """Give the tables of schema ``raw`` their present names and columns, without any row copied or lost."""
        engine = create_engine(self._url)
        try:
            existing = inspect(engine).get_table_names(RAW)
            for earlier, statements in renames():
                if earlier in existing:
                    with engine.begin() as opened:
                        for statement in statements:
                            opened.execute(text(statement))
            inspector = inspect(engine)
            stored = {
                table: {each["name"] for each in inspector.get_columns(table, schema=RAW)}
                for table in inspector.get_table_names(RAW)
            }
            with engine.begin() as opened:
                for statement in further_columns(stored):
                    opened.execute(text(statement))
        finally:
            engine.dispose()

    def write_marker(self, connection: DuckDBPyConnection) -> None:
        """Replace the row of ``raw.extraction`` by that of ``new_extraction``, in one transaction."""
        (row,) = connection.execute(f"select {', '.join(EXTRACTION_COLUMNS)} from new_extraction").fetchall()
        engine = create_engine(self._url)
        try:
            with engine.begin() as opened:
                opened.execute(text(f"create table if not exists {RAW}.extraction ()"))
                for name, kind in EXTRACTION_COLUMNS.items():
                    opened.execute(text(f"alter table {RAW}.extraction add column if not exists {name} {kind}"))
                opened.execute(text(f"delete from {RAW}.extraction"))
                places = ", ".join(f":{name}" for name in EXTRACTION_COLUMNS)
                opened.execute(
                    text(f"insert into {RAW}.extraction ({', '.join(EXTRACTION_COLUMNS)}) values ({places})"),
                    dict(zip(EXTRACTION_COLUMNS, row, strict=True)),
                )
        finally:
            engine.dispose()

    def _copy(self, connection: DuckDBPyConnection, table: str, relation: str, query: Any) -> None:
        quiet_dlt()
        from dlt.sources.sql_database import sql_table

        for batch in sql_table(
            credentials=self._url.render_as_string(hide_password=False),
            schema=RAW,
            table=table,
            backend="pyarrow",
            # the types come from the query, not from the table
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

        # dlt requires a password even if there is none or libpq reads it from a file; libpq ignores an empty one
        url = self._url.set(drivername="postgresql", password=self._url.password or "")
        if options := session_options():
            # dlt sets options of its own, so that libpq would ignore those of the environment
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
        If it cannot be parsed; the message does not repeat it, because it may hold a password.
    """
    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise SourceContractError(
            "the database address cannot be read: expected postgresql://user:password@host:port/database. "
            "Correct it, and percent-encode special characters in the password."
        ) from None
    # dlt requires a host even if the query names a socket, which takes precedence
    return url.set(drivername="postgresql+psycopg2", host=url.host or "localhost")


def load(connection: DuckDBPyConnection, warehouse: DuckdbTarget, state_dir: Path, deltas: Sequence[Delta]) -> None:
    """Write relations of the scratch database into schema ``raw`` with dlt.

    dlt's local state is dropped before the load, so that pending rows of a killed run are not loaded late, and after
    it, so that no copy of the rows stays. The warehouse holds everything in it.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database.
    warehouse : DuckdbTarget
        The target; no connection to it may be open.
    state_dir : Path
        Folder for dlt's working files.
    deltas : sequence of Delta
        The relations to write.
    """
    # the folder is deleted unread, because it may hold a pickle (dlt's trace)
    folder = state_dir / "pipelines"
    shutil.rmtree(folder, ignore_errors=True)
    if not deltas:
        return
    quiet_dlt()
    import dlt

    make_folder(folder)
    pipeline = dlt.pipeline(
        PIPELINE,
        pipelines_dir=str(folder),
        destination=warehouse.destination(),
        dataset_name=RAW,
    )
    # the schema and state that dlt stores in the warehouse say nothing that the tables and deltas do not say
    pipeline.config.restore_from_destination = False
    # even without telemetry, a trace would make an id for the sender and store it under the user's home
    pipeline.config.enable_runtime_trace = False
    try:
        pipeline.run(_source(connection, deltas))
    finally:
        pipeline.deactivate()
        shutil.rmtree(folder)


def _source(connection: DuckDBPyConnection, deltas: Sequence[Delta]) -> Any:
    import dlt

    resources = []
    for delta in deltas:
        resource = dlt.resource(_batches(connection, delta.relation), name=delta.table, write_disposition="replace")
        if delta.write == "merge":
            # keys are unique already: dlt need not number the rows of every key
            resource.apply_hints(
                primary_key=TABLES[delta.table].key,
                write_disposition={"disposition": "merge", "strategy": "delete-insert", "deduplicated": True},
            )
        resources.append(resource)
    return dlt.source(lambda: resources, name="crm")()


def _batches(connection: DuckDBPyConnection, relation: str) -> Iterator[Any]:
    import pyarrow as pa  # pyarrow ships no types

    # a cursor of its own: dlt reads its resources in turn
    with connection.cursor() as cursor:
        reader = cursor.sql(f"from {relation}").to_arrow_reader(BATCH_ROWS)
        # an empty table carries the columns, so that the table is created
        yield reader.schema.empty_table()
        for batch in reader:
            yield pa.Table.from_batches([batch])


def open_warehouse(address: str) -> DuckdbTarget:
    """Return the warehouse for an address: ``duckdb:<path>`` or ``postgresql://…``.

    Raises
    ------
    SourceContractError
        If the address is neither.
    """
    if address.startswith("duckdb:"):
        return DuckdbTarget(Path(address.removeprefix("duckdb:")))
    if is_database(address):
        return PostgresTarget(address)
    raise SourceContractError(
        f"warehouse: expected duckdb:<path> or postgresql://…, found {address.split(':', 1)[0]!r}. "
        "Correct the warehouse's address."
    )
