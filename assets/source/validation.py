"""Validation: each source table typed, its duplicates collapsed, and what does not fit set aside with its reason.

All in SQL over the scratch DuckDB, so that the cost is that of a few scans. A row has at most one reject: the first
check that it fails, in the order of `checks_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from assets.source.contacts import is_contact
from assets.source.contract import CLOSED_STATUSES, OVERWRITTEN, SQL_TYPES, TABLES, Column, Table
from assets.source.formats import ISO
from assets.source.mapping import EXTRACTION, FirstOf, Flag, Substitute, TableBinding, digits_of
from assets.source.numbers import NUMERIC, Points, is_ambiguous, measure_points, number_text
from assets.source.sql import literal, literals, of_source, one_row, source_types
from assets.source.times import (
    TIMES,
    Dates,
    Walls,
    has_happened,
    meant,
    measure_dates,
    measure_walls,
    said_time,
    stated,
    stated_columns,
    unless_missing,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from assets.source.readers import Reading

__all__ = ["REMEDIES", "Validated", "types_read", "validate", "write_rejects"]

TRUE = ("true", "t", "yes", "y", "1", "1.0", "x", "on", "ja", "j", "wahr", "oui", "vrai", "si", "s\u00ed", "sim")
FALSE = ("false", "f", "no", "n", "0", "0.0", "off", "nein", "falsch", "non", "faux", "nee", "n\u00e3o", "falso")
NUMBERS_OF_LEADS = tuple(name for name in OVERWRITTEN if TABLES["leads"].column(name).kind == "number")
EARLIEST = "1970-01-01"
LATEST = "2200-01-01"
FAR = "far_from_others"

REMEDIES: Mapping[str, str] = {
    "missing_required": "Fill it in the CRM, or supply it in the mapping",
    "unparsable_time": "Export times as ISO 8601 in UTC, such as 2026-01-31T09:30:00Z, or state their format in the "
    "mapping (times)",
    "time_out_of_range": "Correct the time in the CRM; leave it empty when it is not known",
    "time_in_future": "Correct the time in the CRM, or the time zone of the export",
    "unparsable_number": "Export numbers with a decimal point and without unit or thousands separator, or state their "
    "signs in the mapping (numbers)",
    "ambiguous_number": "State the signs in the mapping, such as numbers: {value: {decimal: ',', thousands: '.'}}, or "
    "{decimal: '.'} if it is a decimal point",
    "negative_number": "Correct the number in the CRM",
    "unknown_type": "Map the value in the source mapping (values)",
    "unknown_direction": "Map the value in the source mapping (values)",
    "unknown_status": "Map the value in the source mapping (values)",
    "unknown_flag": "Export the flag as true or false",
    "closed_without_time": "Enter the day of the closing in the CRM",
    "end_before_start": "Correct one of the two times in the CRM",
    "conflicting_duplicate": "Remove all but one of the rows in the CRM; until then none of them is loaded, and what "
    "was loaded of this key before stays as it was",
    "rewritten_history": "A change that was told once stays; enter what is true now as a change of its own",
    FAR: "Correct the time in the CRM; if it is right, set a clock after it (AS_OF=…)",
    "orphan": "Export the lead as well, or mend the lead if it was rejected itself",
    "malformed_row": "Correct the row, or quote fields that hold the delimiter",
}
"""What to do about each reason, by its code."""


@dataclass(frozen=True)
class Check:
    """One way in which a row may not fit.

    Attributes
    ----------
    reason : str
        Code, a key of `REMEDIES`.
    column : str
        The column at fault.
    expected : str
        What the column should have held.
    condition : str
        SQL over the typed row, true when it does not fit.
    """

    reason: str
    column: str
    expected: str
    condition: str


@dataclass(frozen=True)
class Validated:
    """A table after validation, as relation ``typed_<table>``: rows whose ``check_no`` is null are accepted.

    Attributes
    ----------
    binding : TableBinding
        Where its columns come from.
    reading : Reading
        How it was read.
    place : str
        File or database table.
    checks : tuple of Check
        What ``check_no`` counts.
    rows_read, duplicates_collapsed, pseudonymised, free_text_dropped : int
        Records read (malformed ones included); identical rows beyond the first; values replaced by a pseudonym;
        values left behind as free text.
    stated : frozenset of str
        Time columns whose value in the source stands in ``stated_<column>``, beside what it means.
    dates : mapping of str to Dates
        The time columns that have dates without a time of day.
    plans : mapping of str to mapping of str to int
        By column, how many times of accepted rows are plans, by the status of their rows.
    walls : mapping of str to Walls
        The time columns whose values name no time zone, where the mapping states one.
    points : mapping of str to Points
        What the numbers of a column say of their decimal sign.
    missing_words : mapping of str to int
        By column, the values that say that there is none, such as N/A.
    defaults : mapping of str to int
        By column, the accepted rows without a value, for which another stands.
    left_behind : tuple of str
        Values of a selecting column whose rows were not taken.
    """

    binding: TableBinding
    reading: Reading
    place: str
    checks: tuple[Check, ...]
    rows_read: int
    duplicates_collapsed: int
    pseudonymised: int
    free_text_dropped: int
    stated: frozenset[str] = frozenset()
    dates: Mapping[str, Dates] = field(default_factory=dict)
    plans: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    walls: Mapping[str, Walls] = field(default_factory=dict)
    points: Mapping[str, Points] = field(default_factory=dict)
    missing_words: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, int] = field(default_factory=dict)
    left_behind: tuple[str, ...] = ()


def checks_of(
    binding: TableBinding, latest: datetime, told: frozenset[str], points: Mapping[str, Points]
) -> tuple[Check, ...]:
    """Return the checks on a table, in the order in which they are asked.

    The first is the key's; the last ones (conflicting duplicate, orphan, rewritten history, far from others) compare
    rows and have no condition here. What a time of the source is asked, it is asked as the source states it.
    """
    table = binding.table
    checks: list[Check] = []
    late = f"timestamptz '{(latest + timedelta(days=1)).isoformat()}'"
    for column in table.columns:
        checks += _column_checks(column, binding, stated(told, column.name), points.get(column.name))
    if table.name == "projects":
        closed = literals(CLOSED_STATUSES)
        # a flag or a substitute supplies the time later, from the clock
        if isinstance(binding.forms["closed_at"], str | None):
            checks.append(
                Check(
                    "closed_without_time",
                    "closed_at",
                    f"the time at which the project was closed, as its status is {' or '.join(CLOSED_STATUSES)}",
                    f"status in ({closed}) and closed_at is null",
                )
            )
    for column in table.columns:
        if column.kind != "time" or not _read(binding, column.name):
            continue
        if column.not_before is not None and _read(binding, column.not_before):
            start = column.not_before
            # a start that is a date is some moment of its day
            before = f"{column.name} < {stated(told, start)}"
            checks.append(Check("end_before_start", column.name, f"a time not before {start}", before))
        if not column.planned:
            checks.append(
                Check(
                    "time_in_future",
                    column.name,
                    f"a time no later than a day after the present ({latest:%Y-%m-%dT%H:%M:%SZ})",
                    f"{column.name} is not null and {stated(told, column.name)} > {late}",
                )
            )
    checks.append(Check("conflicting_duplicate", table.key, "one content for each key", "false"))
    if table.name != "leads":
        checks.append(Check("orphan", "lead_id", "the lead_id of a lead of the export or of an earlier one", "false"))
    if binding.leads is not None:
        checks.append(Check("rewritten_history", table.key, "what was told under this key before", "false"))
    checks += [Check(FAR, name, "a time that other facts come near to", "false") for name in fact_times(binding)]
    return tuple(checks)


def _read(binding: TableBinding, column: str) -> bool:
    """Say whether a column's value is in the source, and not made from the clock."""
    return isinstance(binding.forms[column], str)


