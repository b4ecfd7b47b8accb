"""The workload of the feature benchmark: synthetic facts of three sizes, and observations of two densities.

Leads have 25 interactions each with a heavy tail, 1.5 appointments and 0.3 projects over 24 months. Sparse observations
are four a lead at random moments, one in a hundred of which ties with a fact; dense ones follow each interaction by a
microsecond, as in a feature store that keeps the features after every event.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.compiled import Model

SIZES = {"S": 10_000, "M": 100_000, "X": 1_000_000}
CLOCK = "2026-01-01T00:00:00.000000+00:00"
VIEW = "lead_features"
GIVEN = ("timeline", "observations", "lead_closings")
"""Models from which the feature view and the queries by hand start; other parts of the project read them as well."""


def connect(path: Path, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """Open a warehouse with its session in UTC."""
    connection = duckdb.connect(str(path))
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    if memory_limit is not None:
        connection.execute(f"set memory_limit = '{memory_limit}'")
    return connection


def read_by(models: Sequence[Model], name: str) -> list[Model]:
    """Return a model and all models below it, in the order in which they can be built."""
    wanted = {name}
    found = []
    for model in reversed(models):
        if model.name in wanted:
            found.append(model)
            wanted |= {other.name for other in models if f'"{other.schema}"."{other.name}"' in model.sql}
    return found[::-1]


def of_the_view(models: Sequence[Model]) -> list[Model]:
    """Return the models that compute the features from facts and observations: the view, and those only it needs."""
    below = {model.name for name in GIVEN for model in read_by(models, name)}
    return [model for model in read_by(models, VIEW) if model.name not in below and model.schema != "staging"]


def fill(path: Path, leads: int) -> None:
    """Write the CRM's tables of a number of leads to a new warehouse."""
    with connect(path) as connection:
        for statement in _facts(leads):
            connection.execute(statement)


def given(models: Sequence[Model]) -> list[Model]:
    """Return the models in `GIVEN` and below, without the observations, and what the view reads of staging."""
    wanted = {model.name for name in GIVEN for model in read_by(models, name)} - {"observations"}
    wanted |= {model.name for model in read_by(models, VIEW) if model.schema == "staging"}
    return [model for model in models if model.name in wanted]


def create(path: Path, models: Iterable[Model], memory_limit: str | None = None) -> float:
    """Build models in a warehouse; return the seconds."""
    began = time.perf_counter()
    with connect(path, memory_limit) as connection:
        for model in models:
            model.create(connection)
    return time.perf_counter() - began


def observe(path: Path, density: str) -> tuple[str, int]:
    """Make the observations, ``sparse`` or ``dense``; return a description of the workload and their number."""
    with connect(path) as connection:
        connection.execute(f"create or replace table intermediate.observations as {OBSERVATIONS[density]}")
        counts = connection.execute(
            "select (select count(*) from raw.leads), (select count(*) from intermediate.timeline), "
            "(select count(*) from intermediate.observations), "
            "(select max(n) from (select count(*) as n from raw.interactions group by lead_id))"
        ).fetchall()[0]
    described = "{:,} leads, {:,} facts, {:,} observations, the busiest lead with {:,} interactions".format(*counts)
    return described, counts[2]


def _uniform(*key: str) -> str:
    # hash() of DuckDB gives the same facts with the same version of DuckDB; it hashes a text, because hashes of several
    # numbers are correlated
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
        "create table raw.source_ids (lead_id text, source_id text)",
        f"""create table raw.leads as
            select i, 'L' || lpad(i::text, 8, '0') as lead_id, ['web', 'ads', 'fair', 'phone'][1 + i % 4] as source,
                {start} + to_seconds({_uniform("i", "3")} * {span}) as created_at,
                cast({_uniform("i", "4")} * 900000 as decimal(18, 2)) as property_value,
                (10000 + i % 80000)::text as zip_code, 'open' as status, 'rep' as assigned_to,
                greatest(1, cast(round(25 * exp(1.2 * {normal} - 0.72)) as bigint)) as interactions
            from range({leads}) as numbers (i)""",
        f"""create table raw.interactions as
            select i || '-' || n as interaction_id, lead_id, cast(null as text) as customer_id,
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
        """create table raw.changes as
            select i || '-' || column_name as change_id, lead_id, cast(null as text) as project_id,
                cast(null as text) as customer_id, column_name, value, created_at as known_at
            from raw.leads cross join lateral (
                values ('property_value', property_value::text), ('zip_code', zip_code), ('status', status),
                    ('assigned_to', assigned_to)
            ) as shown (column_name, value)
            union all
            select project_id || '-value', lead_id, project_id, null, 'value', value::text, proposed_at
            from raw.projects""",
    ]


OBSERVATIONS = {
    "sparse": f"""
with moments as (
    select
        lead_id, created_at as lead_created_at,
        -- one observation in a hundred has exactly the time of a fact
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
""",
    "dense": """
select
    lead_id, make_timestamptz(known_us + 1) as as_of, known_us + 1 as as_of_us, 'activity' as observation_kind,
    any_value(created_at) as lead_created_at
from intermediate.timeline join raw.leads using (lead_id)
where fact = 'interaction'
group by lead_id, known_us
""",
}
