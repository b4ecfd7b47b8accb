"""Find how rows that were read again have changed: values lost, times moved, numbers scaled, words replaced."""

from collections.abc import Collection, Sequence
from typing import Any

from duckdb import DuckDBPyConnection

from store.source.checking.times import wall_us
from store.source.mapping.binding import TableBinding
from store.source.sql import one_row
from store.sql import literal, literals

SAME_NUMBER = 0.01
"""Two numbers, or two factors, count as the same if they differ by at most this share: cents are rounded."""

ALTERED_ROWS = 3

ALTERED_SHARE = 0.05
"""A table's values are compared if `ALTERED_ROWS` rows, and this share of the rows read again, have changed."""

TURNS = 3
"""Pairs of words, before and now, that are kept for each column."""


def changes_of(
    connection: DuckDBPyConnection, binding: TableBinding, compared: Sequence[str], dates: Collection[str]
) -> tuple[Any, ...]:
    """Return the number of changed rows, of rows whose time moved, the median shift, and four counts for each column.

    The counts are values lost, values found, values before, and values replaced by a word for a missing value. `dates`
    are the columns that had dates at the last extraction: the end of the same day does not count as another time.
    """
    if not compared:
        return (0, 0, None)
    table, primary = binding.table, binding.table.occurred
    figures = ""
    for bit, column in enumerate(compared):
        before, now = f"(k.filled >> {bit}) & 1 = 1", f"d.{column} is not null"
        if (default := table.column(column).default) is not None:
            now = f"d.{column} <> {literal(default)}"
        word = f"(t.missing_words >> {table.column_names.index(column)}) & 1 = 1"
        figures += (
            f", count(*) filter ({before} and not ({now})), count(*) filter ({now}), count(*) filter ({before}), "
            f"count(*) filter ({before} and not ({now}) and {word})"
        )
    moved = _moved(primary, binding.zone(primary), dates).format(before=f"k.{primary}", now=f"d.{primary}")
    # rows that are not in the delta have not changed
    return one_row(
        connection,
        f"select count(k.{table.key}), count(*) filter ({moved}), "
        f"to_microseconds((median(epoch_us(d.{primary}) - epoch_us(k.{primary})) filter ({moved}))::bigint){figures} "
        f"from delta_{table.name} d left join known_{table.name} k on k.{table.key} = d.{table.key} "
        f"left join (select {table.key} as typed_key, missing_words from typed_{table.name} where check_no is null "
        f"and missing_words <> 0) t on t.typed_key = d.{table.key}",
    )


def altered_columns(
    connection: DuckDBPyConnection, binding: TableBinding, compared: Sequence[str], dates: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return by column how many of the changed rows had another value, and how the values differ.

    ``stored_<table>`` must hold these rows as they were.
    """
    table = binding.table
    joined = f"delta_{table.name} d join stored_{table.name} s on s.{table.key} = d.{table.key}"
    altered: dict[str, dict[str, Any]] = {}
    for column in map(table.column, compared):
        name = column.name
        if column.kind == "number":
            # cents are rounded
            differs = f"abs(d.{name} - s.{name}) > {SAME_NUMBER} * abs(s.{name})"
            rows, zeroed, factor, scaled = one_row(
                connection,
                f"with pairs as (select d.{name} as now, s.{name} as before, {differs} as differs from {joined}), "
                "ratios as (select now / before as ratio from pairs where differs and before <> 0), "
                "middle as (select median(ratio) as factor from ratios) select "
                "(select count(*) filter (differs) from pairs), "
                "(select count(*) filter (before is null and now = 0) from pairs), any_value(factor), "
                f"count(*) filter (abs(ratio - factor) <= {SAME_NUMBER} * abs(factor)) from ratios, middle",
            )
            altered[name] = {"altered": rows, "zeroed": zeroed, "scaled": scaled, "factor": factor}
            continue
        differs = (
            _moved(name, binding.zone(name), dates).format(before=f"s.{name}", now=f"d.{name}")
            if column.kind == "time"
            else f"d.{name} <> s.{name}"
        )
        if column.words_left:
            differs += f" and s.{name} not in ({literals(column.words_left)})"
        (rows,) = one_row(connection, f"select count(*) filter ({differs}) from {joined}")
        altered[name] = {"altered": rows}
        if rows and column.words_kept:
            altered[name]["turned"] = tuple(
                connection.execute(
                    f"select s.{name}, d.{name}, count(*) from {joined} where {differs} group by all "
                    f"order by 3 desc, 1, 2 limit {TURNS}"
                ).fetchall()
            )
    return altered


def _moved(column: str, zone: str, dates: Collection[str]) -> str:
    """Return SQL, with places for ``before`` and ``now``, for whether a time has changed.

    A date is stored as the beginning of its day, or as the moment of that day at which it was read. The end of the same
    day does not count as a change.
    """
    day = 24 * 3600 * 1_000_000
    now_us, before_us = (wall_us(each, zone) for each in ("{now}", "{before}"))
    was_date = "true" if column in dates else f"{before_us} % {day} = 0"
    return (
        f"({{now}} <> {{before}} and not ({now_us} % {day} = {day - 1} and {was_date} "
        f"and {now_us} // {day} = {before_us} // {day}))"
    )
