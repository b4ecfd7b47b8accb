"""Small helpers for composing SQL text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_OF_SOURCE = "source "


def one_row(connection: DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Return the only row of a query."""
    return connection.execute(query, parameters).fetchall()[0]


def quoted(identifier: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def of_source(column: str) -> str:
    """Return the quoted name of a source column in ``source_<table>``.

    The name has a prefix, so that a source may have columns called ``record``, ``rowid`` or ``derived_key``.
    """
    return quoted(_OF_SOURCE + column)


def source_types(connection: DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the types of the columns of ``source_<table>`` by their names in the source."""
    described = connection.execute(f"describe source_{table}").fetchall()
    return {name.removeprefix(_OF_SOURCE): kind for name, kind, *_ in described if name.startswith(_OF_SOURCE)}
