"""The feature view's SQL beside a query written by hand for the same facts, on synthetic facts of two sizes.

The workload is that of sparse observations: 25 interactions a lead with a heavy tail, 1.5 appointments, 0.3 projects
over 24 months, and four observations a lead at random moments, one in a hundred of which ties with a fact. The query
written by hand is the fastest form known for it on DuckDB: one join, conditional aggregates, 43 features and nothing
else. Both run on the same tables of one warehouse, three times each in turn; the median counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from benchmarks.compiled import DATABASE, Model, compiled
from benchmarks.measuring import Figure, MeasurementError, Report
from benchmarks.processes import alone, peak_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMED = ("closed_leads", "track_records", "lead_features")
"""The models that there are for the features alone, in the order in which they can be built."""
SIZES = {"S": 10_000, "M": 100_000}
REPEATS = 3
CLOCK = "2026-01-01T00:00:00.000000+00:00"
WINDOWS = {"7d": 7, "30d": 30, "90d": 90, "lifetime": None}
DAY_US = 86_400_000_000


def run() -> Report:
    """Time both forms at both sizes."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        models = compiled(Path(folder), {"as_of": CLOCK}, ("staging", "intermediate", "features"))
    figures: list[Figure] = []
    details: list[str] = []
    for size, leads in SIZES.items():
        with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
            path = Path(folder) / f"{DATABASE}.duckdb"
            rows = alone(_fill, path, leads, models)
            taken: dict[str, list[tuple[float, int, int]]] = {"view": [], "by hand": []}
            for _ in range(REPEATS):
                taken["view"].append(alone(_run_view, path, models))
                taken["by hand"].append(alone(_run_by_hand, path))
        seconds = {form: statistics.median(each[0] for each in runs) for form, runs in taken.items()}
        peak = {form: max(each[1] for each in runs) / 1e6 for form, runs in taken.items()}
        count = {form: runs[0][2] for form, runs in taken.items()}
        details.append(f"{size}: {rows}")
        details += [
            f"  {form:<8} {count[form]:>4} features  {seconds[form]:6.2f} s  peak {peak[form]:6,.0f} MB"
            for form in taken
        ]
        ratio = seconds["view"] / seconds["by hand"]
        figures += [
            Figure(name=f"{size}: time, view over by hand", value=ratio, digits=2, unit="x"),
            Figure(
                name=f"{size}: time per feature, view over by hand",
                value=ratio * count["by hand"] / count["view"],
                bound=1.3,
                digits=2,
                unit="x",
            ),
            Figure(
                name=f"{size}: peak memory, view over by hand", value=peak["view"] / peak["by hand"], digits=2, unit="x"
            ),
        ]
    return Report(name="feature_sql", figures=figures, details=details)


def by_hand() -> str:
    """Return the query written by hand."""
    conditions = {
        "facts": "true",
        "interactions": "fact = 'interaction'",
        **{
            f"{name}s": f"interaction_type = '{name}' and fact = 'interaction'"
            for name in ("call", "email", "web", "note", "meeting")
        },
        **{name: f"direction = '{name}' and fact = 'interaction'" for name in ("inbound", "outbound")},
    }
    columns = [
        f"count(*) filter ({condition}"
        + ("" if days is None else f" and known_us >= as_of_us - {days * DAY_US}")
        + f") as {name}_{window}"
        for window, days in WINDOWS.items()
        for name, condition in conditions.items()
    ]
    columns += [
        f"(as_of_us - max(known_us) filter ({condition})) / {DAY_US}.0 as days_since_{name}"
        for name, condition in list(conditions.items())[:7]
    ]
    return (
        f"select lead_id, as_of_us, {', '.join(columns)} from intermediate.observations "
        "join intermediate.timeline using (lead_id) where known_us < as_of_us group by lead_id, as_of_us"
    )


def _fill(path: Path, leads: int, models: Sequence[Model]) -> str:
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for statement in _facts(leads):
            connection.execute(statement)
        for model in models:
            if model.name in TIMED or model.name == "feature_clock":
                continue
            if model.name == "observations":
                connection.execute(_OBSERVATIONS)
            else:
                model.create(connection)
        counts = connection.execute(
            "select (select count(*) from raw.leads), (select count(*) from intermediate.timeline), "
            "(select count(*) from intermediate.observations), "
            "(select max(n) from (select count(*) as n from raw.interactions group by lead_id))"
        ).fetchall()[0]
    return "{:,} leads, {:,} facts, {:,} observations, the busiest lead with {:,} interactions".format(*counts)


def _run_view(path: Path, models: Sequence[Model]) -> tuple[float, int, int]:
    tables = {f"{model.schema}.{model.name}": model.sql for model in models if model.name in TIMED}
    return _timed(path, tables, 4)


def _run_by_hand(path: Path) -> tuple[float, int, int]:
    return _timed(path, {"main.by_hand": by_hand()}, 2)


