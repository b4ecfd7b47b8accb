"""The files of a table: the form of a CSV file (compression, encoding, delimiter, header), and paths for DuckDB.

DuckDB reads some paths as patterns, formats, SQL or partitions, so it gets links with plain names.
"""

import csv
import gzip
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import IO, cast

from store.source.contract import SourceContractError
from store.source.reading.tables import first_line

DELIMITERS = (",", ";", "\t", "|")

HEAD_BYTES = 1 << 16

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
"""First bytes of files that are not CSV, whatever their names."""

MARKUP = (
    (re.compile(rb"\s*<(!doctype|html|head|body|table|\?xml)", re.IGNORECASE), "a page of HTML or XML"),
    (re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{])"), "JSON"),
)
"""First characters of texts that are not CSV."""

MARK = "\ufeff"

SEPARATOR = re.compile(r'"?sep=(.*?)"?[\r\n]*', re.IGNORECASE)
"""The first line of a file that tells spreadsheets the delimiter."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The form of a file as a person states it; None where the file itself tells.

    Attributes
    ----------
    table : str or None
        The table that the file is.
    delimiter, encoding : str or None
    spaces : bool
        Whether any number of spaces or tabs stands between values; a copy with the delimiter is read.
    header : tuple of str or None
        The columns of a file without a line that names them.
    skip_lines : int
        Lines before the header, or before the first row.
    """

    table: str | None = None
    delimiter: str | None = None
    spaces: bool = False
    header: tuple[str, ...] | None = None
    encoding: str | None = None
    skip_lines: int = 0


