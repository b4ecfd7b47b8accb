"""The typed rows of a table, as SQL: raw values, then types, then the meaning of times, then the failed check."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from store.source.checking.attribute_texts import attribute_text
from store.source.checking.checks import TRUE, Check
from store.source.checking.numbers import NUMERIC, number_text, times
from store.source.checking.times import (
    TIMES,
    Dates,
    has_happened,
    meant,
    said_time,
    stated,
    stated_columns,
    unless_missing,
)
from store.source.contract import OVERWRITTEN
from store.source.mapping.binding import BoundAttribute, TableBinding, columns_of
from store.source.mapping.forms import EXTRACTION, FirstOf, Flag, Substitute
from store.source.owners import owner_table
from store.source.reading.tables import Reading
from store.source.record import SQL_TYPES, Column
from store.source.sql import of_source
from store.source.values.texts import is_contact
from store.sql import literal, literals


def typed_rows(
    binding: TableBinding,
    reading: Reading,
    checks: Sequence[Check],
    types: Mapping[str, str],
    dates: Mapping[str, Dates],
    known_by: datetime | None,
) -> str:
    """Compose the SELECT of a typed table."""
    table, stated_names = binding.table, stated_columns(binding, dates)
    read: list[str] = []
    raw: list[str] = []
    prepared: list[str] = []
    typed: list[str] = []
    pseudonyms: list[str] = []
    free_texts: list[str] = []
    missing: list[str] = []
    results: list[str] = []
    for place, column in enumerate(table.columns):
        name = column.name
        read_value, value, contact = _column(column, binding, types)
        read.append(f"{read_value} as read_{name}")
        is_text = isinstance(form := binding.forms[name], str | Flag) and not _is_typed(column, form, types)
        raw_value = unless_missing(binding, name, f"read_{name}") if is_text and not column.of_owner else f"read_{name}"
        raw.append(f"{raw_value} as raw_{name}")
        if raw_value != f"read_{name}":
            missing.append(f"case when read_{name} is not null and raw_{name} is null then {1 << place} else 0 end")
            raw.append(f"read_{name}")
        if column.of_owner:
            is_missing = of_owner(binding, partial(_is_missing_of, raw=f"raw_{name}"))
            missing.append(
                f"case when raw_{name} is not null and coalesce({is_missing}, false) then {1 << place} else 0 end"
            )
        prepared += _worked(column, form, types)
        if column.default is not None:
            is_default = f"{value} is null"
            if column.free_text_limit is not None:
                # a text that is left behind is no missing value
                is_default += f" and coalesce(length(raw_{name}), 0) <= {column.free_text_limit}"
            typed.append(f"{is_default} as is_default_{name}")
            results.append(f"is_default_{name}")
            value = (
                f"coalesce({value}, {literal(column.default)})"
                if column.free_text_limit is None
                else f"case when {is_default} then {literal(column.default)} else {value} end"
            )
        typed.append(f"{value} as {stated(stated_names, name)}")
        results.append(stated(stated_names, name))
        if isinstance(form, Flag):
            typed.append(f"folded(raw_{name}) in ({literals(TRUE)}) as flag_{name}")
            results.append(f"flag_{name}")
        if contact is not None:
            pseudonyms.append(f"(raw_{name} is distinct from {contact})::smallint")
        if column.free_text_limit is not None:
            free_texts.append(f"coalesce(length(raw_{name}) > {column.free_text_limit}, false)::smallint")
    meanings = [
        f"{meant(binding, column, dates, types.get(str(binding.forms[column.name])), known_by)} as {column.name}"
        for column in table.columns
        if column.name in stated_names
    ]
    results += [column.name for column in table.columns if column.name in stated_names]
    conditions = " ".join(
        f"when {check.condition} then {number}" for number, check in enumerate(checks) if check.condition != "false"
    )
    ordinal = ""
    if binding.derive_from:
        alike = identity(binding)
        # the order of a database's rows is not fixed, and changes after an update
        order = "record" if reading.first_line is not None else ", ".join(map(of_source, binding.source_columns))
        ordinal = f", {alike} || '-' || row_number() over (partition by {alike} order by {order}) as derived_key"
    typed += [
        f"{' + '.join(pseudonyms) or '0'} as pseudonyms",
        f"{' + '.join(free_texts) or '0'} as free_texts",
        f"({' + '.join(missing) or '0'})::bigint as missing_words",
    ]
    rows = f"(select *{ordinal} from source_{table.name})"
    # each step has its own SELECT: an expression would be planned again wherever another one uses it
    for columns in (["record", *read], ["record", *raw], ["*", *prepared], ["*", *typed], ["*", *meanings]):
        rows = f"(select {', '.join(columns)} from {rows})"
    return (
        f"select record, {', '.join(results)}, pseudonyms, free_texts, missing_words, "
        f"case {conditions} end::smallint as check_no from {rows}"
    )


def identity(binding: TableBinding, cleaned: str = "cleaned") -> str:
    """Return SQL for the hash of the columns that a key is derived from, the same for files and databases.

    In a key that Leadline composes by itself, a number is the same however it is written, and an empty value is that
    of no column.
    """
    named: list[tuple[str | None, str]] = [(None, column) for column in binding.derive_from]
    if binding.derives_itself:
        named = [(name, column) for name in binding.table.key_from for column in columns_of(binding.forms[name])]
    parts = []
    for name, column in named:
        text = f"{cleaned}({of_source(column)})"
        # a moment can be written in many ways, and a CSV file and a database must give one hash
        value = f"coalesce(epoch_us(try_cast({text} as timestamptz))::varchar, {text}, chr(30))"
        if name is not None:
            kind = {"time": "timestamptz", "number": "decimal(38, 6)"}.get(binding.table.column(name).kind)
            typed = f"try_cast({text} as {kind})" if kind else "null"
            typed = f"epoch_us({typed})" if kind == "timestamptz" else typed
            value = f"{literal(name)} || chr(30) || coalesce({typed}::varchar, nullif({text}, ''))"
        parts.append(value)
    return f"left(sha256(concat_ws(chr(31), {', '.join(parts)})), 24)"


def _is_typed(column: Column, form: str | Flag, types: Mapping[str, str]) -> bool:
    typed = {"time": TIMES, "number": NUMERIC}.get(column.kind, ("nothing",))
    return isinstance(form, str) and types[form].startswith(typed)


def _worked(column: Column, form: str | Substitute | Flag | FirstOf | None, types: Mapping[str, str]) -> list[str]:
    name = column.name
    if isinstance(form, str) and column.kind != "text":
        return [] if _is_typed(column, form, types) else [f"plain(raw_{name}) as text_{name}"]
    if column.of_owner:
        return [
            f"plain(raw_{name}) as text_{name}",
            f"contact_free(raw_{name}) as free_{name}",
            f"contact_free_postal(raw_{name}) as postal_{name}",
        ]
    free = f"contact_free{'_postal' if column.postal else ''}(raw_{name}) as free_{name}"
    return [free] if isinstance(form, str | FirstOf) else []


def _text(column: str) -> str:
    return f"cleaned({of_source(column)})"


def _column(column: Column, binding: TableBinding, types: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Return SQL for a column's value as read, for its typed value, and for its raw value without contact data."""
    form, sql_type = binding.forms[column.name], SQL_TYPES[column.kind]
    raw, free = f"raw_{column.name}", f"free_{column.name}"
    if binding.derive_from and column.name == binding.table.key:
        return "derived_key", raw, None
    if form is None or isinstance(form, Substitute):
        return "null::varchar", f"null::{sql_type}", None
    if isinstance(form, Flag):
        return _text(form.flag), f"null::{sql_type}", None
    if isinstance(form, FirstOf):
        words = literals(sorted(binding.known_words(column.name)))
        cases = "".join(f"when folded({_text(name)}) in ({words}) then {_text(name)} " for name in form.first_of)
        values = ", ".join(unless_missing(binding, column.name, _text(name)) for name in form.first_of)
        raw_value = f"case {cases}else coalesce({values}, null) end"
        return raw_value, _vocabulary(column, binding, raw, free), _contact_free(column, binding, raw, free)
    source_type = types[form]
    if column.kind == "time":
        read = of_source(form) if source_type.startswith(TIMES) else _text(form)
        text = raw if source_type.startswith(TIMES) else f"text_{column.name}"
        return read, said_time(binding, column.name, source_type, text).value, None
    if column.kind == "number":
        if source_type.startswith(NUMERIC):
            # some writers of Parquet store a missing number as NaN
            read = f"nullif({of_source(form)}, 'nan')" if source_type in ("FLOAT", "DOUBLE") else of_source(form)
            return read, _number_of(column, binding, raw), None
        text = number_text(binding.numbers.get(column.name), f"text_{column.name}")
        return _text(form), _number_of(column, binding, text), None
    if column.of_owner:
        return _text(form), *_value_of_owner(binding, column.name)
    value = _vocabulary(column, binding, raw, free)
    if column.free_text_limit is not None:
        value = f"case when length({raw}) <= {column.free_text_limit} then {value} end"
    return _text(form), value, _contact_free(column, binding, raw, free)


