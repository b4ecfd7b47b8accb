"""Folders as sources: one table per file, in CSV or Parquet, in whatever form exports come.

No path reaches DuckDB, which takes some characters of a path for a pattern and others for its own: it reads through
a link with a plain name.
"""

from __future__ import annotations

import csv
import gzip
import re
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from assets.addresses import without_password
from assets.source.contract import SourceContractError
from assets.source.paths import linked
from assets.source.reading import MalformedRow, Reading, Tables, cleaned_names, first_line, shown_columns
from assets.source.sql import literal, of_source, one_row, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from duckdb import DuckDBPyConnection

__all__ = ["ENDINGS", "FolderSource"]

DELIMITERS = (",", ";", "\t", "|")
CSV, PARQUET = ".csv", ".parquet"
ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".parquet")
MAX_LINE_BYTES = 64_000_000
"""The longest line of a CSV file: a note may be long, but one of this size is a quote that nobody has closed."""
SHOWN_OF_A_LINE = 10_000
"""Characters of a broken line that DuckDB keeps."""
HEAD_BYTES = 1 << 16
BLOCK_BYTES = 1 << 22
MAX_DIGITS = 38
NO_VALUES = ("STRUCT", "MAP", "UNION", "VARIANT", "BLOB", "BIT")
"""Types, as DuckDB names them, that are neither text nor a number nor a time."""
MESSAGES = {
    "MISSING COLUMNS": "fewer fields",
    "TOO MANY COLUMNS": "more fields",
    "UNQUOTED VALUE": "text after a closing quote",
}
NOT_CLOSED = "a quote that is not closed"
BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
MAGIC = (
    (b"PK\x03\x04", "a ZIP archive, such as an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file, whose name must end in .gz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file, whose name must end in .zst"),
    (b"%PDF", "a PDF file"),
    (b"SQLite format 3", "an SQLite database"),
)
"""How files begin that are not CSV, whatever their names say."""
MARKUP = (
    (re.compile(rb"\s*<(!doctype|html|head|body|table|\?xml)", re.IGNORECASE), "a page of HTML or XML"),
    (re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{])"), "JSON"),
)
"""How texts begin that are not CSV either."""
MARK = "\ufeff"
SEPARATOR = re.compile(r'"?sep=(.*?)"?[\r\n]*', re.IGNORECASE)
"""The first line with which spreadsheets are told the delimiter."""

BESIDE_PARTS = ("_SUCCESS", "_metadata", "_common_metadata")
"""What writers put beside the parts of a table that is a folder, and what holds no rows."""


