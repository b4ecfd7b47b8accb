"""The rows of a Parquet file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from store.source.contract import SourceContractError
from store.source.reading.files import FilePart, linked
from store.source.reading.tables import first_line
from store.source.sql import literal, of_source, quoted

MAX_DIGITS = 38

NO_VALUES = ("STRUCT", "MAP", "UNION", "VARIANT", "BLOB", "BIT")
"""Types, as DuckDB names them, that are neither text nor a number nor a time."""


def parquet_fields(path: Path, shown: str) -> list[tuple[str, str]]:
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


def read_parquet(
    connection: duckdb.DuckDBPyConnection, table: str, part: FilePart, first: FilePart, columns: Sequence[str]
) -> None:
    """Create ``file_<table>`` from the first part of a table, or append the rows of another part to it.

    Raises
    ------
    SourceContractError
        When the file cannot be read, a column has no values, or its type is not that of the first part.
    """
    shown = part.shown
    selected = ", ".join(f"{quoted(part.names[column.lower()])} as {of_source(column)}" for column in columns)
    with linked(part.path, "table.parquet") as link:
        # the text of some writers is not marked as text
        relation = f"read_parquet({literal(link)}, hive_partitioning = false, binary_as_string = true)"
        try:
            types = dict(zip(columns, _types(connection, f"select {selected} from {relation}"), strict=True))
            too_long = connection.execute(
                f"select name from parquet_schema({literal(link)}) where precision > {MAX_DIGITS}"
            ).fetchall()
            long_decimal = f"DECIMAL of more than {MAX_DIGITS} digits"
            _refuse_types(
                types | {each: long_decimal for each in columns if (part.names[each.lower()],) in too_long}, shown
            )
            if part is first:
                connection.execute(f"create table file_{table} as select {selected} from {relation}")
                return
            types_of_first = dict(zip(columns, _types(connection, f"from file_{table}"), strict=True))
            if types != types_of_first:
                differing = next(column for column in columns if types[column] != types_of_first[column])
                raise SourceContractError(
                    f"{shown}: expected {differing} to be {types_of_first[differing]} as in {first.path.name}, found "
                    f"{types[differing]}. Export the table anew, with one type for each column."
                )
            connection.execute(f"insert into file_{table} select {selected} from {relation}")
        except duckdb.Error as error:
            found = first_line(error).replace(link, shown)
            raise SourceContractError(
                f"{shown}: expected a Parquet file that can be read, found {found}. Export the table again."
            ) from error


def _types(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    return [str(kind) for _, kind, *_ in connection.execute(f"describe {query}").fetchall()]


def _refuse_types(types: Mapping[str, str], shown: str) -> None:
    for column, kind in types.items():
        # DuckDB makes a DOUBLE of a decimal that is too long for it
        if kind.endswith(("]", "digits")) or kind.startswith(NO_VALUES):
            raise SourceContractError(
                f"{shown}, column {column}: expected text, a number, a time or true and false, found "
                f"{kind.split('(')[0]}. Export it as text, or map another column."
            )