def _number_of(column: Column, binding: TableBinding, raw: str) -> str:
    if (factor := binding.units.get(column.name)) is not None:
        return times(raw, factor)
    return f"try_cast({raw} as {SQL_TYPES[column.kind]})"


def of_owner(
    history: TableBinding, value: Callable[[TableBinding, Column | BoundAttribute], str], otherwise: str = "null"
) -> str:
    """Return SQL over a history for a value that depends on the column of its owner that a row names.

    Parameters
    ----------
    history : TableBinding
    value : callable
        Returns SQL for an overwritten column, or an attribute, of an owner.
    otherwise : str
        SQL for a row that names another column.
    """
    cases: dict[str, str] = {}
    for owner in history.owners:
        columns: list[Column | BoundAttribute] = [
            *map(owner.table.column, OVERWRITTEN[owner.table.name]),
            *owner.attributes,
        ]
        # columns that are read alike have one case
        alike: dict[str, list[str]] = {}
        for each in columns:
            alike.setdefault(value(owner, each), []).append(stored_name(each))
        listed = " ".join(f"when column_name in ({literals(names)}) then {sql}" for sql, names in alike.items())
        cases[owner.table.name] = f"case {listed} else {otherwise} end"
    if len(cases) == 1:
        return next(iter(cases.values()))
    by_table = " ".join(f"when '{table}' then {sql}" for table, sql in cases.items())
    return f"case {owner_table('raw_')} {by_table} else {otherwise} end"