def _timed(path: Path, tables: Mapping[str, str], keys: int) -> tuple[float, int, int]:
    """Return the seconds and the peak memory in bytes of some tables, and the number of features of the last."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema if not exists features")
        began = time.perf_counter()
        for table, sql in tables.items():
            connection.execute(f"create or replace table {table} as {sql}")
        seconds = time.perf_counter() - began
        columns = len(connection.execute(f"describe {table}").fetchall()) - keys
        expected, found = connection.execute(
            f"select (select count(*) from intermediate.observations), (select count(*) from {table})"
        ).fetchall()[0]
    if expected != found:
        raise MeasurementError(f"{table}: expected {expected:,} rows, one for each observation, found {found:,}")
    return seconds, peak_bytes(), columns


def _uniform(*key: str) -> str:
    # hash() is DuckDB's own: the same facts wherever its version is the same; of text, because its combination of
    # several numbers leaves the results correlated
    return f"(((hash(concat_ws('/', {', '.join(key)})) >> 11)::double + 0.5) / 9007199254740992.0)"


def _facts(leads: int) -> list[str]:
    start, span = "timestamptz '2024-01-01 00:00:00+00'", "630 * 86400"
    normal = f"sqrt(-2 * ln({_uniform('i', '1')})) * cos(2 * pi() * {_uniform('i', '2')})"
    moment = f"to_seconds({_uniform('i', 'n', '{salt}')} * (730 * 86400 - epoch(created_at - {start})))"
    kinds = "['call', 'email', 'email', 'sms', 'meeting', 'web', 'web', 'web', 'proposal', 'note']"

    def at(salt: str) -> str:
        return f"created_at + {moment.format(salt=salt)}"

    return [
        "create schema raw",
        f"""create table raw.leads as
            select i, 'L' || lpad(i::text, 8, '0') as lead_id, ['web', 'ads', 'fair', 'phone'][1 + i % 4] as source,
                {start} + to_seconds({_uniform("i", "3")} * {span}) as created_at,
                cast({_uniform("i", "4")} * 900000 as decimal(18, 2)) as property_value,
                (10000 + i % 80000)::text as zip_code, 'open' as status, 'rep' as assigned_to,
                greatest(1, cast(round(25 * exp(1.2 * {normal} - 0.72)) as bigint)) as interactions
            from range({leads}) as numbers (i)""",
        f"""create table raw.interactions as
            select i || '-' || n as interaction_id, lead_id,
                {kinds}[1 + cast(floor(10 * {_uniform("i", "n", "5")}) as bigint)] as type,
                ['inbound', 'outbound', 'internal'][1 + cast(floor(3 * {_uniform("i", "n", "6")}) as bigint)]
                    as direction,
                'rep-' || cast(floor(30 * {_uniform("i", "n", "15")}) as bigint) as performed_by,
                cast(null as text) as outcome,
                {at("7")} as occurred_at, {at("7")} as recorded_at,
                case when {_uniform("i", "n", "8")} < 0.2 then {at("7")} + interval 3 hour end as opened_at,
                case when {_uniform("i", "n", "9")} < 0.2 then {at("7")} + interval 5 hour end as responded_at
            from raw.leads, range(interactions) as numbers (n)""",
        f"""create table raw.appointments as
            select i || '-' || n as appointment_id, lead_id, {at("10")} as booked_at,
                {at("10")} + interval 3 day as scheduled_at, 'completed' as status,
                {at("10")} + interval 3 day as ended_at,
                cast(null as text) as rescheduled_from
            from raw.leads, range(1 + i % 2) as numbers (n)""",
        f"""create table raw.projects as
            select i::text as project_id, lead_id, property_value as value, property_value as cost,
                case when {_uniform("i", "16")} < 0.3 then 'won' else 'lost' end as status,
                {at("11")} as proposed_at, {at("11")} + interval 9 day as closed_at
            from raw.leads, range(1) as numbers (n) where {_uniform("i", "12")} < 0.3""",
        """create table raw.lead_changes as
            select i || '-' || column_name as change_id, lead_id, column_name, value, created_at as known_at
            from raw.leads cross join lateral (
                values ('property_value', property_value::text), ('zip_code', zip_code), ('status', status),
                    ('assigned_to', assigned_to)
            ) as shown (column_name, value)""",
    ]


_OBSERVATIONS = f"""
create table intermediate.observations as
with moments as (
    select
        lead_id, created_at as lead_created_at,
        -- one observation in a hundred is made at the very moment of a fact
        case when {_uniform("i", "n", "13")} < 0.01 then first_at
            else created_at + to_seconds(
                {_uniform("i", "n", "14")} * (730 * 86400 - epoch(created_at - timestamptz '2024-01-01 00:00:00+00'))
            ) end as as_of
    from raw.leads
    join (select lead_id, min(occurred_at) as first_at from raw.interactions group by lead_id) using (lead_id),
    range(4) as numbers (n)
)
select lead_id, as_of, epoch_us(as_of) as as_of_us, 'activity' as observation_kind, lead_created_at
from moments where epoch_us(as_of) > epoch_us(lead_created_at)
group by all
"""
