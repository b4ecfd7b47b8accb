"""The meaning of times in the source: a moment or only a day, and a fact or a plan.

Most functions return SQL over the rows of a table, for `typed_rows`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.mapping.binding import TableBinding
from store.source.record import Column
from store.source.sql import of_source, one_row
from store.source.values.functions import ISO, UTC_ZONE, Spelling, spelling, typed_spelling
from store.sql import literal, literals

TIMES = ("TIMESTAMP", "DATE")
"""Beginnings of the names of DuckDB's types for times."""

LATEST = "2200-01-01"
"""Times that are not before are no times of a CRM."""

MIN_MIDNIGHTS = 20
"""A column with at least so many values, all at midnight, has dates; fewer may be at midnight by chance."""

_ALMOST_A_DAY = "to_microseconds(86399999999)"

_MIDNIGHT = r"\d{4}-\d{2}-\d{2}[T ]00:00(:00(\.0+)?)?\s*(Z|[+-]\d{2}(:?\d{2})?)?"


@dataclass(frozen=True)
class Dates:
    """The values of a column that are dates without a time of day.

    Attributes
    ----------
    values, dates : int
        Values of the column, and how many of them are only a day.
    midnights : bool
        Whether values at midnight count as dates: the column has, or had, no other values.
    zone : str
        The time zone of their days.
    """

    values: int
    dates: int
    midnights: bool
    zone: str = UTC_ZONE

    @property
    def sentence(self) -> str:
        """The assumption about the dates, in words."""
        if self.dates == self.values:
            return f"has dates without a time of day: each counts from the end of its day ({self.zone})."
        share = f"{self.dates:,} of {self.values:,} values"
        return f"has no time of day in {share}: these count from the end of their day ({self.zone})."


@dataclass(frozen=True)
class Walls:
    """The values of a column that name no time zone, where the mapping states one.

    Attributes
    ----------
    zone : str
    values, skipped, twice : int
        Such values; those in the hour that the clock skips when summer time begins; and those in the hour that it
        shows twice.
    """

    zone: str
    values: int
    skipped: int
    twice: int

    @property
    def sentence(self) -> str:
        """The assumption about these values, in words."""
        text = f"names no time zone in {self.values:,} values: they are times of {self.zone}."
        if self.skipped:
            text += f" {self.skipped:,} of them lie in an hour that the clock skipped, and are read as if it had not."
        if self.twice:
            text += f" {self.twice:,} of them lie in an hour that the clock showed twice: the later one counts."
        return text


def measure_dates(
    connection: DuckDBPyConnection,
    binding: TableBinding,
    types: Mapping[str, str],
    earlier: Collection[str],
    *,
    in_part: bool,
) -> dict[str, Dates]:
    """Return the time columns of ``source_<table>`` that have dates without a time of day, except those of plans.

    Parameters
    ----------
    connection : DuckDBPyConnection
    binding : TableBinding
    types : mapping of str to str
        The type of each source column.
    earlier : collection of str
        Columns whose values at midnight counted as dates at an earlier extraction. They still do, because a few new
        rows cannot decide it.
    in_part : bool
        Whether the table was read in part: its rows then cannot show that all values of a column are at midnight.
    """
    if not (names := binding.fact_times):
        return {}
    counts: list[str] = []
    for place, name in enumerate(names):
        value = f"v{place}"
        is_date, at_midnight = _forms_of(binding, name, types, value)
        counts.append(
            f"count({value}), count(*) filter ({value} is not null and {is_date}), "
            f"count(*) filter ({value} is not null and ({is_date} or {at_midnight}))"
        )
    row = one_row(connection, f"select {', '.join(counts)} from {_values(binding, names, types)}")
    found: dict[str, Dates] = {}
    for place, name in enumerate(names):
        values, dates, at_midnight = row[3 * place : 3 * place + 3]
        zone = binding.zone(name)
        if at_midnight == values and values >= MIN_MIDNIGHTS and dates < values and not in_part:
            found[name] = Dates(values, values, midnights=True, zone=zone)
        elif name in earlier and at_midnight:
            found[name] = Dates(values, at_midnight, midnights=True, zone=zone)
        elif dates:
            found[name] = Dates(values, dates, midnights=False, zone=zone)
    return found


