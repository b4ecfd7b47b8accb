"""Bindings: a contract table bound to the columns that its source has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches

from models.declaring.attribute import STORED, AttributeKind, Known
from store.source.contract import CHANGES, CUSTOMERS, OVERWRITTEN, TABLES, SourceContractError
from store.source.mapping.expressions import shown
from store.source.mapping.forms import Absent, ChosenMapping, ColumnForm, FirstOf, Flag, Substitute, TableMapping
from store.source.mapping.spellings import Currency, NumberForm, TimeForm
from store.source.owners import tables_about
from store.source.reading.tables import Tables, find_column, has_no_header, shown_columns
from store.source.record import Column, Table
from store.source.values.functions import ISO, UTC_ZONE
from store.source.values.texts import folded

MOST_OTHERS = 20
"""A message lists at most so many files that are no tables."""


@dataclass(frozen=True, kw_only=True)
class BoundAttribute:
    """An attribute bound to a column of the source.

    Attributes
    ----------
    name : str
    label : str
        The column or expression, as a person knows it.
    column : str
        The column of the source table, or of the assembled one.
    kind : str or None
        None until its values have been looked at.
    known : str or None
        As the mapping states it.
    at : str
        What stands between several options; empty if unknown.
    numbers : NumberForm or None
        The spelling of numbers; None for a decimal point.
    formats : tuple of str
        The formats of dates.
    """

    name: str
    label: str
    column: str
    kind: AttributeKind | None = None
    known: Known | None = None
    at: str = ""
    numbers: NumberForm | None = None
    formats: tuple[str, ...] = (ISO,)

    @property
    def stored(self) -> str:
        """``column_name`` of its values in ``raw.changes``, and its column in the typed table."""
        return STORED + self.name


@dataclass(frozen=True, kw_only=True)
class TableBinding:
    """A contract table bound to the columns that its source has.

    Attributes
    ----------
    table : Table
        The contract table.
    source_table : str
        File stem or database table.
    forms : dict of str to ColumnForm or None
        By contract column: the source column, or the form that computes it; None if the source has no such column.
    derive_from : tuple of str
        Source columns that the key is derived from; empty when the source has a key.
    derives_itself : bool
        Whether the key is derived though the mapping does not say so.
    values, units, watermark, overlap_minutes, times, time_zone, numbers, missing
        As in the mapping.
    currency : Currency or None
        The currency of its amounts and the rates, as in the mapping; None if the table has no currencies.
    origin : str
        In words, how rows are put together from several tables; empty if the rows are those of one source table.
    also_read : frozenset of str
        Columns that joins, conditions, computed columns or other tables read.
    attributes : tuple of BoundAttribute
    free : tuple of str
        Where the mapping takes all fit columns as attributes, the columns of the source that nothing else reads.
    owners : tuple of TableBinding
        For a history, the bindings of the tables whose values it has: leads, projects and customers, those that the
        source has.
    """

    table: Table
    source_table: str
    forms: Mapping[str, ColumnForm | None]
    derive_from: tuple[str, ...]
    derives_itself: bool
    values: Mapping[str, Mapping[str, str | None]]
    units: Mapping[str, Decimal]
    watermark: str | None
    overlap_minutes: int
    times: Mapping[str, TimeForm] = field(default_factory=dict)
    time_zone: str = UTC_ZONE
    numbers: Mapping[str, NumberForm] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    currency: Currency | None = None
    origin: str = ""
    also_read: frozenset[str] = frozenset()
    attributes: tuple[BoundAttribute, ...] = ()
    free: tuple[str, ...] = ()
    owners: "tuple[TableBinding, ...]" = ()

    def reads(self, column: str) -> bool:
        """Say whether a contract column is read from one column of the source."""
        return isinstance(self.forms[column], str)

    def formats(self, column: str) -> tuple[str, ...]:
        """Return the formats of the texts in a time column."""
        return self.times[column].formats if column in self.times else (ISO,)

    def zone(self, column: str) -> str:
        """Return the time zone of values in a time column that do not name one."""
        return (self.times[column].zone if column in self.times else None) or self.time_zone

    def known_words(self, column: str) -> set[str]:
        """Return the words in the vocabulary or the value map of a column."""
        return {*map(folded, self.table.column(column).vocabulary), *self.values.get(column, {})}

    def missing_words(self, column: str) -> tuple[str, ...]:
        """Return the words for a missing value in a column, without the words that the column knows."""
        return tuple(sorted(set(self.missing) - self.known_words(column)))

    @property
    def clock_times(self) -> tuple[str, ...]:
        """The time columns that are computed from the clock of the extraction or other times, and not read."""
        return tuple(name for name, form in self.forms.items() if isinstance(form, Flag | Substitute))

    @property
    def fact_times(self) -> tuple[str, ...]:
        """The time columns that are read from the source and hold times of facts."""
        return tuple(
            column.name
            for column in self.table.columns
            if column.kind == "time" and not column.planned and self.reads(column.name)
        )

    @property
    def clock_facts(self) -> tuple[str, ...]:
        """The `fact_times` that the default clock follows: those that are entered when they come."""
        return tuple(name for name in self.fact_times if not self.table.column(name).ahead)

    def is_read(self, column: str) -> bool:
        """Say whether a source column is read for anything."""
        return column in self.source_columns or column in self.also_read

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The source columns that are read, each once, in the order of the contract."""
        named = [name for form in self.forms.values() for name in columns_of(form)]
        return tuple(dict.fromkeys([*named, *self.derive_from, *(each.column for each in self.attributes)]))


