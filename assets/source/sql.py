"""Small helpers for composing SQL text, and the macros that every table's validation uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from duckdb import DuckDBPyConnection

__all__ = ["MACROS", "literal", "literals", "of_source", "one_row", "quoted", "source_types"]

_OF_SOURCE = "source "


def one_row(connection: DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Return the only row of an aggregate."""
    row: tuple[Any, ...] = connection.execute(query, parameters).fetchall()[0]
    return row


def quoted(identifier: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def of_source(column: str) -> str:
    """Return the name, quoted, of a column of the source in ``source_<table>``.

    It has a prefix, so that a source may have columns called ``record``, ``rowid`` or ``derived_key``.
    """
    return quoted(_OF_SOURCE + column)


def source_types(connection: DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the types of the columns of ``source_<table>`` by their names in the source."""
    described = connection.execute(f"describe source_{table}").fetchall()
    return {name.removeprefix(_OF_SOURCE): kind for name, kind, *_ in described if name.startswith(_OF_SOURCE)}


def literal(text: str | None) -> str:
    """Return a text literal, or ``null``."""
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Return text literals for a list in SQL, which is never empty."""
    return ", ".join(map(literal, texts)) or "''"


# Telephone numbers as people write them. A bare row of digits is not taken for one unless it starts like a national
# number (0, then not 0, ten or eleven digits): it cannot be told from an id.
_PHONES = (
    r"\+\d[\d\s().\-/]{5,18}\d",
    r"\(\d{2,5}\)[\d\s.\-/]{4,14}\d",
    r"0[1-9]\d{8,9}",
    r"00[1-9]\d{9,12}",
    r"00[1-9][\d\s().\-/]{9,18}",
    r"0\d{1,4}[\s./\-]\d[\d\s./\-]{4,12}\d",
    r"(1[\s.\-])?\d{3}[\s.\-]\d{3}[\s.\-]\d{4}",
)
_EMAIL = r"[^\s@<>,;]+@[^\s@<>,;]+\.[A-Za-z]{2,}"

MACROS = (
    # PostgreSQL cannot store a NUL
    (
        "create macro cleaned(v) as nullif(trim(replace(cast(v as varchar), chr(0), ''), "
        "' ' || chr(9) || chr(10) || chr(13)), '')"
    ),
    f"create macro holds_email(v) as contains(v, '@') and regexp_matches(v, {literal(_EMAIL)})",
    f"create macro is_phone(v) as regexp_full_match(v, {literal('|'.join(_PHONES))})",
    "create macro pseudonym(v) as 'pseudonym-' || left(sha256(v), 12)",
    # a stable pseudonym, so that keys still join
    "create macro contact_free(v) as case when holds_email(v) or is_phone(v) then pseudonym(v) else v end",
    "create macro contact_free_postal(v) as case when holds_email(v) then pseudonym(v) else v end",
    # what goes into a reject: a misplaced message must not come in by that door
    (
        "create macro shown(v) as case when length(v) > 64 then '(text of ' || length(v) || ' characters)' "
        "else contact_free(v) end"
    ),
)
"""Scalar macros over one value, created in the scratch database."""