def stored_name(column: Column | BoundAttribute) -> str:
    """Return the name of an overwritten column, or of an attribute, in the history."""
    return column.name if isinstance(column, Column) else column.stored


def stored_text(column: Column | BoundAttribute, typed: str) -> str:
    """Return SQL for the text of a typed value in the history."""
    if isinstance(column, Column) and column.kind == "time":
        return f"strftime({typed}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"cast({typed} as varchar)" if isinstance(column, Column) else typed


def _value_of_owner(history: TableBinding, name: str) -> tuple[str, str]:
    """Return SQL for a value in the history: typed as text, and raw without contact data.

    ``column_name`` names the column of the owner that the value belongs to. Units, value maps and times are
    those of its table, so that a row and its history agree. ``text_<name>``, ``free_<name>`` and ``postal_<name>`` must
    exist.
    """
    raw = f"raw_{name}"

    def typed(owner: TableBinding, column: Column | BoundAttribute) -> str:
        if isinstance(column, BoundAttribute):
            return attribute_text(column, f"said({raw})", owner.time_zone)
        if column.kind == "number":
            number = number_text(owner.numbers.get(column.name), unless_missing(owner, column.name, f"text_{name}"))
            return stored_text(column, _number_of(column, owner, number))
        if column.kind == "time":
            text = unless_missing(owner, column.name, f"text_{name}")
            return stored_text(column, said_time(owner, column.name, "VARCHAR", text).value)
        text = unless_missing(owner, column.name, raw)
        return f"case when {text} is not null then {_vocabulary(column, owner, raw, _free(column, name))} end"

    def without_contact(owner: TableBinding, column: Column | BoundAttribute) -> str:
        if isinstance(column, Column) and column.kind != "text":
            return raw
        if isinstance(column, BoundAttribute):
            return f"free_{name}"
        return _contact_free(column, owner, raw, _free(column, name))

    return of_owner(history, typed), of_owner(history, without_contact, raw)