def _column_checks(column: Column, binding: TableBinding, time: str, points: Points | None) -> list[Check]:
    form, derived = binding.forms[column.name], bool(binding.derive_from)
    name, raw = column.name, f"raw_{column.name}"
    if isinstance(form, Flag):
        return [
            Check(
                "unknown_flag",
                name,
                "true or false",
                f"{raw} is not null and folded({raw}) not in ({literals(TRUE + FALSE)})",
            )
        ]
    if isinstance(form, Substitute) or (form is None and not (derived and name == binding.table.key)):
        return []
    checks = []
    if column.kind == "time":
        expected = " or ".join("in ISO 8601" if each == ISO else f"as {each}" for each in binding.formats(name))
        checks.append(Check("unparsable_time", name, f"a time {expected}", f"{raw} is not null and {time} is null"))
        checks.append(
            Check(
                "time_out_of_range",
                name,
                f"a time after {EARLIEST} and before {LATEST}",
                # zero seconds since 1970 is how many systems export a time that they do not have
                f"not (isfinite({time}) and {time} > timestamptz '{EARLIEST}' and {time} < timestamptz '{LATEST}')",
            )
        )
    elif column.kind == "number":
        checks.append(Check("unparsable_number", name, "a number", f"{raw} is not null and {name} is null"))
        checks += _ambiguous(name, points)
        checks.append(Check("negative_number", name, "a number that is not negative", f"{name} < 0"))
    elif column.of_lead and binding.leads is not None:
        said = unless_missing(binding.leads, NUMBERS_OF_LEADS[0], raw)
        is_number = f"{said} is not null and column_name in ({literals(NUMBERS_OF_LEADS)})"
        checks.append(Check("unparsable_number", name, "a number", f"{is_number} and {name} is null"))
        checks.append(
            Check("negative_number", name, "a number that is not negative", f"{is_number} and starts_with({name}, '-')")
        )
        checks += _ambiguous(name, points, f"{is_number} and ")
    elif column.vocabulary and not column.selects:
        allowed = literals(column.vocabulary)
        checks.append(
            Check(f"unknown_{name}", name, f"one of {', '.join(column.vocabulary)}", f"{name} not in ({allowed})")
        )
    if column.required:
        checks.insert(0, Check("missing_required", name, "a value", f"{name} is null and {raw} is null"))
        if column.kind == "text":
            # a value map may map a value to nothing
            checks[0] = Check("missing_required", name, "a value", f"{name} is null")
    return checks