@dataclass(frozen=True)
class Csv:
    """The form of a CSV file.

    Attributes
    ----------
    encoding : str
        Its name in Python.
    delimiter : str
    names : tuple of str
        The columns, in the order of the file.
    lines_before : int
        Lines before the header.
    plain : bool
        Whether DuckDB reads the file as it is.
    has_header : bool
        Whether a line of the file names the columns.
    spaces : bool
        Whether spaces or tabs stand between values, which the delimiter replaces in a copy.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    lines_before: int
    plain: bool
    has_header: bool = True
    spaces: bool = False

    @property
    def first_line(self) -> int:
        """The line of the first row, if each row is one line."""
        return self.lines_before + (2 if self.has_header else 1)


def csv_form(path: Path, label: str, dialect: Dialect | None = None) -> Csv:
    """Return the form of a CSV file; raise ``SourceContractError`` if it is no CSV or has no header."""
    stated = dialect or Dialect()
    lines_before = stated.skip_lines
    with unpacked(path) as file:
        head = file.read(HEAD_BYTES)
    if (found := next((kind for magic, kind in MAGIC if head.startswith(magic)), None)) is not None:
        raise SourceContractError(f"{label}: expected CSV, found {found}. Export the table as CSV in UTF-8.")
    text_head = head.removeprefix(MARK.encode())
    if (found := next((kind for begin, kind in MARKUP if begin.match(text_head)), None)) is not None:
        raise SourceContractError(
            f"{label}: expected CSV, found {found}, such as the error or login page of a server. Export the table as "
            "CSV in UTF-8."
        )
    encoding = stated.encoding or _encoding(head)
    try:
        with unpacked(path) as file, as_text(file, encoding) as text:
            first = text.readline()
            marks = len(first) - len(first.lstrip(MARK))
            first = first[marks:]
            for _ in range(lines_before):
                first = text.readline()
            delimiter = stated.delimiter
            if delimiter is None and not lines_before and (separator := SEPARATOR.fullmatch(first)) is not None:
                lines_before, delimiter = 1, "\t" if separator[1] == r"\t" else separator[1]
                if len(delimiter) != 1:
                    raise SourceContractError(
                        f"{label}, line 1: expected one character after sep=, found {delimiter!r}. Export the table "
                        "with a delimiter of one character."
                    )
                first = text.readline()
            if delimiter is None:
                unquoted = re.sub('"[^"]*"', "", first)
                delimiter = max(DELIMITERS, key=unquoted.count)
            lines: list[str] = []
            if stated.header is not None:
                return Csv(
                    encoding,
                    delimiter,
                    stated.header,
                    lines_before,
                    plain=False,
                    has_header=False,
                    spaces=stated.spaces,
                )
            after = chain([spaced(first, delimiter) if stated.spaces else first], text)
            header = next(csv.reader(noted_lines(after, lines), delimiter=delimiter), [])
            if len(lines) > 1 and not _is_closed(lines, delimiter):
                raise SourceContractError(
                    f"{label}, line {1 + lines_before}: expected a closing quote in the header, found none in the "
                    "line. Correct it, or export the table again."
                )
            # raises an error if the header has bytes that are not of the encoding
            "".join(header).encode()
    except UnicodeError as error:
        raise not_text(label, f"line {1 + lines_before}", encoding) from error
    except csv.Error as error:
        raise SourceContractError(
            f"{label}, line 1: expected a header line, found {error}. Export the table as CSV in UTF-8."
        ) from error
    if not any(column.strip() for column in header):
        raise SourceContractError(
            f"{label}, line {1 + lines_before}: expected a header line with the names of the columns, found an empty "
            "line. Export the table with its header."
        )
    # DuckDB removes one byte order mark
    plain = (
        encoding == "utf-8"
        and not stated.spaces
        and marks <= 1
        and not lines_before
        and path.suffix.lower() not in (".gz", ".zst")
        and not any("\n" in name or "\r" in name for name in header)
    )
    return Csv(encoding, delimiter, tuple(header), lines_before, plain, spaces=stated.spaces)


def spaced(line: str, delimiter: str) -> str:
    """Return a line with a delimiter in place of its spaces and tabs."""
    return f"{delimiter.join(line.split())}\n"


def _is_closed(lines: Sequence[str], delimiter: str) -> bool:
    """Say whether each quote is closed directly before a delimiter or the end of the record."""
    try:
        next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True


def _encoding(head: bytes) -> str:
    """Return the encoding of a file, from its byte order mark or the places of its NUL bytes."""
    if found := next((encoding for mark, encoding in BYTE_ORDER_MARKS if head.startswith(mark)), None):
        return found
    even, odd = head[::2].count(0), head[1::2].count(0)
    # in UTF-16 at least delimiters, digits and line ends are a byte and a NUL; a few NULs may be an accident
    least = max(1, len(head) // 8)
    if odd >= least and even == 0:
        return "utf-16-le"
    if even >= least and odd == 0:
        return "utf-16-be"
    return "utf-8"


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed.

    Raises
    ------
    SourceContractError
        If it is not compressed as its name says, or is cut short.
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


def errors_of(encoding: str) -> str:
    """Return how Python handles bytes that are not of an encoding."""
    # bytes that are no UTF-8 are kept, so that a message can name their line
    return "surrogateescape" if encoding == "utf-8" else "strict"


def as_text(file: IO[bytes], encoding: str) -> TextIOWrapper:
    """Return a file as text, with unchanged line endings."""
    return TextIOWrapper(file, encoding=encoding, errors=errors_of(encoding), newline="")


def noted_lines(lines: Iterable[str], noted: list[str]) -> Iterator[str]:
    """Yield lines, and append each of them to `noted`."""
    for line in lines:
        noted.append(line)
        yield line


def not_text(label: str, where: str, encoding: str) -> SourceContractError:
    """Return the error for bytes that are not of the encoding of the file."""
    if encoding != "utf-8":
        return SourceContractError(
            f"{label}, {where}: expected text in {encoding.upper()}, as the file begins, found other bytes. "
            "Export the table as UTF-8 (in a spreadsheet: 'CSV UTF-8')."
        )
    return SourceContractError(
        f"{label}, {where}: expected text in UTF-8, found other bytes, perhaps of Windows-1252, which cannot be told "
        "for certain from similar encodings. Export the table as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or convert "
        "the file: iconv -f WINDOWS-1252 -t UTF-8."
    )


@dataclass(frozen=True)
class FilePart:
    """One file of a table.

    Attributes
    ----------
    path : Path
    shown : str
        Its name in messages.
    state : tuple of int
        Size, time and inode number of the file when it was opened.
    names : mapping of str to str
        The columns as the file spells them, in its order, by their cleaned names in lower case.
    csv : Csv or None
        The form of a CSV file; None for Parquet.
    types : mapping of str to str
        For Parquet, the types of the columns, as Arrow names them.
    """

    path: Path
    shown: str
    state: tuple[int, ...]
    names: Mapping[str, str]
    csv: Csv | None = None
    types: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def linked(path: Path, name: str) -> Iterator[str]:
    """Give a file or a folder a path of plain characters, by a link that exists while the context lasts.

    Parameters
    ----------
    path : Path
    name : str
        The last part of the new path.

    Raises
    ------
    SourceContractError
        If the path of the folder for temporary files has other characters.
    """
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        if (found := re.search(r"[^\w/.\-+ ]", folder)) is not None:
            raise SourceContractError(
                f"the folder for temporary files: expected a path of letters and digits, found {found[0]} in "
                f"{Path(folder).parent}. Set TMPDIR to another folder."
            )
        link = Path(folder) / name
        link.symlink_to(path.resolve())
        yield str(link)
