"""A PostgreSQL database as a warehouse: a connection with the methods of DuckDB's, which moves rows in bulk by ADBC.

ADBC reads results by ``COPY … (format binary)`` into Arrow, and writes Arrow tables by ``COPY``. A statement has
parameters ``$1``, as with DuckDB, so that both engines run the same text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.addresses import FORM, AddressError, canonical, parsed, without_password
from store.warehouse.connection import Connection, Name, Scratch
from store.warehouse.duckdb.engine import opened
from store.warehouse.engine import Engine, Excerpt, Readers, WarehouseUnavailableError
from store.warehouse.postgres.altering import altering
from store.warehouse.postgres.marts import DatabaseReaders
from store.warehouse.postgres.scratch import scratch

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

ATTEMPTS = 4
"""Attempts to connect, 1, 2 and 4 seconds apart, so that a server has time to restart."""

CONNECT_TIMEOUT_SECONDS = 15

DBT_READS = {
    "host": "HOST",
    "port": "PORT",
    "user": "USER",
    "password": "PASSWORD",
    "dbname": "DATABASE",
    "sslmode": "SSLMODE",
    "sslcert": "SSLCERT",
    "sslkey": "SSLKEY",
    "sslrootcert": "SSLROOTCERT",
}
"""For each part of an address, by its name in libpq, the end of the name of the variable in dbt's profile."""


class Result:
    """The rows of a statement, in memory.

    Parameters
    ----------
    table : pyarrow.Table
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        columns = [column.to_pylist() for column in self.table.columns]
        return list(zip(*columns, strict=True)) if columns else []

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        return next(iter(self.fetchall()), None)

    def df(self) -> pd.DataFrame:
        """Return the rows with the types that DuckDB gives them, so that frames of both engines are equal."""
        with opened() as connection:
            return connection.from_arrow(self.table).df()


class PostgresConnection:
    """A connection, with its session in UTC; every statement is a transaction of its own until `begin`.

    Parameters
    ----------
    address : str
        ``postgresql://…``.

    Raises
    ------
    WarehouseUnavailableError
        If the database does not answer.
    """

    def __init__(self, address: str) -> None:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        joint = "&" if "?" in address else "?"
        for attempt in range(ATTEMPTS):
            try:
                self._connection = dbapi.connect(
                    f"{address}{joint}connect_timeout={CONNECT_TIMEOUT_SECONDS}", autocommit=True
                )
                break
            except Error as error:
                if attempt == ATTEMPTS - 1:
                    raise WarehouseUnavailableError(
                        f"warehouse {without_password(address)}: expected a PostgreSQL database that answers, found "
                        f"{str(error).strip()}. Check LEADLINE_WAREHOUSE, and that the server runs and can be reached."
                    ) from None
                time.sleep(2**attempt)
        self.execute("set timezone = 'UTC'")
        ((encoding,),) = self.execute("select current_setting('server_encoding')").fetchall()
        if encoding != "UTF8":
            self.close()
            raise WarehouseUnavailableError(
                f"warehouse {without_password(address)}: expected a database with the encoding UTF8, found {encoding}, "
                "which does not have every text. Create one: `create database … encoding 'UTF8' template template0`."
            )

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Result:
        """Run a statement, whose parameters are ``$1``, ``$2`` and so on."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, tuple(parameters) or None)
            return Result(typed(cursor.fetch_arrow_table()))

    def reads(self, query: str) -> set[Name]:
        """Return the relations that a query would read, as the server plans it."""
        found: set[Name] = set()

        def note(node: dict[str, Any]) -> None:
            if "Relation Name" in node:
                found.add((node["Schema"], node["Relation Name"]))

        with self._connection.cursor() as cursor:
            # COPY, by which the driver reads rows, accepts only queries
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(f"explain (verbose, format json) {query}")
            ((plan,),) = Result(cursor.fetch_arrow_table()).fetchall()
        json.loads(plan, object_hook=note)
        return found

    def copy_into(self, target: DuckDBPyConnection, excerpt: Excerpt) -> None:
        """Copy an excerpt of a table into one of the same name of a DuckDB database, batch by batch.

        Raises
        ------
        adbc_driver_manager.Error
            If the server refuses the query, or the connection is lost, even between two batches. (If DuckDB read the
            stream itself, it would raise an error of its own.)
        OSError
            If the server stops the query after the first rows.
        """
        import pyarrow as pa

        listed = "*" if excerpt.columns is None else ", ".join(f'"{name}"' for name in excerpt.columns)
        where = f" where {excerpt.where}" if excerpt.where else ""
        table = f"{excerpt.schema}.{excerpt.table}"
        with self._connection.cursor() as cursor:
            cursor.execute(f"select {listed} from {table}{where}")
            reader = cursor.fetch_record_batch()
            target.register("copied", typed(reader.schema.empty_table()))
            target.execute(f"create schema if not exists {excerpt.schema}")
            target.execute(f"create table {table} as from copied")
            try:
                for batch in reader:
                    target.register("copied", typed(pa.Table.from_batches([batch])))
                    target.execute(f"insert into {table} from copied")
            except OSError:
                # Arrow's error has no code; the next statement raises one with a code if the connection is lost
                self.execute("select 1")
                raise
            target.unregister("copied")

    def begin(self) -> None:
        """Begin a transaction."""
        self._connection.adbc_connection.set_autocommit(False)

    def commit(self) -> None:
        """Commit the transaction."""
        self._connection.commit()
        self._connection.adbc_connection.set_autocommit(True)

    def rollback(self) -> None:
        """Undo the transaction."""
        self._connection.rollback()
        self._connection.adbc_connection.set_autocommit(True)

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as an Arrow table."""
        return self.execute(query).table

    def scratch(self, prefix: str, reads: Collection[Name] = ()) -> AbstractContextManager[Scratch]:
        """Make scratch space of schemas in a transaction that is never committed."""
        return scratch(self, self.reads, prefix, reads)

    def append(self, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Append rows by ``COPY``, which casts nothing and so needs the types of the table."""
        import pyarrow as pa

        with self._connection.cursor() as cursor:
            cursor.execute(f"select {', '.join(columns)} from {schema}.{table} limit 0")
            types = cursor.fetch_arrow_table().schema.types
            arrays = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)]
            cursor.adbc_ingest(
                table, pa.table(dict(zip(columns, arrays, strict=True))), mode="append", db_schema_name=schema
            )

    def altering(
        self, schema: str, tables: Collection[str], replaced: Collection[str] = (), rekeyed: Collection[str] = ()
    ) -> AbstractContextManager[None]:
        """Lock the tables once nobody else holds them, and keep the rights on replaced tables."""
        return altering(self, schema, tables, replaced, rekeyed)

    def change_key(
        self,
        schema: str,
        table: str,
        key: Sequence[str],
        definition: str,  # noqa: ARG002 - of the shared interface
    ) -> None:
        """Swap the constraint of the key."""
        self.execute(f"alter table {schema}.{table} drop constraint {table}_pkey, add primary key ({', '.join(key)})")

    def register(self, name: str, frame: pd.DataFrame) -> None:
        """Make a frame a temporary table, by ``COPY``."""
        with opened() as connection, self._connection.cursor() as cursor:
            connection.register("frame", frame)
            cursor.adbc_ingest(name, connection.sql("from frame").to_arrow_table(), mode="create", temporary=True)

    def unregister(self, name: str) -> None:
        """Drop the temporary table of a frame."""
        self.execute(f"drop table pg_temp.{name}")

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._connection.close()


