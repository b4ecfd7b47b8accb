"""Validation: each source table is typed, its duplicates are collapsed, and rows that do not fit are rejected.

SQL over the scratch DuckDB does it in a few scans. A row has at most one reject, for the first check that it fails, in
the order of `checks_of`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from duckdb import DuckDBPyConnection

from store.source.checking.attribute_texts import create_attributes
from store.source.checking.checks import FAR, Check, checks_of
from store.source.checking.numbers import Points, measure_points, times
from store.source.checking.times import (
    Dates,
    Walls,
    has_happened,
    measure_dates,
    measure_walls,
    stated_columns,
    without_zone,
)
from store.source.checking.typed import typed_rows
from store.source.contract import AMOUNTS, OVERWRITTEN, TABLES
from store.source.mapping.binding import TableBinding
from store.source.owners import known_keys, owner_table, tables_about
from store.source.reading.tables import Reading
from store.source.record import SQL_TYPES, Table
from store.source.sql import of_source, one_row, source_types
from store.sql import literal, literals


@dataclass(frozen=True)
class Validated:
    """A table after validation, as relation ``typed_<table>``: rows whose ``check_no`` is null are accepted.

    Attributes
    ----------
    binding : TableBinding
        The sources of its columns.
    reading : Reading
        How it was read.
    place : str
        File or database table.
    checks : tuple of Check
        The checks; ``check_no`` is the position in this tuple.
    rows_read, duplicates_collapsed, pseudonymised, free_text_dropped : int
        Records read (malformed ones included); identical rows beyond the first; values replaced by a pseudonym;
        values left behind as free text.
    stated : frozenset of str
        Time columns whose stated value is in ``stated_<column>``, beside its meaning.
    dates : mapping of str to Dates
        The time columns that have dates without a time of day.
    plans : mapping of str to mapping of str to int
        By column and status, how many times of accepted rows are plans.
    walls : mapping of str to Walls
        The time columns whose values name no time zone, where the mapping states one.
    without_zone : tuple of str
        The time columns with times of day that name no time zone, where the mapping states none.
    points : mapping of str to Points
        By column, counts of the numbers that show its decimal sign.
    missing_words : mapping of str to int
        By column, the number of words for a missing value, such as N/A.
    defaults : mapping of str to int
        By column, the accepted rows without a value, which get the default.
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
    without_zone: tuple[str, ...] = ()
    points: Mapping[str, Points] = field(default_factory=dict)
    missing_words: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, int] = field(default_factory=dict)
    left_behind: tuple[str, ...] = ()


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
        The scratch database, with its functions; it holds ``typed_<table>`` and ``known_<table>`` (the rows already
        loaded) of the tables that rows of this one are about.
    binding : TableBinding
        The table's columns.
    reading : Reading
        The result of reading the table.
    place : str
        File or database table, for messages.
    present : datetime
        The time beyond which no fact can lie, by more than a day.
    known_by : datetime or None
        For a database, the last moment before the extraction: all of its facts have happened by then.
    earlier_dates : collection of str
        Columns whose values at midnight were dates at an earlier extraction.
    """
    table = binding.table
    types = types_read(connection, table, reading)
    dates = measure_dates(connection, binding, types, earlier_dates, in_part=reading.part is not None)
    stated_names = stated_columns(binding, dates)
    points = measure_points(connection, binding, types)
    checks = tuple(checks_of(binding, present, stated_names, points))
    connection.execute(
        f"create table typed_{table.name} as {typed_rows(binding, reading, checks, types, dates, known_by)}"
    )
    for column in table.columns:
        if column.default_below_zero is not None:
            number, value = column.default_below_zero
            connection.execute(
                f"update typed_{table.name} set {column.name} = {literal(value)} "
                f"where is_default_{column.name} and {number} < 0"
            )
    if table.attributes is not None:
        create_attributes(connection, binding)
    left_behind = _leave_behind(connection, binding)
    if binding.owners:
        _settle_owners(connection, binding)
    duplicates = _settle_duplicates(connection, binding, number_of(checks, "conflicting_duplicate"))
    _mark_orphans(connection, binding, checks)
    if binding.owners:
        # features may have used a stored change: altering it would alter the past
        rewritten = " or ".join(
            # the moment that replaces a date depends on when the date was read
            f"coalesce(k.{name} not between t.stated_{name} and t.{name}, k.{name} is distinct from t.{name})"
            if name in dates
            else f"k.{name} is distinct from t.{name}"
            for name in table.column_names
            if binding.reads(name) and name != "lead_id"
        )
        # a project may get another lead
        rewritten += " or (t.project_id is null and k.lead_id is distinct from t.lead_id)"
        connection.execute(
            f"update typed_{table.name} t set check_no = {number_of(checks, 'rewritten_history')} "
            f"from known_{table.name} k where t.check_no is null and k.{table.key} = t.{table.key} and ({rewritten})"
        )
    figures = _figures(connection, table, dates)
    return Validated(
        binding=binding,
        reading=reading,
        place=place,
        checks=checks,
        rows_read=figures["rows"] + duplicates + len(reading.malformed),
        duplicates_collapsed=duplicates,
        pseudonymised=figures["pseudonyms"],
        free_text_dropped=figures["free texts"],
        stated=stated_names,
        # counted again, for the facts of accepted rows only
        dates={
            name: replace(found, values=figures[f"values {name}"], dates=of_day)
            for name, found in dates.items()
            if (of_day := figures[f"dates {name}"])
        },
        plans=_plans(connection, binding),
        walls=measure_walls(connection, binding, types),
        without_zone=without_zone(connection, binding, types),
        points=points,
        missing_words={name: count for name in table.column_names if (count := figures[f"missing {name}"])},
        defaults={name: count for name in table.column_names if (count := figures.get(f"default {name}", 0))},
        left_behind=left_behind,
    )


def types_read(connection: DuckDBPyConnection, table: Table, reading: Reading) -> dict[str, str]:
    """Return the types of the source columns of a table; numbers of a database are read as texts and get DECIMAL."""
    return source_types(connection, table.name) | dict.fromkeys(reading.numeric, "DECIMAL")


def create_absent(connection: DuckDBPyConnection, bindings: Mapping[str, TableBinding | None]) -> None:
    """Create ``typed_<table>`` without rows where the source lacks a table that rows of another may be about."""
    needed = {each.name for table in TABLES.values() for each in tables_about(table)}
    needed |= {table.name for table in TABLES.values() if table.begins is not None}
    for table in (TABLES[name] for name, binding in bindings.items() if binding is None and name in needed):
        columns = ", ".join(f"{column.name} {SQL_TYPES[column.kind]}" for column in table.columns)
        connection.execute(f"create table typed_{table.name} ({columns}, check_no smallint)")


def keys_read(binding: TableBinding) -> list[Table]:
    """Return the tables that rows may name by the columns of the source; a change gets the lead of a project."""
    return [
        owner
        for owner in tables_about(binding.table)
        if binding.forms[owner.key] is not None or (binding.owners and owner.name == binding.table.of)
    ]


def _mark_orphans(connection: DuckDBPyConnection, binding: TableBinding, checks: Sequence[Check]) -> None:
    """Reject rows of which nothing that they are about is there."""
    name = f"typed_{binding.table.name}"
    numbers = {check.column: number for number, check in enumerate(checks) if check.reason == "orphan"}
    if not numbers:
        return
    is_known = {
        owner.key: f"coalesce({owner.key} in ({known_keys(owner)}), false)"
        for owner in tables_about(binding.table)
        if owner in keys_read(binding)
    }
    first = next(iter(is_known))
    others = " ".join(f"when {key} is not null then {numbers[key]}" for key in is_known if key != first)
    number = f"case {others} else {numbers[first]} end" if others else f"{numbers[first]}"
    connection.execute(
        f"update {name} set check_no = {number} where check_no is null and not ({' or '.join(is_known.values())})"
    )


def leave_unknown_keys_out(connection: DuckDBPyConnection, validated: Mapping[str, Validated]) -> Iterator[str]:
    """Empty keys of what is not there in rows that name something else that is; yield sentences."""
    for name, one in validated.items():
        if one.binding.owners or len(read := keys_read(one.binding)) < 2:
            continue
        for owner in read:
            key = owner.key
            rows = connection.execute(
                f"update typed_{name} set {key} = null where check_no is null and {key} not in ({known_keys(owner)}) "
                "returning 1"
            ).fetchall()
            if rows:
                rows_name = "row names" if len(rows) == 1 else "rows name"
                yield (
                    f"{name}: {len(rows):,} {rows_name} a {owner.one} that is not there ({key}), and something else "
                    "that is: they belong to that alone."
                )


def _settle_owners(connection: DuckDBPyConnection, history: TableBinding) -> None:
    """Give changes of projects the leads of these, and amounts the currency of all amounts; others have one key."""
    changes = f"typed_{history.table.name}"
    connection.execute(
        f"update {changes} set lead_id = null, customer_id = case when project_id is null then customer_id end "
        "where customer_id is not null"
    )
    # projects that are read come before stored ones
    known = ["select project_id, lead_id, currency, 2 as place from known_projects"]
    rates: Mapping[str, Decimal] = {}
    for owner in history.owners:
        if owner.table.name == "projects":
            known.append("select project_id, lead_id, currency, 1 from typed_projects where check_no is null")
            rates = {} if owner.currency is None else owner.currency.rates
    connection.execute(
        "create table projects_of_changes as select project_id, arg_min(lead_id, place) as lead_id, "
        f"arg_min(currency, place) as currency from ({' union all '.join(known)}) group by all"
    )
    connection.execute(
        f"update {changes} c set lead_id = p.lead_id from (select c.record, p.lead_id from {changes} c "
        "left join projects_of_changes p on p.project_id = c.project_id where c.project_id is not null) p "
        "where p.record = c.record"
    )
    for code, rate in rates.items():
        connection.execute(
            f"update {changes} c set value = cast({times('value', rate)} as varchar) where column_name in "
            f"({literals([name for name in OVERWRITTEN['projects'] if name in AMOUNTS['projects']])}) and "
            f"project_id in (select project_id from projects_of_changes where currency = {literal(code)})"
        )


def _figures(connection: DuckDBPyConnection, table: Table, dates: Collection[str]) -> dict[str, int]:
    counted = {
        "rows": "count(*)",
        "pseudonyms": "coalesce(sum(pseudonyms), 0)::bigint",
        "free texts": "coalesce(sum(free_texts), 0)::bigint",
    }
    for bit, column in enumerate(table.columns):
        counted[f"missing {column.name}"] = f"count(*) filter ((missing_words >> {bit}) & 1 = 1)"
        if column.default is not None:
            counted[f"default {column.name}"] = f"count(*) filter (check_no is null and is_default_{column.name})"
    for name in dates:
        counted[f"values {name}"] = f"count({name}) filter (check_no is null)"
        counted[f"dates {name}"] = f"count(*) filter (check_no is null and {name} <> stated_{name})"
    figures = f"select {', '.join(counted.values())} from typed_{table.name}"
    return dict(zip(counted, one_row(connection, figures), strict=True))


def _plans(connection: DuckDBPyConnection, binding: TableBinding) -> dict[str, dict[str, int]]:
    return {
        column.name: dict(found)
        for column in binding.table.columns
        if column.fact_when
        and binding.reads(column.name)
        and (
            found := connection.execute(
                f"select coalesce(status, 'none'), count(*) from typed_{binding.table.name} where check_no is null "
                f"and stated_{column.name} is not null and not {has_happened(column)} group by all order by 2 desc, 1"
            ).fetchall()
        )
    }


def set_far_facts_aside(connection: DuckDBPyConnection, validated: Mapping[str, Validated], after: datetime) -> int:
    """Reject the rows with a fact after a moment, and the rows about these; return the number of the former.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database with the typed tables.
    validated : mapping of str to Validated
        The tables, each after those that its rows are about.
    after : datetime
        The moment; the clock follows the facts up to it.
    """
    far_facts = 0
    for one in validated.values():
        table = one.binding.table
        for number, check in enumerate(one.checks):
            if check.reason == FAR:
                marked = connection.execute(
                    f"update typed_{table.name} set check_no = {number} where check_no is null "
                    f"and {check.column} > timestamptz '{after.isoformat()}' returning 1"
                ).fetchall()
                far_facts += len(marked)
        _mark_orphans(connection, one.binding, one.checks)
    return far_facts


def _leave_behind(connection: DuckDBPyConnection, binding: TableBinding) -> tuple[str, ...]:
    """Drop the typed rows of a history about columns whose history is not kept, and return these columns."""
    if not binding.owners:
        return ()
    name = binding.table.name
    kept = {
        owner.table.name: literals([*OVERWRITTEN[owner.table.name], *(each.stored for each in owner.attributes)])
        for owner in binding.owners
    }
    taken = " or ".join(f"({owner_table()} = '{table}' and column_name in ({names}))" for table, names in kept.items())
    not_taken = f"column_name is not null and not ({taken})"
    found = connection.execute(
        f"select distinct shown(column_name) from typed_{name} where {not_taken} order by all"
    ).fetchall()
    # dropped before any other check, because a history can hold names and telephone numbers
    connection.execute(f"delete from typed_{name} where {not_taken}")
    return tuple(column for (column,) in found)


def number_of(checks: Sequence[Check], reason: str) -> int:
    """Return the ``check_no`` of the check with a reason."""
    return next(number for number, check in enumerate(checks) if check.reason == reason)


def _settle_duplicates(connection: DuckDBPyConnection, binding: TableBinding, conflict: int) -> int:
    """Collapse identical rows of one key and mark conflicting ones; return the number of rows collapsed."""
    table = binding.table
    name, key = f"typed_{table.name}", table.key
    # most keys are unique: only rows of the others are compared
    connection.execute(
        f"create table repeated_{table.name} as select {key} from {name} where {key} is not null "
        f"group by {key} having count(*) > 1"
    )
    if one_row(connection, f"select count(*) from repeated_{table.name}")[0] == 0:
        return 0
    if binding.attributes:
        # rows that differ in attributes alone are one row, whose value is not known
        connection.execute(
            f"create table differing_{table.name} as with rows as (select {key} as of_key, record, "
            f"count(*) over (partition by {key}) as copies from {name} semi join repeated_{table.name} using ({key})) "
            f"select of_key, column_name from rows join attributes_{table.name} using (record) "
            "group by of_key, column_name, copies having count(distinct value) > 1 or count(value) < copies"
        )
        connection.execute(
            f"delete from attributes_{table.name} where (record, column_name) in (select t.record, d.column_name "
            f"from {name} t join differing_{table.name} d on d.of_key = t.{key})"
        )
    # rejected rows are compared by their raw values: they may differ in values that could not be typed
    attributes = {each.column for each in binding.attributes}
    raw = ", ".join(
        f"coalesce(cleaned(s.{of_source(column)}), chr(30))"
        for column in binding.source_columns
        if column not in attributes
    )
    connection.execute(
        f"create table compared_{table.name} as with contents as (select t.record, t.{key}, "
        f"md5(case when t.check_no is null then {_content(connection, table)} "
        f"else concat_ws(chr(31), {raw}) end) as content from {name} t "
        f"semi join repeated_{table.name} r on r.{key} = t.{key} join source_{table.name} s on s.record = t.record) "
        f"select record, row_number() over (partition by {key}, content order by record) > 1 as is_copy, "
        f"min(content) over (partition by {key}) <> max(content) over (partition by {key}) as is_conflict from contents"
    )
    connection.execute(
        f"update {name} set check_no = {conflict} where record in "
        f"(select record from compared_{table.name} where is_conflict)"
    )
    connection.execute(f"delete from {name} where record in (select record from compared_{table.name} where is_copy)")
    return one_row(connection, f"select count(*) from compared_{table.name} where is_copy")[0]


def _content(connection: DuckDBPyConnection, table: Table) -> str:
    unsaid = ("record", "check_no", "pseudonyms", "free_texts", "missing_words")
    described = connection.execute(f"describe typed_{table.name}").fetchall()
    parts = [
        f"coalesce(t.{name}::varchar, chr(30))"
        for name, *_ in described
        if name not in unsaid and not name.startswith("is_default_")
    ]
    return f"concat_ws(chr(31), {', '.join(parts)})"
