"""Markdown that is made from data: a text is shown as it is written, and is no link, image, tag or heading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SIGNS = re.compile(r"[\\`*\[\]<>&~|@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What begins or ends anything within a line; "_" does so at the edges of words alone. An address becomes a link."""
_STARTS = re.compile(r"^([#+=-])|^(\d{1,9})([.)])")
"""What makes the beginning of a line a heading, list or rule."""


class Markup(str):
    """A text that is Markdown already, and holds nothing from data that is not `plain`."""

    __slots__ = ()


def plain(value: object) -> str:
    """Return a value on one line of Markdown that shows what is written in it, and does nothing.

    A `Markup` stays as it is. What has no shape, such as signs that turn the direction of writing, is shown as �.
    """
    if isinstance(value, Markup):
        return value
    return _SIGNS.sub(r"\\\g<0>", printable(value))


def printable(value: object) -> str:
    """Return a value as text on one line; what has no shape is shown as �."""
    line = " ".join(str(value).splitlines())
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in line).strip()


def bullets(values: Iterable[object]) -> str:
    """Return a list of texts; ``none`` where there are none."""
    return "\n".join("- " + _STARTS.sub(r"\2\\\1\3", plain(each)) for each in values) or "none"


def markdown_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; a bar or the end of a line within a value opens no other cell."""
    lines = [list(map(plain, columns)), ["---"] * len(columns), *(list(map(plain, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
