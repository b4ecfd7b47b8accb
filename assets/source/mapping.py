"""Source mappings: how another CRM's tables and columns become those of the contract.

The YAML format (a pydantic model), inheritance between mappings, and the choice of the mapping for a source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
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

from assets.source.contract import EARLIER_NAMES, TABLES, SourceContractError, Table
from assets.source.formats import ISO, UTC_ZONE, fault_of, is_zone
from assets.source.plain_faults import form_tag, nearest, validated
from assets.source.reading import Tables, find_column, has_no_header, shown_columns
from assets.source.words import MISSING, folded, plain
from assets.source.yaml_text import Document, Fault, read_yaml
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from assets.source.yaml_text import Place

__all__ = [
    "Delay",
    "FirstOf",
    "Flag",
    "NumberForm",
    "SourceMapping",
    "Substitute",
    "TableBinding",
    "TimeForm",
    "bind",
    "choose_mapping",
    "folded",
    "is_another",
    "missing_table",
    "with_earlier_tables",
]

SHIPPED = Path(__file__).parent / "mappings"
# the order in which shipped mappings are tried on the columns of a source
TRIED = ("contract", "plain")
EXTRACTION = "extraction"
MOST_OTHERS = 20
"""Names that a message lists at most of what is no table."""
LIKE_A_MAPPING = re.compile(r".*mappings?([^a-z].*)?\.(ya?ml|json|toml)(\W.*)?|\.?mappings?(\.(txt|cfg|ini))?")
"""Names, in lower case, of files that somebody means to be a mapping."""
READ = ("mapping.yml", "mapping.yaml")
NO_MAPPING = re.compile(r"^\._|~$|\.(bak|old|orig|rej|save|sw[a-p])$", re.IGNORECASE)
"""What a Mac and an editor leave beside a file."""
COUNTERPARTS = {
    "account": "leads", "activit": "interactions", "booking": "appointments", "call": "interactions",
    "compan": "leads", "contact": "leads", "customer": "leads", "deal": "projects", "email": "interactions",
    "event": "interactions", "histor": "changes", "meeting": "appointments", "note": "interactions",
    "offer": "projects", "opportunit": "projects", "person": "leads", "quote": "projects", "task": "interactions",
}  # fmt: skip
"""By the beginning of the name that a CRM gives a table: the contract's."""


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
    """A time of which the CRM keeps only that it has happened."""

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
"""The forms of a column that are no name, by the key that each of them must have."""
EXPECTED_FORMS = {
    "columns": f"the name of a source column, or a form with the key {' or '.join(FORMS)}",
    "known": "`extraction`, or {after: …, hours: …}",
}


def _form_of(value: object) -> str | None:
    if isinstance(value, str | BaseModel):
        return form_tag(type(value))
    keys = [key for key in FORMS if isinstance(value, dict) and key in value]
    return form_tag(FORMS[keys[0]]) if keys else None


def _word(value: object) -> object:
    """Return a word as it is looked up."""
    return folded(value) if isinstance(value, str) else value


def _zone(name: str) -> str:
    if name not in available_timezones() or not is_zone(name):
        raise ValueError(f"expected a time zone of the IANA database such as Europe/Berlin or UTC, found {name}")
    return name


Zone = Annotated[str, AfterValidator(_zone)]


def digits_of(factor: Decimal) -> tuple[int, int]:
    """Return how many digits a decimal needs for a factor, and how many of them are after the point."""
    _, digits, exponent = factor.normalize().as_tuple()
    decimals = max(0, -int(exponent))
    return max(len(digits) + max(0, int(exponent)), decimals), decimals


