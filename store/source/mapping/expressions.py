"""The forms of a value that is computed from columns of the source, and of the rows that are read.

An expression is the name of a column or one of these forms, which nest. A name is a column of the table,
``join.column`` for a column of a joined table, or ``column.key`` for a path into JSON text or a nested column.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from store.source.mapping.yaml_file import form_tag


class Strict(BaseModel):
    """A part of a mapping, which takes no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Listed = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""A list of texts, of which one may stand alone."""


class Constant(Strict):
    """The same text in every row."""

    constant: str = Field(min_length=1, description="a text that every row has")


class Coalesce(Strict):
    """The first value that is not missing."""

    coalesce: "list[Expression]" = Field(min_length=1, description="expressions; the first that is not missing")


class Concat(Strict):
    """Texts in a row; missing if one of them is."""

    concat: "list[Expression]" = Field(min_length=1, description="expressions, whose texts are joined")
    with_: str = Field(default="", alias="with", description="text between them")


class DateAndTime(Strict):
    """A time whose day and clock stand in two columns; a day if the clock is missing."""

    date: "Expression" = Field(description="the day")
    time: "Expression" = Field(description="the time of day")


class Latest(Strict):
    """The latest of several times in ISO 8601; missing ones do not count."""

    latest: "list[Expression]" = Field(min_length=1, description="times in ISO 8601, of which the latest is taken")


class Earliest(Strict):
    """The earliest of several times in ISO 8601; missing ones do not count."""

    earliest: "list[Expression]" = Field(min_length=1, description="times in ISO 8601, of which the earliest is taken")


class Split(Strict):
    """A part of a text."""

    split: "Expression" = Field(description="the text")
    at: str = Field(min_length=1, description="the text between the parts")
    part: int = Field(default=1, description="the number of the part, from 1; -1 is the last one")

    @model_validator(mode="after")
    def _is_numbered(self) -> Self:
        if self.part == 0:
            raise ValueError("expected the number of a part, from 1, or from -1 backwards, found 0")
        return self


class Unlike(Strict):
    """A condition: the value is none of these words; a missing value passes."""

    not_: Listed = Field(alias="not", min_length=1, description="words that the value is not, in any case")


class Presence(Strict):
    """A condition: there is a value, or there is none."""

    is_: Literal["missing", "present"] = Field(alias="is", description="`missing` or `present`")


class Order(Strict):
    """A condition: the time lies before or after another one; it does not hold if one of them is missing."""

    before: str | None = Field(default=None, description="column with a later time in ISO 8601")
    after: str | None = Field(default=None, description="column with an earlier time in ISO 8601")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.before is None) == (self.after is None):
            raise ValueError("expected before or after with the name of a column, found both or none")
        return self

    @property
    def column(self) -> str:
        """The column of the other time."""
        return self.before or self.after or ""


Condition = Annotated[
    Annotated[list[str], Tag("<list>")]
    | Annotated[Unlike, Tag(form_tag(Unlike))]
    | Annotated[Presence, Tag(form_tag(Presence))]
    | Annotated[Order, Tag(form_tag(Order))],
    Discriminator(lambda value: _condition_of(value)),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]

Conditions = dict[str, Condition]

Where = Annotated[
    list[Conditions],
    BeforeValidator(lambda value: [value] if isinstance(value, dict) else value),
    Field(description="conditions by column, all of which must hold; of a list of such maps one"),
]


def _condition_of(value: object) -> str | None:
    if isinstance(value, list):
        return "<list>"
    if isinstance(value, Unlike) or (isinstance(value, dict) and "not" in value):
        return form_tag(Unlike)
    if isinstance(value, Presence) or (isinstance(value, dict) and "is" in value):
        return form_tag(Presence)
    is_order = isinstance(value, Order) or (isinstance(value, dict) and {"before", "after"} & {*value})
    return form_tag(Order) if is_order else None


class Case(Strict):
    """A value under conditions."""

    where: Where
    then: "Expression" = Field(description="the value if the conditions hold")


class Cases(Strict):
    """The value of the first case whose conditions hold."""

    cases: list[Case] = Field(min_length=1, description="the cases, in their order")
    otherwise: "Expression | None" = Field(default=None, description="the value if no case holds; unset: none")


COMPUTED: Mapping[str, type[Strict]] = {
    "constant": Constant,
    "coalesce": Coalesce,
    "concat": Concat,
    "date": DateAndTime,
    "latest": Latest,
    "earliest": Earliest,
    "split": Split,
    "cases": Cases,
}
"""The forms of an expression, by the key that each of them must have."""


def form_by_key(forms: Mapping[str, type[BaseModel]]) -> Callable[[object], str | None]:
    """Return a discriminator that tells a form by the key that each of the forms must have."""

    def form_of(value: object) -> str | None:
        if isinstance(value, str | BaseModel):
            return form_tag(type(value))
        key = next((each for each in forms if isinstance(value, dict) and each in value), None)
        return None if key is None else form_tag(forms[key])

    return form_of


Computed = Constant | Coalesce | Concat | DateAndTime | Latest | Earliest | Split | Cases

TaggedComputed = (
    Annotated[Constant, Tag(form_tag(Constant))]
    | Annotated[Coalesce, Tag(form_tag(Coalesce))]
    | Annotated[Concat, Tag(form_tag(Concat))]
    | Annotated[DateAndTime, Tag(form_tag(DateAndTime))]
    | Annotated[Latest, Tag(form_tag(Latest))]
    | Annotated[Earliest, Tag(form_tag(Earliest))]
    | Annotated[Split, Tag(form_tag(Split))]
    | Annotated[Cases, Tag(form_tag(Cases))]
)
"""`Computed`, as one of several forms."""

Expression = Annotated[
    Annotated[str, Tag(form_tag(str))] | TaggedComputed,
    Discriminator(form_by_key(COMPUTED)),
]


class Pick(Strict):
    """Which of several rows of one key is taken: by numbers, or by times in ISO 8601."""

    first: str | None = Field(default=None, description="column; the row with its least value is taken")
    last: str | None = Field(default=None, description="column; the row with its greatest value is taken")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.first is None) == (self.last is None):
            raise ValueError("expected first or last with the name of a column, found both or none")
        return self

    @property
    def column(self) -> str:
        """The column by which the rows are ordered."""
        return self.first or self.last or ""


class One(Pick):
    """Which of several rows with the same values is taken."""

    per: Listed = Field(min_length=1, description="columns; of the rows that are equal in them one is taken")


class Each(Strict):
    """A column with several values in one text: each of them makes a row."""

    column: str = Field(description="column with several values")
    at: str = Field(min_length=1, description="the text between them")


class Join(Strict):
    """A lookup in another table, which has at most one row per key."""

    table: str = Field(min_length=1, description="file name without ending, or database table")
    on: dict[str, str] = Field(
        min_length=1, description="column of the joined table: column of this table, or of an earlier join"
    )
    each: Each | None = Field(default=None, description="a column whose parts make a row each")
    where: Where = Field(default_factory=list)
    pick: Pick | None = Field(default=None, description="the row that is taken if several have one key")


def _no_dots(name: str) -> str:
    if "." in name:
        raise ValueError(f"expected a name without a dot, found {name!r}")
    return name


Joins = dict[Annotated[str, AfterValidator(_no_dots)], Join]


def shown(expression: str | Computed) -> str:
    """Return an expression as messages show it."""
    match expression:
        case str():
            return expression
        case Constant():
            return repr(expression.constant)
        case Coalesce():
            return f"coalesce({', '.join(map(shown, expression.coalesce))})"
        case Concat():
            return f"concat({', '.join(map(shown, expression.concat))})"
        case Latest():
            return f"the latest of {', '.join(map(shown, expression.latest))}"
        case Earliest():
            return f"the earliest of {', '.join(map(shown, expression.earliest))}"
        case DateAndTime():
            return f"{shown(expression.date)} and {shown(expression.time)}"
        case Split():
            return f"part {expression.part} of {shown(expression.split)} at {expression.at!r}"
        case Cases():
            cases = [f"{shown(case.then)} if {shown_where(case.where)}" for case in expression.cases]
            return "; ".join(cases) + ("" if expression.otherwise is None else f"; else {shown(expression.otherwise)}")


def shown_where(where: Sequence[Conditions]) -> str:
    """Return conditions as messages show them."""

    def one(name: str, condition: list[str] | Unlike | Presence | Order) -> str:
        match condition:
            case Order():
                return f"{name} is {'before' if condition.before is not None else 'after'} {condition.column}"
            case Presence():
                return f"{name} is {condition.is_}"
            case Unlike():
                return f"{name} is not {' or '.join(map(repr, condition.not_))}"
        return f"{name} is {' or '.join(map(repr, condition))}"

    each = [" and ".join(one(*pair) for pair in conditions.items()) for conditions in where]
    return " or ".join(each) if len(each) < 2 else f"({' or '.join(each)})"


for _form in (Coalesce, Concat, DateAndTime, Latest, Earliest, Split, Case, Cases):
    _form.model_rebuild()