def unless_missing(binding: TableBinding, column: str, text: str) -> str:
    """Return SQL for a text of a column, null if the text is a word for a missing value."""
    if not (words := binding.missing_words(column)):
        return text
    listed, longest = literals(words), max(map(len, words))
    return f"case when length({text}) <= {longest} and folded({text}) in ({listed}) then null else {text} end"


def said_time(binding: TableBinding, column: str, source_type: str, value: str) -> Spelling:
    """Return the reading of a value of a time column: of a text in plain characters, or of a time of the source."""
    zone = binding.zone(column)
    if source_type.startswith(TIMES):
        return typed_spelling(source_type, zone, value)
    return spelling(binding.formats(column), zone, value)


def _values(binding: TableBinding, columns: Sequence[str], types: Mapping[str, str]) -> str:
    """Return a relation with the values of source columns as ``v0``, ``v1`` and so on, texts in plain characters.

    Each step has its own SELECT; otherwise DuckDB would plan an expression again wherever the next step uses it.
    """
    read, unmarked, plain = [], [], []
    for place, column in enumerate(columns):
        form = str(binding.forms[column])
        is_typed = types[form].startswith(TIMES)
        read.append(f"{of_source(form) if is_typed else f'cleaned({of_source(form)})'} as c{place}")
        unmarked.append(f"{f'c{place}' if is_typed else unless_missing(binding, column, f'c{place}')} as m{place}")
        plain.append(f"{f'm{place}' if is_typed else f'plain(m{place})'} as v{place}")
    return (
        f"(select {', '.join(plain)} from (select {', '.join(unmarked)} from "
        f"(select {', '.join(read)} from source_{binding.table.name})))"
    )


def _forms_of(binding: TableBinding, column: str, types: Mapping[str, str], value: str) -> tuple[str, str]:
    """Return SQL for whether a value of a source column is a date, and whether it names midnight."""
    source_type = types[str(binding.forms[column])]
    spelt = said_time(binding, column, source_type, value)
    if source_type == "DATE":
        return "true", "false"
    zone = binding.zone(column)
    if source_type.startswith("TIMESTAMP") or zone != UTC_ZONE or binding.formats(column) != (ISO,):
        return f"coalesce({spelt.is_date}, false)", f"coalesce({is_midnight(spelt.value, zone)}, false)"
    # most times are not at midnight: the pattern is matched only for the others
    return spelt.is_date, f"substr({value}, 12, 5) = '00:00' and regexp_full_match({value}, {literal(_MIDNIGHT)})"


def wall_us(moment: str, zone: str) -> str:
    """Return SQL for the local time of a zone at a moment, in microseconds."""
    return f"epoch_us({moment})" if zone == UTC_ZONE else f"epoch_us(timezone({literal(zone)}, {moment}))"


def is_midnight(moment: str, zone: str) -> str:
    """Return SQL that says whether a moment is midnight in a time zone."""
    return f"{wall_us(moment, zone)} % 86400000000 = 0"


def measure_walls(connection: DuckDBPyConnection, binding: TableBinding, types: Mapping[str, str]) -> dict[str, Walls]:
    """Return the time columns of ``source_<table>`` whose values name no time zone, where the mapping states one."""
    walls: dict[str, Walls] = {}
    for name in (
        column.name
        for column in binding.table.columns
        if column.kind == "time" and binding.reads(column.name) and binding.zone(column.name) != UTC_ZONE
    ):
        source_type = types[str(binding.forms[name])]
        wall = said_time(binding, name, source_type, "v0").wall
        zone = literal(binding.zone(name))
        # DuckDB takes the later one of two moments with the same local time
        is_twice = " or ".join(f"timezone({zone}, moment - to_minutes({each})) = wall" for each in (30, 60))
        values, skipped, twice = one_row(
            connection,
            f"select count(*), count(*) filter (timezone({zone}, moment) <> wall), count(*) filter ({is_twice}) from "
            f"(select wall, timezone({zone}, wall) as moment from (select {wall} as wall from "
            f"{_values(binding, [name], types)})) where isfinite(wall)",
        )
        if values:
            walls[name] = Walls(binding.zone(name), values, skipped, twice)
    return walls


