"""Markdown made from data: texts are escaped, so that they read as written and make no link, image, tag or heading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SIGNS = re.compile(r"[\\`*\[\]<>&~|@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Characters to escape within a line: signs of Markdown ("_" only at the edge of a word), and those of an address."""
_STARTS = re.compile(r"^([#+=-])|^(\d{1,9})([.)])")
"""Characters to escape at the start of a line, where they begin a heading, list or rule."""


class Markup(str):
    """A text that is Markdown already: every part of it that comes from data has gone through `plain`."""

    __slots__ = ()


def plain(value: object) -> str:
    """Return a value as one line of Markdown in which all special characters are escaped.

    A `Markup` is returned unchanged. Unprintable characters, such as marks of the direction of writing, become �.
    """
    if isinstance(value, Markup):
        return value
    return _SIGNS.sub(r"\\\g<0>", printable(value))


def printable(value: object) -> str:
    """Return a value as text on one line; unprintable characters become �."""
    line = " ".join(str(value).splitlines())
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in line).strip()


def bullets(values: Iterable[object]) -> str:
    """Return texts as a Markdown list; ``none`` if there are none."""
    return "\n".join("- " + _STARTS.sub(r"\2\\\1\3", plain(each)) for each in values) or "none"


def markdown_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; a bar within a value is escaped, and the end of a line becomes a space."""
    lines = [list(map(plain, columns)), ["---"] * len(columns), *(list(map(plain, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