def _ambiguous(name: str, points: Points | None, condition: str = "") -> list[Check]:
    if points is None or not points.is_ambiguous:
        return []
    expected = f"a number that can be read in one way, as {points.commas:,} others of the column have a decimal comma"
    return [Check("ambiguous_number", name, expected, f"{condition}{is_ambiguous(f'text_{name}')}")]


def validate(
    connection: DuckDBPyConnection,
    binding: TableBinding,
    reading: Reading,
    *,
    place: str,
    present: datetime,
    known_by: datetime | None,
    earlier_dates: Collection[str] = (),
) -> Validated:
    """Type and check ``source_<table>`` into ``typed_<table>``.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with the macros of ``assets.source.sql``; for tables other than leads it holds
        ``typed_leads`` and ``known_leads`` (the leads already loaded).
    binding : TableBinding
        The table's columns.
    reading : Reading
        What reading it came to.
    place : str
        File or database table, for messages.
    present : datetime
        The time beyond which no fact can lie, by more than a day.
    known_by : datetime or None
        Of a database: the last moment before the extraction, by which all has happened that it tells of.
    earlier_dates : collection of str
        Columns whose values at midnight were dates at an earlier extraction.
    """
    table = binding.table
    types = types_read(connection, table, reading)
    dates = measure_dates(connection, binding, types, earlier_dates, in_part=reading.part is not None)
    told_times = stated_columns(binding, dates)
    points = measure_points(connection, binding, types)
    checks = checks_of(binding, present, told_times, points)
    connection.execute(f"create table typed_{table.name} as {_typed(binding, reading, checks, types, dates, known_by)}")
    left_behind = _leave_behind(connection, table)
    duplicates = _settle_duplicates(connection, binding, _number(checks, "conflicting_duplicate"))
    _mark_orphans(connection, table, checks)
    if binding.leads is not None:
        # a change that stands in the warehouse was used already: to alter it would alter what was known in the past
        told = " or ".join(
            # a date was told as a moment of its day, which depends on when it was
            f"coalesce(k.{name} not between t.stated_{name} and t.{name}, k.{name} is distinct from t.{name})"
            if name in dates
            else f"k.{name} is distinct from t.{name}"
            for name in table.column_names
            if isinstance(binding.forms[name], str)
        )
        connection.execute(
            f"update typed_{table.name} t set check_no = {_number(checks, 'rewritten_history')} "
            f"from known_{table.name} k where t.check_no is null and k.{table.key} = t.{table.key} and ({told})"
        )
    rows, pseudonymised, dropped = one_row(
        connection,
        "select count(*), coalesce(sum(pseudonyms), 0)::bigint, coalesce(sum(free_texts), 0)::bigint "
        f"from typed_{table.name}",
    )
    return Validated(
        binding=binding,
        reading=reading,
        place=place,
        checks=checks,
        rows_read=rows + duplicates + len(reading.malformed),
        duplicates_collapsed=duplicates,
        pseudonymised=pseudonymised,
        free_text_dropped=dropped,
        stated=told_times,
        dates=_moved(connection, table, dates),
        plans=_plans(connection, binding),
        walls=measure_walls(connection, binding, types),
        points=points,
        missing_words=_missing_words(connection, table),
        defaults=_defaults(connection, table),
        left_behind=left_behind,
    )


