"""The dbt project builds on PostgreSQL as on DuckDB: every table has the same rows, with which its tests pass.

The same on a random CRM, which has what point-in-time code gets wrong, and on a simulated one whose faults are turned
up.
"""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from models.declared.registry import DECLARATIONS
from simulation import simulate
from simulation.world import COMPANIES, Faults
from store.source.contract import TABLES
from store.source.extract import extract
from tests.dbt.random_crm import ATTRIBUTE_FEATURES, CLOCK, CLOSING_OUTCOMES, COLUMNS, DAY, Crm, random_crm
from tests.dbt.warehouses import DuckDB, Postgres, Row, Warehouse, tables
from tests.parity import Table, assert_same_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from store.source.report import ExtractionReport

SCHEMAS = ("features", "labels", "marts")
ACTIONS = ("call_immediate", "email_nurture", "no_action", "schedule_appointment", "send_proposal")
CHAMPIONS = {"conversion": "v2", "deal_value": "v1", "next_best_action": "v1", "churn_30d": "v2", "churn_60d": "v1"}
PRESENT = datetime(2026, 11, 1, tzinfo=UTC)
FAULTY = replace(
    COMPANIES["default"],
    faults=Faults(late=0.25, duplicate=0.1, conflict=0.002, orphan=0.002, unknown_type=0.002),
)
"""A company whose CRM gets much wrong."""


