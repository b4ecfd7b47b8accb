"""Readers: the tables of a source, as relations of one scratch DuckDB.

A folder of CSV or Parquet files, or a PostgreSQL database. A reader fetches only the columns that it is asked for,
judges nothing but the structure of a file, and leaves each table as the relation ``source_<table>`` with the running
number of the row in ``record``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assets.addresses import is_database, without_password
from assets.source.contract import SourceContractError
from assets.source.sql import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from duckdb import DuckDBPyConnection
    from sqlalchemy import URL, Engine

__all__ = ["DatabaseSource", "FolderSource", "MalformedRow", "Source", "describe", "open_source"]

DELIMITERS = (",", ";", "\t", "|")
ENDINGS = (".csv", ".parquet")
DATABASE_CHUNK = 50_000
MESSAGES = {
    "MISSING COLUMNS": "fewer fields",
    "TOO MANY COLUMNS": "more fields",
    "UNQUOTED VALUE": "text after a closing quote",
    "LINE SIZE OVER MAXIMUM": "a line longer than two million characters",
}


@dataclass(frozen=True)
class MalformedRow:
    """A record that is no row: its line in the file and what was found instead."""

    line: int
    found: str


@dataclass(frozen=True)
class Part:
    """What a table of a database holds of which some rows were read: rows, and values by column."""

    rows: int
    values: Mapping[str, int]


@dataclass(frozen=True)
class Reading:
    """What reading a table came to, besides the relation itself.

    Attributes
    ----------
    first_line : int or None
        The number of the first row, as a person would look it up; None in a database, whose rows have no order.
    malformed : sequence of MalformedRow
        Records of a CSV file that are no rows, in the order of the file.
    part : Part or None
        Of a table that was read in part: what it holds in all.
    """

    first_line: int | None
    malformed: Sequence[MalformedRow] = ()
    part: Part | None = None


class Source(Protocol):
    """Where the tables come from."""

    @property
    def description(self) -> str:
        """The address without its password."""

    @property
    def folder(self) -> Path | None:
        """The folder, when it is one."""

    def columns(self) -> Mapping[str, Sequence[str]]:
        """Return the columns by table."""

    def place(self, source_table: str) -> str:
        """Return the name of a table as a person would look for it."""

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None,
    ) -> Reading:
        """Create the relation ``source_<table>``; ``since`` bounds a column of a database from below."""


def open_source(address: str, *, schema: str | None = None) -> Source:
    """Return the reader for an address: a ``postgresql://`` URL or a folder.

    Raises
    ------
    SourceContractError
        When there is no such folder, a table is there twice, or a file cannot be read as text.
    """
    if is_database(address):
        return DatabaseSource(address, schema=schema or "public")
    return FolderSource(Path(address))


def describe(address: str) -> str:
    """Return how a source is named in what is stored and shown: the folder in full, or the address with no password."""
    if "://" not in address:
        return str(Path(address).resolve())
    return without_password(database_url(address).render_as_string(hide_password=False))


class FolderSource:
    """A folder with one CSV or Parquet file per table."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceContractError(
                f"source {without_password(str(folder))}: expected a folder of CSV or Parquet files or a postgresql:// "
                f"address, found {'a file' if folder.exists() else 'nothing'}. Correct the path."
            )
        self.folder = folder.resolve()
        self.description = describe(str(folder))
        self._files: dict[str, Path] = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix.lower() not in ENDINGS or not path.is_file():
                continue
            if (other := self._files.get(path.stem)) is not None:
                raise SourceContractError(
                    f"source {folder}: expected one file per table, found {other.name} and {path.name}. "
                    "Remove one of them."
                )
            self._files[path.stem] = path
        self._delimiters: dict[str, str] = {}
        self._columns = {name: self._header(name, path) for name, path in self._files.items()}

    def columns(self) -> Mapping[str, Sequence[str]]:
        """Return the columns by file stem."""
        return self._columns

    def place(self, source_table: str) -> str:
        """Return the file's name."""
        return self._files[source_table].name if source_table in self._files else source_table

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None,  # noqa: ARG002 - of the shared interface
    ) -> Reading:
        """Create ``source_<table>`` from the file; files are always read whole."""
        path = self._files[source_table]
        if path.suffix.lower() == ".parquet":
            return self._parquet(connection, table, path, columns)
        return self._csv(connection, table, source_table, path, columns)

    def _header(self, name: str, path: Path) -> list[str]:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq  # pyarrow ships no types
            from pyarrow import ArrowException

            try:
                header = list(pq.read_schema(path).names)
            except (ArrowException, OSError) as error:
                raise SourceContractError(
                    f"{path.name}: expected a Parquet file, found {error}. Export the table again."
                ) from error
        else:
            header = self._csv_header(name, path)
        lowered = [column.strip().lower() for column in header]
        if twice := sorted({column for column in lowered if lowered.count(column) > 1}):
            raise SourceContractError(
                f"{path.name}: expected each column once, found {', '.join(map(repr, twice))} more than once. "
                "Rename the columns in the export."
            )
        return header

    def _csv_header(self, name: str, path: Path) -> list[str]:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                delimiter = max(DELIMITERS, key=first.count)
                file.seek(0)
                header = next(csv.reader(file, delimiter=delimiter), [])
        except UnicodeDecodeError as error:
            raise _not_utf8(path.name, "the first lines") from error
        except csv.Error as error:
            raise SourceContractError(
                f"{path.name}, line 1: expected a header line, found {error}. Export the table as CSV in UTF-8."
            ) from error
        if not any(column.strip() for column in header):
            raise SourceContractError(
                f"{path.name}, line 1: expected a header line with the names of the columns, found an empty line. "
                "Export the table with its header."
            )
        self._delimiters[name] = delimiter
        # a nameless column (a trailing delimiter in the header) cannot be mapped, but has to be counted
        return [column.strip() or f"column {number}" for number, column in enumerate(header, start=1)]

    def _parquet(self, connection: DuckDBPyConnection, table: str, path: Path, columns: Sequence[str]) -> Reading:
        selected = "".join(f", {quoted(column)}" for column in columns)
        connection.execute(
            f"create view source_{table} as select file_row_number as record{selected} "
            f"from read_parquet({literal(str(path))}, file_row_number = true)"
        )
        return Reading(first_line=1)

    def _csv(
        self, connection: DuckDBPyConnection, table: str, name: str, path: Path, columns: Sequence[str]
    ) -> Reading:
        import duckdb

        all_columns = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in self._columns[name])
        selected = ", ".join(quoted(column) for column in columns)
        try:
            # the dialect is given and not sniffed: a sniffer takes broken lines for another dialect
            connection.execute(
                f"create table csv_{table} as select {selected} from read_csv({literal(str(path))}, "
                f"auto_detect = false, header = true, delim = {literal(self._delimiters[name])}, quote = '\"', "
                f"escape = '\"', columns = {{{all_columns}}}, "
                f"store_rejects = true, rejects_table = 'errors_{table}', rejects_scan = 'scans_{table}')"
            )
        except duckdb.InvalidInputException as error:
            raise SourceContractError(
                f"{path.name}: expected CSV in UTF-8 with one kind of line ending, found a file that cannot be parsed "
                f"({str(error).splitlines()[0]}). Save it again with line endings of one kind."
            ) from error
        connection.execute(f"create view source_{table} as select rowid as record, * from csv_{table}")
        return Reading(first_line=2, malformed=self._malformed(connection, table, path))

    def _malformed(self, connection: DuckDBPyConnection, table: str, path: Path) -> list[MalformedRow]:
        errors: list[tuple[int, str, bool]] = connection.execute(
            "select line, min_by(error_type::varchar, column_idx), bool_or(contains(csv_line, chr(10))) "
            f"from errors_{table} group by line order by line"
        ).fetchall()
        encoding = connection.execute(
            f"select min(line) from errors_{table} where error_type::varchar = 'INVALID ENCODING'"
        ).fetchone()
        if encoding is not None and encoding[0] is not None:
            raise _not_utf8(path.name, f"line {encoding[0]}")
        for line, kind, several_lines in errors:
            # a quote that is not closed takes the following rows with it, in a number that nobody can know
            if kind == "UNQUOTED VALUE" and several_lines:
                raise SourceContractError(
                    f"{path.name}, line {line}: expected a closing quote, found none before the end of the row; the "
                    "rows after it cannot be told apart. Correct the line, or export with quotes doubled."
                )
        return [MalformedRow(line, MESSAGES.get(kind, kind.lower())) for line, kind, _ in errors]


