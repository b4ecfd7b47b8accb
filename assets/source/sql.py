"""Small helpers for composing SQL text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

__all__ = ["literal", "one_row", "quoted"]


def one_row(connection: DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Return the only row of an aggregate."""
    row: tuple[Any, ...] = connection.execute(query, parameters).fetchall()[0]
    return row


def quoted(identifier: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """Return a text literal, or ``null``."""
    return "null" if text is None else "'" + text.replace("'", "''") + "'"
