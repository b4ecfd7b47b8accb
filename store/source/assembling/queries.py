"""The SQL of a mapping: one SELECT over the tables of the source, in a database of its own that holds nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from store.source.contract import SourceContractError
from store.source.mapping.forms import Query
from store.source.reading.tables import cleaned_names, first_line
from store.source.sql import of_source, quoted

CHANGING = (
    "now", "today", "get_current_timestamp", "get_current_time", "transaction_timestamp", "random", "uuid", "uuidv4",
    "uuidv7", "gen_random_uuid", "nextval", "currval", "setseed", "current_date", "current_time", "current_timestamp",
    "localtime", "localtimestamp", "current_localtime", "current_localtimestamp", "getvariable", "txid_current",
)  # fmt: skip
"""Functions whose value is another one at the next extraction."""


def tables_of(query: Query) -> list[str]:
    """Return the names of the tables that a query reads.

    Raises
    ------
    SourceContractError
        If it is not one SELECT, or uses a function whose value changes by itself.
    """
    with duckdb.connect() as connection:
        try:
            statements = connection.extract_statements(query.text)
        except duckdb.Error as error:
            raise _not_valid(query, "one SELECT in the dialect of DuckDB", first_line(error)) from None
        kinds = [one.type.name for one in statements]
        if kinds != ["SELECT"]:
            raise _not_valid(query, "one SELECT", " and ".join(kinds) or "none")
        serialized = "select json_serialize_sql(cast(? as varchar))"
        parsed = json.loads(connection.execute(serialized, [_text(query)]).fetchall()[0][0])
    if parsed["error"]:
        raise _not_valid(query, "one SELECT in the dialect of DuckDB", parsed["error_message"])
    named: dict[str, None] = {}
    local: set[str] = set()
    changing: dict[str, None] = {}
    for node in _nodes(parsed):
        local.update(each["key"].lower() for each in node.get("cte_map", {}).get("map", ()))
        if node.get("type") == "BASE_TABLE":
            named[node["table_name"]] = None
        names = [node["function_name"]] if "function_name" in node else node.get("column_names", [])[-1:]
        changing.update(dict.fromkeys(name.lower() for name in names if str(name).lower() in CHANGING))
        if names == ["age"] and len(node.get("arguments", ())) == 1:
            changing["age of one time"] = None
        if node.get("sample"):
            changing["sample"] = None
    if changing:
        raise _not_valid(query, "values that are equal at each extraction", f"{' and '.join(changing)}")
    return [name for name in named if name.lower() not in local]


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _nodes(each)


def _not_valid(query: Query, expected: str, found: str) -> SourceContractError:
    return SourceContractError(f"{query.path}: expected {expected}, found {found.rstrip('.')}. Correct the query.")


def columns_of_query(query: Query, tables: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns of a query over tables that have these columns.

    Raises
    ------
    SourceContractError
        If the query does not fit the tables.
    """
    with _sandbox(None) as sandbox:
        for name, columns in tables.items():
            listed = ", ".join(f"{quoted(column)} varchar" for column in columns)
            sandbox.execute(f"create table {quoted(name)} ({listed})")
        return _described(sandbox, query)


def run_query(
    connection: duckdb.DuckDBPyConnection,
    query: Query,
    tables: Mapping[str, tuple[str, Sequence[str]]],
    relation: str,
    spill: str | None,
) -> None:
    """Create a relation of the scratch database from a query: its columns as texts, ordered by their contents.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database.
    query : Query
    tables : mapping of str to tuple of str and sequence of str
        By table that the query names: the relation of the scratch database, and its columns.
    relation : str
        The relation to make; it has the number of each row as ``record``.
    spill : str or None
        Folder for working files.

    Raises
    ------
    SourceContractError
        If the query fails.
    """
    with _sandbox(spill) as sandbox:
        for name, (source, columns) in tables.items():
            listed = ", ".join(f"cast({of_source(column)} as varchar) as {quoted(column)}" for column in columns)
            _copy(connection, f"select {listed} from {source} order by record", sandbox, quoted(name))
        names = _described(sandbox, query)
        listed = ", ".join(f"cast({quoted(name)} as varchar) as {of_source(name)}" for name in names)
        try:
            _copy(sandbox, f"select {listed} from ({_text(query)}) order by all", connection, f"result_of_{relation}")
        except duckdb.Error as error:
            raise _not_valid(query, "a query that runs", first_line(error)) from None
    connection.execute(
        f"create table {relation} as select row_number() over () - 1 as record, * from result_of_{relation}"
    )
    connection.execute(f"drop table result_of_{relation}")


def _text(query: Query) -> str:
    # a comment at the end must not swallow the bracket
    return f"{query.text.strip().rstrip(';')}\n"


def _described(sandbox: duckdb.DuckDBPyConnection, query: Query) -> list[str]:
    try:
        found = [name for name, *_ in sandbox.execute(f"describe {_text(query)}").fetchall()]
    except duckdb.Error as error:
        raise _not_valid(query, "a query over the tables of the source", " ".join(str(error).split())) from None
    return cleaned_names(found, str(query.path))


def _copy(source: duckdb.DuckDBPyConnection, query: str, target: duckdb.DuckDBPyConnection, name: str) -> None:
    target.register("copied", source.sql(query).to_arrow_reader())
    target.execute(f"create table {name} as from copied")
    target.unregister("copied")


@contextmanager
def _sandbox(spill: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    # without a folder for working files it makes none
    folder = "" if spill is None else str(Path(spill) / "query")
    with duckdb.connect(config={"enable_external_access": False, "temp_directory": folder}) as sandbox:
        sandbox.execute("set global TimeZone = 'UTC'")
        yield sandbox
