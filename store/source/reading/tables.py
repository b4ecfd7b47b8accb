"""The results of a reader: the tables of a source with their columns, and the reading of one table."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from store.source.contract import SourceContractError
from store.source.values.texts import folded, is_contact

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*")

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]|$)|\d{1,2}[./]\d{1,2}[./]\d{4}\b")

INVISIBLE = "\x00\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
"""Invisible characters at the ends of a name: byte order marks, spaces without width, marks of direction."""


@dataclass(frozen=True)
class MalformedRow:
    """A record that is no row: its line in the file, if the file is the place of its table, and what was found."""

    line: int | None
    found: str


@dataclass(frozen=True)
class Part:
    """The size of a database table that was read in part: all its rows, and its values by column."""

    rows: int
    values: Mapping[str, int]


@dataclass(frozen=True)
class Reading:
    """The result of reading a table, besides the relation itself.

    Attributes
    ----------
    first_line : int or None
        The line of the first row in the file; None for a database, whose rows have no order.
    malformed : sequence of MalformedRow
        Malformed records of a CSV file, in the order of the file.
    part : Part or None
        The size of the whole table, if it was read in part.
    numeric : frozenset of str
        Columns that are numbers in the source, and texts in the relation.
    notes : sequence of str
        Sentences about rows that the mapping leaves out.
    """

    first_line: int | None
    malformed: Sequence[MalformedRow] = ()
    part: Part | None = None
    numeric: frozenset[str] = frozenset()
    notes: Sequence[str] = ()


class Tables(Mapping[str, Sequence[str]]):
    """The columns of the tables of a source, by table.

    A table is opened only when its columns are asked for, so that faults of other tables do not matter. A name is found
    in any case, unless another table has exactly that name.

    Parameters
    ----------
    place : str
        The folder or the database, for messages.
    names : sequence of str
        The tables.
    others : sequence of str
        Names of other files or tables, for messages.
    columns : callable
        Returns the columns of a table.
    """

    def __init__(
        self, place: str, names: Sequence[str], others: Sequence[str], columns: Callable[[str], Sequence[str]]
    ) -> None:
        self.place = place
        self.others = others
        self._names = sorted(names)
        self._open = columns
        self._columns: dict[str, Sequence[str]] = {}

    def find(self, name: str) -> str | None:
        """Return the name of a table as the source spells it, or None.

        Raises
        ------
        SourceContractError
            If several names differ only in case, and none is spelt exactly so.
        """
        if name in self._names:
            return name
        found = [each for each in self._names if _folded(each) == _folded(name)]
        if len(found) > 1:
            raise SourceContractError(
                f"source {self.place}: expected one table {name!r}, found {' and '.join(found)}, which differ only in "
                f"case. Rename one of them, or name one exactly as it is spelt in a mapping.yml (table: …)."
            )
        return found[0] if found else None

    def __getitem__(self, name: str) -> Sequence[str]:
        """Return the columns of a table, whose name may have any case."""
        if (found := self.find(name)) is None:
            raise KeyError(name)
        if found not in self._columns:
            self._columns[found] = self._open(found)
        return self._columns[found]

    def __contains__(self, name: object) -> bool:
        """Say whether there is a table of this name, without opening it."""
        return isinstance(name, str) and self.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def find_column(name: str, columns: Iterable[str], table: str) -> str | None:
    """Return the name of a column as the source spells it, or None; the table is for messages.

    Raises
    ------
    SourceContractError
        If several names look alike, and none is spelt exactly so.
    """
    listed = list(columns)
    found = [each for each in listed if each.strip().lower() == name.strip().lower()]
    found = found or [each for each in listed if folded(each) == folded(name)]
    if len(found) > 1:
        raise SourceContractError(
            f"table {table}: expected one column {name!r}, found {' and '.join(map(repr, found))}, which look alike. "
            "Rename one of them, or name one exactly as it is spelt in a mapping.yml (columns: …)."
        )
    return found[0] if found else None


def shown_column(name: str) -> str:
    """Return the name of a column for messages, hidden if it is contact data: a file may lack its header."""
    return "…" if is_contact(name) else name


def has_no_header(names: Sequence[str]) -> bool:
    """Say whether the names of columns look like the values of a row: any contact data or time, or mostly numbers."""
    numbers = sum(_NUMBER.fullmatch(name) is not None for name in names)
    return numbers * 2 > len(names) or any(is_contact(name) or _TIME.match(name) for name in names)


def shown_columns(names: Sequence[str]) -> str:
    """Return the names of columns for messages; names that look like a row, perhaps of a person, are hidden."""
    if has_no_header(names):
        return f"without a header, it seems: {len(names)} names that look like values"
    return ", ".join(names) or "none"


def _folded(name: str) -> str:
    # macOS writes file names in another normal form of Unicode
    return unicodedata.normalize("NFC", name).strip().casefold()


def cleaned_names(names: Sequence[str], place: str) -> list[str]:
    """Return the names of columns without invisible characters at their ends.

    Raises
    ------
    SourceContractError
        If two names are the same, apart from case.
    """
    cleaned = []
    for number, name in enumerate(names, start=1):
        earlier, visible = None, name
        while visible != earlier:
            earlier, visible = visible, visible.strip().strip(INVISIBLE)
        # a column without a name (a trailing delimiter in the header) cannot be mapped, but keeps its place
        cleaned.append(visible or f"column {number}")
    lowered = [name.lower() for name in cleaned]
    if repeated := dict.fromkeys(name for name, key in zip(cleaned, lowered, strict=True) if lowered.count(key) > 1):
        if has_no_header(cleaned):
            raise SourceContractError(
                f"{place}: expected a header line with the names of the columns, found {len(cleaned)} names that look "
                "like values. Export the table with its header."
            )
        raise SourceContractError(
            f"{place}: expected each column once, in whatever case, found {', '.join(map(repr, repeated))} more than "
            "once. Rename all but one, or leave them out."
        )
    return cleaned


def first_line(error: object) -> str:
    """Return the first line of an error's message, without a full stop; the name of its class if there is none.

    Contact data in quotes is hidden, because a database quotes a value that it cannot read.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return re.sub(
        r"""(["'])(.*)\1""", lambda quote: f"{quote[1]}…{quote[1]}" if is_contact(quote[2]) else quote[0], line
    )