def without_zone(connection: DuckDBPyConnection, binding: TableBinding, types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the time columns of ``source_<table>`` that have times of day without a zone, if none is stated."""
    names = [
        column.name
        for column in binding.table.columns
        if column.kind == "time"
        and binding.reads(column.name)
        and binding.time_zone == UTC_ZONE
        and (column.name not in binding.times or binding.times[column.name].zone is None)
    ]
    found: list[str] = []
    for place, name in enumerate(names):
        spelt = said_time(binding, name, types[str(binding.forms[name])], f"v{place}")
        found.append(f"coalesce(bool_or({spelt.wall} is not null and not {spelt.is_date}), false)")
    if not found:
        return ()
    row = one_row(connection, f"select {', '.join(found)} from {_values(binding, names, types)}")
    return tuple(name for name, has_some in zip(names, row, strict=True) if has_some)


def stated_columns(binding: TableBinding, dates: Mapping[str, Dates]) -> frozenset[str]:
    """Return the time columns whose stated value is kept as ``stated_<column>``, beside its meaning."""
    plans = {
        name
        for column in binding.table.columns
        if column.plan is not None and binding.reads(column.name)
        for name in (column.name, column.plan)
    }
    ahead = {column.name for column in binding.table.columns if column.ahead and binding.reads(column.name)}
    return frozenset({*plans, *ahead, *dates})


def stated(columns: frozenset[str], name: str) -> str:
    """Return the name of the column that holds the stated value of a column."""
    return f"stated_{name}" if name in columns else name


def meant(
    binding: TableBinding,
    column: Column,
    dates: Mapping[str, Dates],
    source_type: str | None,
    known_by: datetime | None,
) -> str:
    """Return SQL for the meaning of the stated value of a time column.

    A date becomes the end of its day, because the fact is not known before the day is over. In a database it is no
    later than the extraction, because its facts have happened by then. A plan becomes null, and its time moves to the
    column of the plan.

    Parameters
    ----------
    binding : TableBinding
    column : Column
        One of the `stated_columns`.
    dates : mapping of str to Dates
    source_type : str or None
        The type of the source column; None where the source has no such column.
    known_by : datetime or None
        For a database, the last moment before the extraction.
    """
    value = f"stated_{column.name}"
    if (column_dates := dates.get(column.name)) is not None:
        zone = literal(column_dates.zone)
        end = f"{value} + {_ALMOST_A_DAY}"
        if column_dates.zone != UTC_ZONE:
            # with daylight saving, a day may have 23 or 25 hours
            next_day = f"date_trunc('day', timezone({zone}, {value})) + to_days(1)"
            end = f"timezone({zone}, {next_day}) - to_microseconds(1)"
        if known_by is not None:
            end = f"least({end}, greatest({value}, timestamptz '{known_by.isoformat()}'))"
        text = "raw" if str(source_type).startswith(TIMES) else "text"
        spelt = said_time(binding, column.name, str(source_type), f"{text}_{column.name}")
        is_date = is_midnight(value, column_dates.zone) if column_dates.midnights else spelt.is_date
        # an infinite date has no end of its day; a check rejects it
        value = f"case when {is_date} and isfinite({value}) then {end} else {value} end"
    if column.ahead:
        # many systems write a day at the end of all time where there is no end
        value = f"case when {value} < timestamptz '{LATEST}' then {value} end"
    if column.fact_when:
        value = f"case when {has_happened(column)} then {value} end"
    for other in binding.table.columns:
        if other.plan == column.name and binding.reads(other.name):
            value = f"coalesce({value}, case when not {has_happened(other)} then stated_{other.name} end)"
    return value


def has_happened(column: Column) -> str:
    """Return SQL that says whether the status of the row means that the time is a fact."""
    return f"coalesce(status in ({literals(column.fact_when)}), false)"


def plan_sentence(column: Column, statuses: Mapping[str, int]) -> str:
    """Return a sentence about the times of a column that are plans.

    Parameters
    ----------
    column : Column
    statuses : mapping of str to int
        The number of plans by the status of their rows; ``none`` for rows without a status.
    """
    counts = ", ".join(f"{status} {count:,}" for status, count in statuses.items())
    return (
        f"is a plan in {sum(statuses.values()):,} rows, by their status ({counts}): it stands in "
        f"{column.plan} where that is empty, ends nothing, and does not move the clock."
    )
