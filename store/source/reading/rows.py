"""Read the rows of a file: Parquet, or CSV in any form of an export."""

import csv
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import duckdb

from store.source.contract import SourceContractError
from store.source.reading.files import (
    HEAD_BYTES,
    Csv,
    FilePart,
    as_text,
    errors_of,
    linked,
    not_text,
    noted_lines,
    spaced,
    unpacked,
)
from store.source.reading.tables import first_line
from store.source.sql import of_source, one_row, quoted
from store.sql import literal

MAX_LINE_BYTES = 64_000_000
"""The longest line of a CSV file: a note may be long, but a longer line means a quote that is not closed."""

SHOWN_OF_A_LINE = 10_000
"""DuckDB keeps so many characters of a broken line."""

BLOCK_BYTES = 1 << 22

MESSAGES = {
    "MISSING COLUMNS": "fewer fields",
    "TOO MANY COLUMNS": "more fields",
    "UNQUOTED VALUE": "text after a closing quote",
}

NOT_CLOSED = "a quote that is not closed"


MAX_DIGITS = 38

NESTED = ("struct", "list", "large_list", "fixed_size", "map")
"""Beginnings of the names of Arrow's types that hold several values."""

BYTES = ("binary", "large_binary", "extension")
"""Beginnings of the names of Arrow's types that have no text."""

NO_VALUES = ("STRUCT", "MAP", "UNION", "VARIANT", "BLOB", "BIT")
"""Types of DuckDB that are neither text nor a number nor a time."""


def read_csv(
    connection: duckdb.DuckDBPyConnection, table: str, number: int, part: FilePart, columns: Sequence[str]
) -> list[tuple[int, str]]:
    """Append the rows of a part to ``file_<table>``; return the lines of malformed records, and what they are.

    Parameters
    ----------
    connection : DuckDBPyConnection
    table : str
        Table of the contract.
    number : int
        Number of the part.
    part : FilePart
    columns : sequence of str

    Raises
    ------
    SourceContractError
        If the file cannot be read.
    """
    form, label = part.csv, part.shown
    if form is None:
        raise AssertionError(f"{label} is no CSV file")
    every = ", ".join(f"{literal(f'c{place}')}: 'VARCHAR'" for place in range(len(form.names)))
    places = {column: place for place, column in enumerate(part.names)}
    selected = ", ".join(f"c{places[column.lower()]}" for column in columns)
    # the dialect is not sniffed, because a sniffer may choose another one to fit broken lines
    dialect = (
        f"auto_detect = false, header = true, delim = {literal(form.delimiter)}, quote = '\"', escape = '\"', "
        f"compression = 'none', hive_partitioning = false, max_line_size = {MAX_LINE_BYTES}"
    )

    def scan(path: Path, errors: str) -> None:
        with linked(path, "table.csv") as link:
            connection.execute(
                f"insert into file_{table} select {selected} from read_csv({literal(link)}, {dialect}, "
                f"columns = {{{every}}}, store_rejects = true, rejects_table = '{errors}', "
                f"rejects_scan = 'scans_{errors}')"
            )

    def has_surplus(path: Path, malformed: Sequence[tuple[int, str]]) -> bool:
        """Say whether records have more fields than the header: DuckDB silently drops an empty one at the end."""
        rows, fields = one_row(connection, f"select count(*) from file_{table}")[0] - before, len(form.names)
        if not malformed and _count(path, form.delimiter.encode()) == (fields - 1) * (rows + 1):
            return False
        with linked(path, "table.csv") as link:
            wider = f"{every}, {literal(f'c{fields}')}: 'VARCHAR'"
            options = f"{dialect}, columns = {{{wider}}}, ignore_errors = true"
            return bool(one_row(connection, f"select count(*) from read_csv({literal(link)}, {options})")[0])

    def drop_rows() -> None:
        # a copy and not a delete: the numbers of rows must have no gap
        connection.execute(f"create or replace table file_{table} as from file_{table} limit {before}")

    def read(path: Path, errors: str) -> list[tuple[int, str]]:
        scan(path, errors)
        malformed = _malformed(connection, errors, label, form)
        if has_surplus(path, malformed) and _mark_surplus(path, form, marked):
            drop_rows()
            scan(marked, f"{errors}_marked")
            malformed = _malformed(connection, f"{errors}_marked", label, form)
        return malformed

    before, errors = one_row(connection, f"select count(*) from file_{table}")[0], f"errors_{table}_{number}"
    with tempfile.TemporaryDirectory(dir=_spill(connection)) as folder:
        copy, marked = Path(folder) / "copy", Path(folder) / "marked"
        try:
            if not form.plain:
                _write_plain(part.path, form, copy, label)
            return read(part.path if form.plain else copy, errors)
        except duckdb.InvalidInputException:
            # header and rows, or rows of two systems, may have different line endings
            _write_plain(part.path, form, copy, label, one_ending=True)
            drop_rows()
            try:
                return read(copy, f"{errors}_copy")
            except duckdb.Error as error:
                where, found = "", first_line(error)
                if (line := _carriage_return(copy, form)) is not None:
                    where, found = f", line {line}", "another kind within the line"
                raise SourceContractError(
                    f"{label}{where}: expected CSV in UTF-8 with one kind of line ending, found {found}. "
                    "Save it again with line endings of one kind."
                ) from error
        except duckdb.Error as error:
            raise SourceContractError(
                f"{label}: expected a CSV file that can be read, found {first_line(error)}. Export the table again."
            ) from error