def with_owners(history: TableBinding, owners: Iterable[TableBinding]) -> TableBinding:
    """Return the binding of a history, which knows the columns of its owners and their attributes by any name."""
    found = tuple(owners)
    attributes = [each for owner in found for each in owner.attributes]
    labels = {folded(label): each.stored for each in attributes for label in (each.label, each.name)}
    overwritten = {folded(name) for owner in found for name in OVERWRITTEN[owner.table.name]}
    named = {label: stored for label, stored in labels.items() if label not in overwritten}
    values = {**history.values, "column_name": {**named, **history.values.get("column_name", {})}}
    # a column with the customer of a lead names no owner where the source has no customers
    own = {"customer_id": None} if all(owner.table.name != "customers" for owner in found) else {}
    return replace(history, owners=found, values=values, forms={**history.forms, **own})


def columns_of(form: ColumnForm | None) -> list[str]:
    """Return the source columns that the form of a column names."""
    if isinstance(form, FirstOf):
        return form.first_of
    named = form.flag if isinstance(form, Flag) else form
    return [named] if isinstance(named, str) else []


def is_another(table: Table, columns: Iterable[str]) -> bool:
    """Say whether a table with the name of an optional contract table is another table of the source.

    It is another one if it has neither its key nor what a row is about and when. A history
    has a required column except ``lead_id``, which any table of a CRM may have.
    """
    found = {folded(column) for column in columns} - {"lead_id"}
    required = [folded(column.name) in found for column in table.columns if column.required]
    own = any(required) if table.name == CHANGES else required[0] or (table.of is not None and all(required[1:]))
    return table.optional and not own


def missing_table(table: str, source_table: str, found: Iterable[str]) -> SourceContractError:
    """Return the error for a contract table that the source does not have."""
    other_files = found.others if isinstance(found, Tables) else ()
    not_read = f" (not read: {', '.join(other_files[:MOST_OTHERS])})" if other_files else ""
    return SourceContractError(
        f"table {table}: expected {source_table!r} (a file {source_table}.csv or {source_table}.parquet, or a "
        f"table of the database), found {', '.join(sorted(found)) or 'no table'}{not_read}. "
        "Export it, name its counterpart in a mapping.yml"
        + (
            f". A source of customers alone has {' or '.join(CUSTOMERS)} instead."
            if table == "leads"
            else ", or declare it absent there."
        )
    )


