"""The dbt project builds on PostgreSQL as on DuckDB: the same tests pass, and every table has the same rows."""

from __future__ import annotations

import csv
import math
import random
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from assets.source.extract import ExtractionReport, extract
from tests.dbt.random_crm import CLOCK, CLOSING_OUTCOMES, COLUMNS, DAY, Crm, random_crm
from tests.dbt.warehouses import DuckDB, Postgres, Row, Warehouse, tables

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = ("features", "labels", "marts")
VARIABLES = {"closing_outcomes": CLOSING_OUTCOMES, "conversion_horizon_days": 30}
CHAMPIONS = [("conversion", "v2", CLOCK), ("next_best_action", "v1", CLOCK)]
ACTIONS = ("call_immediate", "email_nurture", "no_action", "schedule_appointment", "send_proposal")
RELATIVE_TOLERANCE = 1e-12
"""Of doubles; everything else is equal."""


@pytest.mark.slow(70)
def test_postgresql_has_the_rows_of_duckdb(postgres_server: str, scratch: Path, tmp_path: Path) -> None:
    """One export and one set of predictions, built with every data test and unit test on both.

    One test and not several, because the two builds take most of its time and test processes share no fixture.
    """
    crm = random_crm(seed=11)
    _write(crm, tmp_path / "export")
    predictions = _predictions(crm)
    duck, postgres = DuckDB(tmp_path), Postgres(postgres_server)
    for warehouse, address in ((duck, f"duckdb:{duck.path}"), (postgres, postgres_server)):
        report = _extract(tmp_path, warehouse.target, address)
        assert not any(table.rows_rejected for table in report.tables.values())
        warehouse.load_predictions(predictions, CHAMPIONS)
        warehouse.dbt("build", scratch, {**VARIABLES, "as_of": report.as_of.isoformat()})

    found, expected = tables(postgres, map(_on_postgres, SCHEMAS)), tables(duck, SCHEMAS)
    found = {table.replace(_on_postgres("marts"), "marts"): columns for table, columns in found.items()}
    assert _kinds(found) == _kinds(expected)
    assert len(expected) == 6
    for table, columns in expected.items():
        key = [name for name in ("lead_id", "as_of") if name in dict(columns)]
        _assert_same_rows(table, key, postgres, duck)
    _assert_scores_of_every_kind(duck)


def _assert_same_rows(table: str, key_columns: list[str], postgres: Warehouse, duck: Warehouse) -> None:
    found = postgres.records(f"select * from {_on_postgres(table)}", *key_columns)
    expected = duck.records(f"select * from {table}", *key_columns)
    assert expected, f"{table} is empty"
    assert found.keys() == expected.keys(), table
    different = {
        (name, *key): (value, row[name])
        for key, row in expected.items()
        for name, value in found[key].items()
        if not _same(value, row[name])
    }
    first = dict(sorted(different.items(), key=str)[:10])
    assert not different, f"{table}: {len(different)} values, (PostgreSQL, DuckDB): {first}"


def _on_postgres(name: str) -> str:
    """Return the schema or table where dbt builds: readers get the marts when they are complete."""
    return name.replace("marts", "marts_unpublished")


def _assert_scores_of_every_kind(warehouse: Warehouse) -> None:
    """Fail where the scores would be compared in vain, because a column is empty or nothing ties."""
    ((scored, unscored, ties, sources),) = warehouse.rows(
        "select count(conversion_probability), count(*) - count(conversion_probability), "
        "count(case when probability_call_immediate = probability_send_proposal then 1 end), "
        "count(distinct value_source) from marts.lead_scores"
    )
    assert min(scored, unscored, ties) > 0
    assert sources == 3


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=0)
    return type(one) is type(other) and one == other


def _kinds(found: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Return the columns with their types by the names that both engines share, without precision."""
    same = {"varchar": "text", "double": "double precision", "numeric": "decimal"}
    plain = {
        name: [(column, kind.lower().split("(")[0]) for column, kind in columns] for name, columns in found.items()
    }
    return {name: [(column, same.get(kind, kind)) for column, kind in columns] for name, columns in plain.items()}


def _extract(folder: Path, name: str, address: str) -> ExtractionReport:
    return extract(
        source=str(folder / "export"),
        warehouse=address,
        state_dir=folder / f"dlt-{name}",
        as_of=CLOCK,
        # facts after the clock must change nothing on either engine, so none is refused as lying in the future
        present=CLOCK + 400 * DAY,
        mapping="contract",
    )


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


def _predictions(crm: Crm) -> list[Row]:
    """Return predictions of two versions for nine of ten leads, at the clock and a day before, some of them tied."""
    rng = random.Random(3)
    rows: list[Row] = []
    for lead in crm["leads"]:
        for version, as_of in (("v1", CLOCK), ("v2", CLOCK), ("v2", CLOCK - DAY)):
            if rng.random() < 0.1:
                continue
            key = (version, lead["lead_id"], as_of)
            probability = rng.random()
            score = max(1, min(99, round(100 * probability)))
            rows.append(("conversion", *key, "converted", probability, score, rng.choice("ABCD"), "calls", CLOCK))
            weights = rng.choice(([1.0, 0, 0, 0, 1.0], [rng.random() for _ in ACTIONS]))
            for action, weight in zip(ACTIONS, weights, strict=True):
                share = weight / sum(weights)
                rows.append(("next_best_action", *key, action, share, None, None, f"{action} reasons", CLOCK + DAY))
    return rows