def typed(table: pa.Table) -> pa.Table:
    """Return a table with its ``numeric`` columns, which ADBC returns as text, converted to decimals.

    Columns without a declared precision, such as sums, become doubles.
    """
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if not isinstance(field.type, pa.BaseExtensionType):
            continue
        modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
        # PostgreSQL packs precision and scale into one integer, plus 4
        kind = pa.float64() if modifier < 0 else pa.decimal128((modifier - 4) >> 16, (modifier - 4) & 0xFFFF)
        text = pa.chunked_array([chunk.storage for chunk in table.column(position).chunks], pa.string())
        table = table.set_column(position, pa.field(field.name, kind), text.cast(kind))
    return table


@dataclass(frozen=True)
class Postgres(Engine):
    """The engine of ``postgresql://…``."""

    is_file = False
    marts = "marts_unpublished"

    @property
    def shown(self) -> str:
        """The address without its password."""
        return without_password(self.address)

    def canonical(self, environment: Mapping[str, str]) -> str:
        """Return the address with all parts that clients need; refuse parameters that dbt cannot take."""
        address = canonical(self.address, environment)
        if unknown := sorted(parsed(address).keys() - DBT_READS.keys()):
            raise AddressError(
                f"expected {FORM}, found {without_password(address)}, whose {' and '.join(unknown)} would not reach "
                "dbt. Remove it; of parameters, dbt takes "
                f"{', '.join(part for part in DBT_READS if part.startswith('ssl'))}."
            )
        return address

    def environment(self) -> dict[str, str]:
        """Return the variables of dbt's profile: the target, and the parts of the address."""
        parts = parsed(self.address)
        read = {f"LEADLINE_POSTGRES_{name}": parts.get(part, "") for part, name in DBT_READS.items()}
        return {"LEADLINE_DBT_TARGET": "postgres", **read}

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection."""
        with closing(PostgresConnection(self.address)) as connection:
            yield connection

    def is_lost(self, error: Exception) -> bool:
        """Say whether an error means that the server has gone, or has closed the connection.

        An error without a code means that the server has not answered. Codes 08 and 57P mean a broken connection and a
        server that shuts down.
        """
        from adbc_driver_manager import OperationalError

        return isinstance(error, OperationalError) and (
            error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
        )

    def is_interrupted(self, error: Exception) -> bool:
        """Say whether ADBC has cancelled the statement because of Ctrl-C."""
        from adbc_driver_manager import Error

        return isinstance(error, Error) and error.sqlstate == "57014" and "user request" in str(error)

    @contextmanager
    def analyze(self, excerpts: Sequence[Excerpt]) -> Iterator[DuckDBPyConnection]:
        """Copy the excerpts into a database in memory, which has no other tables."""
        with opened() as memory:
            with closing(PostgresConnection(self.address)) as connection:
                for each in excerpts:
                    connection.copy_into(memory, each)
            yield memory

    def readers(
        self,
        published: Path,  # noqa: ARG002 - of the shared interface
        group: str | None = None,  # noqa: ARG002 - of the shared interface
    ) -> Readers:
        """Return the readers of schema ``marts`` of the database."""
        return DatabaseReaders(self.shown, self.marts)