def _free(column: Column, name: str) -> str:
    return f"postal_{name}" if column.postal else f"free_{name}"


def _is_missing_of(owner: TableBinding, column: Column | BoundAttribute, raw: str) -> str:
    """Return SQL for whether a value in the history is a word for a missing value."""
    if isinstance(column, BoundAttribute):
        return f"said({raw}) is null"
    return f"{unless_missing(owner, column.name, raw)} is null"


def _vocabulary(column: Column, binding: TableBinding, raw: str, free: str) -> str:
    """Return SQL for a word as the value map translates it, or without contact data if the map lacks it."""
    spelling = f"folded({free})" if column.vocabulary else free
    if column.codes is not None:
        spelling = f"upper({spelling})"
    if not (mapped := binding.values.get(column.name)):
        return spelling
    cases = " ".join(f"when {literal(found)} then {_meant(meant)}" for found, meant in mapped.items())
    return f"case folded({raw}) {cases} else {spelling} end"


def _meant(word: str | None) -> str:
    return f"pseudonym({literal(word)})" if word is not None and is_contact(word) else literal(word)


def _contact_free(column: Column, binding: TableBinding, raw: str, free: str) -> str:
    """Return SQL for a raw value without contact data; a word in the value map does not count as contact data."""
    known = [word for word in binding.values.get(column.name, ()) if is_contact(word)]
    return f"case when folded({raw}) in ({literals(known)}) then {raw} else {free} end" if known else free


def resolved(binding: TableBinding, seen_at: datetime) -> str:
    """Return the SELECT of the accepted rows of a table; facts without a time of their own are known from `seen_at`.

    A time that an earlier extraction gave to a row stays, even if the row has changed since: a known fact cannot become
    known later.
    """
    table, now = binding.table, f"timestamptz '{seen_at.isoformat()}'"
    columns: list[str] = []
    for column in table.columns:
        form, seen = binding.forms[column.name], f"coalesce(k.{column.name}, {now})"
        if isinstance(form, Substitute):
            times = [seen if name == EXTRACTION else f"t.{name}" for name in form.of]
            earliest = f"least({', '.join(times)})"
            if column.fact_when:
                earliest = f"case when {has_happened(column)} then {earliest} end"
            columns.append(f"{earliest} as {column.name}")
        elif isinstance(form, Flag):
            known = seen
            if not isinstance(form.known, str):
                delayed = f"t.{form.known.after} + to_microseconds({round(form.known.hours * 3_600_000_000)})"
                known = f"least({delayed}, {seen})"
            columns.append(f"case when t.flag_{column.name} then {known} end as {column.name}")
        else:
            columns.append(f"t.{column.name}")
    earlier = f" left join known_{table.name} k on k.{table.key} = t.{table.key}" if binding.clock_times else ""
    return f"select {', '.join(columns)} from typed_{table.name} t{earlier} where t.check_no is null"
