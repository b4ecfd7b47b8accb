"""The distance between two sets of rows, column by column: figures over every row, by SQL.

The figures need only the counts of distinct values. The largest step is the sort of the distinct values of each column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.decisions.drift import Distance
from models.declaring.columns import Kind
from models.declaring.policies import BINS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LEAST_SHARE = 1e-4
"""The share of an empty bin in the PSI, because the logarithm of 0 has no value. Evidently uses the same."""

DIGITS = 12
"""Decimals of every figure."""

VALUES_AT_ONCE = 4_000_000
"""Values that one query compares, rows times columns: a bound of the memory."""


def distances(connection: DuckDBPyConnection, relation: str, columns: Mapping[str, Kind]) -> list[Distance]:
    """Compare the reference rows of a relation with its current rows.

    Parameters
    ----------
    connection : DuckDBPyConnection
    relation : str
        A table, view or registered frame with the columns and two booleans, ``is_reference`` and ``is_current``; a
        row may be on both sides.
    columns : mapping of str to {"number", "text"}

    Returns
    -------
    list of Distance
        In the order of `columns`.
    """
    found: dict[str, Distance] = {}
    count = connection.execute(f"select count(*) from {relation}").fetchall()[0][0]
    at_once = max(1, VALUES_AT_ONCE // max(1, count))
    for kind, query in (("number", _NUMBERS), ("text", _TEXTS)):
        same_kind = [name for name, each in columns.items() if each == kind]
        for first in range(0, len(same_kind), at_once):
            names = same_kind[first : first + at_once]
            rows = connection.execute(query.format(values=_values(relation, names, kind))).fetchall()
            found |= {names[int(number)]: _distance(kind, names[int(number)], figures) for number, *figures in rows}
            # a relation without rows has no row of any column
            found |= {name: _distance(kind, name, [0, 0, *[None] * 6]) for name in names if name not in found}
    return [found[name] for name in columns]


def _values(relation: str, names: list[str], kind: str) -> str:
    sql_type = "double" if kind == "number" else "varchar"
    # columns by number: names of more than twelve characters make grouping and sorting twice as slow
    cast = ", ".join(f'cast("{name}" as {sql_type}) as "{number}"' for number, name in enumerate(names))
    listed = ", ".join(f'"{number}"' for number in range(len(names)))
    return (
        # counts as doubles are exact, and faster to sum over windows than integers, whose sums are of 128 bits
        "select name, value, cast(count(*) filter (where is_reference) as double) as r, "
        "cast(count(*) filter (where is_current) as double) as c "
        f"from (select is_reference, is_current, {cast} from {relation}) "
        f"unpivot include nulls (value for name in ({listed})) group by name, value"
    )


_PSI = f"""
    sum((greatest(c_share, {LEAST_SHARE}) - greatest(r_share, {LEAST_SHARE}))
        * ln(greatest(c_share, {LEAST_SHARE}) / greatest(r_share, {LEAST_SHARE})))"""

# The bin of a value is the number of whole tenths of the reference below it. These are the bins between the deciles,
# each with its upper end, without a second pass over the rows. Values below or above every reference value have a bin
# of their own on each side: a constant that becomes another constant must change its bin.
_NUMBERS = f"""
with counted as materialized ({{values}}),
totals as (
    select
        name, sum(r) as r_all, sum(c) as c_all,
        sum(r) filter (where value is not null) as r_n, sum(c) filter (where value is not null) as c_n,
        sum(r * value) / nullif(sum(r) filter (where value is not null), 0) as mean
    from counted group by name
),
cumulated as materialized (
    select
        name, value, r, c, sum(r) over upward as r_upto, sum(c) over upward as c_upto,
        lead(value) over (partition by name order by value) as next_value
    from counted where value is not null
    window upward as (partition by name order by value rows between unbounded preceding and current row)
),
moved as (
    select
        name,
        max(abs(r_upto / r_n - c_upto / c_n)) as ks,
        coalesce(sum(abs(r_upto / r_n - c_upto / c_n) * (next_value - value)), 0) as area,
        sqrt(sum(r * (value - mean) ** 2) / any_value(r_n)) as spread
    from cumulated inner join totals using (name)
    where r_n > 0 and c_n > 0
    group by name
),
binned as (
    -- -1 below every reference value, and {BINS} above every one
    select name, case when r_upto = 0 then -1 else floor({BINS} * (r_upto - r) / r_n) end as bin, r, c
    from cumulated inner join totals using (name)
    union all
    select name, null, r, c from counted where value is null
),
shares as (
    select name, bin, sum(r) / any_value(r_all) as r_share, sum(c) / any_value(c_all) as c_share
    from binned inner join totals using (name)
    where r_all > 0 and c_all > 0
    group by name, bin
),
indexed as (select name, {_PSI} as psi from shares where r_share > 0 or c_share > 0 group by name)
select
    name, coalesce(r_n, 0), coalesce(c_n, 0), psi, ks, area / nullif(spread, 0),
    1 - coalesce(r_n, 0) / nullif(r_all, 0), 1 - coalesce(c_n, 0) / nullif(c_all, 0), null