def _exact(factor: Decimal) -> Decimal:
    digits, _ = digits_of(factor)
    if digits > MOST_DIGITS:
        raise ValueError(f"expected a factor of at most {MOST_DIGITS} digits, found {factor} with {digits}")
    return factor


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class TimeForm(_Strict):
    """How a time is written that is not ISO 8601, or where the clock hung."""

    format: Annotated[list[str], BeforeValidator(_listed)] = Field(
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


def _time_form(value: object) -> object:
    """Take a format alone for its long form."""
    return {"format": value} if isinstance(value, str | list) else value


class NumberForm(_Strict):
    """How numbers are written."""

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
    """How one contract table is read."""

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
    values: dict[str, dict[Annotated[str, BeforeValidator(_word)], str | None]] = Field(
        default_factory=dict, description="contract column: {value in the source (case does not matter): value}"
    )
    units: dict[str, Annotated[Decimal, Field(gt=0), AfterValidator(_exact)]] = Field(
        default_factory=dict, description="contract number column: factor by which the source's number is multiplied"
    )
    times: dict[str, Annotated[TimeForm, BeforeValidator(_time_form)]] = Field(
        default_factory=dict, description="contract time column: format of its texts, or {format, zone}"
    )
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
    """What ends a lead, beside a won project and silence; words are compared without regard to case."""

    outcomes: list[str] = Field(default_factory=list, description="interaction outcomes")
    lead_status: list[str] = Field(
        default_factory=list, description="statuses of the lead, as the value map writes them"
    )
    project_status: list[Annotated[Literal["lost", "cancelled"], BeforeValidator(_word)]] = Field(
        default_factory=list, description="statuses of a project that has ended, as the value map writes them"
    )


class SourceMapping(_Strict):
    """A source mapping file."""

    name: str = Field(min_length=1, description="name of the mapping, recorded with each extraction")
    based_on: str | None = Field(default=None, description="shipped mapping that this one refines")
    schema_: str = Field(default="public", alias="schema", description="schema of the tables in a database")
    time_zone: Zone = Field(default=UTC_ZONE, description="time zone of times and dates that name none")
    missing: list[Annotated[str, BeforeValidator(_word)]] = Field(
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


def _faults(mapping: SourceMapping) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with the names of a mapping: the place, and a sentence."""
    for name in mapping.tables:
        if name not in TABLES:
            ours = next((ours for theirs, ours in COUNTERPARTS.items() if name.casefold().startswith(theirs)), None)
            remedy = nearest(name, TABLES) if ours is None else f"Write {ours!r}, if that is meant."
            yield ("tables", name), f"expected one of {', '.join(TABLES)}, found {name!r}. {remedy}"
    yield from _unknown(("horizon_days",), mapping.horizon_days, DECLARATIONS)
    if "closing_outcomes" in mapping.model_fields_set and mapping.closes.outcomes:
        found = "expected closes.outcomes alone, found closing_outcomes, its earlier name, as well. Remove one."
        yield ("closing_outcomes",), found
    if mapping.based_on is not None:
        for _, sentence in _unknown((), [mapping.based_on], _shipped(), why=" (a shipped mapping)"):
            yield ("based_on",), sentence
    for name, spec in mapping.tables.items():
        if name in TABLES:
            yield from _table_faults(name, spec)


def _unknown(
    place: Place, named: Iterable[str], allowed: Iterable[str], *, why: str = "", item: bool = False
) -> Iterator[tuple[Place, str]]:
    listed = list(allowed)
    expected = f"one of {', '.join(listed)}" if listed else "no column"
    for number, name in enumerate(named):
        if name not in listed:
            sentence = f"expected {expected}{why}, found {name!r}. {nearest(name, listed)}"
            yield (*place, number if item else name), sentence


def _table_faults(name: str, spec: TableMapping) -> Iterator[tuple[Place, str]]:
    table, place = TABLES[name], ("tables", name)
    times = [column.name for column in table.columns if column.kind == "time"]
    if spec.absent and name == "leads":
        yield (*place, "absent"), "expected a table of leads, found that it is absent. Every source has leads."
    yield from _unknown((*place, "columns"), spec.columns, table.column_names)
    numbers = [column.name for column in table.columns if column.kind == "number"]
    yield from _unknown((*place, "units"), spec.units, numbers, why=" (a number)")
    yield from _unknown((*place, "numbers"), spec.numbers, numbers, why=" (a number)")
    yield from _unknown((*place, "times"), spec.times, times, why=" (a time)")
    # what a history says of a lead is read as the lead is, by the value maps and units of leads
    texts = [column.name for column in table.columns if column.kind == "text" and not column.of_lead]
    yield from _unknown((*place, "values"), spec.values, texts, why=" (a text)")
    for column, form in spec.columns.items():
        if column in table.column_names:
            yield from _form_faults(table, column, form, times)
    for column, values in spec.values.items():
        if column in texts and (vocabulary := table.column(column).vocabulary):
            for found, meant in values.items():
                if meant is not None:
                    yield from (
                        ((*place, "values", column, found), sentence)
                        for _, sentence in _unknown((), [meant], vocabulary)
                    )
    if spec.watermark is not None:
        watermark = (*place, "watermark")
        yield from ((watermark, sentence) for _, sentence in _unknown((), [spec.watermark], times, why=" (a time)"))
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
        yield from ((place, sentence) for _, sentence in _unknown((), [column], times, why=" for a substitute"))
        yield from _unknown((*place, "of"), form.of, [*others, EXTRACTION], item=True)
        if table.column(column).required and EXTRACTION not in form.of:
            yield (
                (*place, "of"),
                f"expected {EXTRACTION} among the times, as {column} is required in every row, found none. Add it.",
            )
    elif isinstance(form, Flag):
        optional = [time for time in times if not table.column(time).required]
        why = " for a flag, which leaves the time of some rows empty"
        yield from ((place, sentence) for _, sentence in _unknown((), [column], optional, why=why))
        if isinstance(form.known, Delay):
            yield from (
                ((*place, "known", "after"), sentence) for _, sentence in _unknown((), [form.known.after], others)
            )
    elif isinstance(form, FirstOf):
        chosen = [known.name for known in table.columns if known.vocabulary]
        why = " for a first_of, which needs a vocabulary"
        yield from ((place, sentence) for _, sentence in _unknown((), [column], chosen, why=why))


def _twice(content: Any) -> Iterator[tuple[Place, str]]:
    """Yield the words of a value map that are one word in another case, and stand for different values."""
    tables = content.get("tables") if isinstance(content, dict) else None
    for name, spec in (tables if isinstance(tables, dict) else {}).items():
        maps = spec.get("values") if isinstance(spec, dict) else None
        for column, values in (maps if isinstance(maps, dict) else {}).items():
            first: dict[object, str] = {}
            for found, meant in (values if isinstance(values, dict) else {}).items():
                earlier = first.setdefault(_word(found), found)
                if values[earlier] != meant:
                    yield (
                        ("tables", name, "values", column, found),
                        f"expected each word once, in any case, found {earlier!r} as well, which stands for "
                        f"{values[earlier]!r}. Remove one.",
                    )


@dataclass(frozen=True, kw_only=True)
class TableBinding:
    """A contract table tied to the columns that its source really has.

    Attributes
    ----------
    table : Table
        The contract table.
    source_table : str
        File stem or database table.
    forms : dict of str to ColumnForm or None
        By contract column: the source column, or how it comes about; None where the source has nothing.
    derive_from : tuple of str
        Source columns that the key is derived from; empty when the source has a key.
    values, units, watermark, overlap_minutes, times, time_zone, numbers, missing
        As in the mapping.
    leads : TableBinding or None
        Of a table with values of leads: how those are read.
    """

    table: Table
    source_table: str
    forms: Mapping[str, ColumnForm | None]
    derive_from: tuple[str, ...]
    values: Mapping[str, Mapping[str, str | None]]
    units: Mapping[str, Decimal]
    watermark: str | None
    overlap_minutes: int
    times: Mapping[str, TimeForm] = field(default_factory=dict)
    time_zone: str = UTC_ZONE
    numbers: Mapping[str, NumberForm] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    leads: TableBinding | None = None

    def formats(self, column: str) -> tuple[str, ...]:
        """Return the formats that the texts of a time column have."""
        return self.times[column].formats if column in self.times else (ISO,)

    def zone(self, column: str) -> str:
        """Return the time zone of the values of a time column that name none."""
        return (self.times[column].zone if column in self.times else None) or self.time_zone

    def known_words(self, column: str) -> set[str]:
        """Return the words that the vocabulary or the value map of a column knows."""
        return {*self.table.column(column).vocabulary, *self.values.get(column, {})}

    def missing_words(self, column: str) -> tuple[str, ...]:
        """Return the words that stand for a missing value of a column: not those that it knows."""
        return tuple(sorted(set(self.missing) - self.known_words(column)))

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The source columns that are read, each once, in the order of the contract."""
        named: list[str] = []
        for form in self.forms.values():
            if isinstance(form, str):
                named.append(form)
            elif isinstance(form, Flag):
                named.append(form.flag)
            elif isinstance(form, FirstOf):
                named.extend(form.first_of)
        return tuple(dict.fromkeys([*named, *self.derive_from]))


@dataclass(frozen=True, kw_only=True)
class ChosenMapping:
    """The mapping of a source, its inheritance resolved, why it was chosen, and notices on earlier names in it."""

    mapping: SourceMapping
    own: SourceMapping
    reason: str
    notices: tuple[str, ...] = ()


def _document(path: Path) -> Document:
    try:
        return read_yaml(path.read_bytes())
    except OSError as error:
        raise SourceContractError(
            f"{path}: expected a source mapping, found that it cannot be read ({error.strerror}). Check the file."
        ) from error


def _read(path: Path, document: Document) -> SourceMapping:
    document = _with_present_names(document)
    mapping, faults = validated(SourceMapping, document, EXPECTED_FORMS)
    found = [*_twice(document.content), *(() if mapping is None else _faults(mapping))]
    faults += [Fault(document.line(place), place, sentence) for place, sentence in found]
    if mapping is None or faults:
        raise _not_valid(path, faults)
    return _renamed(mapping)


def _renamed(mapping: SourceMapping) -> SourceMapping:
    """Return a mapping in which everything has its present name."""
    if "closing_outcomes" in mapping.model_fields_set:
        closes = mapping.closes.model_copy(update={"outcomes": mapping.closing_outcomes})
        mapping = mapping.model_copy(update={"closes": closes})
    return mapping


def _with_present_names(document: Document) -> Document:
    """Return a mapping in which tables have their present names; one that has both names is at fault."""
    tables = document.content.get("tables") if isinstance(document.content, dict) else None
    for name, earlier in EARLIER_NAMES.items():
        if isinstance(tables, dict) and earlier in tables:
            place = ("tables", earlier)
            if name in tables:
                sentence = f"expected tables.{name} alone, found {earlier}, its earlier name, as well. Remove one."
                document.faults.append(Fault(document.line(place), place, sentence))
            tables = {name if each == earlier else each: spec for each, spec in tables.items() if each != name}
            document.content["tables"] = tables
            moved = {("tables", name, *each[2:]): line for each, line in document.lines.items() if each[:2] == place}
            document.lines.update(moved)
    return document


def _notices(own: SourceMapping, path: Path, document: Document) -> Iterator[str]:
    """Yield notices on earlier names in a mapping."""
    for name, earlier in EARLIER_NAMES.items():
        if ("tables", earlier) in document.lines:
            yield f"{path}: the table {earlier} is called {name} now: rename it under tables."
    if "closing_outcomes" in own.model_fields_set:
        listed = ", ".join(own.closing_outcomes)
        yield f"{path}: closing_outcomes is called closes now: write closes: {{outcomes: [{listed}]}}."


def _not_valid(path: Path, faults: Sequence[Fault]) -> SourceContractError:
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: (fault.line or 0, list(map(str, fault.place))))
    listed = "\n".join(f"- {fault}" for fault in ordered)
    return SourceContractError(
        f"{path}: the source mapping is not valid. Its format is in docs/source-contract.md.\n{listed}"
    )


def _shipped() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yml"))


def _inherit(own: SourceMapping, path: Path, document: Document) -> SourceMapping:
    if own.based_on is None:
        return own
    base_path = SHIPPED / f"{own.based_on}.yml"
    base_document = _document(base_path)
    base = _inherit(_read(base_path, base_document), base_path, base_document)
    tables: dict[str, TableMapping] = {}
    for name, table in TABLES.items():
        below, above = base.tables.get(name, TableMapping()), own.tables.get(name, TableMapping())
        tables[name] = TableMapping(
            table=above.table or below.table,
            absent=above.absent or below.absent,
            columns={**below.columns, **above.columns},
            values={
                column: {**below.values.get(column, {}), **above.values.get(column, {})}
                for column in {**below.values, **above.values}
            },
            units={**below.units, **above.units},
            times={**below.times, **above.times},
            numbers={**below.numbers, **above.numbers},
            # a key that the refining mapping names is not derived any more
            id=above.id or (None if table.key in above.columns else below.id),
            watermark=above.watermark or below.watermark,
            overlap_minutes=(above if "overlap_minutes" in above.model_fields_set else below).overlap_minutes,
        )
    said = own.model_fields_set
    merged = SourceMapping(
        name=own.name,
        based_on=own.based_on,
        schema=own.schema_ if "schema_" in said else base.schema_,
        tables=tables,
        closes=Closes(
            **{
                name: getattr((own if name in own.closes.model_fields_set else base).closes, name)
                for name in Closes.model_fields
            }
        ),
        **{
            name: getattr(own if name in said else base, name)
            for name in ("time_zone", "missing", "silence_closes_after_days", "horizon_days")
        },
    )
    # what is right by itself may not fit what it refines
    if found := [Fault(document.line(place), place, sentence) for place, sentence in _faults(merged)]:
        raise _not_valid(path, found)
    return merged


def _named(path: Path, reason: str) -> ChosenMapping:
    document = _document(path)
    own = _read(path, document)
    # a shipped mapping fits a family of CRMs, so an optional column that it names may be missing; a typing error in a
    # mapping of one's own must not go unnoticed
    noticed = SourceMapping(name=own.name) if path.parent == SHIPPED else own
    mapping = _inherit(own, path, document)
    return ChosenMapping(mapping=mapping, own=noticed, reason=reason, notices=tuple(_notices(own, path, document)))


def _in_folder(folder: Path) -> Path | None:
    """Return the mapping of a source folder: ``mapping.yml`` or ``mapping.yaml``, in any case.

    A file that somebody means to be one and that is not read would let the source be read without it.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if LIKE_A_MAPPING.fullmatch(path.name.casefold())
        and not NO_MAPPING.search(path.name)
        and (path.is_file() or path.suffix)
    )
    if len(found) > 1:
        raise SourceContractError(
            f"source {folder}: expected one mapping, found {', '.join(path.name for path in found)}. "
            "Remove all but one."
        )
    if found and not (found[0].is_file() and found[0].name.casefold() in READ):
        raise SourceContractError(
            f"source {folder}: expected a file mapping.yml (or mapping.yaml), found {found[0].name}, which is not "
            "read. Rename it, or move it to another folder."
        )
    return found[0] if found else None


def is_another(table: Table, columns: Iterable[str]) -> bool:
    """Say whether an optional table of the contract's name is one of the source's own.

    It has no required column but the key of the lead, which any table of a CRM may have.
    """
    found = {folded(column) for column in columns} - {"lead_id"}
    return table.optional and not any(column.required and folded(column.name) in found for column in table.columns)


def with_earlier_tables(chosen: ChosenMapping, found: Mapping[str, Sequence[str]]) -> ChosenMapping:
    """Return a mapping that reads the tables of a source under their earlier names, where it has no other.

    Raises
    ------
    SourceContractError
        When the source has a table under both names, and the mapping does not say which is meant.
    """
    for name, earlier in EARLIER_NAMES.items():
        spec = chosen.mapping.tables.get(name, TableMapping())
        if spec.absent or spec.table is not None or earlier not in found:
            continue
        if name in found and not is_another(TABLES[name], found[name]):
            raise SourceContractError(
                f"table {name}: expected one table, found {name} and {earlier}, its earlier name. Remove one, or say "
                f"in a mapping.yml which is meant (tables: {{{name}: {{table: {earlier}}}}})."
            )
        tables = {**chosen.mapping.tables, name: spec.model_copy(update={"table": earlier})}
        notice = f"the table {earlier} of the source is called {name} now: it is read, and may be renamed."
        chosen = replace(
            chosen,
            mapping=chosen.mapping.model_copy(update={"tables": tables}),
            notices=(*chosen.notices, notice),
        )
    return chosen


def choose_mapping(
    *,
    argument: str | None,
    folder: Path | None,
    found: Mapping[str, Sequence[str]],
) -> ChosenMapping:
    """Choose the mapping of a source and say why.

    In this order: the argument (the name of a shipped mapping, or a path); the mapping in the source folder; the
    shipped mapping with the folder's name; the first shipped mapping whose required columns are all there.

    Parameters
    ----------
    argument : str or None
        What the caller asks for.
    folder : Path or None
        The source folder; None for a database.
    found : mapping of str to sequence of str
        Columns by table (file stem) of the source.

    Raises
    ------
    SourceContractError
        When the named mapping is missing or invalid, or none fits; the message lists what each one misses. When the
        folder has several mappings, or one under a name that is not read.
    """
    shipped = _shipped()
    if argument is not None:
        if argument in shipped:
            return _named(SHIPPED / f"{argument}.yml", f"asked for by name: the shipped mapping {argument!r}")
        if not Path(argument).is_file():
            raise SourceContractError(
                f"mapping {argument!r}: expected a file or the name of a shipped mapping ({', '.join(shipped)}), "
                "found neither. Correct the name or the path."
            )
        return _named(Path(argument), f"asked for by path: {argument}")
    if folder is not None:
        if (own := _in_folder(folder)) is not None:
            return _named(own, f"{own.name} in the source folder")
        if folder.name in shipped:
            return _named(SHIPPED / f"{folder.name}.yml", "the shipped mapping with the folder's name")
    if absent := [name for name, table in TABLES.items() if name not in found and not table.optional]:
        # every shipped mapping needs each table under its own name
        raise SourceContractError("\n".join(str(missing_table(name, name, found)) for name in absent))
    misses: list[str] = []
    for name in TRIED:
        candidate = _named(
            SHIPPED / f"{name}.yml", f"the shipped mapping {name!r}, whose required columns are all there"
        )
        missing = [
            fault
            for contract, table in TABLES.items()
            if contract in found and not is_another(table, found[contract])
            for fault in _missing(candidate, contract, found)
        ]
        if not missing:
            return candidate
        misses.append(f"{name} misses {', '.join(missing)}")
    listing = "; ".join(f"{table} ({shown_columns(found[table])})" for table in sorted(TABLES) if table in found)
    raise SourceContractError(
        f"no shipped mapping fits the source: {'; '.join(misses)}. Found: {listing}. "
        "Write a mapping.yml for this source (docs/source-contract.md)."
    )


def missing_table(table: str, source_table: str, found: Iterable[str]) -> SourceContractError:
    """Return the error for a contract table that the source does not have."""
    others = found.others if isinstance(found, Tables) else ()
    beside = f" (not read: {', '.join(others[:MOST_OTHERS])})" if others else ""
    return SourceContractError(
        f"table {table}: expected {source_table!r} (a file {source_table}.csv or {source_table}.parquet, or a "
        f"table of the database), found {', '.join(sorted(found)) or 'no table'}{beside}. "
        "Export it, name its counterpart in a mapping.yml"
        + ("." if table == "leads" else ", or declare it absent there.")
    )


def _missing(chosen: ChosenMapping, table: str, found: Mapping[str, Sequence[str]]) -> list[str]:
    spec = chosen.mapping.tables.get(table, TableMapping())
    _, faults = _forms(chosen, TABLES[table], found[spec.table or table])
    return [f"{spec.table or table}.{column}" for column, required in faults.items() if required]


def _forms(
    chosen: ChosenMapping, table: Table, found: Sequence[str]
) -> tuple[dict[str, ColumnForm | None], dict[str, bool]]:
    """Tie the forms of a table to the columns found; also the source columns missing, and whether each is required."""
    spec = chosen.mapping.tables.get(table.name, TableMapping())
    own = chosen.own.tables.get(table.name, TableMapping())
    forms: dict[str, ColumnForm | None] = {}
    missing: dict[str, bool] = {}

    def lookup(name: str, *, required: bool, named: bool) -> str | None:
        if (column := find_column(name, found, table.name)) is None and (required or named):
            missing[name] = missing.get(name, False) or required
        return column

    for column in table.columns:
        form = spec.columns.get(column.name, column.name)
        named = column.name in own.columns
        if column.name == table.key and spec.id is not None:
            forms[column.name] = None
            for name in spec.id.derive_from:
                lookup(name, required=True, named=True)
        elif isinstance(form, str):
            # a history without its values would say that every column was emptied
            forms[column.name] = lookup(form, required=column.required or column.of_lead, named=named)
        elif isinstance(form, Substitute):
            forms[column.name] = form
        elif isinstance(form, Flag):
            flag = lookup(form.flag, required=column.required, named=named)
            forms[column.name] = None if flag is None else Flag(flag=flag, known=form.known)
        else:
            candidates = [lookup(name, required=False, named=named) for name in form.first_of]
            present = [name for name in candidates if name is not None]
            if not present and column.required:
                missing[form.first_of[0]] = True
            forms[column.name] = FirstOf(first_of=present) if present else None
    return forms, missing


def bind(chosen: ChosenMapping, table: Table, *, found: Mapping[str, Sequence[str]], place: str) -> TableBinding:
    """Tie one contract table to the columns of its source.

    Parameters
    ----------
    chosen : ChosenMapping
        The mapping of the source.
    table : Table
        The contract table.
    found : mapping of str to sequence of str
        Columns by table of the source; holds the table.
    place : str
        The file or database table, for messages.

    Raises
    ------
    SourceContractError
        When a required column is not there, or the mapping names one that is not; the message has all of them.
    """
    spec = chosen.mapping.tables.get(table.name, TableMapping())
    source_table = spec.table or table.name
    columns = found[source_table]
    forms, missing = _forms(chosen, table, columns)
    if missing:
        raise SourceContractError(_missing_columns(chosen, table, place, missing, columns))
    derive_from = spec.id.derive_from if spec.id is not None else []
    return TableBinding(
        table=table,
        source_table=source_table,
        forms=forms,
        derive_from=tuple(
            column for name in derive_from if (column := find_column(name, columns, table.name)) is not None
        ),
        values=spec.values,
        units=spec.units,
        watermark=spec.watermark,
        overlap_minutes=spec.overlap_minutes,
        times=spec.times,
        time_zone=chosen.mapping.time_zone,
        numbers=spec.numbers,
        missing=tuple(chosen.mapping.missing),
    )


def _missing_columns(
    chosen: ChosenMapping, table: Table, place: str, missing: Mapping[str, bool], columns: Sequence[str]
) -> str:
    required = [name for name, needed in missing.items() if needed]
    named = [name for name, needed in missing.items() if not needed]
    wanted = [
        f"the {what}column{'' if len(names) == 1 else 's'} {', '.join(names)}{which}"
        for what, names, which in (("required ", required, ""), ("", named, ", which the mapping names"))
        if names
    ]
    near = [
        f"{name!r} may be {match[0]!r}"
        for name in missing
        if not has_no_header(columns)
        and (match := get_close_matches(name.strip().lower(), [each.strip().lower() for each in columns], n=1))
    ]
    return (
        f"table {table.name}, {place}: expected {' and '.join(wanted)} (mapping {chosen.mapping.name!r}), found the "
        f"columns {shown_columns(columns)}. "
        + "Export the column, or name its counterpart in a mapping.yml (docs/source-contract.md)"
        + (f"; {', '.join(near)}." if near else ".")
    )
