"""The format of a source mapping: a pydantic model of the YAML file, and a check of the names in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
)

from models.declaring.attribute import AttributeKind, Known
from store.source.mapping.expressions import (
    COMPUTED,
    Computed,
    Each,
    Expression,
    Joins,
    Listed,
    One,
    Strict,
    TaggedComputed,
    Where,
    form_by_key,
)
from store.source.mapping.spellings import Currency, FileForm, NumberForm, TimeForm, Zone, exact
from store.source.mapping.yaml_file import form_tag
from store.source.values.functions import UTC_ZONE
from store.source.values.texts import MISSING, folded

SHIPPED = Path(__file__).parent / "shipped"

EXTRACTION = "extraction"


class Substitute(Strict):
    """A time that the CRM does not keep."""

    substitute: Literal["earliest_of"] = Field(description="how the time is chosen")
    of: list[str] = Field(
        min_length=1,
        description="time columns of the same contract table; `extraction` is the clock of the extraction "
        "that first saw the row",
    )


class Delay(Strict):
    """A stated delay after another time of the row: an assumption, shown wherever the figures are shown."""

    after: str = Field(description="time column of the same contract table")
    hours: float = Field(ge=0, le=24 * 365, description="delay in hours")


class Flag(Strict):
    """A fact of which the CRM keeps only that it has happened, and no time."""

    flag: str = Field(description="source column that says yes or no")
    known: Annotated[
        Annotated[Literal["extraction"], Tag(form_tag(str))] | Annotated[Delay, Tag(form_tag(Delay))],
        Discriminator(lambda value: form_tag(str if isinstance(value, str) else Delay)),
    ] = Field(
        default="extraction",
        description="`extraction` (the extraction that first saw it set: right, but empty for the past) or a delay",
    )


class FirstOf(Strict):
    """A value from a vocabulary that several source columns may hold."""

    first_of: list[str] = Field(
        min_length=1, description="source columns; the first whose value the vocabulary or the value map knows counts"
    )


class DerivedId(Strict):
    """A key for a table that has none."""

    derive_from: list[str] = Field(
        min_length=1,
        description="source columns that the CRM never overwrites; rows that are equal in them are numbered",
    )


class Absent(Strict):
    """A column that is not read."""

    absent: Literal[True] = Field(description="true: the column is not read, even if the source has one of its name")

    @field_validator("absent", mode="before")
    @classmethod
    def _is_true(cls, value: object) -> object:
        # YAML is read as text
        return True if isinstance(value, str) and value.casefold() == "true" else value


class AttributeForm(Strict):
    """A column beside those of the contract that models learn from."""

    column: Expression = Field(description="source column or expression")
    type: AttributeKind | None = Field(default=None, description="unset: found by its values")
    at: str | None = Field(default=None, min_length=1, description="text between several options; unset: found")
    known: Known | None = Field(
        default=None, description="from when on a first value counts as known; unset: found by the values"
    )


AUTO = "auto"
"""The key of attributes, or their only word, with which all fit columns are taken."""

WrittenAttribute = Annotated[
    Annotated[str, Tag(form_tag(str))] | Annotated[AttributeForm, Tag(form_tag(AttributeForm))] | TaggedComputed,
    Discriminator(form_by_key({"column": AttributeForm, **COMPUTED})),
]


def attribute_form(written: str | AttributeForm | Computed) -> AttributeForm:
    """Return the form of an attribute, of which the column may stand alone."""
    return written if isinstance(written, AttributeForm) else AttributeForm(column=written)


ColumnForm = str | Substitute | Flag | FirstOf
"""The form of a column of a table as it is read."""

WrittenForm = ColumnForm | Absent | Computed
"""The form of a column as a person writes it."""

FORMS: Mapping[str, type[BaseModel]] = {
    "substitute": Substitute,
    "flag": Flag,
    "first_of": FirstOf,
    "absent": Absent,
    **COMPUTED,
}
"""The forms of a column other than a name, by the key that each of them must have."""

EXPECTED_FORMS = {
    "columns": f"the name of a source column, or a form with one of the keys {', '.join(FORMS)}",
    "attributes": f"the name of a source column, or a form with one of the keys column, {', '.join(COMPUTED)}",
    "where": "a word, a list of words, {not: …}, {is: missing}, {is: present}, {before: …} or {after: …}",
    **{
        key: f"the name of a source column, or a form with one of the keys {', '.join(COMPUTED)}"
        for key in ("column", "coalesce", "concat", "date", "time", "latest", "earliest", "split", "then", "otherwise")
    },
    "known": "`extraction`, or {after: …, hours: …}",
}


def as_word(value: object) -> object:
    """Return a word as value maps look it up: folded."""
    return folded(value) if isinstance(value, str) else value


Values = dict[str, dict[Annotated[str, BeforeValidator(as_word)], str | None]]


class PartMapping(Strict):
    """One of several tables that make up a contract table."""

    table: str | None = Field(default=None, description="file name without its ending, or database table")
    absent: bool = Field(default=False, description="the part is left out")
    each: Each | None = Field(default=None, description="a column whose parts make a row each")
    join: Joins = Field(default_factory=dict, description="name: another table, joined by a key")
    where: Where = Field(default_factory=list)
    one: One | None = Field(default=None, description="which of several rows is taken, after joins and conditions")
    columns: dict[str, Expression] = Field(
        default_factory=dict, description="column of the contract table, or of any other name: expression"
    )
    values: Values = Field(
        default_factory=dict, description="column: {value in the source (case does not matter): value}"
    )


class TableMapping(Strict):
    """The mapping of one contract table."""

    table: str | None = Field(default=None, description="file name without its ending, or database table")
    absent: bool = Field(default=False, description="the source has no such table")
    optional: bool = Field(default=False, description="the table is absent if the source does not have it")
    each: Each | None = Field(default=None, description="a column whose parts make a row each")
    join: Joins = Field(default_factory=dict, description="name: another table, joined by a key")
    where: Where = Field(default_factory=list)
    one: One | None = Field(default=None, description="which of several rows is taken, after joins and conditions")
    union: dict[str, PartMapping] = Field(
        default_factory=dict, description="name: one of several tables that make up the contract table"
    )
    sql: str | None = Field(
        default=None, description="file beside the mapping with one SELECT over tables of the source"
    )
    columns: dict[
        str,
        Annotated[
            Annotated[str, Tag(form_tag(str))]
            | Annotated[Substitute, Tag(form_tag(Substitute))]
            | Annotated[Flag, Tag(form_tag(Flag))]
            | Annotated[FirstOf, Tag(form_tag(FirstOf))]
            | Annotated[Absent, Tag(form_tag(Absent))]
            | TaggedComputed,
            Discriminator(form_by_key(FORMS)),
        ],
    ] = Field(default_factory=dict, description="contract column: source column or form")
    values: Values = Field(
        default_factory=dict, description="contract column: {value in the source (case does not matter): value}"
    )
    attributes: Annotated[
        dict[str, WrittenAttribute], BeforeValidator(lambda value: {AUTO: "true"} if value == AUTO else value)
    ] = Field(
        default_factory=dict,
        description="name: source column, expression or form; `auto` alone or {auto: true} takes all fit columns",
    )
    units: dict[str, Annotated[Decimal, Field(gt=0), AfterValidator(exact)]] = Field(
        default_factory=dict, description="contract number column: factor by which the source's number is multiplied"
    )
    times: dict[
        str,
        Annotated[
            TimeForm, BeforeValidator(lambda value: {"format": value} if isinstance(value, str | list) else value)
        ],
    ] = Field(default_factory=dict, description="contract time column: format of its texts, or {format, zone}")
    numbers: dict[str, NumberForm] = Field(
        default_factory=dict, description="contract number column: {decimal, thousands, strip}"
    )
    id: DerivedId | None = Field(default=None, description="derives the key of a table that has none")
    watermark: str | None = Field(
        default=None,
        description="contract time column that the CRM moves whenever a row changes; a database is then read from the "
        "last loaded value on. Only where it can be relied on",
    )
    overlap_minutes: int = Field(
        default=60, ge=0, description="minutes before the last loaded watermark from which rows are read again"
    )

    @property
    def auto(self) -> bool:
        """Whether all fit columns are attributes."""
        return self.attributes.get(AUTO) == "true"

    @property
    def named_attributes(self) -> dict[str, AttributeForm]:
        """The attributes that are named."""
        return {name: attribute_form(each) for name, each in self.attributes.items() if name != AUTO or not self.auto}


class Names(Strict):
    """The names that the source has for a table and its columns."""

    table: str | None = Field(default=None, description="name of the table in the source; unset: as in the mapping")
    columns: dict[str, str] = Field(default_factory=dict, description="name in the mapping: name in the source")


class Closes(Strict):
    """Words that close a lead, beside a won project and silence; their case does not matter."""

    outcomes: list[str] = Field(default_factory=list, description="interaction outcomes")
    lead_status: list[str] = Field(
        default_factory=list, description="statuses of the lead, as the value map writes them"
    )
    project_status: list[Annotated[Literal["lost", "cancelled"], BeforeValidator(as_word)]] = Field(
        default_factory=list, description="statuses of a project that has ended, as the value map writes them"
    )


class WithoutTimes(Strict):
    """A set of leads that tells how each ended, and not when anything happened."""

    outcome: str = Field(description="column of leads with the outcome; empty for a lead that is open")
    won: Listed = Field(min_length=1, description="its words for a won lead, in any case; any other word is a lost one")
    open_: Listed = Field(
        default_factory=list, alias="open", description="its words for a lead that is open, as an empty one is"
    )


class SourceMapping(Strict):
    """A source mapping file."""

    name: str = Field(min_length=1, description="name of the mapping, recorded with each extraction")
    source: str | None = Field(
        default=None, description="of a mapping in the home: the source that it is for; it reads no other"
    )
    based_on: str | None = Field(default=None, description="shipped mapping that this one refines")
    schema_: str = Field(default="public", alias="schema", description="schema of the tables in a database")
    time_zone: Zone = Field(default=UTC_ZONE, description="time zone of times and dates that name none")
    missing: list[Annotated[str, BeforeValidator(as_word)]] = Field(
        default_factory=lambda: list(MISSING),
        description="texts that stand for a missing value (case does not matter), in place of the default ones",
    )
    files: dict[str, FileForm] = Field(
        default_factory=dict, description="file name of a folder: form of a file that is not read by itself"
    )
    names: dict[str, Names] = Field(
        default_factory=dict, description="table of the mapping: the names that the source has for it and its columns"
    )
    recognised_by: dict[str, list[str]] = Field(
        default_factory=dict, description="table: columns; a source that has all of them is read by this mapping"
    )
    tables: dict[str, TableMapping] = Field(default_factory=dict, description="by contract table")
    without_times: WithoutTimes | None = Field(
        default=None, description="the leads have an outcome, and nothing that says when anything happened"
    )
    currency: Currency | None = Field(
        default=None, description="the currency of the amounts of projects; unset: the only one that there is"
    )
    closes: Closes = Field(default_factory=Closes, description="what ends a lead, beside a won project")
    closing_outcomes: list[str] = Field(default_factory=list, description="the earlier name of closes.outcomes")
    silence_closes_after_days: int | None = Field(
        default=None, ge=1, description="days without a fact after which a lead counts as closed; unset: never"
    )
    horizon_days: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="default horizon by model, in days"
    )


@dataclass(frozen=True)
class Query:
    """A query of a mapping: its file and its text."""

    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class ChosenMapping:
    """The mapping of a source.

    Attributes
    ----------
    mapping : SourceMapping
        With all that it inherits.
    own : SourceMapping
        What a person has written.
    reason : str
        Why it was chosen.
    queries : mapping of str to Query
        By contract table, its SQL.
    notices : tuple of str
        Sentences about earlier names.
    """

    mapping: SourceMapping
    own: SourceMapping
    reason: str
    queries: Mapping[str, Query] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def shipped_names() -> list[str]:
    """Return the names of the mappings that ship with Leadline."""
    return sorted(path.stem for path in SHIPPED.glob("*.yml"))


def is_assembled(spec: TableMapping) -> bool:
    """Say whether a contract table is more than the columns of one source table."""
    read = [*spec.columns.values(), *(each.column for each in spec.named_attributes.values())]
    return bool(
        spec.where
        or spec.join
        or spec.each
        or spec.one
        or spec.union
        or spec.sql is not None
        or any(isinstance(form, Computed) or (isinstance(form, str) and "." in form) for form in read)
    )