def types_read(connection: DuckDBPyConnection, table: Table, reading: Reading) -> dict[str, str]:
    """Return the types of the source columns of a table that was read; the numbers of a database are read as texts."""
    return source_types(connection, table.name) | dict.fromkeys(reading.numeric, "DECIMAL")


def _mark_orphans(connection: DuckDBPyConnection, table: Table, checks: Sequence[Check]) -> None:
    if table.name != "leads":
        connection.execute(
            f"update typed_{table.name} set check_no = {_number(checks, 'orphan')} "
            "where check_no is null and lead_id not in "
            "(select lead_id from typed_leads where check_no is null union all select lead_id from known_leads)"
        )


def _moved(connection: DuckDBPyConnection, table: Table, dates: Mapping[str, Dates]) -> dict[str, Dates]:
    """Count the facts of accepted rows again, without plans: those of the columns that have dates."""
    moved: dict[str, Dates] = {}
    for name, found in dates.items():
        values, of_day = one_row(
            connection,
            f"select count({name}), count(*) filter ({name} <> stated_{name}) from typed_{table.name} "
            "where check_no is null",
        )
        if of_day:
            moved[name] = replace(found, values=values, dates=of_day)
    return moved


def _missing_words(connection: DuckDBPyConnection, table: Table) -> dict[str, int]:
    """Count the values that say that there is none, by column."""
    bits = ", ".join(f"count(*) filter ((missing_words >> {bit}) & 1 = 1)" for bit in range(len(table.columns)))
    counts = one_row(connection, f"select {bits} from typed_{table.name}")
    return {name: count for name, count in zip(table.column_names, counts, strict=True) if count}


def _defaults(connection: DuckDBPyConnection, table: Table) -> dict[str, int]:
    """Count the accepted rows in which something else stands for a missing value, by column."""
    defaults: dict[str, int] = {}
    for column in table.columns:
        if column.default is not None:
            (count,) = one_row(
                connection,
                f"select count(*) from typed_{table.name} where check_no is null and is_default_{column.name}",
            )
            if count:
                defaults[column.name] = count
    return defaults


def _plans(connection: DuckDBPyConnection, binding: TableBinding) -> dict[str, dict[str, int]]:
    """Count the times of accepted rows that have not happened, by column and status."""
    plans: dict[str, dict[str, int]] = {}
    for column in binding.table.columns:
        if column.fact_when and _read(binding, column.name):
            found = connection.execute(
                f"select coalesce(status, 'none'), count(*) from typed_{binding.table.name} where check_no is null "
                f"and stated_{column.name} is not null and not {has_happened(column)} group by all order by 2 desc, 1"
            ).fetchall()
            if found:
                plans[column.name] = dict(found)
    return plans


def set_far_facts_aside(connection: DuckDBPyConnection, validated: Mapping[str, Validated], after: datetime) -> int:
    """Reject the rows with a fact after a moment, and what belongs to leads among them; returns the rows with a fact.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database with the typed tables.
    validated : mapping of str to Validated
        The tables, leads first.
    after : datetime
        The moment; the clock follows the facts up to it.
    """
    far = 0
    for one in validated.values():
        table = one.binding.table
        for number, check in enumerate(one.checks):
            if check.reason == FAR:
                marked = connection.execute(
                    f"update typed_{table.name} set check_no = {number} where check_no is null "
                    f"and {check.column} > timestamptz '{after.isoformat()}' returning 1"
                ).fetchall()
                far += len(marked)
        _mark_orphans(connection, table, one.checks)
    return far


