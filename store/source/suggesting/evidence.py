"""The evidence of a source: what its columns hold, and how its tables name each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models.declaring.attribute import AttributeKind
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
        Whether most are whole numbers written with ``.0``, as a data frame writes numbers of which some are missing.
    has_zero_within : bool
        Whether some values have ``.0`` elsewhere than at their end.
    is_clock : bool
        Whether the values are times of day.
    clock : str or None
        Of a column of days, the column with the time of day; `times` are those of both.
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
    has_zero_within: bool = False
    is_clock: bool = False
    clock: str | None = None
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
        Rows that were looked at.
    columns : mapping of str to Column
        By name, in the order of the source.
    rows_in_all : int
        Rows that the table has.
    in_order : mapping of (str, str) to float
        By pairs of times: the share of the rows with both in which the first is not after the second.
    by_word : mapping of (str, str) to mapping of str to Filled
        By a column with words and a column with times or numbers.
    """

    name: str
    place: str
    rows: int
    columns: Mapping[str, Column]
    rows_in_all: int = 0
    in_order: Mapping[tuple[str, str], float] = field(default_factory=dict)
    by_word: Mapping[tuple[str, str], Mapping[str, Filled]] = field(default_factory=dict)

    @property
    def counted(self) -> str:
        """The rows that were looked at, in words."""
        of = f" of {self.rows_in_all:,}" if self.rows < self.rows_in_all else ""
        return f"{self.rows:,}{of} rows"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A column whose values are found in a key.

    Attributes
    ----------
    table, column : str
    to_table, to_column : str
        The key.
    share : float
        Share of the rows with one of some different values whose value the key has.
    rows_per_key : float
        Rows with a value, divided by its different values.
    astray : int
        Rows whose value the key does not have.
    """

    table: str
    column: str
    to_table: str
    to_column: str
    share: float
    rows_per_key: float
    astray: int = 0


@dataclass(frozen=True)
class Aftermath:
    """What follows a word.

    Attributes
    ----------
    rows : int
        Rows with the word that are old enough to show it.
    share : float
        Share of them after which something happens with the lead on a later day; of a status, share of its leads with
        which something has happened of late.
    won : float
        Share of them whose lead has a won deal.
    """

    rows: int
    share: float
    won: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What follows the words that may end a lead.

    Attributes
    ----------
    followed : float
        Share of all rows after which something happens with the lead on a later day.
    outcomes, statuses : mapping of str to Aftermath
        By word of the interactions' outcome and of the leads' status, folded.
    projects : mapping of str to Aftermath
        By status of the contract of a deal that has ended.
    """

    followed: float
    outcomes: Mapping[str, Aftermath]
    projects: Mapping[str, Aftermath]
    statuses: Mapping[str, Aftermath]


@dataclass(frozen=True, kw_only=True)
class FitColumn:
    """A column that is fit as an attribute.

    Attributes
    ----------
    name : str
        Of the attribute.
    column : str
    kind : AttributeKind
    at : str
        What stands between options.
    why : str
        What it holds, in words and without contact data.
    is_sure : bool
        Whether all its values are of the kind.
    """

    name: str
    column: str
    kind: AttributeKind
    at: str
    why: str
    is_sure: bool


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Which columns of a table are fit as attributes.

    Attributes
    ----------
    columns : tuple of FitColumn
    left : mapping of str to str
        By column that is not fit: why.
    """

    columns: tuple[FitColumn, ...]
    left: Mapping[str, str]


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
    own : tuple of str
        Tables of the contract itself that are read as they are.
    unions : mapping of str to tuple of Table
        By table of `tables` that is the union of several of the source: these.
    alike : tuple of tuple of str
        Tables with the same columns and many equal keys.
    ends : mapping of str to Ends
        By the table that is taken for the leads; empty if no activities could follow.
    fit : mapping of (str, str) to Fit
        By the table that is taken for the leads, and that of the attributes.
    """

    description: str
    tables: Mapping[str, Table]
    unread: Mapping[str, str]
    references: tuple[Reference, ...]
    odd: tuple[OddFile, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    unions: Mapping[str, tuple[Table, ...]] = field(default_factory=dict)
    alike: tuple[tuple[str, ...], ...] = ()
    ends: Mapping[str, Ends] = field(default_factory=dict)
    fit: Mapping[tuple[str, str], Fit] = field(default_factory=dict)
    own: tuple[str, ...] = ()


NEARLY = 0.98
"""Share of the rows that have a value of their own in a key; the rest was recorded twice, or is missing."""

MOST_KEY = 100
"""The longest key, in characters."""


def may_be_key(table: Table, column: Column) -> bool:
    """Say whether nearly all rows of a table have a value of their own in a column: some may be there twice."""
    is_time = column.is_clock or (column.times is not None and not column.times.is_figure)
    is_distinct = column.is_unique or column.distinct >= NEARLY * column.filled
    return is_distinct and not is_time and column.filled >= max(1, NEARLY * table.rows) and column.longest <= MOST_KEY
