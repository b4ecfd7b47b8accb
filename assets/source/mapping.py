"""Source mappings: how another CRM's tables and columns become those of the contract.

The YAML format (a pydantic model), inheritance between mappings, and the choice of the mapping for a source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from assets.source.contract import TABLES, SourceContractError, Table
from assets.source.formats import ISO, UTC_ZONE, fault_of
from assets.source.words import MISSING, folded
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    "missing_table",
]

SHIPPED = Path(__file__).parent / "mappings"
# the order in which shipped mappings are tried on the columns of a source
TRIED = ("contract", "plain")
EXTRACTION = "extraction"


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
    known: Literal["extraction"] | Delay = Field(
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


def _yaml_text(value: object) -> object:
    """Undo YAML's reading of ``yes``, ``null`` and ``1`` as other types than text."""
    if value is None or isinstance(value, bool | int | float):
        return "null" if value is None else str(value)
    return value


def _word(value: object) -> object:
    """Return a word as it is looked up."""
    text = _yaml_text(value)
    return folded(text) if isinstance(text, str) else text


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"expected a time zone of the IANA database such as Europe/Berlin or UTC, found {name}")
    return name


Zone = Annotated[str, AfterValidator(_zone)]


class TimeForm(_Strict):
    """How a time is written that is not ISO 8601, or where the clock hung."""

    format: str | list[str] = Field(
        default=ISO,
        description="`iso`, `epoch_s`, `epoch_ms`, `excel_days` or a format of strptime such as `%d/%m/%Y %H:%M`; of "
        "several the first that fits",
    )
    zone: Zone | None = Field(default=None, description="time zone of times that name none, in place of `time_zone`")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, in the order in which they are tried."""
        return (self.format,) if isinstance(self.format, str) else tuple(self.format)

    @model_validator(mode="after")
    def _formats_exist(self) -> Self:
        if not self.formats:
            raise ValueError("expected a format, found none")
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
        return self


class TableMapping(_Strict):
    """How one contract table is read."""

    table: str | None = Field(default=None, description="file name without its ending, or database table")
    absent: bool = Field(default=False, description="the source has no such table")
    columns: dict[str, ColumnForm] = Field(
        default_factory=dict, description="contract column: source column, substitute, flag or first_of"
    )
    values: dict[str, dict[Annotated[str, BeforeValidator(_word)], str | None]] = Field(
        default_factory=dict, description="contract column: {value in the source (case does not matter): value}"
    )
    units: dict[str, Decimal] = Field(
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
    closing_outcomes: list[str] = Field(default_factory=list, description="interaction outcomes that end a lead")
    silence_closes_after_days: int | None = Field(
        default=None, ge=1, description="days without a fact after which a lead counts as closed; unset: never"
    )
    horizon_days: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="default horizon by model, in days"
    )

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        _known(self.tables, TABLES, "tables")
        _known(self.horizon_days, DECLARATIONS, "horizon_days (by model)")
        for name, spec in self.tables.items():
            _check_table(name, spec)
        return self


def _known(named: Mapping[str, Any] | Sequence[str], allowed: Sequence[str] | Mapping[str, Any], where: str) -> None:
    unknown = [name for name in named if name not in allowed]
    if unknown:
        raise ValueError(f"{where}: expected {', '.join(allowed)}; found {', '.join(unknown)}")


def _check_table(name: str, spec: TableMapping) -> None:
    table, where = TABLES[name], f"tables.{name}"
    times = [column.name for column in table.columns if column.kind == "time"]
    if spec.absent and name == "leads":
        raise ValueError(f"{where}.absent: the leads table cannot be absent")
    _known(spec.columns, table.column_names, f"{where}.columns")
    numbers = [column.name for column in table.columns if column.kind == "number"]
    _known(spec.units, numbers, f"{where}.units")
    _known(spec.numbers, numbers, f"{where}.numbers")
    _known(spec.times, times, f"{where}.times")
    # what a history says of a lead is read as the lead is, by the value maps and units of leads
    texts = [column.name for column in table.columns if column.kind == "text" and not column.of_lead]
    _known(spec.values, texts, f"{where}.values")
    for column, form in spec.columns.items():
        place = f"{where}.columns.{column}"
        if isinstance(form, Substitute):
            _known([column], times, f"{where}.columns (a substitute)")
            _known(form.of, [*(time for time in times if time != column), EXTRACTION], f"{place}.of")
            if table.column(column).required and EXTRACTION not in form.of:
                raise ValueError(f"{place}.of: expected {EXTRACTION} among them, as {column} is required in every row")
        elif isinstance(form, Flag):
            optional = [time for time in times if not table.column(time).required]
            _known([column], optional, f"{where}.columns (a flag, which leaves the time of some rows empty)")
            if isinstance(form.known, Delay):
                _known([form.known.after], [time for time in times if time != column], f"{place}.known.after")
        elif isinstance(form, FirstOf):
            _known(
                [column],
                [known.name for known in table.columns if known.vocabulary],
                f"{where}.columns (a first_of, which needs a vocabulary)",
            )
    for column, values in spec.values.items():
        if vocabulary := table.column(column).vocabulary:
            _known([value for value in values.values() if value is not None], vocabulary, f"{where}.values.{column}")
    if spec.watermark is not None:
        _known([spec.watermark], times, f"{where}.watermark")
        if not isinstance(spec.columns.get(spec.watermark, spec.watermark), str):
            raise ValueError(f"{where}.watermark: {spec.watermark} must be a column of the source")
        if (written := spec.times.get(spec.watermark)) is not None and written.formats != (ISO,):
            raise ValueError(f"{where}.watermark: {spec.watermark} must be a time of the database, and has a format")


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
    values, units, watermark, times, time_zone, numbers, missing
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
    """The mapping of a source, its inheritance resolved, and why it was chosen."""

    mapping: SourceMapping
    own: SourceMapping
    reason: str


def _read(path: Path) -> SourceMapping:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceContractError(
            f"{path}: expected a source mapping in YAML (UTF-8), found {error}. See docs/source-contract.md."
        ) from error
    return _validated(content, path)


def _validated(content: object, path: Path) -> SourceMapping:
    try:
        return SourceMapping.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            + (" (unknown key)" if fault["type"] == "extra_forbidden" else "")
            for fault in error.errors()
        )
        raise SourceContractError(
            f"{path}: the source mapping is not valid: {faults}. The format is in docs/source-contract.md."
        ) from error


def _shipped() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yml"))


def _inherit(own: SourceMapping, path: Path) -> SourceMapping:
    if own.based_on is None:
        return own
    if own.based_on not in _shipped():
        raise SourceContractError(
            f"{path}: based_on: expected one of {', '.join(_shipped())}, found {own.based_on!r}. "
            "Name a shipped mapping."
        )
    base_path = SHIPPED / f"{own.based_on}.yml"
    base = _inherit(_read(base_path), base_path)
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
        )
    said = own.model_fields_set
    return _validated(
        {
            "name": own.name,
            "based_on": own.based_on,
            "schema": own.schema_ if "schema_" in said else base.schema_,
            "tables": tables,
            **{
                name: getattr(own if name in said else base, name)
                for name in ("time_zone", "missing", "closing_outcomes", "silence_closes_after_days", "horizon_days")
            },
        },
        path,
    )


def _named(path: Path, reason: str) -> ChosenMapping:
    own = _read(path)
    # a shipped mapping fits a family of CRMs, so an optional column that it names may be missing; a typing error in a
    # mapping of one's own must not go unnoticed
    noticed = SourceMapping(name=own.name) if path.parent == SHIPPED else own
    return ChosenMapping(mapping=_inherit(own, path), own=noticed, reason=reason)


def choose_mapping(
    *,
    argument: str | None,
    folder: Path | None,
    found: Mapping[str, Sequence[str]],
) -> ChosenMapping:
    """Choose the mapping of a source and say why.

    In this order: the argument (the name of a shipped mapping, or a path); ``mapping.yml`` in the source folder; the
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
        When the named mapping is missing or invalid, or none fits; the message lists what each one misses.
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
        if (folder / "mapping.yml").is_file():
            return _named(folder / "mapping.yml", "mapping.yml in the source folder")
        if folder.name in shipped:
            return _named(SHIPPED / f"{folder.name}.yml", "the shipped mapping with the folder's name")
    if absent := [name for name, table in TABLES.items() if name not in found and not table.optional]:
        # every shipped mapping needs each table under its own name
        raise missing_table(absent[0], absent[0], found)
    misses: list[str] = []
    for name in TRIED:
        candidate = _named(
            SHIPPED / f"{name}.yml", f"the shipped mapping {name!r}, whose required columns are all there"
        )
        missing = [fault for table in TABLES if table in found for fault in _missing(candidate, table, found)]
        if not missing:
            return candidate
        misses.append(f"{name} misses {', '.join(missing)}")
    listing = "; ".join(f"{table} ({', '.join(columns)})" for table, columns in sorted(found.items())) or "nothing"
    raise SourceContractError(
        f"no shipped mapping fits the source: {'; '.join(misses)}. Found: {listing}. "
        "Write a mapping.yml for this source (docs/source-contract.md)."
    )