def _leave_behind(connection: DuckDBPyConnection, table: Table) -> tuple[str, ...]:
    """Drop the typed rows that no selecting column takes, and return the values that these have there."""
    found: list[str] = []
    for column in table.columns:
        if column.selects:
            others = f"{column.name} not in ({literals(column.vocabulary)})"
            found += [
                value
                for (value,) in connection.execute(
                    f"select distinct shown({column.name}) from typed_{table.name} where {others} order by all"
                ).fetchall()
            ]
            # before anything else is asked of them: a history tells of names and telephone numbers as well
            connection.execute(f"delete from typed_{table.name} where {others}")
    return tuple(found)


def _number(checks: Sequence[Check], reason: str) -> int:
    return next(number for number, check in enumerate(checks) if check.reason == reason)


def _typed(
    binding: TableBinding,
    reading: Reading,
    checks: Sequence[Check],
    types: Mapping[str, str],
    dates: Mapping[str, Dates],
    known_by: datetime | None,
) -> str:
    """Compose the SELECT of a typed table: raw values, then types, then what times mean, then the check that fails."""
    table, told = binding.table, stated_columns(binding, dates)
    read: list[str] = []
    raw: list[str] = []
    worked: list[str] = []
    typed: list[str] = []
    pseudonyms: list[str] = []
    free_texts: list[str] = []
    missing: list[str] = []
    for place, column in enumerate(table.columns):
        name = column.name
        read_value, value, contact = _column(column, binding, types)
        read.append(f"{read_value} as read_{name}")
        is_text = isinstance(form := binding.forms[name], str | Flag) and not _is_typed(column, form, types)
        raw_value = unless_missing(binding, name, f"read_{name}") if is_text and not column.of_lead else f"read_{name}"
        raw.append(f"{raw_value} as raw_{name}")
        if raw_value != f"read_{name}":
            missing.append(f"case when read_{name} is not null and raw_{name} is null then {1 << place} else 0 end")
            raw.append(f"read_{name}")
        if column.of_lead and binding.leads is not None:
            missing.append(f"case when {_is_missing_of_lead(binding.leads, name)} then {1 << place} else 0 end")
        worked += _worked(column, form, types)
        if column.default is not None:
            typed.append(f"{value} is null as is_default_{name}")
            value = f"coalesce({value}, {literal(column.default)})"
        typed.append(f"{value} as {stated(told, name)}")
        if isinstance(form, Flag):
            typed.append(f"folded(raw_{name}) in ({literals(TRUE)}) as flag_{name}")
        if contact is not None:
            pseudonyms.append(f"(raw_{name} is distinct from {contact})::smallint")
        if column.free_text_limit is not None:
            free_texts.append(f"coalesce(length(raw_{name}) > {column.free_text_limit}, false)::smallint")
    for column in table.columns:
        if column.name in told:
            value = meant(binding, column, dates, types.get(str(binding.forms[column.name])), known_by)
            typed.append(f"{value} as {column.name}")
    conditions = " ".join(
        f"when {check.condition} then {number}" for number, check in enumerate(checks) if check.condition != "false"
    )
    ordinal = ""
    if binding.derive_from:
        equal = identity(binding.derive_from)
        order = "record"
        if reading.first_line is None:
            # a database returns its rows in any order, and in another one after an update
            order = ", ".join(map(of_source, binding.source_columns))
        ordinal = f", {equal} || '-' || row_number() over (partition by {equal} order by {order}) as derived_key"
    return (
        f"select record, {', '.join(typed)}, {' + '.join(pseudonyms) or '0'} as pseudonyms, "
        f"{' + '.join(free_texts) or '0'} as free_texts, ({' + '.join(missing) or '0'})::bigint as missing_words, "
        # each step has its own SELECT: an expression would be planned anew in each place of the next one
        f"case {conditions} end::smallint as check_no from (select {', '.join(['*', *worked])} from "
        f"(select record, {', '.join(raw)} from "
        f"(select record, {', '.join(read)} from (select *{ordinal} from source_{table.name}))))"
    )


def identity(columns: Sequence[str], cleaned: str = "cleaned") -> str:
    """Return SQL for the hash of the columns that a key is derived from, the same for files and databases."""
    texts = [f"{cleaned}({of_source(column)})" for column in columns]
    # one moment has many spellings: a CSV file and a database must agree
    parts = ", ".join(
        f"coalesce(epoch_us(try_cast({text} as timestamptz))::varchar, {text}, chr(30))" for text in texts
    )
    return f"left(sha256(concat_ws(chr(31), {parts})), 24)"