@pytest.mark.slow(40)
def test_a_random_crm(
    address: str, scratch: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """With every data test and unit test on DuckDB."""
    _write(random_crm(seed=11), tmp_path / "export")
    duck, cells = _built_on_both(
        tmp_path,
        address,
        scratch,
        command="build",
        closes={"closing_outcomes": CLOSING_OUTCOMES},
        as_of=CLOCK,
        # facts after the clock must change nothing on either engine, so none is refused as lying in the future
        present=CLOCK + 400 * DAY,
        mapping="contract",
        customers=True,
    )
    assert duck.rows("select count(*) from raw.rejects") == [(0,)]
    _assert_scores_of_every_kind(duck, value_sources=3)
    record_property("summary", _counted("a random CRM", cells))


def test_a_simulated_crm_with_late_double_and_tied_facts(
    address: str, scratch: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Interactions that are recorded days late, that come twice, or that have the time of another one."""
    simulate(tmp_path / "exact", leads=400, months=9, company=FAULTY, progress=False)
    _with_ties(tmp_path / "exact", tmp_path / "export")
    duck, cells = _built_on_both(tmp_path, address, scratch)
    _assert_late_double_and_tied(duck, tmp_path / "export")
    _assert_scores_of_every_kind(duck, value_sources=3)
    record_property("summary", _counted("a simulated CRM", cells))


def test_attributes_histories_of_deals_and_customers(
    address: str, scratch: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Attributes of each kind, on rows as the extraction writes them."""
    duck, postgres = DuckDB(tmp_path), Postgres(address)
    crm = random_crm(seed=12, leads=150)
    variables = {
        "as_of": CLOCK.isoformat(),
        "closing_outcomes": CLOSING_OUTCOMES,
        "deal_value_horizon_days": 30,
        "attribute_features": ATTRIBUTE_FEATURES,
    }
    for warehouse in (duck, postgres):
        warehouse.load(crm)
        models = "+lead_features +deal_value +lead_values +customer_features +churn_30d"
        warehouse.dbt("run", scratch, variables, "--select", models)
    found, expected = (tables(each, ("features", "labels", "intermediate")) for each in (postgres, duck))
    keys = {
        "features.lead_features": ["lead_id", "as_of"],
        "labels.deal_value": ["lead_id", "as_of"],
        "intermediate.lead_values": ["lead_id", "as_of"],
        "intermediate.customer_quintiles": ["as_of_us"],
        "features.customer_features": ["customer_id", "as_of"],
        "labels.churn_30d": ["customer_id", "as_of"],
    }
    compared = [Table(name, key, [column for column, _ in expected[name]]) for name, key in keys.items()]
    assert {name: _kinds(found)[name] for name in keys} == {name: _kinds(expected)[name] for name in keys}
    columns = {name for view in ("lead_features", "customer_features") for name, _ in expected[f"features.{view}"]}
    assert {each["column"] for each in ATTRIBUTE_FEATURES} < columns
    with duck.opened() as store:
        cells = assert_same_rows(store, address, compared)
    record_property("summary", _counted("attributes, deals and customers of a random CRM", cells))


DIFFERENCES = {
    "": "equal",
    "update facts set share = share * (1 + 1e-13)": "equal within the tolerance",
    "update facts set share = share * (1 + 1e-11) where number = 2": "share': (1, [(2,",
    "update facts set share = null where number = 2": "share': (1, [(2, None, 0.7",
    "update facts set price = price + 0.01 where number = 1": "price': (1, [(1, Decimal('1.26'), Decimal('1.25')",
    "update facts set name = 'A' where name = 'a'": "name': (1, [(1, 'A', 'a')",
    "update facts set name = '' where name is null": "name': (1, [(2, '', None)",
    "update facts set known_at = known_at + interval '1 microsecond' where number = 1": "known_at': (1,",
    "delete from facts where number = 2": "expected 2 rows",
    "insert into facts select 3, name, price, share, known_at from facts where number = 2": "expected 2 rows",
    "update facts set number = 1": "expected 2 rows",
    "alter table facts alter column number type integer": "the types differ",
    "alter table facts alter column price type decimal(18, 3)": "the types differ",
}
"""What is done to one table of two equal ones, and what the comparison then says."""


@pytest.mark.parametrize(("change", "said"), DIFFERENCES.items())
def test_the_comparison_sees_every_difference(address: str, tmp_path: Path, change: str, said: str) -> None:
    for warehouse in (DuckDB(tmp_path), Postgres(address)):
        warehouse.execute(
            "drop schema if exists built cascade",
            "create schema built",
            "create table built.facts "
            "(number bigint, name text, price decimal(18, 2), share double precision, known_at timestamptz)",
            "insert into built.facts values (1, 'a', 1.25, 1e-300, timestamptz '2026-01-01 00:00:00.000001+00'), "
            "(2, null, 0.1, 0.7, null)",
        )
        if change and warehouse.target == "postgres":
            warehouse.execute("set search_path = built", change)
    table = Table("built.facts", ["number"], ["number", "name", "price", "share", "known_at"])
    with DuckDB(tmp_path).opened() as store:
        if said.startswith("equal"):
            assert assert_same_rows(store, address, [table]) == 10
            return
        with pytest.raises(AssertionError) as failure:
            assert_same_rows(store, address, [table])
    assert said in str(failure.value)


def _built_on_both(
    folder: Path,
    address: str,
    scratch: Path,
    *,
    command: str = "run",
    closes: Mapping[str, list[str]] | None = None,
    as_of: datetime | None = None,
    present: datetime = PRESENT,
    mapping: str | None = None,
    customers: bool = False,
) -> tuple[DuckDB, int]:
    """Extract ``<folder>/export`` and build all models on both engines, with the same predictions; compare all tables.

    Returns
    -------
    DuckDB, int
        The warehouse, and how many cells of the compared schemas were equal.
    """
    duck, postgres = DuckDB(folder), Postgres(address)
    reports: list[ExtractionReport] = []
    for warehouse, where in ((duck, f"duckdb:{duck.path}"), (postgres, address)):
        report = extract(
            source=str(folder / "export"),
            warehouse=where,
            state_dir=folder / f"dlt-{warehouse.target}",
            as_of=as_of,
            present=present,
            models=DECLARATIONS,
            mapping=mapping,
        )
        reports.append(report)
        # the latest leads, of which most are open, and some have closed
        latest = duck.rows("select lead_id from raw.leads order by created_at desc, lead_id limit 600")
        bought = duck.rows("select customer_id from raw.customers order by customer_id")
        champions = [(model, version, report.as_of) for model, version in CHAMPIONS.items()]
        unscored = [
            (model, report.as_of, "There is no champion." if model == "conversion" else None) for model in CHAMPIONS
        ]
        predictions = _predictions([lead for (lead,) in latest], report.as_of)
        predictions += _churn([customer for (customer,) in bought], report.as_of)
        warehouse.load_predictions(predictions, champions, unscored)
        ((outcomes,),) = warehouse.rows("select closing_outcomes from raw.extraction")
        variables = {
            "as_of": report.as_of.isoformat(),
            **({"closing_outcomes": json.loads(outcomes)} if closes is None else closes),
            "conversion_horizon_days": 30,
        }
        # of equal rows a test says the same on both engines
        chosen = command if warehouse is duck else "run"
        warehouse.dbt(chosen, scratch, variables, parse=chosen == "build")
    assert vars(reports[0]) == vars(reports[1])

    found, expected = tables(postgres, map(_on_postgres, SCHEMAS)), tables(duck, SCHEMAS)
    found = {table.replace(_on_postgres("marts"), "marts"): columns for table, columns in found.items()}
    assert _kinds(found) == _kinds(expected)
    assert len(expected) == 13
    raw = [
        Table(f"raw.{name}", [_key(name)], list(columns))
        for name, columns in COLUMNS.items()
        if customers or "customers" not in (name, TABLES[name].of)
    ]
    built = [
        Table(
            table,
            [name for name in ("lead_id", "customer_id", "as_of") if name in dict(columns)],
            [name for name, _ in columns],
            on_postgres=_on_postgres(table),
        )
        for table, columns in expected.items()
        if customers or "customer_id" not in dict(columns)
    ]
    with duck.opened() as store:
        # where the extractions differ, no model is to blame
        assert_same_rows(store, address, raw)
        return duck, assert_same_rows(store, address, built)


def _key(table: str) -> str:
    return TABLES[table].key if table in TABLES else "change_id"


def _on_postgres(name: str) -> str:
    """Return the schema or table where dbt builds: readers get the marts when they are complete."""
    return name.replace("marts", "marts_unpublished")


def _kinds(found: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Return the columns with their types by the names that both engines share, without precision."""
    same = {"varchar": "text", "double": "double precision", "numeric": "decimal"}
    plain = {
        name: [(column, kind.lower().split("(")[0]) for column, kind in columns] for name, columns in found.items()
    }
    return {name: [(column, same.get(kind, kind)) for column, kind in columns] for name, columns in plain.items()}


def _assert_scores_of_every_kind(warehouse: Warehouse, value_sources: int) -> None:
    """Fail where the scores would be compared in vain, because a column is empty or nothing ties."""
    ((scored, unscored, ties, sources),) = warehouse.rows(
        "select count(conversion_probability), count(*) - count(conversion_probability), "
        "count(case when probability_call_immediate = probability_send_proposal then 1 end), "
        "count(distinct value_source) from marts.lead_scores"
    )
    assert min(scored, unscored, ties) > 0
    assert sources == value_sources


def _assert_late_double_and_tied(warehouse: Warehouse, export: Path) -> None:
    """Fail where the simulated CRM has too little of what it is simulated for."""
    with duckdb.connect() as connection:
        ((doubles, conflicts),) = connection.execute(
            "select count(*) filter (rows > 1 and contents = 1), count(*) filter (contents > 1) from ("
            "select count(*) as rows, count(distinct hash(all_columns)) as contents "
            f"from '{export}/interactions.parquet' as all_columns group by interaction_id)"
        ).fetchall()
    ((late,),) = warehouse.rows(
        "select count(*) from raw.interactions where recorded_at >= occurred_at + interval '1 day'"
    )
    ((tied, tied_with_as_of),) = warehouse.rows(
        "select (select sum(facts) from (select count(*) as facts from intermediate.timeline "
        "group by lead_id, known_us having count(*) > 1)), (select count(*) from intermediate.timeline as facts "
        "inner join intermediate.observations as observations on facts.lead_id = observations.lead_id "
        "and facts.known_us = observations.as_of_us)"
    )
    ((rejected,),) = warehouse.rows("select count(*) from raw.rejects")
    assert min(late, doubles) > 300, (late, doubles)
    assert tied > 1000, tied
    assert min(tied_with_as_of, conflicts, rejected) > 5, (tied_with_as_of, conflicts, rejected)


def _with_ties(exact: Path, export: Path) -> None:
    """Copy an export as a CRM would write it that keeps no more of a time than the quarter of an hour."""
    export.mkdir()
    with duckdb.connect() as connection:
        for path in sorted(exact.glob("*.parquet")):
            columns = connection.execute(f"describe from '{path}'").fetchall()
            listed = [
                f"time_bucket(interval 15 minutes, {name}) as {name}" if kind == "TIMESTAMP WITH TIME ZONE" else name
                for name, kind, *_ in columns
            ]
            connection.execute(f"copy (select {', '.join(listed)} from '{path}') to '{export / path.name}'")
    (export / "mapping.yml").write_text((exact / "mapping.yml").read_text(encoding="utf-8"), encoding="utf-8")


def _write(crm: Crm, folder: Path) -> None:
    """Write the CRM as an export in the source contract."""
    folder.mkdir()
    for table, columns in COLUMNS.items():
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            for row in crm[table]:
                writer.writerow({name: _text(value) for name, value in row.items()})


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def _predictions(leads: Sequence[str], clock: datetime) -> list[Row]:
    """Return predictions of two versions for nine of ten leads, at the clock and a day before, some of them tied."""
    rng = random.Random(3)
    rows: list[Row] = []
    for lead in leads:
        for version, as_of in (("v1", clock), ("v2", clock), ("v2", clock - DAY)):
            if rng.random() < 0.1:
                continue
            key = (version, "lead", lead, as_of)
            probability = rng.random()
            score = max(1, min(99, round(100 * probability)))
            outside = rng.choice((None, "too old"))
            rows.append(
                ("conversion", *key, "converted", probability, score, rng.choice("ABCD"), "calls", clock, outside, None)
            )
            amount = rng.uniform(-100, 100_000)
            rows.append(("deal_value", *key, "deal_value", amount, None, None, "value", clock + 2 * DAY, outside, None))
            weights = rng.choice(([1.0, 0, 0, 0, 1.0], [rng.random() for _ in ACTIONS]))
            chosen = rng.choice(ACTIONS)
            for action, weight in zip(ACTIONS, weights, strict=True):
                share = weight / sum(weights)
                rows.append(
                    (
                        "next_best_action",
                        *key,
                        action,
                        share,
                        None,
                        None,
                        f"{action} reasons",
                        clock + DAY,
                        outside,
                        chosen == action,
                    )
                )
    return rows


def _churn(customers: Sequence[str], clock: datetime) -> list[Row]:
    """Return predictions for nine of ten customers with a row, as `_predictions` does for leads."""
    rng = random.Random(4)
    rows: list[Row] = []
    for customer in customers:
        for model, outcome in (("churn_30d", "churned_30d"), ("churn_60d", "churned_60d")):
            for version in ("v1", "v2"):
                if rng.random() < 0.1:
                    continue
                p, chosen = rng.random(), rng.choice((True, False, None))
                told = (p, 1 + int(98 * p), rng.choice("ABCD"), "calls", clock, None, chosen)
                rows.append((model, version, "customer", customer, clock, outcome, *told))
    return rows


def _counted(source: str, cells: int) -> str:
    return f"parity: {source}, {cells:,} cells equal on DuckDB and PostgreSQL"
