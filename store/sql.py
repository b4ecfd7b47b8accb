"""Literals of SQL."""

from __future__ import annotations

from collections.abc import Iterable


def literal(text: str | None) -> str:
    """Return a text literal, or ``null``."""
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Return text literals for a list in SQL; without texts, an empty literal, because SQL has no empty list."""
    return ", ".join(map(literal, texts)) or "''"