def _is_typed(column: Column, form: str | Flag, types: Mapping[str, str]) -> bool:
    """Say whether a column has times or numbers in the source, and no texts."""
    if isinstance(form, Flag):
        return False
    return types[form].startswith({"time": TIMES, "number": NUMERIC}.get(column.kind, ("nothing",)))


def _worked(column: Column, form: str | Substitute | Flag | FirstOf | None, types: Mapping[str, str]) -> list[str]:
    """Return the texts that are made of a raw value: in plain characters, and without contact data."""
    name = column.name
    if isinstance(form, str) and column.kind != "text":
        return [] if _is_typed(column, form, types) else [f"plain(raw_{name}) as text_{name}"]
    if column.of_lead:
        return [
            f"plain(raw_{name}) as text_{name}",
            f"contact_free(raw_{name}) as free_{name}",
            f"contact_free_postal(raw_{name}) as postal_{name}",
        ]
    if isinstance(form, str | FirstOf):
        return [f"contact_free{'_postal' if column.postal else ''}(raw_{name}) as free_{name}"]
    return []


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
        listed = literals(sorted(binding.known_words(column.name)))
        first = "".join(f"when folded({_text(name)}) in ({listed}) then {_text(name)} " for name in form.first_of)
        rest = ", ".join(unless_missing(binding, column.name, _text(name)) for name in form.first_of)
        raw_value = f"case {first}else coalesce({rest}, null) end"
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
    if column.of_lead and binding.leads is not None:
        return _text(form), *_value_of_lead(binding.leads, column.name)
    value = _vocabulary(column, binding, raw, free)
    if column.free_text_limit is not None:
        value = f"case when length({raw}) <= {column.free_text_limit} then {value} end"
    return _text(form), value, _contact_free(column, binding, raw, free)


def _number_of(column: Column, binding: TableBinding, raw: str) -> str:
    sql_type = SQL_TYPES[column.kind]
    if (factor := binding.units.get(column.name)) is not None:
        digits, decimals = digits_of(factor)
        # exact, in the 38 digits that DuckDB has for both: 16 before the point of the number, and at most 10 after it
        number = f"try_cast({raw} as decimal({38 - digits},{min(10, 22 - digits)}))"
        return f"try_cast({number} * {factor:f}::decimal({digits},{decimals}) as {sql_type})"
    return f"try_cast({raw} as {sql_type})"


def _value_of_lead(leads: TableBinding, name: str) -> tuple[str, str]:
    """Return SQL for a value of the column of leads that ``column_name`` names, as text, and without contact data.

    ``text_<name>``, ``free_<name>`` and ``postal_<name>`` are made of it.

    Units and value maps are those of the leads: else a lead and its history would differ where they say the same.
    """
    values, free = [], []
    for column in map(leads.table.column, OVERWRITTEN):
        if column.kind == "number":
            text = number_text(leads.numbers.get(column.name), unless_missing(leads, column.name, f"text_{name}"))
            without_contact, typed = f"raw_{name}", f"cast({_number_of(column, leads, text)} as varchar)"
        else:
            free_text = f"postal_{name}" if column.postal else f"free_{name}"
            without_contact = _contact_free(column, leads, f"raw_{name}", free_text)
            typed = unless_missing(leads, column.name, f"raw_{name}")
            typed = f"case when {typed} is not null then {_vocabulary(column, leads, f'raw_{name}', free_text)} end"
        values.append(f"when {literal(column.name)} then {typed}")
        free.append(f"when {literal(column.name)} then {without_contact}")
    return f"case column_name {' '.join(values)} end", f"case column_name {' '.join(free)} else raw_{name} end"


def _is_missing_of_lead(leads: TableBinding, name: str) -> str:
    """Return SQL for whether a value of the column of leads that ``column_name`` names says that there is none."""
    cases = " ".join(
        f"when {literal(each)} then {unless_missing(leads, each, f'raw_{name}')} is null" for each in OVERWRITTEN
    )
    return f"raw_{name} is not null and case column_name {cases} else false end"


def _vocabulary(column: Column, binding: TableBinding, raw: str, free: str) -> str:
    """Return SQL for a word as the value map has it, or without contact data where that does not know it."""
    spelling = f"folded({free})" if column.vocabulary else free
    if not (mapped := binding.values.get(column.name)):
        return spelling
    cases = " ".join(f"when {literal(found)} then {_meant(meant)}" for found, meant in mapped.items())
    return f"case folded({raw}) {cases} else {spelling} end"