@dataclass(frozen=True)
class Csv:
    """How a CSV file is written.

    Attributes
    ----------
    encoding : str
        As Python names it.
    delimiter : str
    names : tuple of str
        The columns, in the order of the file.
    lines_before : int
        Lines before the header.
    plain : bool
        Whether DuckDB reads the file as it is.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    lines_before: int
    plain: bool


@dataclass(frozen=True)
class TableFiles:
    """The files of a table: one, or those of a folder, in the order of their names.

    Attributes
    ----------
    path : Path
        The file or the folder.
    kind : str
        ``.csv`` or ``.parquet``.
    parts : tuple of Path
    """

    path: Path
    kind: str
    parts: tuple[Path, ...]


class FolderSource:
    """A folder with one CSV or Parquet file per table.

    Raises
    ------
    SourceContractError
        When there is no such folder, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        shown = without_password(str(folder))
        try:
            if not folder.is_dir():
                raise SourceContractError(
                    f"source {shown}: expected a folder of CSV or Parquet files or a postgresql:// address, found "
                    f"{'a pipe' if folder.is_fifo() else 'a file' if folder.exists() else 'nothing'}. Correct the path."
                )
            self.folder = folder.resolve()
            found = sorted(self.folder.iterdir())
            self._candidates: dict[str, list[tuple[Path, str]]] = {}
            others = []
            for path in found:
                if (named := _table_of(path.name)) is not None and (path.is_file() or path.is_dir()):
                    self._candidates.setdefault(named[0], []).append((path, named[1]))
                else:
                    others.append(_shown(path))
        except OSError as error:
            raise SourceContractError(
                f"source {shown}: expected a folder that can be read, found {error.strerror}. Let the user who runs "
                "Leadline read the folder and its files."
            ) from error
        self.description = str(self.folder)
        self._files: dict[str, TableFiles] = {}
        self._csv: dict[Path, Csv] = {}
        self._states: dict[Path, tuple[int, ...]] = {}
        self._real: dict[str, dict[str, str]] = {}
        self._types: dict[str, dict[str, str]] = {}
        self._tables = Tables(shown, list(self._candidates), others, self._columns)

    def columns(self) -> Tables:
        """Return the columns by file stem."""
        return self._tables

    def place(self, source_table: str) -> str:
        """Return the name of the file, or of the folder."""
        name = self._tables.find(source_table)
        return self._candidates[name][0][0].name if name is not None else source_table

    def type_of(self, source_table: str, column: str) -> str:
        """Return the type of a column of Parquet, as Arrow names it; ``string`` of CSV."""
        part = self._files[self._tables.find(source_table) or source_table].parts[0]
        return self._types[str(part)].get(self._real[str(part)][column.lower()], "string")

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None,  # noqa: ARG002 - of the shared interface
    ) -> Reading:
        """Create ``source_<table>`` from the files of the table; they are always read whole."""
        name = self._tables.find(source_table) or source_table
        files = self._files[name]
        place = files.path.name
        definition = ", ".join(f"{of_source(column)} varchar" for column in columns)
        malformed: list[MalformedRow] = []
        first_line = 1
        if files.kind == CSV:
            first_line = 2 + self._csv[files.parts[0]].lines_before
            connection.execute(f"create table file_{table} ({definition})")
        for number, part in enumerate(files.parts):
            shown = part.name if part == files.path else f"{place}/{part.name}"
            try:
                if files.kind == PARQUET:
                    self._read_parquet(connection, table, part, number, shown, name, columns)
                else:
                    before = one_row(connection, f"select count(*) from file_{table}")[0] + len(malformed)
                    lines = self._read_csv(connection, table, part, number, shown, columns)
                    malformed += [MalformedRow(row.line - 2 + before + first_line, row.found) for row in lines]
                if _state(part) != self._states[part]:
                    raise SourceContractError(
                        f"{shown}: expected a file that stays as it is, found that it has changed while it was read. "
                        "Run again once the export is complete."
                    )
            except OSError as error:
                raise _cannot_read(shown, error) from error
        # Parquet and CSV alike: rows are numbered in the order of the file
        connection.execute(f"create view source_{table} as select rowid as record, * from file_{table}")
        return Reading(first_line=first_line, malformed=malformed)

    def _columns(self, name: str) -> list[str]:
        """Open a table, and return its columns."""
        if len(candidates := self._candidates[name]) > 1:
            listed = " and ".join(path.name for path, _ in candidates)
            raise SourceContractError(
                f"source {self.description}: expected one file per table, found {listed}. Remove one of them."
            )
        ((path, kind),) = candidates
        try:
            files = TableFiles(path, kind, _parts(path, kind) if path.is_dir() else (path,))
            headers = [self._header(part, kind, path) for part in files.parts]
        except OSError as error:
            raise _cannot_read(path.name, error) from error
        for part, header in zip(files.parts, headers, strict=True):
            if sorted(map(str.lower, header)) != sorted(map(str.lower, headers[0])):
                raise SourceContractError(
                    f"{path.name}: expected the same columns in all parts, found {shown_columns(headers[0])} in "
                    f"{files.parts[0].name} and {shown_columns(header)} in {part.name}. Export the table anew, into an "
                    "empty folder."
                )
        self._files[name] = files
        return headers[0]

    def _header(self, part: Path, kind: str, path: Path) -> list[str]:
        shown = part.name if part == path else f"{path.name}/{part.name}"
        self._states[part] = _state(part)
        if kind == PARQUET:
            fields = _parquet_fields(part, shown)
            names = [name for name, _ in fields]
        else:
            fields = []
            self._csv[part] = _csv_form(part, shown)
            names = list(self._csv[part].names)
        cleaned = cleaned_names(names, shown)
        self._types[str(part)] = dict(fields)
        self._real[str(part)] = dict(zip(map(str.lower, cleaned), names, strict=True))
        return cleaned

    def _read_parquet(
        self,
        connection: DuckDBPyConnection,
        table: str,
        part: Path,
        number: int,
        shown: str,
        name: str,
        columns: Sequence[str],
    ) -> None:
        import duckdb

        real = self._real[str(part)]
        selected = ", ".join(f"{quoted(real[column.lower()])} as {of_source(column)}" for column in columns)
        with linked(part, f"table{PARQUET}") as link:
            # the text of some writers is not marked as text
            relation = f"read_parquet({literal(link)}, hive_partitioning = false, binary_as_string = true)"
            try:
                types = dict(zip(columns, _types(connection, f"select {selected} from {relation}"), strict=True))
                too_long = connection.execute(
                    f"select name from parquet_schema({literal(link)}) where precision > {MAX_DIGITS}"
                ).fetchall()
                _refuse_types(
                    types
                    | {
                        each: f"DECIMAL of more than {MAX_DIGITS} digits"
                        for each in columns
                        if (real[each.lower()],) in too_long
                    },
                    shown,
                )
                if number == 0:
                    connection.execute(f"create table file_{table} as select {selected} from {relation}")
                    return
                first = dict(zip(columns, _types(connection, f"from file_{table}"), strict=True))
                if types != first:
                    differing = next(column for column in columns if types[column] != first[column])
                    raise SourceContractError(
                        f"{shown}: expected {differing} to be {first[differing]} as in "
                        f"{self._files[name].parts[0].name}, found {types[differing]}. Export the table anew, with one "
                        "type for each column."
                    )
                connection.execute(f"insert into file_{table} select {selected} from {relation}")
            except duckdb.Error as error:
                found = first_line(error).replace(link, shown)
                raise SourceContractError(
                    f"{shown}: expected a Parquet file that can be read, found {found}. Export the table again."
                ) from error

    def _read_csv(
        self,
        connection: DuckDBPyConnection,
        table: str,
        part: Path,
        number: int,
        shown: str,
        columns: Sequence[str],
    ) -> list[MalformedRow]:
        import duckdb

        form, real = self._csv[part], self._real[str(part)]
        every = ", ".join(f"{literal(f'c{place}')}: 'VARCHAR'" for place in range(len(form.names)))
        places = {column: place for place, column in enumerate(real)}
        selected = ", ".join(f"c{places[column.lower()]}" for column in columns)
        # the dialect is given and not sniffed: a sniffer takes broken lines for another dialect
        dialect = (
            f"auto_detect = false, header = true, delim = {literal(form.delimiter)}, quote = '\"', escape = '\"', "
            f"compression = 'none', hive_partitioning = false, max_line_size = {MAX_LINE_BYTES}"
        )

        def scan(path: Path, errors: str) -> None:
            with linked(path, f"table{CSV}") as link:
                connection.execute(
                    f"insert into file_{table} select {selected} from read_csv({literal(link)}, {dialect}, "
                    f"columns = {{{every}}}, store_rejects = true, rejects_table = '{errors}', "
                    f"rejects_scan = 'scans_{errors}')"
                )

        def has_surplus(path: Path, malformed: Sequence[MalformedRow]) -> bool:
            """Say whether records have more fields than the header: DuckDB drops one at the end that is empty."""
            rows, fields = one_row(connection, f"select count(*) from file_{table}")[0] - before, len(form.names)
            if not malformed and _count(path, form.delimiter.encode()) == (fields - 1) * (rows + 1):
                return False
            with linked(path, f"table{CSV}") as link:
                wider = f"{every}, {literal(f'c{fields}')}: 'VARCHAR'"
                options = f"{dialect}, columns = {{{wider}}}, ignore_errors = true"
                return bool(one_row(connection, f"select count(*) from read_csv({literal(link)}, {options})")[0])

        def start_anew() -> None:
            # rows are numbered without a gap
            connection.execute(f"create or replace table file_{table} as from file_{table} limit {before}")

        def read(path: Path, errors: str) -> list[MalformedRow]:
            scan(path, errors)
            malformed = _malformed(connection, errors, shown, form)
            if has_surplus(path, malformed) and _mark_surplus(path, form, marked):
                start_anew()
                scan(marked, f"{errors}_marked")
                malformed = _malformed(connection, f"{errors}_marked", shown, form)
            return malformed

        before, errors = one_row(connection, f"select count(*) from file_{table}")[0], f"errors_{table}_{number}"
        with tempfile.TemporaryDirectory(dir=_scratch(connection)) as folder:
            copy, marked = Path(folder) / "copy", Path(folder) / "marked"
            try:
                if not form.plain:
                    _write_plain(part, form, copy, shown)
                return read(part if form.plain else copy, errors)
            except duckdb.InvalidInputException:
                # a header and rows, or rows from two systems, may end in their own ways
                _write_plain(part, form, copy, shown, one_ending=True)
                start_anew()
                try:
                    return read(copy, f"{errors}_copy")
                except duckdb.Error as error:
                    where, found = "", first_line(error)
                    if (line := _carriage_return(copy, form)) is not None:
                        where, found = f", line {line}", "another kind within the line"
                    raise SourceContractError(
                        f"{shown}{where}: expected CSV in UTF-8 with one kind of line ending, found {found}. "
                        "Save it again with line endings of one kind."
                    ) from error
            except duckdb.Error as error:
                raise SourceContractError(
                    f"{shown}: expected a CSV file that can be read, found {first_line(error)}. Export the table again."
                ) from error


