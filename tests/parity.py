"""Compare tables of a PostgreSQL database with those of a DuckDB file, value by value, in DuckDB."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from store.warehouse.engine import Excerpt
from store.warehouse.postgres.engine import PostgresConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RELATIVE_TOLERANCE = 1e-12
"""The tolerance for doubles; all other values must be equal."""


@dataclass(frozen=True)
class Table:
    """A table that both engines have.

    Attributes
    ----------
    name : str
        Schema and name on DuckDB.
    key : sequence of str
        The columns by which rows of both sides are paired.
    columns : sequence of str
        The compared columns.
    on_postgres : str or None
        Schema and name on PostgreSQL, if they differ.
    tolerances : mapping of str to float
        Relative tolerances of doubles that differ from `RELATIVE_TOLERANCE`.
    """

    name: str
    key: Sequence[str]
    columns: Sequence[str]
    on_postgres: str | None = None
    tolerances: Mapping[str, float] | None = None


def assert_same_rows(store: duckdb.DuckDBPyConnection, address: str, tables: Iterable[Table]) -> int:
    """Fail if a table is empty, or differs in its types, its rows or a value; return the number of compared cells.

    Rows are copied from PostgreSQL in bulk, and one query per table compares them.

    Parameters
    ----------
    store : DuckDBPyConnection
        To the DuckDB file, in UTC. The caller opens it: for reading if other tests share the file; like dbt in a
        process in which dbt has run, because dbt keeps the file open.
    address : str
        Address of the PostgreSQL database.
    tables : iterable of Table
    """
    cells = 0
    with duckdb.connect() as connection, closing(PostgresConnection(address)) as server:
        connection.execute("set TimeZone = 'UTC'")
        for table in tables:
            schema, name = (table.on_postgres or table.name).split(".")
            server.copy_into(connection, Excerpt(schema, name, table.columns))
            connection.register("stored", store.sql(f"select {_listed(table)} from {table.name}").to_arrow_table())
            cells += _compared(connection, table, "stored", f"{schema}.{name}")
    return cells


def _listed(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in table.columns)


def _compared(connection: duckdb.DuckDBPyConnection, table: Table, expected: str, found: str) -> int:
    kinds = {
        side: {name: kind for name, kind, *_ in connection.execute(f"describe select * from {side}").fetchall()}
        for side in (expected, found)
    }
    assert kinds[found] == kinds[expected], f"{table.name}: the types differ"
    same = {
        name: _same(name, kind == "DOUBLE", (table.tolerances or {}).get(name, RELATIVE_TOLERANCE))
        for name, kind in kinds[expected].items()
    }
    joined = (
        f"from {expected} as expected full join {found} as found "
        f"on {' and '.join(f'expected.{name} = found.{name}' for name in table.key)}"
    )
    rows, rows_found, pairs, *different = _one_row(
        connection,
        f"select (select count(*) from {expected}), (select count(*) from {found}), count(*), "
        + ", ".join(f"count(case when not ({condition}) then 1 end)" for condition in same.values())
        + f" {joined}",
    )
    assert rows > 0, f"{table.name} is empty on DuckDB"
    # a row without a partner and a repeated key both change the number of pairs
    assert (rows_found, pairs) == (rows, rows), (
        f"{table.name}: expected {rows} rows, one per {table.key}, as on DuckDB; found {rows_found} on PostgreSQL, and "
        f"{pairs} pairs. Only on PostgreSQL, or only on DuckDB: {_unpaired(connection, table, joined)}"
    )
    examples = {
        name: (count, _examples(connection, table, name, same[name], joined))
        for name, count in zip(same, different, strict=True)
        if count
    }
    assert not examples, (
        f"{table.name}: these columns differ in so many of {rows} rows; the first rows, with key, the value on "
        f"PostgreSQL and that on DuckDB: {examples}"
    )
    return int(rows * len(table.columns))


def _same(name: str, is_double: bool, tolerance: float) -> str:
    equal = f'found."{name}" is not distinct from expected."{name}"'
    if not is_double:
        return equal
    gap, scale = f'abs(found."{name}" - expected."{name}")', f'greatest(abs(found."{name}"), abs(expected."{name}"))'
    return f"{equal} or coalesce({gap} <= {tolerance} * {scale}, false)"


def _examples(connection: duckdb.DuckDBPyConnection, table: Table, name: str, same: str, joined: str) -> list[Any]:
    key = ", ".join(f"expected.{column}" for column in table.key)
    return connection.execute(
        f'select {key}, found."{name}", expected."{name}" {joined} where not ({same}) order by all limit 3'
    ).fetchall()


def _unpaired(connection: duckdb.DuckDBPyConnection, table: Table, joined: str) -> list[Any]:
    sides = ", ".join(f"{side}.{column}" for side in ("found", "expected") for column in table.key)
    one_side = " or ".join(f"{side}.{table.key[0]} is null" for side in ("found", "expected"))
    return connection.execute(f"select {sides} {joined} where {one_side} order by all limit 5").fetchall()


def _one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    (row,) = connection.execute(query).fetchall()
    return row
