"""A PostgreSQL database as a warehouse: a connection that is used as DuckDB's is, and moves rows in bulk by ADBC.

ADBC reads results by ``COPY … (format binary)`` into Arrow and writes Arrow tables by ``COPY``; a statement takes
parameters as ``$1``, as DuckDB does, so that one text serves both.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from assets.addresses import without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import pyarrow as pa

ATTEMPTS = 4
"""Attempts to connect, 1, 2 and 4 seconds apart: a server that restarts is back by then."""
CONNECT_TIMEOUT_SECONDS = 15

WHOLE_TABLES = ("set local enable_nestloop = off", "set local work_mem = '64MB'")
"""What suits a transaction that reads whole tables; dbt has the same from the macro ``plan_for_whole_tables``."""


class WarehouseUnavailableError(RuntimeError):
    """The database does not answer; the message names it, without its password, and says what to do."""


class Result:
    """The rows of a statement, in memory.

    Parameters
    ----------
    table : pyarrow.Table
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        columns = [column.to_pylist() for column in self._table.columns]
        return list(zip(*columns, strict=True)) if columns else []

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        return next(iter(self.fetchall()), None)

    def to_arrow_table(self) -> pa.Table:
        """Return the rows as they came."""
        return self._table

    def df(self) -> pd.DataFrame:
        """Return the rows with the types that DuckDB gives them, so that a frame does not tell where it is from."""
        import duckdb

        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.from_arrow(self._table).df()


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

    def plan(self, query: str) -> Any:
        """Return the plan of a query, as PostgreSQL describes it in JSON."""
        with self._connection.cursor() as cursor:
            # the driver reads rows by COPY, which knows queries alone
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(f"explain (verbose, format json) {query}")
            ((plan,),) = Result(cursor.fetch_arrow_table()).fetchall()
        return json.loads(plan)

    def batches(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows in batches, none of which need be in memory with another.

        Raises
        ------
        adbc_driver_manager.Error
            If the server refuses the query, or the connection is lost, be it between two batches.
        OSError
            If the server gives up after the first rows.
        """
        import pyarrow as pa

        with self._connection.cursor() as cursor:
            cursor.execute(query, tuple(parameters) or None)
            reader = cursor.fetch_record_batch()
            # an empty one carries the types
            yield from typed(reader.schema.empty_table()).to_batches() or [_empty(typed(reader.schema.empty_table()))]
            try:
                for batch in reader:
                    yield from typed(pa.Table.from_batches([batch])).to_batches()
            except OSError:
                # Arrow hands on the text of an error and not its code: the next statement tells whether anyone answers
                self.execute("select 1")
                raise

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

    def append(self, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Append rows by ``COPY``, which asks for the types of the table and casts nothing."""
        import pyarrow as pa

        with self._connection.cursor() as cursor:
            cursor.execute(f"select {', '.join(columns)} from {schema}.{table} limit 0")
            types = cursor.fetch_arrow_table().schema.types
            arrays = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)]
            cursor.adbc_ingest(
                table, pa.table(dict(zip(columns, arrays, strict=True))), mode="append", db_schema_name=schema
            )

    def register(self, name: str, frame: pd.DataFrame) -> None:
        """Make a frame a temporary table, by ``COPY``."""
        import duckdb

        with duckdb.connect() as connection, self._connection.cursor() as cursor:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("frame", frame)
            cursor.adbc_ingest(name, connection.sql("from frame").to_arrow_table(), mode="create", temporary=True)

    def unregister(self, name: str) -> None:
        """Drop the temporary table of a frame."""
        self.execute(f"drop table pg_temp.{name}")

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        self._connection.close()


def is_lost_connection(error: Exception) -> bool:
    """Say whether an error means that the server has gone, or has closed the connection.

    A statement that the server refuses has a code of the server's; where none has come, no answer has. Codes 08 and 57P
    are those of broken connections and of a server that shuts down.
    """
    from adbc_driver_manager import OperationalError

    if not isinstance(error, OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def typed(table: pa.Table) -> pa.Table:
    """Return a table with its ``numeric`` columns, which ADBC hands over as text, as decimals.

    Those without a declared precision, such as sums, are doubles.
    """
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if not isinstance(field.type, pa.BaseExtensionType):
            continue
        modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
        # PostgreSQL packs precision and scale into one integer, four above it
        kind = pa.float64() if modifier < 0 else pa.decimal128((modifier - 4) >> 16, (modifier - 4) & 0xFFFF)
        text = pa.chunked_array([chunk.storage for chunk in table.column(position).chunks], pa.string())
        table = table.set_column(position, pa.field(field.name, kind), text.cast(kind))
    return table


def _empty(table: pa.Table) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=table.schema)


def copy_into(
    address: str, target: Any, schema: str, table: str, columns: Sequence[str] | None, where: str | None
) -> None:
    """Copy a table, or a part of it, into a table of the same name of a DuckDB database.

    Parameters
    ----------
    address : str
    target : DuckDBPyConnection
    schema, table : str
    columns : sequence of str or None
        None for all.
    where : str or None
        A condition in SQL that both engines understand.
    """
    import pyarrow as pa

    listed = "*" if columns is None else ", ".join(f'"{name}"' for name in columns)
    target.execute(f"create schema if not exists {schema}")
    written = f"create table {schema}.{table} as"
    with closing(PostgresConnection(address)) as connection:
        # batch by batch: where DuckDB reads a stream itself, a lost connection is an error of DuckDB's
        for batch in connection.batches(
            f"select {listed} from {schema}.{table}" + (f" where {where}" if where else "")
        ):
            target.register("copied", pa.table(batch))
            target.execute(f"{written} from copied")
            target.unregister("copied")
            written = f"insert into {schema}.{table}"
