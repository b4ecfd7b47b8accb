"""No model says what DuckDB and PostgreSQL define differently, and each rule of the lint catches what it is for.

Linted is what dbt compiles for both engines: a whole build, an increment, and days that are built anew.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import pytest

from tests.dbt.random_crm import ATTRIBUTE_FEATURES, COLUMNS
from tests.dbt.sql_lint import REASONS, Schema, check, relations_of
from tests.dbt.warehouses import DuckDB, Postgres, Warehouse, tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WHOLE = {
    "as_of": "2026-01-31T00:00:00+00:00",
    "closing_outcomes": ["declined"],
    "conversion_horizon_days": 30,
    "attribute_features": ATTRIBUTE_FEATURES,
}
BUILDS: Mapping[str, Mapping[str, Any]] = {
    "whole": _WHOLE,
    "increment": {**_WHOLE, "built_load_number": 1, "built_us": 1, "silence_closes_after_days": 30},
    "days": {**_WHOLE, "range_from_us": 1, "range_until_us": 2},
}
ENGINES = ("duckdb", "postgres")
SCHEMA: Schema = {
    "raw": {
        "facts": {
            "lead_id": "text",
            "name": "text",
            "number": "bigint",
            "other": "bigint",
            "price": "decimal(18, 2)",
            "share": "double precision",
            "at": "timestamptz",
            "won": "boolean",
        }
    }
}


def test_no_model_says_what_engines_define_differently(address: str, tmp_path: Path) -> None:
    """Nor does a data test, whose verdict would be another on each engine."""
    found: list[str] = []
    for warehouse in (DuckDB(tmp_path), Postgres(address)):
        schema = _sources(warehouse)
        checked: set[str] = set()
        for build, variables in BUILDS.items():
            of_data_tests = "eager" if build == "whole" else "empty"
            chosen = ("--select", "resource_type:model", "--indirect-selection", of_data_tests)
            warehouse.dbt("compile", tmp_path / build, variables, *chosen)
            compiled = tmp_path / build / warehouse.target / "compiled" / "leadline"
            texts = {path: path.read_text(encoding="utf-8") for path in compiled.rglob("*.sql")}
            # what another build reads as well was looked at there
            texts = {path: sql for path, sql in texts.items() if sql not in checked}
            checked.update(texts.values())
            models = {
                (_layer(path.relative_to(compiled / "models").parts[0], warehouse), path.stem): path
                for path in texts
                # data tests lie below the file that declares them
                if path.is_relative_to(compiled / "models") and path.parent.suffix != ".yml"
            }
            assert len(models) > (15 if build == "whole" else 0)
            for (layer, name), path in _in_order(models, texts, warehouse.target):
                model = check(texts.pop(path), warehouse.target, schema)
                found += [f"{path}, {finding}" for finding in model.findings]
                schema.setdefault(layer, {}).setdefault(name, model.columns)
            for path, sql in texts.items():
                found += [f"{path}, {finding}" for finding in check(sql, warehouse.target, schema).findings]
            if build == "whole":
                assert len(texts) > 50
                # what an increment adds to is read only where it is there
                for layer, name in (
                    ("intermediate", "closed_leads"),
                    ("intermediate", "won_deals"),
                    ("marts", "lead_score_history"),
                ):
                    schema_of = _layer(layer, warehouse)
                    warehouse.execute(
                        f"create schema if not exists {schema_of}", f"create table {schema_of}.{name} (lead_id text)"
                    )
    assert not found, "\n".join(found)


def _sources(warehouse: Warehouse) -> Schema:
    """Return the types of the tables that dbt does not make."""
    warehouse.load_predictions([], [])
    schema: Schema = {"raw": {name: {**columns, "load_number": "bigint"} for name, columns in COLUMNS.items()}}
    schema["raw"]["source_ids"] = {"lead_id": "text", "source_id": "text"}
    for table, columns in tables(warehouse, ["ml"]).items():
        schema.setdefault("ml", {})[table.removeprefix("ml.")] = dict(columns)
    return schema


def _layer(folder: str, warehouse: Warehouse) -> str:
    return "marts_unpublished" if folder == "marts" and warehouse.target == "postgres" else folder


def _in_order(
    models: Mapping[tuple[str, str], Path], texts: Mapping[Path, str], dialect: str
) -> list[tuple[tuple[str, str], Path]]:
    """Return the models, each after those that it reads; what it adds to may be itself."""
    reads = {
        relation: (relations_of(texts[path], dialect) & models.keys()) - {relation} for relation, path in models.items()
    }
    return [(relation, models[relation]) for relation in TopologicalSorter(reads).static_order()]


CAUGHT = [
    ("week", "select date_trunc('week', at) as x from raw.facts"),
    ("week", "select extract(dow from at) as x from raw.facts"),
    ("week", "select extract(isodow from at) as x from raw.facts"),
    ("week", "select extract(week from at) as x from raw.facts"),
    ("week", "select dayofweek(at) as x from raw.facts"),
    ("week", "select weekday(at) as x from raw.facts"),
    ("time_zone", "select date_trunc('day', at) as x from raw.facts"),
    ("time_zone", "select date_trunc('month', at at time zone 'UTC') as x from raw.facts"),
    ("time_zone", "select extract(hour from at) as x from raw.facts"),
    ("time_zone", "select cast(at as date) as x from raw.facts"),
    ("time_zone", "select cast(at as text) as x from raw.facts"),
    ("time_zone", "select cast(name as timestamptz) as x from raw.facts"),
    ("time_zone", "select cast('2026-01-01' as timestamptz) as x from raw.facts"),
    ("interval", "select at - interval '7 days' as x from raw.facts"),
    ("interval", "select at + number * interval '1 day' as x from raw.facts"),
    ("interval", "select sum(number) over (order by at range interval '7 days' preceding) as x from raw.facts"),
    ("frame", "select sum(number) over (order by other range 7 preceding) as x from raw.facts"),
    ("implicit_cast", "select number from raw.facts where number = '5'"),
    ("implicit_cast", "select number from raw.facts where number in ('5', '6')"),
    ("implicit_cast", "select number from raw.facts where at > '2026-01-01'"),
    ("implicit_cast", "select number from raw.facts where at between '2026-01-01' and '2026-02-01'"),
    ("implicit_cast", "select number from raw.facts where name = number"),
    ("implicit_cast", "select number from raw.facts where won = 1"),
    ("implicit_cast", "select coalesce(number, 'none') as x from raw.facts"),
    ("implicit_cast", "select case when won then number else 'none' end as x from raw.facts"),
    ("implicit_cast", "select case number when '1' then 2 end as x from raw.facts"),
    ("implicit_cast", "select number + '1' as x from raw.facts"),
    ("implicit_cast", "select name || number as x from raw.facts"),
    ("implicit_cast", "select number as x from raw.facts union all select name as x from raw.facts"),
    ("implicit_cast", "select number from raw.facts where number in (select name from raw.facts)"),
    ("division", "select number / 2 as x from raw.facts"),
    ("division", "select number / other as x from raw.facts"),
    ("division", "select price / number as x from raw.facts"),
    ("division", "select price / 0.5 as x from raw.facts"),
    ("division", "select (number - mod(other, 7)) / 7 as x from raw.facts"),
    ("division", "select (number - mod(number, 7)) / 6 as x from raw.facts"),
    ("division", "select (mod(number, 10) - mod(number, 4)) / 4 as x from raw.facts"),
    ("division", "select avg(price) as x from raw.facts"),
    ("remainder", "select mod(number - other, 7) as x from raw.facts"),
    ("remainder", "select (number - other) % 7 as x from raw.facts"),
    ("rounding", "select round(share) as x from raw.facts"),
    ("rounding", "select cast(share as bigint) as x from raw.facts"),
    ("rounding", "select cast(share * 100 as decimal(18, 2)) as x from raw.facts"),
    ("text_form", "select cast(share as text) as x from raw.facts"),
    ("text_form", "select cast(won as text) as x from raw.facts"),
    ("exponent", "select share * 1e9 as x from raw.facts"),
    ("double_sum", "select sum(share) as x from raw.facts"),
    ("double_sum", "select avg(share) as x from raw.facts"),
    ("null_order", "select row_number() over (partition by lead_id order by number desc) as x from raw.facts"),
    ("unordered", "select row_number() over (partition by lead_id) as x from raw.facts"),
    ("unordered", "select lag(number) over by_lead as x from raw.facts window by_lead as (partition by lead_id)"),
    ("unordered", "select string_agg(name, ',') as x from raw.facts"),
    ("unordered", "select array_agg(number) as x from raw.facts"),
    ("unordered", "select number from raw.facts limit 1"),
    ("unordered", "select distinct on (lead_id) lead_id, number from raw.facts"),
    ("function", "select any_value(number) as x from raw.facts"),
    ("function", "select first(number order by at) as x from raw.facts"),
    ("function", "select arg_max(number, at) as x from raw.facts"),
    ("function", "select random() as x from raw.facts"),
    ("function", "select lower(name) as x from raw.facts"),
    ("function", "select stddev_samp(share) as x from raw.facts"),
    ("function", "select median(number) as x from raw.facts"),
    ("function", "select now() as x from raw.facts"),
    ("function", "select some_function(number) as x from raw.facts"),
    ("pattern", "select number from raw.facts where name ilike 'a%'"),
    ("pattern", "select number from raw.facts where name similar to 'a.*'"),
    ("pattern", "select regexp_replace(name, 'a', 'b') as x from raw.facts"),
    ("unknown_type", "select number from raw.facts where number = some_function(number)"),
    ("syntax", "select (number from raw.facts"),
    ("syntax", "select nothing from raw.facts"),
]  # fmt: skip
"""A rule, and what it catches on either engine."""

CAUGHT_ON_ONE = [
    ("postgres", "text_order", "select min(name) as x from raw.facts"),
    ("postgres", "text_order", "select row_number() over (order by name) as x from raw.facts"),
    ("postgres", "text_order", "select number from raw.facts where name < 'b'"),
    ("postgres", "text_order", "select greatest(name, lead_id) as x from raw.facts"),
    ("postgres", "text_order", 'select max(case when name collate "C" > \'b\' then name end) as x from raw.facts'),
    ("postgres", "function", 'select max(name collate "de_DE") as x from raw.facts'),
    ("postgres", "pattern", "select number from raw.facts where name ~ 'a.*'"),
    ("duckdb", "pattern", "select number from raw.facts where regexp_matches(name, 'a.*')"),
    ("duckdb", "division", "select number // 2 as x from raw.facts"),
    ("postgres", "week", "select date_part('dow', at) as x from raw.facts"),
    ("duckdb", "function", "select date_part('dow', at) as x from raw.facts"),
    ("postgres", "function", "select list(number order by at) as x from raw.facts"),
    ("duckdb", "unordered", "select list(number) as x from raw.facts"),
    # each engine's own form of a dispatched macro, on the other
    ("duckdb", "time_zone", "select cast(extract(epoch from at) * 1000000 as bigint) as x from raw.facts"),
    ("postgres", "interval", "select timestamptz 'epoch' + number * interval '1 second' as x from raw.facts"),
    ("duckdb", "interval", "select timestamptz 'epoch' + number * interval '1 microsecond' as x from raw.facts"),
    ("postgres", "function", "select epoch_us(at) as x from raw.facts"),
    ("postgres", "function", "select make_timestamptz(number) as x from raw.facts"),
]  # fmt: skip

PASSED = [
    "select mod((number - mod(number, 86400)) / 86400 + 3, 7) >= 5 as x from raw.facts",
    "select cast(mod((number - mod(number, 86400)) / 86400 + 3, 7) as bigint) as x from raw.facts",
    "select (mod(number, 86400) - mod(number, 3600)) / 3600 as x from raw.facts",
    "select mod(number, 7) as x from raw.facts",
    "select at from raw.facts where at > cast('2026-01-01T00:00:00+00:00' as timestamptz)",
    "select sum(number) over (order by number rows between 7 preceding and current row) as x from raw.facts",
    "select sum(number) over (order by number rows unbounded preceding) as x from raw.facts",
    "select number from raw.facts where number = 5 and name = '5' and won",
    "select number from raw.facts where cast(name as bigint) = number",
    "select number from raw.facts where price >= 10000 and share > price",
    "select coalesce(number, price, 0) as x, coalesce(name, 'none') as y from raw.facts",
    "select case when won then number end as x, case name when '1' then 2 else null end as y from raw.facts",
    "select number as x, null as y from raw.facts union all select other as x, name as y from raw.facts",
    "select cast(number as text) as x, cast(price as text) as y, cast(null as timestamptz) as z from raw.facts",
    "select name || '-' || lead_id as x from raw.facts",
    "select cast(number as double precision) / other as x, share / 0 as y from raw.facts",
    "select round(price, 1) as x, cast(floor(share * 10 + 0.5) as bigint) as y from raw.facts",
    "select sum(price) as x, sum(number) as y from raw.facts",
    "select row_number() over (order by number desc nulls last, other) as x from raw.facts",
    "select lag(number) over by_lead as x from raw.facts window by_lead as (partition by lead_id order by at)",
    "select string_agg(name, ',' order by number) as x, array_agg(other order by number) as y from raw.facts",
    "select number from raw.facts order by number limit 1",
    "select distinct on (lead_id) lead_id, number from raw.facts order by number",
    "select distinct lead_id from raw.facts",
    "select max(number) as x, min(at) as y from raw.facts where name = lead_id group by name",
    "select share * cast(1e9 as double precision) as x from raw.facts",
    "select number as week, other as dow from raw.facts",
    "select 'date_trunc(week) random()' as x from raw.facts -- order by x desc",
    "select percentile_disc(0.5) within group (order by price) as x from raw.facts",
]
"""What is nearly forbidden and means the same on both engines."""

PASSED_ON_ONE = [
    ("duckdb", "select epoch_us(at) - 7 as x, make_timestamptz(number) as y from raw.facts"),
    ("duckdb", "select min(name) as x from raw.facts"),
    ("postgres", "select cast(extract(epoch from at) * 1000000 as bigint) - 7 as x from raw.facts"),
    ("postgres", "select (timestamp with time zone 'epoch' + (number) * interval '1 microsecond') as x from raw.facts"),
    (
        "postgres",
        "select max(case when cast(extract(epoch from at) * 1000000 as bigint) + 0.5 > share then name end "
        'collate "C") as x from raw.facts',
    ),
    ("postgres", 'select max(name collate "C") as x from raw.facts'),
    ("postgres", 'select row_number() over (order by number, name collate "C") as x from raw.facts'),
]


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize(("rule", "sql"), CAUGHT)
def test_a_rule_catches_what_it_is_for(dialect: str, rule: str, sql: str) -> None:
    assert rule in _rules(sql, dialect)


@pytest.mark.parametrize(("dialect", "rule", "sql"), CAUGHT_ON_ONE)
def test_a_rule_catches_what_one_engine_has(dialect: str, rule: str, sql: str) -> None:
    assert rule in _rules(sql, dialect)


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("sql", PASSED)
def test_what_means_the_same_passes(dialect: str, sql: str) -> None:
    assert _rules(sql, dialect) == set()


@pytest.mark.parametrize(("dialect", "sql"), PASSED_ON_ONE)
def test_what_a_dispatched_macro_has_become_passes_on_its_engine(dialect: str, sql: str) -> None:
    assert _rules(sql, dialect) == set()


def test_every_rule_has_a_sample() -> None:
    assert {rule for rule, _ in CAUGHT} | {rule for _, rule, _ in CAUGHT_ON_ONE} == set(REASONS)


def test_a_finding_names_its_line_and_its_reason() -> None:
    (finding,) = check("select\n    lead_id,\n    number / 2 as half\nfrom raw.facts", "postgres", SCHEMA).findings
    assert str(finding) == f"line 3: division: facts.number / 2: {REASONS['division']}"


def test_types_reach_the_models_that_read_a_model() -> None:
    columns = check("select lead_id, number * 2 as twice from raw.facts", "duckdb", SCHEMA).columns
    assert columns == {"lead_id": "TEXT", "twice": "BIGINT"}
    schema = {"staging": {"doubled": columns}}
    (finding,) = check("select twice / 3 as x from staging.doubled", "duckdb", schema).findings
    assert finding.rule == "division"


def _rules(sql: str, dialect: str) -> set[str]:
    return {finding.rule for finding in check(sql, dialect, SCHEMA).findings}
