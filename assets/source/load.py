"""The load: what schema ``raw`` of the warehouse holds already, and dlt's merge of what is new.

The warehouse is a DuckDB file or a PostgreSQL database; no caller asks which.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assets.addresses import is_database
from assets.environment import session_options
from assets.source.contract import EARLIER_NAMES, SQL_TYPES, TABLES, SourceContractError
from assets.source.readers import describe
from assets.source.sql import literal, quoted
from assets.warehouse import patiently
from models.artifacts import make_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection
    from sqlalchemy import URL

__all__ = ["RAW", "Delta", "Wanted", "Warehouse", "database_url", "load", "open_warehouse", "quiet_dlt"]

RAW = "raw"
PIPELINE = "leadline_crm"
BATCH_ROWS = 100_000
CONNECT_TIMEOUT_SECONDS = 15

REJECT_COLUMNS = {
    "reject_id": "varchar",
    "table_name": "varchar",
    "file": "varchar",
    "line": "bigint",
    "key": "varchar",
    "column_name": "varchar",
    "value": "varchar",
    "reason": "varchar",
    "message": "varchar",
    "extracted_at": "timestamptz",
    "row": "varchar",
}
EXTRACTION_COLUMNS = {
    "as_of": "timestamptz",
    "load_number": "bigint",
    "source": "varchar",
    "mapping": "varchar",
    "closing_outcomes": "varchar",
    "closing_lead_statuses": "varchar",
    "closing_project_statuses": "varchar",
    "silence_closes_after_days": "bigint",
    "horizon_days": "varchar",
    "assumptions": "varchar",
    "delivered": "varchar",
    "accepted": "varchar",
}
WORD_COLUMNS = {"table_name": "varchar", "column_name": "varchar", "word": "varchar", "rows": "bigint"}
MOST_WORDS = 1_000
"""Words of a column that are counted, the most frequent ones: it may hold a text of its own in every row."""


def quiet_dlt() -> None:
    """Switch dlt's chatter off; its telemetry is off since ``assets`` was imported."""
    # dlt sets its logger up anew from this variable, over what its own configuration or the logger was told
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
    logging.getLogger("dlt").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Delta:
    """A relation of the scratch database that goes into schema ``raw``.

    Attributes
    ----------
    table : str
        Table of schema ``raw``.
    relation : str
        Relation with the same columns.
    write : {"merge", "replace"}
        Merge by key, or replace the table as a whole.
    """

    table: str
    relation: str
    write: Literal["merge", "replace"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of a table of schema ``raw``.

    Attributes
    ----------
    columns : mapping of str to str
        Columns and their types.
    filled : tuple of str
        Columns of which it is wanted whether they have a value: bit ``i`` of column ``filled`` for the ``i``-th.
    words : tuple of str
        Columns whose words are counted, in ``known_words``.
    defaults : mapping of str to str
        By column, what stands for a missing value, and is none.
    """

    columns: Mapping[str, str]
    filled: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def definition(self) -> str:
        """The columns of ``known_<table>``."""
        return _definition({**self.columns, **({"filled": "bigint"} if self.filled else {})})

    def mask(self, stored: Collection[str]) -> str:
        """Return the SQL of ``filled``, for both engines; what a table lacks is not filled."""
        bits = [
            f"case when {self._is_filled(name)} then {1 << bit} else 0 end"
            for bit, name in enumerate(self.filled)
            if name in stored
        ]
        return f"cast({' + '.join(bits) or '0'} as bigint)"

    def _is_filled(self, name: str) -> str:
        if name in self.defaults:
            # null is not filled either
            return f"{quoted(name)} <> {literal(self.defaults[name])}"
        return f"{quoted(name)} is not null"


def _counted(table: str, column: str) -> str:
    """Return the SQL that counts the words of a column, for both engines."""
    name = quoted(column)
    return (
        f"select {name}, count(*) from {table} where {name} is not null group by {name} "
        f"order by count(*) desc, {name} limit {MOST_WORDS}"
    )


def _keep_words(connection: DuckDBPyConnection, table: str, column: str, words: Sequence[Sequence[object]]) -> None:
    if words:
        connection.executemany(
            "insert into known_words values (?, ?, ?, ?)", [[table, column, *each] for each in words]
        )


class Warehouse:
    """A DuckDB file as a warehouse."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def known(self, connection: DuckDBPyConnection, wanted: Mapping[str, Wanted]) -> Iterator[set[str]]:
        """Expose tables of ``raw`` as ``known_<table>`` while the context lasts; yields those that exist.

        Parameters
        ----------
        connection : DuckDBPyConnection
            The scratch database.
        wanted : mapping of str to Wanted
            By table. A table that does not exist is exposed empty.
        """
        existing: set[str] = set()
        stored_as: dict[str, str] = {}
        attached = self._path.exists()
        if attached:
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
            existing = set(stored_as)
        try:
            connection.execute(f"create table known_words ({_definition(WORD_COLUMNS)})")
            for table, want in wanted.items():
                if table in existing:
                    stored = {
                        name
                        for (name,) in connection.execute(
                            "select column_name from duckdb_columns() where database_name = 'warehouse' "
                            f"and schema_name = {literal(RAW)} and table_name = {literal(stored_as[table])}"
                        ).fetchall()
                    }
                    # a warehouse of an earlier version lacks the columns that have been added since
                    listed = [
                        quoted(name) if name in stored else f"cast(null as {kind}) as {quoted(name)}"
                        for name, kind in want.columns.items()
                    ]
                    if want.filled:
                        listed.append(f"{want.mask(stored)} as filled")
                    place = f"warehouse.{RAW}.{stored_as[table]}"
                    connection.execute(f"create view known_{table} as select {', '.join(listed)} from {place}")
                    for column in stored.intersection(want.words):
                        _keep_words(connection, table, column, connection.execute(_counted(place, column)).fetchall())
                else:
                    connection.execute(f"create table known_{table} ({want.definition})")
            yield existing
        finally:
            for (stored,) in connection.execute(
                "select view_name from duckdb_views() where not internal and starts_with(view_name, 'stored_')"
            ).fetchall():
                connection.execute(f"drop view {stored}")
            for table in wanted:
                connection.execute(f"drop {'view' if table in existing else 'table'} if exists known_{table}")
            connection.execute("drop table if exists known_words")
            if attached:
                connection.execute("detach warehouse")

    def stored_rows(self, connection: DuckDBPyConnection, table: str, columns: Sequence[str]) -> None:
        """Expose columns of a table of ``raw`` that exists as ``stored_<table>``, in the context of `known`."""
        place = f"warehouse.{RAW}.{table}"
        stored = {name for name, *_ in connection.execute(f"describe {place}").fetchall()}
        listed = [quoted(name) if name in stored else f"null as {quoted(name)}" for name in columns]
        connection.execute(f"create view stored_{table} as select {', '.join(listed)} from {place}")

    def _stored_as(self, tables: Collection[str]) -> dict[str, str]:
        """Return under which name schema ``raw`` has each table: one that has its earlier name is renamed later."""
        stored_as = {name: name for name in tables}
        for name, earlier in EARLIER_NAMES.items():
            if earlier not in stored_as:
                continue
            if name in stored_as:
                raise SourceContractError(
                    f"warehouse: expected {RAW}.{name}, found {RAW}.{earlier}, its earlier name, as well: an earlier "
                    f"state of Leadline has written to this warehouse since. What {RAW}.{name} holds is complete up to "
                    f"then: drop {RAW}.{earlier}, or bring the warehouse back from a backup."
                )
            stored_as[name] = stored_as.pop(earlier)
        return stored_as

    def rename_earlier(self) -> None:
        """Give tables of schema ``raw`` their present names, each in one transaction: no row is copied or lost."""
        import duckdb

        if not self._path.exists():
            return
        with patiently(str(self._path), lambda: duckdb.connect(str(self._path))) as connection:
            for earlier, statements in _renames():
                found = connection.execute(
                    f"select 1 from duckdb_tables() where schema_name = {literal(RAW)} "
                    f"and table_name = {literal(earlier)}"
                ).fetchone()
                if found is not None:
                    connection.begin()
                    for statement in statements:
                        connection.execute(statement)
                    connection.commit()

    def destination(self) -> Any:
        """Return the dlt destination."""
        from dlt.destinations import duckdb

        self._path.parent.mkdir(parents=True, exist_ok=True)
        # replacing from the staging schema is one transaction: a killed run leaves the old rows, not none
        return duckdb(credentials=str(self._path), replace_strategy="insert-from-staging")


class PostgresWarehouse(Warehouse):
    """A PostgreSQL database as a warehouse."""

    def __init__(self, address: str) -> None:
        self._url = database_url(address)
        self._description = describe(address)

    @contextmanager
    def known(self, connection: DuckDBPyConnection, wanted: Mapping[str, Wanted]) -> Iterator[set[str]]:
        """Copy columns of tables of ``raw`` to ``known_<table>`` while the context lasts; yields those that exist."""
        from sqlalchemy import create_engine, inspect, literal_column, select, text
        from sqlalchemy.exc import OperationalError

        engine = create_engine(self._url)
        try:
            inspector = inspect(engine)
            stored_as = self._stored_as(inspector.get_table_names(RAW))
            existing = set(stored_as)
            with engine.connect() as opened:
                words = [
                    (table, column, opened.execute(text(_counted(f"{RAW}.{stored_as[table]}", column))).all())
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
            connection.execute(f"create table known_words ({_definition(WORD_COLUMNS)})")
            for each in words:
                _keep_words(connection, *each)
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

                for batch in _read_database(self._url, schema=RAW, table=stored_as[table], query=chosen):
                    connection.register("batch", batch)
                    connection.execute(f"insert into known_{table} by name from batch")
                    connection.unregister("batch")
            yield existing
        finally:
            for table in wanted:
                connection.execute(f"drop table if exists known_{table}")
            connection.execute("drop table if exists known_words")

    def stored_rows(self, connection: DuckDBPyConnection, table: str, columns: Sequence[str]) -> None:
        """Copy columns of a table of ``raw`` that exists to ``stored_<table>``."""
        from sqlalchemy import select

        kinds = {column.name: SQL_TYPES[column.kind] for column in TABLES[table].columns}
        connection.execute(f"create table stored_{table} ({_definition({name: kinds[name] for name in columns})})")

        def chosen(_: Any, stored: Any) -> Any:
            return select(*(stored.c[name] for name in columns if name in stored.c))

        for batch in _read_database(self._url, schema=RAW, table=table, query=chosen):
            connection.register("batch", batch)
            connection.execute(f"insert into stored_{table} by name from batch")
            connection.unregister("batch")

    def rename_earlier(self) -> None:
        """Give tables of schema ``raw`` their present names, each in one transaction: no row is copied or lost."""
        from sqlalchemy import create_engine, inspect, text

        engine = create_engine(self._url)
        try:
            existing = inspect(engine).get_table_names(RAW)
            for earlier, statements in _renames():
                if earlier in existing:
                    with engine.begin() as opened:
                        for statement in statements:
                            opened.execute(text(statement))
        finally:
            engine.dispose()

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


def open_warehouse(address: str) -> Warehouse:
    """Return the warehouse for an address: ``duckdb:<path>`` or ``postgresql://…``.

    Raises
    ------
    SourceContractError
        When the address is neither.
    """
    if address.startswith("duckdb:"):
        return Warehouse(Path(address.removeprefix("duckdb:")))
    if is_database(address):
        return PostgresWarehouse(address)
    raise SourceContractError(
        f"warehouse: expected duckdb:<path> or postgresql://…, found {address.split(':', 1)[0]!r}. "
        "Correct the warehouse's address."
    )


def _renames() -> Iterator[tuple[str, list[str]]]:
    """Yield the earlier name of a table, and the statements that rename it, for both engines."""
    for name, earlier in EARLIER_NAMES.items():
        yield (
            earlier,
            [
                f"alter table {RAW}.{earlier} rename to {name}",
                # dbt's view of it, which the next build makes under the present name
                f"drop view if exists staging.stg_{earlier} cascade",
            ],
        )


def _definition(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{quoted(name)} {sql_type}" for name, sql_type in columns.items())


def database_url(address: str) -> URL:
    """Parse the address of a warehouse.

    Raises
    ------
    SourceContractError
        When it cannot be parsed; the message does not repeat it, because it may hold a password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise SourceContractError(
            "the database address cannot be read: expected postgresql://user:password@host:port/database. "
            "Correct it, and percent-encode special characters in the password."
        ) from None
    # dlt asks for a host even where the query names a socket, which then takes precedence
    return url.set(drivername="postgresql+psycopg2", host=url.host or "localhost")


def _read_database(url: URL, *, schema: str, table: str, query: Any) -> Any:
    """Yield a database table in Arrow tables; ``query`` makes the SELECT from the reflected table."""
    quiet_dlt()
    from dlt.sources.sql_database import sql_table

    resource = sql_table(
        credentials=url.render_as_string(hide_password=False),
        schema=schema,
        table=table,
        backend="pyarrow",
        # types are those of the query, not of the table
        reflection_level="minimal",
        query_adapter_callback=query,
        engine_kwargs={"connect_args": {"connect_timeout": CONNECT_TIMEOUT_SECONDS}},
        chunk_size=BATCH_ROWS,
    )
    return iter(resource)


def load(connection: DuckDBPyConnection, warehouse: Warehouse, state_dir: Path, deltas: Sequence[Delta]) -> None:
    """Write relations of the scratch database into schema ``raw`` with dlt.

    dlt's local state holds nothing that the warehouse does not: it is dropped before the load, so that what a killed
    run left pending cannot be loaded late, and after it, so that no copy of the rows stays behind.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database.
    warehouse : Warehouse
        Where to write; nothing may hold it open.
    state_dir : Path
        Folder for dlt's working files.
    deltas : sequence of Delta
        What to write.
    """
    if not deltas:
        return
    quiet_dlt()
    import dlt

    # what lies there is dropped unread; a trace of dlt is a pickle
    folder = state_dir / "pipelines"
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    pipeline = dlt.pipeline(
        PIPELINE,
        pipelines_dir=str(folder),
        destination=warehouse.destination(),
        dataset_name=RAW,
    )
    pipeline = pipeline.drop()
    # with telemetry off, the trace of a run still makes an id for its sender and stores it under the user's home
    pipeline.config.enable_runtime_trace = False
    try:
        pipeline.run(_source(connection, deltas))
    finally:
        pipeline.drop()


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