def _not_utf8(file: str, where: str) -> SourceContractError:
    return SourceContractError(
        f"{file}, {where}: expected text in UTF-8, found other bytes. "
        "Export the table as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or convert the file with iconv."
    )


class DatabaseSource:
    """A schema of a PostgreSQL database."""

    folder: Path | None = None

    def __init__(self, address: str, *, schema: str) -> None:
        from sqlalchemy import inspect
        from sqlalchemy.exc import SQLAlchemyError

        self._url = database_url(address)
        self._schema = schema
        self.description = describe(address)
        engine = self._engine()
        try:
            inspector = inspect(engine)
            # foreign tables and views serve as well: a CRM is often read through a view
            names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            self._columns = {
                name: [column["name"] for column in inspector.get_columns(name, schema=schema)] for name in names
            }
        except SQLAlchemyError as error:
            raise SourceContractError(
                f"source {self.description}: expected a PostgreSQL database that answers, found "
                f"{_first_line(getattr(error, 'orig', None) or error)}. "
                "Check the address, the password and that the server can be reached."
            ) from None
        finally:
            engine.dispose()

    def _engine(self) -> Engine:
        from sqlalchemy import create_engine

        return create_engine(self._url, **ENGINE_OPTIONS)

    def columns(self) -> Mapping[str, Sequence[str]]:
        """Return the columns by table of the schema."""
        return self._columns

    def place(self, source_table: str) -> str:
        """Return the table with its schema."""
        return f"{self._schema}.{source_table}"

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None,
    ) -> Reading:
        """Create ``source_<table>`` from the table's rows, or from those with ``column >= time`` (or without one)."""
        from sqlalchemy import Select, Text, bindparam, cast, or_, select
        from sqlalchemy import Table as DatabaseTable
        from sqlalchemy.types import DateTime

        def as_text(_: Any, source: DatabaseTable) -> Select[Any]:
            # text for every column: one validation for files and databases, whatever the column's type
            texts: list[Any] = [cast(source.c[column], Text).label(column) for column in columns]
            query: Select[Any] = select(*texts)
            if since is not None:
                moment = bindparam("since", since[1], DateTime(timezone=True))
                query = query.where(or_(source.c[since[0]] >= moment, source.c[since[0]].is_(None)))
            return query

        definition = "".join(f", {quoted(column)} varchar" for column in columns)
        connection.execute(f"create table database_{table} (record bigint{definition})")
        read = 0
        for batch in read_database(self._url, schema=self._schema, table=source_table, query=as_text):
            connection.register("batch", batch)
            connection.execute(
                f"insert into database_{table} by name select {read} + row_number() over () - 1 as record, * from batch"
            )
            connection.unregister("batch")
            read += batch.num_rows
        connection.execute(f"create view source_{table} as from database_{table}")
        return Reading(first_line=None, part=None if since is None else self._in_all(source_table, columns))

    def _in_all(self, source_table: str, columns: Sequence[str]) -> Part:
        from sqlalchemy import column, func, select
        from sqlalchemy import table as named

        counts = [func.count(), *(func.count(column(name)) for name in columns)]
        engine = self._engine()
        try:
            with engine.connect() as opened:
                rows, *values = opened.execute(
                    select(*counts).select_from(named(source_table, schema=self._schema))
                ).one()
        finally:
            engine.dispose()
        return Part(rows, dict(zip(columns, values, strict=True)))


DRIVER = "postgresql+psycopg2"
# the text of a time depends on the session: the contract's times are UTC in ISO 8601
ENGINE_OPTIONS: dict[str, Any] = {
    "connect_args": {"options": "-c timezone=UTC -c datestyle=ISO,YMD", "connect_timeout": 15}
}


def database_url(address: str) -> URL:
    """Parse a PostgreSQL address.

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
    return url.set(drivername=DRIVER, host=url.host or "localhost")


def read_database(url: URL, *, schema: str, table: str, query: Any) -> Any:
    """Yield a database table in Arrow tables; ``query`` makes the SELECT from the reflected table."""
    from assets.source.load import quiet_dlt

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
        engine_kwargs=ENGINE_OPTIONS,
        chunk_size=DATABASE_CHUNK,
    )
    return iter(resource)


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