def _spill(connection: duckdb.DuckDBPyConnection) -> str | None:
    found: str = one_row(connection, "select current_setting('temp_directory')")[0]
    return found if found and Path(found).is_dir() else None


def _write_plain(path: Path, form: Csv, copy: Path, label: str, *, one_ending: bool = False) -> None:
    try:
        with (
            unpacked(path) as file,
            as_text(file, form.encoding) as text,
            copy.open("w", encoding="utf-8", errors=errors_of(form.encoding), newline="") as written,
        ):
            for _ in range(form.lines_before):
                text.readline()
            header: list[str] = [""]
            lines = (spaced(line, form.delimiter) for line in text) if form.spaces else text
            if form.has_header:
                # the header is read as a record: a line break within a name is no line ending
                next(csv.reader(noted_lines(lines, header), delimiter=form.delimiter), [])
            else:
                header = [first := next(lines, "")]
            ending = re.sub(r".*[^\r\n]", "", header[-1], flags=re.DOTALL) or "\n"
            written.write(form.delimiter.join(map(str, range(len(form.names)))))
            written.write("\n" if one_ending and ending == "\r\n" else ending)
            if not form.has_header:
                written.write(f"{first[:-2]}\n" if one_ending and first.endswith("\r\n") else first)
            if one_ending:
                for line in lines:
                    written.write(f"{line[:-2]}\n" if line.endswith("\r\n") else line)
            elif form.spaces:
                written.writelines(lines)
            else:
                shutil.copyfileobj(text, written, HEAD_BYTES)
    except UnicodeError as error:
        raise not_text(label, "some lines", form.encoding) from error


def _count(path: Path, delimiter: bytes) -> int:
    with path.open("rb") as file:
        return sum(block.count(delimiter) for block in iter(partial(file.read, BLOCK_BYTES), b""))


def _mark_surplus(path: Path, form: Csv, marked: Path) -> bool:
    """Write a copy of a CSV file that marks records with surplus fields; return whether there are any.

    A delimiter in a value without quotes shifts all values after it by one field. If the last field is empty, DuckDB
    would drop it and accept the record; the mark keeps it. Extra fields that every record has are a habit of the
    export, and no fault.
    """
    csv.field_size_limit(MAX_LINE_BYTES)

    def records() -> Iterator[tuple[int, str]]:
        with path.open(encoding="utf-8", errors=errors_of("utf-8"), newline="") as text:
            lines: list[str] = []
            for record in csv.reader(noted_lines(text, lines), delimiter=form.delimiter):
                yield len(record), "".join(lines)
                lines.clear()

    fields = len(form.names)
    widths = {width for width, _ in islice(records(), 1, None) if width >= fields}
    if len(widths) == 1:
        return False
    with marked.open("w", encoding="utf-8", errors=errors_of("utf-8"), newline="") as written:
        for number, (width, text) in enumerate(records()):
            if number and width > min(widths):
                line = text.rstrip("\r\n")
                text = f"{line}{form.delimiter}surplus{text[len(line) :]}"
            written.write(text)
    return True


def _carriage_return(copy: Path, form: Csv) -> int | None:
    with copy.open(encoding="utf-8", errors=errors_of(form.encoding), newline="\n") as text:
        return next((number for number, line in enumerate(text, start=form.first_line - 1) if "\r" in line), None)


