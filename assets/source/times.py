"""What a time of the source says: a moment or only a day, and whether it has happened or is what somebody intends.

Composes SQL over the rows of a table; `assets.source.validation` asks it for the expressions of the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.source.sql import literal, of_source, one_row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from duckdb import DuckDBPyConnection

    from assets.source.contract import Column
    from assets.source.mapping import TableBinding

__all__ = [
    "MIN_MIDNIGHTS",
    "Dates",
    "has_happened",
    "meant",
    "measure_dates",
    "plan_sentence",
    "stated",
    "stated_columns",
]

MIN_MIDNIGHTS = 20
"""Values of a column that, all at midnight, are dates: fewer may be at midnight by chance."""

_ALMOST_A_DAY = "to_microseconds(86399999999)"
_MIDNIGHT = r"\d{4}-\d{2}-\d{2}[T ]00:00(:00(\.0+)?)?\s*(Z|[+-]\d{2}(:?\d{2})?)?"


@dataclass(frozen=True)
class Dates:
    """The values of a column that are dates without a time of day.

    Attributes
    ----------
    values, dates : int
        Values of the column, and those of them that name a day alone.
    midnights : bool
        Whether values that name midnight are dates as well: the column has no others, or had none.
    """

    values: int
    dates: int
    midnights: bool

    @property
    def sentence(self) -> str:
        """What is assumed of them."""
        if self.dates == self.values:
            return "has dates without a time of day: each counts from the end of its day (UTC)."
        share = f"{self.dates:,} of {self.values:,} values"
        return f"has no time of day in {share}: these count from the end of their day (UTC)."


def measure_dates(
    connection: DuckDBPyConnection, binding: TableBinding, types: Mapping[str, str], earlier: Collection[str]
) -> dict[str, Dates]:
    """Return the time columns of ``source_<table>`` that have dates without a time of day; those of plans are left out.

    Parameters
    ----------
    connection : DuckDBPyConnection
    binding : TableBinding
    types : mapping of str to str
        The type of each source column.
    earlier : collection of str
        Columns whose values at midnight were dates at an earlier extraction, and so are now: a few rows do not tell.
    """
    names = [
        column.name
        for column in binding.table.columns
        if column.kind == "time" and not column.planned and isinstance(binding.forms[column.name], str)
    ]
    if not names:
        return {}
    counts: list[str] = []
    for name in names:
        form = str(binding.forms[name])
        value, is_date, is_midnight = _forms_of(form, types[form])
        counts.append(
            f"count({value}), count(*) filter ({value} is not null and {is_date}), "
            f"count(*) filter ({value} is not null and ({is_date} or {is_midnight}))"
        )
    row = one_row(connection, f"select {', '.join(counts)} from source_{binding.table.name}")
    found: dict[str, Dates] = {}
    for place, name in enumerate(names):
        values, dates, at_midnight = row[3 * place : 3 * place + 3]
        if at_midnight == values and values >= MIN_MIDNIGHTS and dates < values:
            found[name] = Dates(values, values, midnights=True)
        elif name in earlier and at_midnight:
            found[name] = Dates(values, at_midnight, midnights=True)
        elif dates:
            found[name] = Dates(values, dates, midnights=False)
    return found


def _forms_of(form: str, source_type: str) -> tuple[str, str, str]:
    """Return SQL for the value of a source column, whether it is a date, and whether it names midnight."""
    if source_type == "DATE":
        return of_source(form), "true", "false"
    if source_type.startswith("TIMESTAMP"):
        return of_source(form), "false", f"epoch_us({of_source(form)}::timestamptz) % 86400000000 = 0"
    text = f"cleaned({of_source(form)})"
    # most times are not at midnight: only the others are matched
    midnight = f"substr({text}, 12, 5) = '00:00' and regexp_full_match({text}, {literal(_MIDNIGHT)})"
    return text, f"length({text}) = 10", midnight


def stated_columns(binding: TableBinding, dates: Mapping[str, Dates]) -> frozenset[str]:
    """Return the time columns whose values in the source are kept beside what they mean, as ``stated_<column>``."""
    plans = {
        name
        for column in binding.table.columns
        if column.plan is not None and isinstance(binding.forms[column.name], str)
        for name in (column.name, column.plan)
    }
    return frozenset({*plans, *dates})


def stated(columns: frozenset[str], name: str) -> str:
    """Return the name of the column with the value that the source states."""
    return f"stated_{name}" if name in columns else name


def meant(
    binding: TableBinding,
    column: Column,
    dates: Mapping[str, Dates],
    source_type: str | None,
    known_by: datetime | None,
) -> str:
    """Return SQL for what the stated value of a time column means.

    A date is a moment of its day, and not known before the day is over: the end of the day stands for it. A database
    tells of nothing that has not happened, so there it is no later than the extraction. What has not happened is null
    here, and in the column of its plan.

    Parameters
    ----------
    binding : TableBinding
    column : Column
        One of the `stated_columns`.
    dates : mapping of str to Dates
    source_type : str or None
        The type of the source column; None where the source has no such column.
    known_by : datetime or None
        Of a database: the last moment before the extraction.
    """
    value = f"stated_{column.name}"
    if (found := dates.get(column.name)) is not None:
        end = f"{value} + {_ALMOST_A_DAY}"
        if known_by is not None:
            end = f"least({end}, greatest({value}, timestamptz '{known_by.isoformat()}'))"
        is_date = "true" if source_type == "DATE" else f"length(raw_{column.name}) = 10"
        if found.midnights:
            is_date = f"epoch_us({value}) % 86400000000 = 0"
        # the end of a day cannot be told of an infinite date, which is refused
        value = f"case when {is_date} and isfinite({value}) then {end} else {value} end"
    if column.fact_when:
        value = f"case when {has_happened(column)} then {value} end"
    for other in binding.table.columns:
        if other.plan == column.name and isinstance(binding.forms[other.name], str):
            value = f"coalesce({value}, case when not {has_happened(other)} then stated_{other.name} end)"
    return value


def has_happened(column: Column) -> str:
    """Return SQL that says whether the row's status is one under which the time has happened."""
    return f"coalesce(status in ({', '.join(map(literal, column.fact_when))}), false)"


def plan_sentence(table: str, column: Column, statuses: Mapping[str, int]) -> str:
    """Return what became of the times of a column that are plans.

    Parameters
    ----------
    table : str
    column : Column
    statuses : mapping of str to int
        How many there are, by the status of their rows; without one ``none``.
    """
    by = ", ".join(f"{status} {count:,}" for status, count in statuses.items())
    return (
        f"{table}.{column.name} is a plan in {sum(statuses.values()):,} rows, by their status ({by}): it stands in "
        f"{column.plan} where that is empty, ends nothing, and does not move the clock."
    )