def missing_table(table: str, source_table: str, found: Iterable[str]) -> SourceContractError:
    """Return the error for a contract table that the source does not have."""
    return SourceContractError(
        f"table {table}: expected {source_table!r} (a file {source_table}.csv or {source_table}.parquet, or a "
        f"table of the database), found {', '.join(sorted(found)) or 'no table'}. "
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
    actual = {column.strip().lower(): column for column in found}
    forms: dict[str, ColumnForm | None] = {}
    missing: dict[str, bool] = {}

    def lookup(name: str, *, required: bool, named: bool) -> str | None:
        if (column := actual.get(name.strip().lower())) is None and (required or named):
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
        When a required column is not there, or the mapping names one that is not.
    """
    spec = chosen.mapping.tables.get(table.name, TableMapping())
    source_table = spec.table or table.name
    columns = found[source_table]
    forms, missing = _forms(chosen, table, columns)
    listing = ", ".join(columns) or "none"
    if required := [name for name, needed in missing.items() if needed]:
        column = "column" if len(required) == 1 else "columns"
        raise SourceContractError(
            f"table {table.name}, {place}: expected the required {column} {', '.join(required)} "
            f"(mapping {chosen.mapping.name!r}), found the columns {listing}. "
            "Export the column, or name its counterpart in a mapping.yml (docs/source-contract.md)."
        )
    if missing:
        raise SourceContractError(
            f"table {table.name}, {place}: the mapping {chosen.mapping.name!r} names the column {', '.join(missing)}, "
            f"which does not exist; found the columns {listing}. Correct the mapping."
        )
    actual = {column.strip().lower(): column for column in columns}
    derive_from = spec.id.derive_from if spec.id is not None else []
    return TableBinding(
        table=table,
        source_table=source_table,
        forms=forms,
        derive_from=tuple(actual[name.strip().lower()] for name in derive_from),
        values=spec.values,
        units=spec.units,
        watermark=spec.watermark,
        times=spec.times,
        time_zone=chosen.mapping.time_zone,
        numbers=spec.numbers,
        missing=tuple(chosen.mapping.missing),
    )
