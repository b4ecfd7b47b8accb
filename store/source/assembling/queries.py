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

CHANGING = frozenset(
    (
        "now", "today", "get_current_timestamp", "get_current_time", "transaction_timestamp", "random", "uuid",
        "uuidv4", "uuidv7", "gen_random_uuid", "nextval", "currval", "setval", "setseed", "current_date",
        "current_time", "current_timestamp", "localtime", "localtimestamp", "current_localtime",
        "current_localtimestamp", "getvariable", "txid_current", "current_setting", "current_database",
        "current_catalog", "current_schema", "current_schemas", "current_user", "session_user", "current_query",
        "current_query_id", "current_connection_id", "current_transaction_id", "in_search_path", "version",
        "reservoir_quantile", "approx_quantile", "approx_top_k",
    )
)  # fmt: skip
"""Functions whose value is another one at the next extraction, or on another machine."""

BY_ORDER = frozenset(
    ("any_value", "arbitrary", "first", "last", "list", "array_agg", "string_agg", "listagg", "group_concat")
)
"""Aggregates whose value depends on the order of the rows, unless the query states it."""

WINDOWS_BY_ORDER = frozenset(("row_number", "ntile", "lead", "lag", "first_value", "last_value", "nth_value", "fill"))

OF_VALUES = frozenset(("range", "generate_series", "unnest", "json_each", "json_tree"))
"""Functions that make tables of the values of a query; all others read what is not in the source."""


def tables_of(query: Query) -> list[str]:
    """Return the names of the tables that a query reads.

    Raises
    ------
    SourceContractError
        If it is not one SELECT, reads what is not in the source, or has values that change by themselves.
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
    nodes = list(_nodes(parsed))
    if outside := dict.fromkeys(found for node in nodes if (found := _outside(node)) is not None):
        raise _not_valid(query, "the tables of the source and nothing else", " and ".join(outside))
    if changing := dict.fromkeys(found for node in nodes if (found := _changing(node)) is not None):
        raise _not_valid(query, "values that are equal at each extraction", " and ".join(changing))
    if ordered := dict.fromkeys(found for node in nodes if (found := _by_order(node)) is not None):
        raise _not_valid(query, "values that do not depend on the order of rows (order by)", " and ".join(ordered))
    local = {each["key"].lower() for node in nodes for each in node.get("cte_map", {}).get("map", ())}
    named = dict.fromkeys(node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE")
    return [name for name in named if name.lower() not in local]


def _function(node: dict[str, Any]) -> str:
    return str(node.get("function_name", "")).lower()


def _outside(node: dict[str, Any]) -> str | None:
    """Return what a node reads that is not in the source, or None."""
    match node.get("type"):
        case "BASE_TABLE" if node["catalog_name"] or node["schema_name"] not in ("", "main"):
            return f"{node['schema_name'] or node['catalog_name']}.{node['table_name']}"
        case "SHOW_REF":
            return "show"
        case "TABLE_FUNCTION" if (name := _function(node["function"])) not in OF_VALUES:
            return name
    return None


def _changing(node: dict[str, Any]) -> str | None:
    """Return what gives a node another value at the next extraction, or None."""
    # current_date is written as a column; a column of the source may be called version or uuid
    column = str(node.get("column_names", [""])[-1]).lower()
    name = _function(node) or (column if column.startswith(("current_", "local")) else "")
    if name in CHANGING:
        return name
    if name == "age" and len(node.get("arguments", ())) == 1:
        return "age of one time"
    return "sample" if node.get("sample") else None


def _by_order(node: dict[str, Any]) -> str | None:
    """Return what makes the values of a node depend on the order of rows, or None."""
    modifiers = {each["type"]: each for each in node.get("modifiers", ())}
    if "ORDER_MODIFIER" not in modifiers:
        if modifiers.keys() & {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"}:
            return "limit"
        if modifiers.get("DISTINCT_MODIFIER", {}).get("distinct_on_targets"):
            return "distinct on"
    if node.get("ref_type") == "POSITIONAL":
        return "positional join"
    if node.get("class") == "WINDOW" and not (node["orders"] or node["arg_orders"]):
        return name if (name := _function(node)) in WINDOWS_BY_ORDER | BY_ORDER else None
    if node.get("class") == "FUNCTION" and (name := _function(node)) in BY_ORDER and not node["order_bys"]["orders"]:
        return name
    return None


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