def missing_columns(chosen: ChosenMapping, table: str, found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the required columns that a table lacks, by their names in the source."""
    spec = chosen.mapping.tables.get(table, TableMapping())
    _, faults = _forms(chosen, TABLES[table], found[spec.table or table])
    return [f"{spec.table or table}.{column}" for column, required in faults.items() if required]


def _forms(
    chosen: ChosenMapping, table: Table, found: Sequence[str]
) -> tuple[dict[str, ColumnForm | None], dict[str, bool]]:
    """Return the forms of a table with the columns found, and the missing source columns: whether each is required."""
    spec = chosen.mapping.tables.get(table.name, TableMapping())
    own_spec = chosen.own.tables.get(table.name, TableMapping())
    forms: dict[str, ColumnForm | None] = {}
    missing: dict[str, bool] = {}

    def lookup(name: str, *, required: bool, named: bool) -> str | None:
        if (column := find_column(name, found, table.name)) is None and (required or named):
            missing[name] = missing.get(name, False) or required
        return column

    for column in table.columns:
        form = spec.columns.get(column.name, column.name)
        named = column.name in own_spec.columns
        if column.name == table.key and spec.id is not None:
            forms[column.name] = None
            for name in spec.id.derive_from:
                lookup(name, required=True, named=True)
        elif isinstance(form, str):
            # without its value column, a history would say that every column became empty
            required = (column.required and not _derives_itself(table, column)) or column.of_owner
            forms[column.name] = lookup(form, required=required, named=named)
        elif isinstance(form, Substitute):
            forms[column.name] = form
        elif isinstance(form, Flag):
            flag = lookup(form.flag, required=column.required, named=named)
            forms[column.name] = None if flag is None else Flag(flag=flag, known=form.known)
        elif isinstance(form, Absent):
            forms[column.name] = None
        elif isinstance(form, FirstOf):
            candidates = [lookup(name, required=False, named=named) for name in form.first_of]
            if not (present := [name for name in candidates if name is not None]) and column.required:
                missing[form.first_of[0]] = True
            forms[column.name] = FirstOf(first_of=present) if present else None
        else:
            raise AssertionError(f"{table.name}.{column.name}: computed columns are bound by their names")
    about = [each.key for each in tables_about(table)] if table.or_of else []
    if about and all(forms[key] is None for key in about):
        form = spec.columns.get(about[0], about[0])
        missing[form if isinstance(form, str) else about[0]] = True
    return forms, missing


def _derives_itself(table: Table, column: Column) -> bool:
    return column.name == table.key and bool(table.key_from)


def bind(chosen: ChosenMapping, table: Table, *, found: Mapping[str, Sequence[str]], place: str) -> TableBinding:
    """Bind a contract table to the columns of its source.

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
        If a required column, or one that the mapping names, is missing; the message lists all of them.
    """
    spec = chosen.mapping.tables.get(table.name, TableMapping())
    source_table = spec.table or table.name
    columns = found[source_table]
    forms, missing = _forms(chosen, table, columns)
    own_attributes = chosen.own.tables.get(table.name, TableMapping()).named_attributes
    attributes = []
    for name, form in spec.named_attributes.items():
        label = shown(form.column)
        if (column := find_column(label, columns, table.name)) is not None:
            attributes.append(
                BoundAttribute(
                    name=name, label=label, column=column, kind=form.type, known=form.known, at=form.at or ""
                )
            )
        elif name in own_attributes:
            missing[label] = False
    if missing:
        raise SourceContractError(_missing_columns(chosen, table, place, missing, columns))
    derive_from = spec.id.derive_from if spec.id is not None else []
    derives_itself = spec.id is None and forms[table.key] is None
    if derives_itself:
        derive_from = [column for name in table.key_from for column in columns_of(forms[name])]
    bound = TableBinding(
        table=table,
        source_table=source_table,
        forms=forms,
        derive_from=tuple(
            column for name in derive_from if (column := find_column(name, columns, table.name)) is not None
        ),
        derives_itself=derives_itself,
        values=spec.values,
        units=spec.units,
        watermark=spec.watermark,
        overlap_minutes=spec.overlap_minutes,
        times=spec.times,
        time_zone=chosen.mapping.time_zone,
        numbers=spec.numbers,
        missing=tuple(chosen.mapping.missing),
        currency=chosen.mapping.currency if "currency" in table.column_names else None,
        attributes=tuple(attributes),
    )
    read = bound.source_columns
    return replace(bound, free=tuple(column for column in columns if column not in read)) if spec.auto else bound


def _missing_columns(
    chosen: ChosenMapping, table: Table, place: str, missing: Mapping[str, bool], columns: Sequence[str]
) -> str:
    required = [name for name, needed in missing.items() if needed]
    named = [name for name, needed in missing.items() if not needed]
    parts = [
        f"the {kind}column{'' if len(names) == 1 else 's'} {', '.join(names)}{suffix}"
        for kind, names, suffix in (("required ", required, ""), ("", named, ", which the mapping names"))
        if names
    ]
    suggestions = [
        f"{name!r} may be {match[0]!r}"
        for name in missing
        if not has_no_header(columns)
        and (match := get_close_matches(name.strip().lower(), [each.strip().lower() for each in columns], n=1))
    ]
    return (
        f"table {table.name}, {place}: expected {' and '.join(parts)} (mapping {chosen.mapping.name!r}), found the "
        f"columns {shown_columns(columns)}. "
        + "Export the column, or name its counterpart in a mapping.yml (docs/mapping.md)"
        + (f"; {', '.join(suggestions)}." if suggestions else ".")
    )
