"""Sources: readers that turn the tables of a source into relations of one scratch DuckDB; folders as sources.

A source is a folder of files or a PostgreSQL database. Its reader fetches only the columns that are asked for, and
checks only the structure of files. It makes each table a relation ``source_<table>``: the number of the row in
``record``, and the columns under their names by `of_source`.

A folder has one table per file, in CSV or Parquet. DuckDB never gets a path of the folder, because it reads some
characters of a path as a pattern: it reads through a link with a plain name.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from duckdb import DuckDBPyConnection

from store.addresses import AddressError, described, is_database, without_password
from store.source.contract import SourceContractError
from store.source.reading.databases import DatabaseSource
from store.source.reading.files import Dialect, FilePart, csv_form
from store.source.reading.rows import parquet_fields, read_csv, read_parquet
from store.source.reading.tables import MalformedRow, Reading, Tables, cleaned_names, first_line, shown_columns
from store.source.sql import of_source, one_row

CSV, PARQUET = ".csv", ".parquet"

ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".parquet")

BESIDE_PARTS = ("_SUCCESS", "_metadata", "_common_metadata")
"""Files without rows that some programs write beside the parts of a table."""


class FolderSource:
    """A folder with one CSV or Parquet file per table.

    Parameters
    ----------
    folder : Path
    dialects : mapping of str to Dialect
        By name of the file, in any case: the form of a file that a person states.

    Raises
    ------
    SourceContractError
        If the folder does not exist or cannot be read, or lacks a file of `dialects`.
    """

    def __init__(self, folder: Path, dialects: Mapping[str, Dialect] | None = None) -> None:
        label = without_password(str(folder))
        self._dialects = {name.casefold(): dialect for name, dialect in (dialects or {}).items()}
        try:
            if not folder.is_dir():
                raise SourceContractError(
                    f"source {label}: expected a folder of CSV or Parquet files or a postgresql:// address, found "
                    f"{'a pipe' if folder.is_fifo() else 'a file' if folder.exists() else 'nothing'}. Correct the path."
                )
            self.folder = folder.resolve()
            found = sorted(self.folder.iterdir())
            self._candidates: dict[str, list[tuple[Path, str]]] = {}
            other_files = []
            names = {path.name.casefold() for path in found if path.is_file()}
            if absent := [name for name in dialects or {} if name.casefold() not in names]:
                raise SourceContractError(
                    f"source {label}: expected the files that the mapping names, {', '.join(absent)}, found "
                    f"{', '.join(_shown(path) for path in found) or 'nothing'}. Correct the names under files."
                )
            for path in found:
                if (table_and_kind := _table_of(path.name, self._dialects)) is not None and (
                    path.is_file() or path.is_dir()
                ):
                    self._candidates.setdefault(table_and_kind[0], []).append((path, table_and_kind[1]))
                else:
                    other_files.append(_shown(path))
        except OSError as error:
            raise SourceContractError(
                f"source {label}: expected a folder that can be read, found {error.strerror}. Let the user who runs "
                "Leadline read the folder and its files."
            ) from error
        self.description = str(self.folder)
        self._parts: dict[str, list[FilePart]] = {}
        self._tables = Tables(label, list(self._candidates), other_files, self._columns)

    def columns(self) -> Tables:
        """Return the columns by file stem."""
        return self._tables

    def place(self, source_table: str) -> str:
        """Return the name of the file, or of the folder."""
        name = self._tables.find(source_table)
        return self._candidates[name][0][0].name if name is not None else source_table

    def type_of(self, source_table: str, column: str) -> str:
        """Return the type of a column of Parquet, as Arrow names it; ``string`` for CSV."""
        part = self._parts[self._tables.find(source_table) or source_table][0]
        return part.types.get(part.names[column.lower()], "string")

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None = None,  # noqa: ARG002 - of the shared interface
        nested: Collection[str] = (),
        most: int | None = None,  # noqa: ARG002 - of the shared interface
        some: tuple[str, str] | None = None,  # noqa: ARG002 - of the shared interface
    ) -> Reading:
        """Create ``source_<table>`` from the files of the table; they are always read whole.

        Columns of `nested` become JSON text if they hold no single values.
        """
        parts = self._parts[self._tables.find(source_table) or source_table]
        malformed: list[MalformedRow] = []
        first_line = 1
        if (form := parts[0].csv) is not None:
            first_line = form.first_line
            definition = ", ".join(f"{of_source(column)} varchar" for column in columns)
            connection.execute(f"create table file_{table} ({definition})")
        for number, part in enumerate(parts):
            try:
                if form is None:
                    read_parquet(connection, table, part, parts[0], columns, nested)
                else:
                    rows_before = one_row(connection, f"select count(*) from file_{table}")[0] + len(malformed)
                    lines = read_csv(connection, table, number, part, columns)
                    malformed += [MalformedRow(line - 2 + rows_before + first_line, found) for line, found in lines]
                if _state(part.path) != part.state:
                    raise SourceContractError(
                        f"{part.shown}: expected a file that does not change, found that it has changed while it was "
                        "read. Run again once the export is complete."
                    )
            except OSError as error:
                raise _cannot_read(part.shown, error) from error
        # rows of both Parquet and CSV are numbered in the order of the file
        connection.execute(f"create view source_{table} as select rowid as record, * from file_{table}")
        return Reading(first_line=first_line, malformed=malformed)

    def _columns(self, name: str) -> list[str]:
        if len(candidates := self._candidates[name]) > 1:
            listed = " and ".join(path.name for path, _ in candidates)
            raise SourceContractError(
                f"source {self.description}: expected one file per table, found {listed}. Remove one of them."
            )
        ((path, kind),) = candidates
        try:
            paths = _parts(path, kind) if path.is_dir() else [path]
            dialect = self._dialects.get(path.name.casefold())
            parts, headers = zip(*(_opened(each, path, kind, dialect) for each in paths), strict=True)
        except OSError as error:
            raise _cannot_read(path.name, error) from error
        for part, header in zip(parts, headers, strict=True):
            if sorted(part.names) != sorted(parts[0].names):
                raise SourceContractError(
                    f"{path.name}: expected the same columns in all parts, found {shown_columns(headers[0])} in "
                    f"{parts[0].path.name} and {shown_columns(header)} in {part.path.name}. Export the table again, "
                    "into an empty folder."
                )
        self._parts[name] = list(parts)
        return headers[0]


def _opened(path: Path, table: Path, kind: str, dialect: Dialect | None) -> tuple[FilePart, list[str]]:
    label = path.name if path == table else f"{table.name}/{path.name}"
    state, form = _state(path), None
    if kind == CSV:
        form, types = csv_form(path, label, dialect), {}
        names = list(form.names)
    else:
        fields = parquet_fields(path, label)
        names, types = [name for name, _ in fields], dict(fields)
    cleaned = cleaned_names(names, label)
    return FilePart(path, label, state, dict(zip(map(str.lower, cleaned), names, strict=True)), form, types), cleaned


def _shown(path: Path) -> str:
    if path.is_dir():
        return f"{path.name}/"
    if path.is_fifo():
        return f"{path.name} (a pipe)"
    return path.name if path.exists() else f"{path.name} (a link to nothing)"


def _table_of(name: str, dialects: Mapping[str, Dialect] | None = None) -> tuple[str, str] | None:
    if (dialect := (dialects or {}).get(name.casefold())) is not None:
        packed = "".join(part for part in Path(name).suffixes[-2:] if part.lower() in (".gz", ".zst"))
        stem = Path(name.removesuffix(packed)).stem
        return dialect.table or stem, PARQUET if name.lower().endswith(PARQUET) else CSV
    ending = next((each for each in ENDINGS if name.lower().endswith(each) and len(name) > len(each)), None)
    if ending is None or name.startswith((".", "~$")):
        return None
    return name[: -len(ending)], PARQUET if ending == PARQUET else CSV


def _parts(folder: Path, kind: str) -> list[Path]:
    """Return the parts of a table that is a folder.

    Raises
    ------
    SourceContractError
        If the folder holds other files, which may define which rows are valid.
    """
    parts = []
    for path in sorted(folder.iterdir()):
        if (kind_of_file := _table_of(path.name)) is not None and kind_of_file[1] == kind and path.is_file():
            parts.append(path)
        elif path.is_dir() or not (path.name in BESIDE_PARTS or path.name.startswith(".")):
            # a job that has not finished (_temporary), a table with versions (_delta_log), partitions (year=2026)
            raise SourceContractError(
                f"{folder.name}: expected a folder of {kind} files and nothing else, found {path.name}. "
                f"Export the table as one file, or as a plain folder of parts."
            )
    if not parts:
        raise SourceContractError(
            f"{folder.name}: expected a folder with {kind} files, found none. Export the table again."
        )
    return parts


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _cannot_read(label: str, error: OSError) -> SourceContractError:
    return SourceContractError(
        f"{label}: expected a file that can be read, found {error.strerror or first_line(error)}. "
        "Let the user who runs Leadline read it, or export it again."
    )


class Source(Protocol):
    """The shared interface of folders, databases, and sources with assembled tables."""

    @property
    def folder(self) -> Path | None:
        """The folder; None for a database."""

    @property
    def description(self) -> str:
        """The source as it is stored and shown."""

    def columns(self) -> Tables:
        """Return the columns by table."""

    def place(self, source_table: str) -> str:
        """Return the file or the database table with its schema."""

    def type_of(self, source_table: str, column: str) -> str | None:
        """Return the type of a column as the source names it; None if it may not be read."""

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
        """Create ``source_<table>``; columns of `nested` become JSON text if they hold no single values.

        Of a database table with more than `most` rows, about as many are read, from all over the
        table; with `some`, the rows of which the MD5 of a column lies below a text.
        """


def open_source(address: str, *, schema: str | None = None, dialects: Mapping[str, Dialect] | None = None) -> Source:
    """Return the reader for an address: a ``postgresql://`` URL or a folder, whose files may have stated forms.

    Raises
    ------
    SourceContractError
        If the folder or database does not exist, or cannot be read.
    """
    if is_database(address):
        return DatabaseSource(address, description=describe(address), schema=schema)
    return FolderSource(Path(address), dialects)


def describe(address: str) -> str:
    """Return a source as it is stored and shown: the full path of a folder, or an address without secrets.

    Raises
    ------
    SourceContractError
        If an address cannot be read.
    """
    if "://" not in address:
        return str(Path(address).resolve())
    try:
        return described(address)
    except AddressError as error:
        raise SourceContractError(f"source: {error}") from None
