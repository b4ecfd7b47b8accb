"""The evidence of a source: what its columns hold, and how its tables name each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from store.source.mapping.spellings import NumberForm
from store.source.suggesting.odd_files import OddFile


@dataclass(frozen=True, kw_only=True)
class Times:
    """The times of a column, on the sample.

    Attributes
    ----------
    formats : tuple of str
    other_formats : tuple of str
        Formats that read all values as well, with day and month exchanged; empty if the values tell.
    is_figure : bool
        Whether the values are mere numbers.
    share : float
        Share of the values that the formats read.
    dates, zoned : float
        Shares of these values that are only a day, and that name their zone.
    first, last : datetime
    """

    formats: tuple[str, ...]
    other_formats: tuple[str, ...]
    is_figure: bool
    share: float
    dates: float
    zoned: float
    first: datetime
    last: datetime


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of a column, on the sample.

    Attributes
    ----------
    form : NumberForm or None
        None for a plain spelling.
    share : float
        Share of the values that are numbers in this form.
    negative : float
        Share of the numbers that are negative.
    """

    form: NumberForm | None
    share: float
    negative: float


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column of the source holds.

    Attributes
    ----------
    name : str
    filled : int
        Rows with a value.
    distinct : int
        Different values; exact for a key, else to some per cent.
    is_unique : bool
        Whether no two rows have the same value.
    longest : int
        Characters of the longest value.
    words : tuple of (str, int)
        All values and their rows, the most frequent first; empty if there are more than `MOST_WORDS`.
    times : Times or None
    numbers : Numbers or None
    is_flag : bool
        Whether its values say yes and no.
    is_float : bool
        Whether they are whole numbers written with ``.0``, as a data frame writes numbers of which some are missing.
    contact : float
        Share of some values that are e-mail addresses or telephone numbers.
    """

    name: str
    filled: int
    distinct: int
    is_unique: bool
    longest: int
    words: tuple[tuple[str, int], ...] = ()
    times: Times | None = None
    numbers: Numbers | None = None
    is_flag: bool = False
    is_float: bool = False
    contact: float = 0.0


@dataclass(frozen=True)
class Filled:
    """Rows of the sample with a word: how many, and in how many of them another column has a value, or one above 0."""

    rows: int
    filled: int
    positive: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a table of the source holds.

    Attributes
    ----------
    name, place : str
        The name of the table, and its file or full name for messages.
    rows : int
    columns : mapping of str to Column
        By name, in the order of the source.
    in_order : mapping of (str, str) to float
        By pairs of times: the share of the rows with both in which the first is not after the second.
    by_word : mapping of (str, str) to mapping of str to Filled
        By a column with words and a column with times or numbers.
    """

    name: str
    place: str
    rows: int
    columns: Mapping[str, Column]
    in_order: Mapping[tuple[str, str], float] = field(default_factory=dict)
    by_word: Mapping[tuple[str, str], Mapping[str, Filled]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A column whose values are found in a key.

    Attributes
    ----------
    table, column : str
    to_table, to_column : str
        The key.
    share : float
        Share of some different values that the key has.
    rows_per_key : float
        Rows with a value, divided by its different values.
    """

    table: str
    column: str
    to_table: str
    to_column: str
    share: float
    rows_per_key: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a source holds.

    Attributes
    ----------
    description : str
    tables : mapping of str to Table
    unread : mapping of str to str
        By table that cannot be read: why.
    references : tuple of Reference
    odd : tuple of OddFile
        Files that are read in a form that the mapping must state.
    places : mapping of str to str
        By table, its file, if a shipped mapping fits and nothing was measured.
    """

    description: str
    tables: Mapping[str, Table]
    unread: Mapping[str, str]
    references: tuple[Reference, ...]
    odd: tuple[OddFile, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
