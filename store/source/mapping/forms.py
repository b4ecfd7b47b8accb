"""The format of a source mapping: a pydantic model of the YAML file, and a check of the names in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from store.source.contract import TABLES
from store.source.mapping.yaml_file import Place, form_tag, nearest
from store.source.record import Table
from store.source.values.functions import ISO, UTC_ZONE, fault_of, is_zone
from store.source.values.texts import MISSING, folded, plain

SHIPPED = Path(__file__).parent / "shipped"

EXTRACTION = "extraction"

MOST_DIGITS = 18
"""Digits of a factor, zeros before and after the point included."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Substitute(_Strict):
    """A time that the CRM does not keep."""

    substitute: Literal["earliest_of"] = Field(description="how the time is chosen")
    of: list[str] = Field(
        min_length=1,
        description="time columns of the same contract table; `extraction` is the clock of the extraction "
        "that first saw the row",
    )


class Delay(_Strict):
    """A stated delay after another time of the row: an assumption, shown wherever the figures are shown."""

    after: str = Field(description="time column of the same contract table")
    hours: float = Field(ge=0, le=24 * 365, description="delay in hours")


class Flag(_Strict):
    """A fact of which the CRM keeps only that it has happened, and no time."""

    flag: str = Field(description="source column that says yes or no")
    known: Annotated[
        Annotated[Literal["extraction"], Tag(form_tag(str))] | Annotated[Delay, Tag(form_tag(Delay))],
        Discriminator(lambda value: form_tag(str if isinstance(value, str) else Delay)),
    ] = Field(
        default="extraction",
        description="`extraction` (the extraction that first saw it set: right, but empty for the past) or a delay",
    )


class FirstOf(_Strict):
    """A value from a vocabulary that several source columns may hold."""

    first_of: list[str] = Field(
        min_length=1, description="source columns; the first whose value the vocabulary or the value map knows counts"
    )


class DerivedId(_Strict):
    """A key for a table that has none."""

    derive_from: list[str] = Field(
        min_length=1,
        description="source columns that the CRM never overwrites; rows that are equal in them are numbered",
    )


ColumnForm = str | Substitute | Flag | FirstOf

FORMS: Mapping[str, type[BaseModel]] = {"substitute": Substitute, "flag": Flag, "first_of": FirstOf}
"""The forms of a column other than a name, by the key that each of them must have."""

EXPECTED_FORMS = {
    "columns": f"the name of a source column, or a form with the key {' or '.join(FORMS)}",
    "known": "`extraction`, or {after: …, hours: …}",
}


def _form_of(value: object) -> str | None:
    if isinstance(value, str | BaseModel):
        return form_tag(type(value))
    keys = [key for key in FORMS if isinstance(value, dict) and key in value]
    return form_tag(FORMS[keys[0]]) if keys else None


def as_word(value: object) -> object:
    """Return a word as value maps look it up: folded."""
    return folded(value) if isinstance(value, str) else value


def _zone(name: str) -> str:
    if name not in available_timezones() or not is_zone(name):
        raise ValueError(f"expected a time zone of the IANA database such as Europe/Berlin or UTC, found {name}")
    return name


Zone = Annotated[str, AfterValidator(_zone)]


def digits_of(factor: Decimal) -> tuple[int, int]:
    """Return the number of digits that a decimal needs for a factor, and how many of them are after the point."""
    _, digits, exponent = factor.normalize().as_tuple()
    decimals = max(0, -int(exponent))
    return max(len(digits) + max(0, int(exponent)), decimals), decimals


def _exact(factor: Decimal) -> Decimal:
    digits, _ = digits_of(factor)
    if digits > MOST_DIGITS:
        raise ValueError(f"expected a factor of at most {MOST_DIGITS} digits, found {factor} with {digits}")
    return factor


