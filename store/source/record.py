"""The record of a source table: its columns, when its rows are known, what is altered, watched and proved of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "time", "number"]

Altered = Literal["seldom", "with_people", "often", "freely"]
"""When a value of a column is altered: to correct single rows; as people come, leave or change their names; in many
rows, as things are valued anew; or in all rows as time goes by."""

SQL_TYPES: Mapping[Kind, str] = {"text": "varchar", "time": "timestamptz", "number": "decimal(18,2)"}
"""The DuckDB type of each kind of column."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the contract.

    Attributes
    ----------
    name : str
        Its name in the contract and in schema ``raw``.
    kind : {"text", "time", "number"}
        Text, a time in UTC (microseconds), or a number that is never negative (two decimals).
    required : bool
        Whether a row without a value is rejected.
    vocabulary : tuple of str
        The values allowed, in lower case; empty when any text is.
    not_before : str or None
        The time column of the same row that this time cannot precede.
    planned : bool
        A time that somebody intends: it may lie in the future, and says nothing of when the export was made.
    fact_when : tuple of str
        The values of ``status`` under which this time has happened. Under any other, and under none, it is what
        somebody intends. Empty when it has always happened.
    plan : str or None
        The planned column of the same row that keeps this time where it has not happened.
    added : bool
        The contract had no such column at first: where it is empty, a row has the hash that it had without it.
    free_text_limit : int or None
        The number of characters beyond which the value is taken for free text and left behind.
    postal : bool
        A postal code, which a telephone number cannot be told from.
    selects : bool
        Rows with a value outside the vocabulary are left behind rather than rejected.
    default : str or None
        What stands for a missing value.
    of_lead : bool
        A value of the column of leads that the row names, and read as that column is.
    altered : {"seldom", "with_people", "often", "freely"}
        When its values are altered.
    words_kept : bool
        Its words are counted at each extraction: one that is gone is missed.
    words_left : tuple of str
        Words that rows leave as time goes by.
    staged : str or None
        Its name in staging, where it has another.
    watched : bool
        The health of the source looks at the share of rows without a value.
    categories : bool
        The health of the source looks at which values there are.
    """

    name: str
    kind: Kind = "text"
    required: bool = False
    vocabulary: tuple[str, ...] = ()
    not_before: str | None = None
    planned: bool = False
    fact_when: tuple[str, ...] = ()
    plan: str | None = None
    added: bool = False
    free_text_limit: int | None = None
    postal: bool = False
    selects: bool = False
    default: str | None = None
    of_lead: bool = False
    altered: Altered = "seldom"
    words_kept: bool = False
    words_left: tuple[str, ...] = ()
    staged: str | None = None
    watched: bool = False
    categories: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is added to a row by overwriting it: an e-mail is sent at one time and answered at another.

    Attributes
    ----------
    time : str
        The column that says when; null until then. In staging it ends in ``_us`` and not in ``_at``.
    feed : str
        Its name among the feeds of the source: a feed can break alone.
    before : mapping of str to str
        The columns that are overwritten with it, and what they hold until then, as SQL.
    drawn : mapping of str to sequence of str
        What the proof puts into these columns, as SQL.
    """

    time: str
    feed: str
    before: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def staged(self) -> str:
        """Name of the time in staging."""
        return f"{self.time.removesuffix('_at')}_us"


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """How the proof changes the rows of a table; all values are SQL.

    Attributes
    ----------
    drawn : mapping of str to sequence of str
        What columns of a fact may hold in place of what they do.
    kept : tuple of str
        Those of the drawn columns that stay where the past changes, because later facts rest on them: an outcome, for
        example, can close a lead.
    overwritten : mapping of str to str
        Columns that hold today's value and have no time of their own, and what stands for the value of then.
    kinds : tuple of str
        Columns that tell facts of one kind from those of another.
    added : sequence of mapping of str to str
        What columns of an added row hold together, where one cannot be drawn without the other.
    """

    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    overwritten: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    added: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the contract; its first column is the key.

    Attributes
    ----------
    name : str
        In the contract and in schema ``raw``; in schema ``staging`` it begins with ``stg_``.
    description : str
        For people.
    columns : tuple of Column
    of : str or None
        The table whose rows it tells of, by that one's key; None where it tells of none.
    optional : bool
        Whether a source may be without it.
    called : tuple of str
        How the names begin, in lower case, that CRMs give such a table.
    occurred : str
        The column of ``raw`` with the time of the fact. No honest CRM alters it in bulk.
    recorded : str or None
        The column with the time at which the CRM stored the fact, where there is one; it may be null.
    parts : tuple of Part
        What is added to a row later.
    staged_known : str
        The column of staging with the time at which the fact was known, in microseconds since 1970.
    ages : bool
        A source may let old rows go.
    history : str or None
        The table that tells when an extraction first saw a row: the row itself is overwritten.
    told : str or None
        Condition on the rows of ``raw`` that the source itself told, where extractions add others.
    type : str
        The column by which lateness is told apart, as SQL.
    feed : str or None
        The feed that a row of staging belongs to, as SQL; None of a table that is no feed.
    proof : Counterfactual
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    occurred: str
    proof: Counterfactual
    of: str | None = None
    optional: bool = False
    called: tuple[str, ...] = ()
    recorded: str | None = None
    parts: tuple[Part, ...] = ()
    staged_known: str = "known_us"
    ages: bool = False
    history: str | None = None
    told: str | None = None
    type: str = "''"
    feed: str | None = None

    @property
    def key(self) -> str:
        """Name of the key column."""
        return self.columns[0].name

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in the order of the contract."""
        return tuple(column.name for column in self.columns)

    @property
    def words_kept(self) -> tuple[str, ...]:
        """Names of the columns whose words are counted at each extraction."""
        return tuple(column.name for column in self.columns if column.words_kept)

    @property
    def staging(self) -> str:
        """Name of the table in schema ``staging``."""
        return f"stg_{self.name}"

    @property
    def known(self) -> str:
        """When the fact of a row of ``raw`` was known, as SQL."""
        stored = f"greatest({self.occurred}, coalesce({self.recorded}, {self.occurred}))"
        return self.occurred if self.recorded is None else stored

    @property
    def last_known(self) -> str:
        """When the last part of a row of ``raw`` was known, as SQL."""
        parts = [f"coalesce({part.time}, {self.occurred})" for part in self.parts]
        return f"greatest({', '.join([self.known, *parts])})"

    def column(self, name: str) -> Column:
        """Return the column of that name; raises ``KeyError`` when there is none."""
        return {column.name: column for column in self.columns}[name]