def _shown(path: Path) -> str:
    if path.is_dir():
        return f"{path.name}/"
    if path.is_fifo():
        return f"{path.name} (a pipe)"
    return path.name if path.exists() else f"{path.name} (a link to nothing)"


def _table_of(name: str) -> tuple[str, str] | None:
    """Return the table and the kind that the name of a file stands for, or None."""
    lowered = name.lower()
    if name.startswith((".", "~$")):
        return None
    for ending in ENDINGS:
        if lowered.endswith(ending) and len(lowered) > len(ending):
            return name[: -len(ending)], PARQUET if ending == PARQUET else CSV
    return None


def _parts(folder: Path, kind: str) -> tuple[Path, ...]:
    """Return the parts of a table that is a folder.

    Raises
    ------
    SourceContractError
        When it holds something else, without which nobody knows which rows count.
    """
    parts = []
    for path in sorted(folder.iterdir()):
        named = _table_of(path.name)
        if named is not None and named[1] == kind and path.is_file():
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
    return tuple(parts)


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _scratch(connection: DuckDBPyConnection) -> str | None:
    found: str = one_row(connection, "select current_setting('temp_directory')")[0]
    return found if found and Path(found).is_dir() else None


def _types(connection: DuckDBPyConnection, query: str) -> list[str]:
    return [str(kind) for _, kind, *_ in connection.execute(f"describe {query}").fetchall()]