def _malformed(connection: duckdb.DuckDBPyConnection, errors: str, label: str, form: Csv) -> list[tuple[int, str]]:
    found: list[tuple[int, str, bool, bool]] = connection.execute(
        "select line, min_by(error_type::varchar, coalesce(column_idx, -1)), "
        # the part of a line that DuckDB cuts off may hold a line break
        f"bool_or(contains(csv_line, chr(10)) or length(csv_line) >= {SHOWN_OF_A_LINE}), "
        "bool_or(length(replace(csv_line, '\"', '')) % 2 <> length(csv_line) % 2) "
        f"from {errors} group by line order by line"
    ).fetchall()
    lines: dict[str, int] = dict(
        connection.execute(f"select error_type::varchar, min(line) from {errors} group by all").fetchall()
    )
    if (line := lines.get("INVALID ENCODING")) is not None:
        raise not_text(label, f"line {line - 2 + form.first_line}", form.encoding)
    if (line := lines.get("LINE SIZE OVER MAXIMUM")) is not None:
        raise SourceContractError(
            f"{label}, line {line - 2 + form.first_line}: expected a line of at most {MAX_LINE_BYTES:,} bytes, found a "
            "longer one, perhaps because of a quote that is not closed. Correct the line, or leave its long column "
            "out of the export."
        )
    for number, kind, several_lines, _ in found:
        # an unclosed quote swallows an unknown number of rows after it
        if kind == "UNQUOTED VALUE" and several_lines:
            line = number - 2 + form.first_line
            raise SourceContractError(
                f"{label}, line {line}: expected a closing quote, found none before the end of the row; the rows after "
                "it cannot be told apart. Correct the line, or export with quotes doubled."
            )
    return [
        (line, NOT_CLOSED if is_open and kind == "UNQUOTED VALUE" else MESSAGES.get(kind, kind.lower()))
        for line, kind, _, is_open in found
    ]


def parquet_fields(path: Path, label: str) -> list[tuple[str, str]]:
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
            f"{label}: expected a Parquet file, found {first_line(error)}. Export the table again."
        ) from error


def read_parquet(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    part: FilePart,
    first: FilePart,
    columns: Sequence[str],
    nested: Collection[str] = (),
) -> None:
    """Create ``file_<table>`` from the first part of a table, or append the rows of another part to it.

    Columns of `nested` become JSON text if they hold no single values.

    Raises
    ------
    SourceContractError
        If the file cannot be read, a column has a type without values, or another type than in the first part.
    """
    label = part.shown

    def value(column: str) -> str:
        name = part.names[column.lower()]
        is_nested = column in nested and part.types[name].startswith(NESTED)
        return f"cast(to_json({quoted(name)}) as varchar)" if is_nested else quoted(name)

    selected = ", ".join(f"{value(column)} as {of_source(column)}" for column in columns)
    with linked(part.path, "table.parquet") as link:
        # some writers do not mark text as text
        relation = f"read_parquet({literal(link)}, hive_partitioning = false, binary_as_string = true)"
        try:
            types = dict(zip(columns, _types(connection, f"select {selected} from {relation}"), strict=True))
            too_long = connection.execute(
                f"select name from parquet_schema({literal(link)}) where precision > {MAX_DIGITS}"
            ).fetchall()
            long_decimal = f"DECIMAL of more than {MAX_DIGITS} digits"
            _refuse_types(
                types | {each: long_decimal for each in columns if (part.names[each.lower()],) in too_long}, label
            )
            if part is first:
                connection.execute(f"create table file_{table} as select {selected} from {relation}")
                return
            types_of_first = dict(zip(columns, _types(connection, f"from file_{table}"), strict=True))
            if types != types_of_first:
                differing = next(column for column in columns if types[column] != types_of_first[column])
                raise SourceContractError(
                    f"{label}: expected {differing} to be {types_of_first[differing]} as in {first.path.name}, found "
                    f"{types[differing]}. Export the table again, with one type for each column."
                )
            connection.execute(f"insert into file_{table} select {selected} from {relation}")
        except duckdb.Error as error:
            found = first_line(error).replace(link, label)
            raise SourceContractError(
                f"{label}: expected a Parquet file that can be read, found {found}. Export the table again."
            ) from error


def _types(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    return [str(kind) for _, kind, *_ in connection.execute(f"describe {query}").fetchall()]


def _refuse_types(types: Mapping[str, str], label: str) -> None:
    for column, kind in types.items():
        # a decimal of too many digits would silently become a DOUBLE in DuckDB
        if kind.endswith(("]", "digits")) or kind.startswith(NO_VALUES):
            raise SourceContractError(
                f"{label}, column {column}: expected text, a number, a time or true and false, found "
                f"{kind.split('(')[0]}. Export it as text, or map another column."
            )