def _meant(word: str | None) -> str:
    meant = literal(word)
    return f"pseudonym({meant})" if word is not None and is_contact(word) else meant


def _contact_free(column: Column, binding: TableBinding, raw: str, free: str) -> str:
    """Return SQL for a raw value without contact data: a word that the value map knows is none any more."""
    known = [word for word in binding.values.get(column.name, ()) if is_contact(word)]
    return f"case when folded({raw}) in ({literals(known)}) then {raw} else {free} end" if known else free


def _settle_duplicates(connection: DuckDBPyConnection, binding: TableBinding, conflict: int) -> int:
    """Collapse identical rows of one key and mark conflicting ones; returns the number of rows collapsed."""
    table = binding.table
    name, key = f"typed_{table.name}", table.key
    # most keys are unique: only the others are compared
    connection.execute(
        f"create table repeated_{table.name} as select {key} from {name} where {key} is not null "
        f"group by {key} having count(*) > 1"
    )
    if one_row(connection, f"select count(*) from repeated_{table.name}")[0] == 0:
        return 0
    # a row that was rejected may differ from another in what could not be typed
    raw = ", ".join(f"coalesce(cleaned(s.{of_source(column)}), chr(30))" for column in binding.source_columns)
    connection.execute(
        f"create table compared_{table.name} as with contents as (select t.record, t.{key}, "
        f"md5(case when t.check_no is null then {_content(connection, table)} else concat_ws(chr(31), {raw}) end) "
        f"as content from {name} t semi join repeated_{table.name} r on r.{key} = t.{key} "
        f"join source_{table.name} s on s.record = t.record) "
        f"select record, row_number() over (partition by {key}, content order by record) > 1 as is_copy, "
        f"min(content) over (partition by {key}) <> max(content) over (partition by {key}) as is_conflict from contents"
    )
    connection.execute(
        f"update {name} set check_no = {conflict} where record in "
        f"(select record from compared_{table.name} where is_conflict)"
    )
    connection.execute(f"delete from {name} where record in (select record from compared_{table.name} where is_copy)")
    copies: int = one_row(connection, f"select count(*) from compared_{table.name} where is_copy")[0]
    return copies


def _content(connection: DuckDBPyConnection, table: Table) -> str:
    """Return SQL for all that a typed row ``t`` says, flags included."""
    unsaid = ("record", "check_no", "pseudonyms", "free_texts", "missing_words")
    described = connection.execute(f"describe typed_{table.name}").fetchall()
    parts = [
        f"coalesce(t.{name}::varchar, chr(30))"
        for name, *_ in described
        if name not in unsaid and not name.startswith("is_default_")
    ]
    return f"concat_ws(chr(31), {', '.join(parts)})"


def write_rejects(connection: DuckDBPyConnection, validated: Sequence[Validated], clock: datetime) -> None:
    """Create the relation ``rejects`` from all tables, without anything but contract columns in it."""
    connection.execute(
        "create table rejected (table_name varchar, file varchar, line bigint, key varchar, column_name varchar, "
        "value varchar, reason varchar, expected varchar, found varchar, row varchar)"
    )
    for one in validated:
        table, name = one.binding.table, one.binding.table.name
        connection.execute(f"create table malformed_{name} (line bigint, found varchar)")
        if one.reading.malformed:
            connection.executemany(
                f"insert into malformed_{name} values (?, ?)", [[row.line, row.found] for row in one.reading.malformed]
            )
        connection.execute(
            f"insert into rejected select {literal(name)}, {literal(one.place)}, line, null, null, null, "
            f"'malformed_row', 'as many fields as the header has', found, null from malformed_{name}"
        )
        connection.execute(
            f"create table checks_{name} (check_no smallint, reason varchar, col varchar, expected varchar)"
        )
        connection.executemany(
            f"insert into checks_{name} values (?, ?, ?, ?)",
            [[number, check.reason, check.column, check.expected] for number, check in enumerate(one.checks)],
        )
        if not one_row(connection, f"select count(*) from typed_{name} where check_no is not null")[0]:
            continue
        row_json, said = _row_json(one.binding, one.stated)
        connection.execute(
            f"insert into rejected with failed as (select t.*, {row_json} as row_json from "
            f"(select {', '.join(['t.*', *said])} from typed_{name} t join source_{name} s on s.record = t.record "
            "where t.check_no is not null) t) "
            f"select {literal(name)}, {literal(one.place)}, {_line(one.reading, name)}, shown({table.key}), col, "
            "json_extract_string(row_json, '$.' || col), reason, expected, null, row_json "
            f"from failed join checks_{name} using (check_no)"
        )
    remedies = " ".join(f"when {literal(code)} then {literal(remedy)}" for code, remedy in REMEDIES.items())
    connection.execute(
        "create table rejects as with worded as (select *, "
        "file || coalesce(', line ' || line, '') || coalesce(', column ' || column_name, '') "
        "|| ': expected ' || expected "
        "|| ', found ' || coalesce(found, '\"' || value || '\"', 'nothing') || '. ' "
        f"|| case reason {remedies} end || '.' as message, "
        "concat_ws(chr(31), table_name, file, coalesce(line::varchar, ''), coalesce(key, ''), "
        "coalesce(column_name, ''), coalesce(value, ''), reason, coalesce(row, '')) as content from rejected) "
        "select md5(content || chr(31) || row_number() over (partition by content)) as reject_id, table_name, file, "
        f"line, key, column_name, value, reason, message, timestamptz '{clock.isoformat()}' as extracted_at, row "
        "from worded"
    )