class TimeForm(_Strict):
    """The format of a time that is not ISO 8601, and the time zone of its clock."""

    format: Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = Field(
        default_factory=lambda: [ISO],
        min_length=1,
        description="`iso`, `epoch_s`, `epoch_ms`, `excel_days` or a format of strptime such as `%d/%m/%Y %H:%M`; of "
        "several the first that fits",
    )
    zone: Zone | None = Field(default=None, description="time zone of times that name none, in place of `time_zone`")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, in the order in which they are tried."""
        return tuple(self.format)

    @model_validator(mode="after")
    def _formats_exist(self) -> Self:
        for name in self.formats:
            if (fault := fault_of(name)) is not None:
                raise ValueError(f"{name!r} is no format of a time: {fault}")
        return self


class NumberForm(_Strict):
    """The spelling of numbers."""

    decimal: Literal[".", ","] = Field(default=".", description="sign before the decimals")
    thousands: Literal[".", ",", " ", "'"] | None = Field(default=None, description="sign between groups of digits")
    strip: list[str] = Field(default_factory=list, description="signs and units that are left out, such as € or EUR")

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"expected two signs, found {self.decimal!r} before the decimals and between the groups")
        for sign in self.strip:
            text = plain(sign).casefold()
            if text in ("", "+", "-", "e", ".", ",", self.thousands) or any(map(str.isdigit, text)):
                raise ValueError(f"expected a sign or a unit to strip, found {sign!r}, which can be part of a number")
        return self


class TableMapping(_Strict):
    """The mapping of one contract table."""

    table: str | None = Field(default=None, description="file name without its ending, or database table")
    absent: bool = Field(default=False, description="the source has no such table")
    columns: dict[
        str,
        Annotated[
            Annotated[str, Tag(form_tag(str))]
            | Annotated[Substitute, Tag(form_tag(Substitute))]
            | Annotated[Flag, Tag(form_tag(Flag))]
            | Annotated[FirstOf, Tag(form_tag(FirstOf))],
            Discriminator(_form_of),
        ],
    ] = Field(default_factory=dict, description="contract column: source column, substitute, flag or first_of")
    values: dict[str, dict[Annotated[str, BeforeValidator(as_word)], str | None]] = Field(
        default_factory=dict, description="contract column: {value in the source (case does not matter): value}"
    )
    units: dict[str, Annotated[Decimal, Field(gt=0), AfterValidator(_exact)]] = Field(
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


class Closes(_Strict):
    """Words that close a lead, beside a won project and silence; their case does not matter."""

    outcomes: list[str] = Field(default_factory=list, description="interaction outcomes")
    lead_status: list[str] = Field(
        default_factory=list, description="statuses of the lead, as the value map writes them"
    )
    project_status: list[Annotated[Literal["lost", "cancelled"], BeforeValidator(as_word)]] = Field(
        default_factory=list, description="statuses of a project that has ended, as the value map writes them"
    )


class SourceMapping(_Strict):
    """A source mapping file."""

    name: str = Field(min_length=1, description="name of the mapping, recorded with each extraction")
    based_on: str | None = Field(default=None, description="shipped mapping that this one refines")
    schema_: str = Field(default="public", alias="schema", description="schema of the tables in a database")
    time_zone: Zone = Field(default=UTC_ZONE, description="time zone of times and dates that name none")
    missing: list[Annotated[str, BeforeValidator(as_word)]] = Field(
        default_factory=lambda: list(MISSING),
        description="texts that stand for a missing value (case does not matter), in place of the default ones",
    )
    tables: dict[str, TableMapping] = Field(default_factory=dict, description="by contract table")
    closes: Closes = Field(default_factory=Closes, description="what ends a lead, beside a won project")
    closing_outcomes: list[str] = Field(default_factory=list, description="the earlier name of closes.outcomes")
    silence_closes_after_days: int | None = Field(
        default=None, ge=1, description="days without a fact after which a lead counts as closed; unset: never"
    )
    horizon_days: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="default horizon by model, in days"
    )


@dataclass(frozen=True, kw_only=True)
class ChosenMapping:
    """The mapping of a source, with inheritance resolved, the reason of the choice, and notices on earlier names."""

    mapping: SourceMapping
    own: SourceMapping
    reason: str
    notices: tuple[str, ...] = ()


def shipped_names() -> list[str]:
    """Return the names of the mappings that ship with Leadline."""
    return sorted(path.stem for path in SHIPPED.glob("*.yml"))


def faults_of(mapping: SourceMapping, models: Iterable[str]) -> Iterator[tuple[Place, str]]:
    """Yield the faults of names in a mapping as places and sentences; `models` are the names of the models."""
    for name in mapping.tables:
        if name not in TABLES:
            ours = next((each.name for each in TABLES.values() if name.casefold().startswith(each.called)), None)
            remedy = nearest(name, TABLES) if ours is None else f"Write {ours!r}, if that is meant."
            yield ("tables", name), f"expected one of {', '.join(TABLES)}, found {name!r}. {remedy}"
    yield from _unknown(("horizon_days",), mapping.horizon_days, list(models))
    if "closing_outcomes" in mapping.model_fields_set and mapping.closes.outcomes:
        found = "expected closes.outcomes alone, found closing_outcomes, its earlier name, as well. Remove one."
        yield ("closing_outcomes",), found
    yield from _not_one_of(("based_on",), mapping.based_on, shipped_names(), note=" (a shipped mapping)")
    for name, spec in mapping.tables.items():
        if name in TABLES:
            yield from _table_faults(name, spec)


def _unknown(
    place: Place, named: Iterable[str], allowed: Sequence[str], *, note: str = ""
) -> Iterator[tuple[Place, str]]:
    """Yield a fault for each key of a map that is not allowed."""
    for name in named:
        yield from _not_one_of((*place, name), name, allowed, note=note)


def _not_one_of(
    place: Place, name: str | None, allowed: Sequence[str], *, note: str = ""
) -> Iterator[tuple[Place, str]]:
    if name is not None and name not in allowed:
        expected = f"one of {', '.join(allowed)}" if allowed else "no column"
        yield place, f"expected {expected}{note}, found {name!r}. {nearest(name, allowed)}"


def _table_faults(name: str, spec: TableMapping) -> Iterator[tuple[Place, str]]:
    table, place = TABLES[name], ("tables", name)
    times = [column.name for column in table.columns if column.kind == "time"]
    if spec.absent and name == "leads":
        yield (*place, "absent"), "expected a table of leads, found that it is absent. Every source has leads."
    numbers = [column.name for column in table.columns if column.kind == "number"]
    # a history is read with the value maps and units of leads, and has none of its own
    texts = [column.name for column in table.columns if column.kind == "text" and not column.of_lead]
    for key, named, allowed, note in (
        ("columns", spec.columns, table.column_names, ""),
        ("units", spec.units, numbers, " (a number)"),
        ("numbers", spec.numbers, numbers, " (a number)"),
        ("times", spec.times, times, " (a time)"),
        ("values", spec.values, texts, " (a text)"),
    ):
        yield from _unknown((*place, key), named, allowed, note=note)
    for column, form in spec.columns.items():
        if column in table.column_names:
            yield from _form_faults(table, column, form, times)
    for column, values in spec.values.items():
        if column in texts and (vocabulary := table.column(column).vocabulary):
            for found, meant in values.items():
                yield from _not_one_of((*place, "values", column, found), meant, vocabulary)
    if spec.watermark is not None:
        watermark = (*place, "watermark")
        yield from _not_one_of(watermark, spec.watermark, times, note=" (a time)")
        if not isinstance(form := spec.columns.get(spec.watermark, spec.watermark), str):
            yield (
                watermark,
                f"expected a time that is a column of the source, found {spec.watermark}, which is made by a "
                f"{form_tag(type(form)).strip('<>').lower()}. Name another, or read the table in full.",
            )
        if (written := spec.times.get(spec.watermark)) is not None and written.formats != (ISO,):
            yield (
                watermark,
                f"expected a time that the database knows as one, found {spec.watermark}, whose texts have a format. "
                "Name another, or read the table in full.",
            )


def _form_faults(table: Table, column: str, form: ColumnForm, times: Sequence[str]) -> Iterator[tuple[Place, str]]:
    place: Place = ("tables", table.name, "columns", column)
    others = [time for time in times if time != column]
    if isinstance(form, Substitute):
        yield from _not_one_of(place, column, times, note=" for a substitute")
        for number, name in enumerate(form.of):
            yield from _not_one_of((*place, "of", number), name, [*others, EXTRACTION])
        if table.column(column).required and EXTRACTION not in form.of:
            yield (
                (*place, "of"),
                f"expected {EXTRACTION} among the times, as {column} is required in every row, found none. Add it.",
            )
    elif isinstance(form, Flag):
        optional = [time for time in times if not table.column(time).required]
        note = " for a flag, which leaves the time of some rows empty"
        yield from _not_one_of(place, column, optional, note=note)
        if isinstance(form.known, Delay):
            yield from _not_one_of((*place, "known", "after"), form.known.after, others)
    elif isinstance(form, FirstOf):
        chosen = [known.name for known in table.columns if known.vocabulary]
        note = " for a first_of, which needs a vocabulary"
        yield from _not_one_of(place, column, chosen, note=note)


def repeated_words(content: Any) -> Iterator[tuple[Place, str]]:
    """Yield a fault for each word of a value map that differs from another word only in case and has another value."""
    tables = content.get("tables") if isinstance(content, dict) else None
    for name, spec in (tables if isinstance(tables, dict) else {}).items():
        maps = spec.get("values") if isinstance(spec, dict) else None
        for column, values in (maps if isinstance(maps, dict) else {}).items():
            first: dict[object, str] = {}
            for found, meant in (values if isinstance(values, dict) else {}).items():
                earlier = first.setdefault(as_word(found), found)
                if values[earlier] != meant:
                    yield (
                        ("tables", name, "values", column, found),
                        f"expected each word once, in any case, found {earlier!r} as well, which stands for "
                        f"{values[earlier]!r}. Remove one.",
                    )