def _refuse_types(types: Mapping[str, str], shown: str) -> None:
    for column, kind in types.items():
        # DuckDB makes a DOUBLE of a decimal that is too long for it
        if kind.endswith(("]", "digits")) or kind.startswith(NO_VALUES):
            raise SourceContractError(
                f"{shown}, column {column}: expected text, a number, a time or true and false, found "
                f"{kind.split('(')[0]}. Export it as text, or map another column."
            )


def _parquet_fields(path: Path, shown: str) -> list[tuple[str, str]]:
    """Return the columns of a Parquet file with their types."""
    import pyarrow.parquet as pq  # pyarrow ships no types
    from pyarrow import ArrowException

    try:
        with path.open("rb") as file:
            return [(field.name, str(field.type)) for field in pq.read_schema(file)]
    except (ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SourceContractError(
            f"{shown}: expected a Parquet file, found {first_line(error)}. Export the table again."
        ) from error


@contextmanager
def _bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed.

    Raises
    ------
    SourceContractError
        When it is not compressed as its name says, or cut short.
    """
    import pyarrow as pa

    ending = path.suffix.lower()
    try:
        if ending == ".gz":
            with gzip.open(path) as file:
                yield cast("IO[bytes]", file)
        elif ending == ".zst":
            with path.open("rb") as raw, pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd") as file:
                yield cast("IO[bytes]", file)
        else:
            with path.open("rb") as file:
                yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _broken(path, error) from error
    except OSError as error:
        if ending != ".zst" or error.errno is not None:
            raise
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> SourceContractError:
    return SourceContractError(
        f"{path.name}: expected a whole compressed file, found one that cannot be unpacked ({first_line(error)}). "
        "Export or copy the file again."
    )


def _encoding(head: bytes) -> str:
    """Return the encoding of a file by its byte order mark, or by where its NUL bytes are."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    even, odd = head[::2].count(0), head[1::2].count(0)
    # in UTF-16 delimiters, digits and line ends at least are a byte beside a NUL; a stray NUL is no such thing
    enough = max(1, len(head) // 8)
    if odd >= enough and even == 0:
        return "utf-16-le"
    if even >= enough and odd == 0:
        return "utf-16-be"
    return "utf-8"


def _errors(encoding: str) -> str:
    # bytes that are no UTF-8 stay as they are, so that their line can be named
    return "surrogateescape" if encoding == "utf-8" else "strict"


def _text(file: IO[bytes], encoding: str) -> TextIOWrapper:
    return TextIOWrapper(file, encoding=encoding, errors=_errors(encoding), newline="")


def _csv_form(path: Path, shown: str) -> Csv:
    """Return how a CSV file is written; raises ``SourceContractError`` when it has no header."""
    lines_before = 0
    with _bytes(path) as file:
        head = file.read(HEAD_BYTES)
    if (found := next((kind for magic, kind in MAGIC if head.startswith(magic)), None)) is not None:
        raise SourceContractError(f"{shown}: expected CSV, found {found}. Export the table as CSV in UTF-8.")
    text_head = head.removeprefix(MARK.encode())
    if (found := next((kind for begin, kind in MARKUP if begin.match(text_head)), None)) is not None:
        raise SourceContractError(
            f"{shown}: expected CSV, found {found}, as where a server answers with an error or a login. Export the "
            "table as CSV in UTF-8."
        )
    encoding = _encoding(head)
    try:
        with _bytes(path) as file, _text(file, encoding) as text:
            first = text.readline()
            marks = len(first) - len(first.lstrip(MARK))
            first = first[marks:]
            delimiter = None
            if (told := SEPARATOR.fullmatch(first)) is not None:
                lines_before, delimiter = 1, "\t" if told[1] == r"\t" else told[1]
                if len(delimiter) != 1:
                    raise SourceContractError(
                        f"{shown}, line 1: expected one character after sep=, found {delimiter!r}. Export the table "
                        "with a delimiter of one character."
                    )
                first = text.readline()
            if delimiter is None:
                unquoted = re.sub('"[^"]*"', "", first)
                delimiter = max(DELIMITERS, key=unquoted.count)
            lines: list[str] = []
            header = next(csv.reader(_noted(chain([first], text), lines), delimiter=delimiter), [])
            if len(lines) > 1 and not _is_closed(lines, delimiter):
                raise SourceContractError(
                    f"{shown}, line {1 + lines_before}: expected a closing quote in the header, found none in the "
                    "line. Correct it, or export the table again."
                )
            # bytes that are no text stand for themselves
            "".join(header).encode()
    except UnicodeError as error:
        raise _not_text(shown, f"line {1 + lines_before}", encoding) from error
    except csv.Error as error:
        raise SourceContractError(
            f"{shown}, line 1: expected a header line, found {error}. Export the table as CSV in UTF-8."
        ) from error
    if not any(column.strip() for column in header):
        raise SourceContractError(
            f"{shown}, line {1 + lines_before}: expected a header line with the names of the columns, found an empty "
            "line. Export the table with its header."
        )
    # DuckDB takes one mark away
    plain = (
        encoding == "utf-8"
        and marks <= 1
        and not lines_before
        and path.suffix.lower() in (".csv", ".tsv")
        and not any("\n" in name or "\r" in name for name in header)
    )
    return Csv(encoding, delimiter, tuple(header), lines_before, plain)


def _is_closed(lines: Sequence[str], delimiter: str) -> bool:
    """Say whether each quote is closed before a delimiter or the end of the record."""
    try:
        next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True


def _write_plain(path: Path, form: Csv, copy: Path, shown: str, *, one_ending: bool = False) -> None:
    """Write a CSV file anew as UTF-8, from its header on."""
    try:
        with (
            _bytes(path) as file,
            _text(file, form.encoding) as text,
            copy.open("w", encoding="utf-8", errors=_errors(form.encoding), newline="") as written,
        ):
            for _ in range(form.lines_before):
                text.readline()
            header: list[str] = []
            # a line break within a name would be taken for the kind of line ending
            next(csv.reader(_noted(text, header), delimiter=form.delimiter), [])
            ending = re.sub(r".*[^\r\n]", "", header[-1], flags=re.DOTALL) or "\n"
            written.write(form.delimiter.join(map(str, range(len(form.names)))))
            written.write("\n" if one_ending and ending == "\r\n" else ending)
            if one_ending:
                for line in text:
                    written.write(f"{line[:-2]}\n" if line.endswith("\r\n") else line)
            else:
                shutil.copyfileobj(text, written, HEAD_BYTES)
    except UnicodeError as error:
        raise _not_text(shown, "some lines", form.encoding) from error


def _count(path: Path, delimiter: bytes) -> int:
    with path.open("rb") as file:
        return sum(block.count(delimiter) for block in iter(partial(file.read, BLOCK_BYTES), b""))


def _mark_surplus(path: Path, form: Csv, marked: Path) -> bool:
    """Write a CSV file anew, in which empty fields are not empty where other records have none; says if there are any.

    A delimiter in a value without quotes moves all values after it by one, until an empty one falls out at the end.
    What each record has, beyond the header, is a habit of the export.
    """
    csv.field_size_limit(MAX_LINE_BYTES)

    def records() -> Iterator[tuple[int, str]]:
        with path.open(encoding="utf-8", errors=_errors("utf-8"), newline="") as text:
            lines: list[str] = []
            for record in csv.reader(_noted(text, lines), delimiter=form.delimiter):
                yield len(record), "".join(lines)
                lines.clear()

    fields = len(form.names)
    widths = {width for width, _ in islice(records(), 1, None) if width >= fields}
    if len(widths) == 1:
        return False
    with marked.open("w", encoding="utf-8", errors=_errors("utf-8"), newline="") as written:
        for number, (width, text) in enumerate(records()):
            if number and width > min(widths):
                line = text.rstrip("\r\n")
                text = f"{line}{form.delimiter}surplus{text[len(line) :]}"
            written.write(text)
    return True


def _noted(lines: Iterable[str], noted: list[str]) -> Iterator[str]:
    for line in lines:
        noted.append(line)
        yield line


def _carriage_return(copy: Path, form: Csv) -> int | None:
    """Return the line of the first carriage return within a line, or None."""
    with copy.open(encoding="utf-8", errors=_errors(form.encoding), newline="\n") as text:
        return next((number for number, line in enumerate(text, start=1 + form.lines_before) if "\r" in line), None)


def _malformed(connection: DuckDBPyConnection, errors: str, shown: str, form: Csv) -> list[MalformedRow]:
    found: list[tuple[int, str, bool, bool]] = connection.execute(
        "select line, min_by(error_type::varchar, coalesce(column_idx, -1)), "
        # what is cut off may hold the end of a line
        f"bool_or(contains(csv_line, chr(10)) or length(csv_line) >= {SHOWN_OF_A_LINE}), "
        "bool_or(length(replace(csv_line, '\"', '')) % 2 <> length(csv_line) % 2) "
        f"from {errors} group by line order by line"
    ).fetchall()
    by_kind = connection.execute(f"select error_type::varchar, min(line) from {errors} group by all").fetchall()
    lines: dict[str, int] = dict(by_kind)
    if (line := lines.get("INVALID ENCODING")) is not None:
        raise _not_text(shown, f"line {line + form.lines_before}", form.encoding)
    if (line := lines.get("LINE SIZE OVER MAXIMUM")) is not None:
        raise SourceContractError(
            f"{shown}, line {line + form.lines_before}: expected a line of at most {MAX_LINE_BYTES:,} bytes, found a "
            "longer one, as where a quote is opened and not closed. Correct the line, or leave its long column out of "
            "the export."
        )
    for line, kind, several_lines, _ in found:
        # a quote that is not closed takes the following rows with it, in a number that nobody can know
        if kind == "UNQUOTED VALUE" and several_lines:
            raise SourceContractError(
                f"{shown}, line {line + form.lines_before}: expected a closing quote, found none before the end of the "
                "row; the rows after it cannot be told apart. Correct the line, or export with quotes doubled."
            )
    return [
        MalformedRow(line, NOT_CLOSED if is_open and kind == "UNQUOTED VALUE" else MESSAGES.get(kind, kind.lower()))
        for line, kind, _, is_open in found
    ]


def _not_text(shown: str, where: str, encoding: str) -> SourceContractError:
    if encoding != "utf-8":
        return SourceContractError(
            f"{shown}, {where}: expected text in {encoding.upper()}, as the file begins, found other bytes. "
            "Export the table as UTF-8 (in a spreadsheet: 'CSV UTF-8')."
        )
    return SourceContractError(
        f"{shown}, {where}: expected text in UTF-8, found other bytes, as of Windows-1252, which nobody can tell for "
        "certain from its like. Export the table as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or convert the file: "
        "iconv -f WINDOWS-1252 -t UTF-8."
    )


def _cannot_read(shown: str, error: OSError) -> SourceContractError:
    return SourceContractError(
        f"{shown}: expected a file that can be read, found {error.strerror or first_line(error)}. "
        "Let the user who runs Leadline read it, or export it again."
    )