def _row_json(binding: TableBinding, told: frozenset[str]) -> tuple[str, list[str]]:
    """Return SQL for the row as the source has it, by contract column, over ``t``, a typed row with more columns.

    These are returned as well, over ``s`` (source).
    """
    fields: list[str] = []
    said: list[str] = []
    for column in binding.table.columns:
        form = binding.forms[column.name]
        if binding.derive_from and column.name == binding.table.key:
            value = f"t.{column.name}"
        elif isinstance(form, str):
            said.append(f"cleaned(s.{of_source(form)}) as said_{column.name}")
            value = f"t.said_{column.name}"
            if column.kind == "text":
                # as typed: the pseudonym that the accepted rows carry
                value = f"contact_free_postal({value})" if column.postal else value
        elif isinstance(form, Flag):
            said.append(f"cleaned(s.{of_source(form.flag)}) as said_{column.name}")
            value = f"t.said_{column.name}"
        elif isinstance(form, FirstOf):
            first = ", ".join(f"cleaned(s.{of_source(name)})" for name in form.first_of)
            said.append(f"coalesce({first}, null) as said_{column.name}")
            value = f"t.said_{column.name}"
        else:
            value = "null"
        # a number or a time is never mistaken for a telephone number, what could not be read as one may be
        if isinstance(form, str) and column.kind != "text":
            time = stated(told, column.name)
            value = f"case when t.{time} is not null then {value} else shown_figure({value}) end"
        elif not column.postal:
            value = f"shown({value})"
        fields.append(f"{literal(column.name)}, {value}")
    return f"json_object({', '.join(fields)})::varchar", said


def _line(reading: Reading, name: str) -> str:
    """Return SQL for the line of ``record``, counting the malformed records before it."""
    if reading.first_line is None:
        return "null"
    if not reading.malformed:
        return f"record + {reading.first_line}"
    # the i-th malformed line (from 0) precedes a row when that row's line, counted without it, is not below line - i
    return (
        f"record + {reading.first_line} + (select count(*) from "
        f"(select line - row_number() over (order by line) + 1 as threshold from malformed_{name}) "
        f"where threshold <= record + {reading.first_line})"
    )


def uses_clock(binding: TableBinding) -> Sequence[str]:
    """Return the time columns that are made from the time of the extraction rather than read."""
    return [name for name, form in binding.forms.items() if isinstance(form, Flag | Substitute)]


def resolved(binding: TableBinding, seen_at: datetime) -> str:
    """Return the SELECT of the accepted rows of a table, where what has no time of its own is known from ``seen_at``.

    A time that an earlier extraction gave to a row stays, whatever else of the row has changed since: what was known
    then cannot become known later.
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
    earlier = ""
    if uses_clock(binding):
        earlier = f" left join known_{table.name} k on k.{table.key} = t.{table.key}"
    return f"select {', '.join(columns)} from typed_{table.name} t{earlier} where t.check_no is null"


def fact_times(binding: TableBinding) -> Sequence[str]:
    """Return the time columns that are read from the source and say when something happened."""
    return [
        column.name
        for column in binding.table.columns
        if column.kind == "time" and not column.planned and _read(binding, column.name)
    ]