from totals left join moved using (name) left join indexed using (name)
"""

_TEXTS = f"""
with counted as materialized ({{values}}),
totals as (
    select
        name, sum(r) as r_all, sum(c) as c_all,
        sum(r) filter (where value is not null) as r_n, sum(c) filter (where value is not null) as c_n
    from counted group by name
),
shares as (
    select
        name, value, value is not null as given, r, r / nullif(r_all, 0) as r_share, c / nullif(c_all, 0) as c_share,
        r / nullif(r_n, 0) as p, c / nullif(c_n, 0) as q, c
    from counted inner join totals using (name)
),
-- A text has as many bins as a number, or chance alone would tell windows apart by a column of many values: one for
-- each of the commonest values of the reference, and one for all others, new values included.
ranked as (
    select
        name, r_share, c_share, given, r,
        row_number() over (partition by name, given, r > 0 order by r desc, value) as place
    from shares
),
folded as (
    select
        name, case when not given then -1 when r = 0 then {BINS} else least(place, {BINS}) end as bin,
        sum(r_share) as r_share, sum(c_share) as c_share
    from ranked
    where r_share is not null and c_share is not null
    group by all
),
indexed as (select name, {_PSI} as psi from folded where r_share > 0 or c_share > 0 group by name),
compared as (
    select
        name,
        sum(
            0.5 * (case when p > 0 then p * log2(2 * p / (p + q)) else 0 end)
            + 0.5 * (case when q > 0 then q * log2(2 * q / (p + q)) else 0 end)
        ) filter (where given and p is not null and q is not null) as divergence,
        sum(c_share) filter (where given and r = 0) as new_share
    from shares group by name
)
select
    name, coalesce(r_n, 0), coalesce(c_n, 0), psi,
    -- rounding may give slightly less than 0 where both sides are almost equal
    sqrt(case when divergence < 0 then 0 else divergence end), null,
    1 - coalesce(r_n, 0) / nullif(r_all, 0), 1 - coalesce(c_n, 0) / nullif(c_all, 0),
    case when r_all > 0 and c_all > 0 then coalesce(new_share, 0) end
from totals left join compared using (name) left join indexed using (name)
"""


def _distance(kind: str, name: str, row: list[Any]) -> Distance:
    rows_reference, rows_current, *figures = row
    psi, distance, wasserstein, nulls_reference, nulls_current, new = (
        # the order in which threads add up changes the last digits: rounded, the same rows give the same figure
        None if each is None else round(float(each), DIGITS)
        for each in figures
    )
    return Distance(
        column=name,
        kind="number" if kind == "number" else "text",
        rows_reference=int(rows_reference),
        rows_current=int(rows_current),
        psi=psi,
        distance=distance,
        wasserstein=wasserstein,
        nulls_reference=nulls_reference,
        nulls_current=nulls_current,
        new_categories=new,
    )
