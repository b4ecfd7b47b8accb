"""The record of a source table: its columns, when its rows are known, and how it is compared, watched and proved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "time", "number"]

Altered = Literal["seldom", "with_people", "often", "freely"]
"""How a CRM alters values of a column: in single rows, to correct them; when people come, leave or change their names;
in many rows, when things get new values; or in all rows as time goes by."""

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
        The allowed values, in lower case; empty if any text is allowed.
    codes : str or None
        In words, what its vocabulary is, if that is many codes in upper case.
    not_before : str or None
        The time column of the same row that this time cannot precede.
    planned : bool
        Whether the time is a plan: it may lie in the future, and does not move the default clock.
    fact_when : tuple of str
        The values of ``status`` with which this time is a fact; with any other, or none, it is a plan. Empty if it is
        always a fact.
    plan : str or None
        The planned column of the same row that gets this time if it is a plan.
    ahead : bool
        Whether the time of a fact may be entered before it comes: it may lie in the future, however far, and does not
        move the default clock.
    added : bool
        Whether the column was added to the contract later: the hash of a row without a value in it does not change.
    free_text_limit : int or None
        A value with more characters counts as free text, and is not loaded.
    postal : bool
        Whether it is a postal code, which may look like a telephone number.
    selects : bool
        Whether rows with a value outside the vocabulary are ignored and not rejected.
    default : str or None
        The value that replaces a missing one.
    default_below_zero : tuple of str and str, or None
        A number, and the value that replaces a missing one where that number is negative.
    of_owner : bool
        Whether its value belongs to the column of the owner that the row names, and is read as that column is.
    altered : {"seldom", "with_people", "often", "freely"}
        How the CRM alters its values.
    signed : bool
        Whether the number may be negative.
    unsigned_where : tuple of str and str, or None
        A column, and the value of it with which the number may not be negative after all.
    words_kept : bool
        Whether its words are counted at each extraction, to find words that are gone.
    words_left : tuple of str
        Words that rows leave as time goes by.
    staged : str or None
        Its name in staging, if that differs.
    watched : bool
        Whether the health of the source checks its share of nulls.
    categories : bool
        Whether the health of the source checks its set of values.
    """

    name: str
    kind: Kind = "text"
    required: bool = False
    vocabulary: tuple[str, ...] = ()
    codes: str | None = None
    not_before: str | None = None
    planned: bool = False
    fact_when: tuple[str, ...] = ()
    plan: str | None = None
    ahead: bool = False
    added: bool = False
    free_text_limit: int | None = None
    postal: bool = False
    selects: bool = False
    default: str | None = None
    default_below_zero: tuple[str, str] | None = None
    of_owner: bool = False
    altered: Altered = "seldom"
    signed: bool = False
    unsigned_where: tuple[str, str] | None = None
    words_kept: bool = False
    words_left: tuple[str, ...] = ()
    staged: str | None = None
    watched: bool = False
    categories: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a row that is added later by overwriting it: an e-mail is sent at one time and answered at another.

    Attributes
    ----------
    time : str
        The column with the time of the part; null until then. In staging it ends in ``_us`` and not in ``_at``.
    feed : str
        Its name among the feeds of the source: each feed can break alone.
    before : mapping of str to str
        The columns that are overwritten with the part, and their values before, as SQL.
    drawn : mapping of str to sequence of str
        The values that the proof puts into these columns, as SQL.
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
        The values that may replace those of a column in a fact.
    kept : tuple of str
        Drawn columns that keep their values in a changed past, because later facts depend on them: an outcome, for
        example, can close a lead.
    overwritten : mapping of str to str
        Columns that hold the present value without a time of their own, and the value that replaces it.
    kinds : tuple of str
        Columns whose values are the kinds of facts.
    added : sequence of mapping of str to str
        Combinations of values for an added row, in columns that cannot be drawn alone: which values the last of them
        may have depends on the others, which a fact keeps when its value is drawn anew.
    coarser : mapping of str to str
        Columns of `added` that are told apart only roughly, and the expression that does so.
    finer : mapping of str to str
        The values of these columns in an added row, over its columns and ``number``, where the rough one is not null.
    kept_facts : str
        Condition on facts that stay as they are in a changed past, and that are not added to it, because labels depend
        on them; empty for none.
    """

    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    overwritten: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    added: Sequence[Mapping[str, str]] = ()
    coarser: Mapping[str, str] = field(default_factory=dict)
    finer: Mapping[str, str] = field(default_factory=dict)
    kept_facts: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the contract; its first column is the key.

    Attributes
    ----------
    name : str
        Its name in the contract and in schema ``raw``; in schema ``staging`` the name begins with ``stg_``.
    description : str
        A description for people.
    columns : tuple of Column
    of : str or None
        The table that its rows are about, by the key of that table; None if there is none.
    or_of : tuple of str
        The tables that a row may be about instead; each row names one of all these.
    begins : str or None
        The table of which a row that is not there begins with a row of this one.
    key_from : tuple of str
        The columns that the key is made of where the source has none; equal rows are numbered.
    optional : bool
        Whether a source may lack it.
    called : tuple of str
        Beginnings, in lower case, of the names that CRMs give such a table.
    occurred : str
        The column of ``raw`` with the time of the fact. No healthy CRM alters it in bulk.
    recorded : str or None
        The column with the time at which the CRM recorded the fact, if there is one; it may be null.
    parts : tuple of Part
        The parts that are added to a row later.
    staged_known : str
        The column of staging with the time at which the fact was known, in microseconds since 1970.
    ages : bool
        Whether a source may drop old rows.
    history : str or None
        The table that keeps when an extraction first saw a row, because the row itself is overwritten.
    from_source : str or None
        Condition on the rows of ``raw`` that come from the source itself, if extractions add others.
    type : str
        The type by which lateness is grouped, as SQL.
    feed : str or None
        The feed that a row of staging belongs to, as SQL; None for a table that is no feed.
    proof : Counterfactual
    attributes : tuple of str and str, or None
        Where it may have attributes: the beginning of the names of their features, and whose values these have.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    occurred: str
    proof: Counterfactual
    of: str | None = None
    or_of: tuple[str, ...] = ()
    begins: str | None = None
    key_from: tuple[str, ...] = ()
    optional: bool = False
    called: tuple[str, ...] = ()
    recorded: str | None = None
    parts: tuple[Part, ...] = ()
    staged_known: str = "known_us"
    ages: bool = False
    history: str | None = None
    from_source: str | None = None
    type: str = "''"
    feed: str | None = None
    attributes: tuple[str, str] | None = None

    @property
    def key(self) -> str:
        """Name of the key column."""
        return self.columns[0].name

    @property
    def one(self) -> str:
        """What a row is, for people: the name in the singular."""
        return self.name.removesuffix("s")

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
        """The time at which the fact of a row of ``raw`` was known, as SQL."""
        stored = f"greatest({self.occurred}, coalesce({self.recorded}, {self.occurred}))"
        return self.occurred if self.recorded is None else stored

    @property
    def last_known(self) -> str:
        """The time at which the last part of a row of ``raw`` was known, as SQL."""
        parts = [f"coalesce({part.time}, {self.occurred})" for part in self.parts]
        return f"greatest({', '.join([self.known, *parts])})"

    def column(self, name: str) -> Column:
        """Return the column of a name; raise ``KeyError`` if there is none."""
        return {column.name: column for column in self.columns}[name]
