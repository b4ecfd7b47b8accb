"""A week of daily increments, with facts that come late and rows that change, gives the rows of one whole build."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from models.declared.customer_features import CUSTOMER_FEATURES
from models.declared.lead_features import LEAD_FEATURES
from tests.dbt.random_crm import ATTRIBUTE_FEATURES, CLOCK, CLOSES, COLUMNS, DAY, Crm, random_crm
from tests.dbt.warehouses import DuckDB, Postgres, Warehouse
from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# what runs is dbt and SQL, and watching that for lines of this project's Python takes half as long again
pytestmark = pytest.mark.no_cover

SETTINGS: dict[str, Any] = {
    **CLOSES,
    "attribute_features": ATTRIBUTE_FEATURES,
    "conversion_horizon_days": 30,
    "deal_value_horizon_days": 30,
    # long enough that open leads are silent for months, and short enough that some close
    "silence_closes_after_days": 130,
    # the source records outcomes from some weeks before the increments on
    "conversion_since_us": (CLOCK - 60 * DAY - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
}
MODELS = "+lead_features +conversion +deal_value +next_action +customer_features +churn_30d +feature_clock"
KEYS = {
    "leads": "lead_id",
    "interactions": "interaction_id",
    "appointments": "appointment_id",
    "projects": "project_id",
    "customers": "customer_id",
    "transactions": "transaction_id",
    "tickets": "ticket_id",
    "usage": "usage_id",
    "offers": "offer_id",
    "changes": "change_id",
}
COMPARED = {
    "intermediate.timeline": ("lead_id", "fact_number"),
    "intermediate.lead_closings": ("lead_id",),
    "intermediate.lead_history": ("lead_id", "known_us"),
    "intermediate.lead_attributes": ("lead_id", "known_us"),
    "intermediate.project_attributes": ("project_id", "known_us"),
    "intermediate.deal_history": ("project_id", "known_us"),
    "intermediate.closed_leads": ("lead_id",),
    "intermediate.won_deals": ("project_id", "stage"),
    "intermediate.observations": ("lead_id", "as_of"),
    "features.lead_features": ("lead_id", "as_of"),
    "labels.conversion": ("lead_id", "as_of"),
    "labels.deal_value": ("lead_id", "as_of"),
    "labels.next_action": ("lead_id", "as_of"),
    "intermediate.customer_timeline": ("customer_id", "fact_number"),
    "intermediate.customer_closings": ("customer_id",),
    "intermediate.customer_usage": ("reference_id",),
    "intermediate.customer_history": ("customer_id", "known_us"),
    "intermediate.customer_attributes": ("customer_id", "known_us"),
    "intermediate.customer_quintiles": ("as_of_us",),
    "intermediate.customer_observations": ("customer_id", "as_of"),
    "features.customer_features": ("customer_id", "as_of"),
    "labels.churn_30d": ("customer_id", "as_of"),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Delivery:
    """A row as an extraction finds it from a moment on."""

    at: datetime
    table: str
    row: dict[str, Any]


def deliveries(crm: Crm, seed: int) -> list[Delivery]:
    """Return the rows of a CRM as they come: some weeks late, what comes later to a row as a change of it."""
    rng = random.Random(seed)
    found: list[Delivery] = []

    def deliver(table: str, row: dict[str, Any], known: datetime) -> None:
        # a fact may also be there before it counts as known: a CRM's clock may be ahead
        late = rng.choice((timedelta(), -timedelta(hours=12), timedelta(hours=30), timedelta(days=rng.uniform(2, 20))))
        found.append(Delivery(known + late, table, row))

    for row in crm["leads"]:
        # what belongs to a lead that is not there is rejected by the contract
        found.append(Delivery(datetime.min.replace(tzinfo=UTC), "leads", row))
        if rng.random() < 0.1:
            changed = {**row, "source": "corrected", "property_value": None}
            found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, "leads", changed))
        if rng.random() < 0.1:
            # a lead turns out to be older, or younger
            dated = {**row, "created_at": row["created_at"] + rng.choice((-9, 9)) * DAY}
            found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, "leads", dated))
    for row in crm["interactions"]:
        known = max(row["occurred_at"], row["recorded_at"] or row["occurred_at"])
        deliver("interactions", {**row, "opened_at": None, "responded_at": None}, known)
        later = [moment for moment in (row["opened_at"], row["responded_at"]) if moment]
        if later:
            deliver("interactions", row, max(*later, known))
        if rng.random() < 0.05:
            # a correction moves the fact, to an earlier or to a later day
            moved = {**row, "occurred_at": row["occurred_at"] + rng.choice((-9, 9)) * DAY, "recorded_at": None}
            found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, "interactions", moved))
        if rng.random() < 0.05:
            # or it turns out to have been with another lead
            other = rng.choice([lead["lead_id"] for lead in crm["leads"] if lead["created_at"] <= row["occurred_at"]])
            found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, "interactions", {**row, "lead_id": other}))
        if row.get("customer_id") and rng.random() < 0.1:
            # or with another customer
            other = rng.choice(crm["transactions"])["customer_id"]
            found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, "interactions", {**row, "customer_id": other}))
    for table, first, last, before in (
        ("appointments", "booked_at", "ended_at", "scheduled"),
        ("projects", "proposed_at", "closed_at", "open"),
    ):
        for row in crm[table]:
            deliver(table, {**row, last: None, "status": before}, row[first])
            if row[last]:
                deliver(table, row, row[last])
                if rng.random() < 0.05:
                    moved = {**row, "lead_id": rng.choice(crm["leads"])["lead_id"]}
                    found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, table, moved))
    for row in crm["changes"]:
        deliver("changes", row, row["known_at"])
    for row in crm["customers"]:
        deliver("customers", {**row, "closed_at": None, "lead_id": None}, row["created_at"])
        deliver("customers", {**row, "closed_at": None}, row["created_at"] + 5 * DAY)
        if row["closed_at"]:
            deliver("customers", row, row["closed_at"])
        elif rng.random() < 0.2:
            # a column changes that no feature reads
            found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, "customers", {**row, "plan": "changed"}))
    for table, first, last in (
        ("transactions", "occurred_at", None),
        ("usage", "occurred_at", None),
        ("tickets", "opened_at", "resolved_at"),
        ("offers", "offered_at", "accepted_at"),
    ):
        for row in crm[table]:
            deliver(table, {**row, last: None} if last else row, max(row[first], row.get("recorded_at") or row[first]))
            if last and row[last]:
                deliver(table, row, row[last])
            if rng.random() < 0.03:
                # a correction moves the fact, or gives it to another customer
                other = rng.choice(crm["transactions"])["customer_id"]
                moved = {first: row[first] + rng.choice((-9, 9)) * DAY, "recorded_at": None}
                changed = rng.choice(({} if last else moved, {"customer_id": other}))
                found.append(Delivery(CLOCK - rng.uniform(0, 25) * DAY, table, {**row, **changed}))
    return sorted(found, key=lambda each: each.at)


class Raw:
    """Schema ``raw`` as extractions fill it."""

    def __init__(self, warehouse: Warehouse, coming: list[Delivery]) -> None:
        self.warehouse = warehouse
        self.coming = coming
        self.rows: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in COLUMNS}
        self.load_number = 0

    def extract(self, clock: datetime) -> None:
        """Bring what has come by a clock."""
        come = [each for each in self.coming if each.at < clock]
        self.coming = self.coming[len(come) :]
        self.load_number += bool(come)
        for each in come:
            row = {**deepcopy(each.row), "load_number": self.load_number}
            self.rows[each.table][row[KEYS[each.table]]] = row
        self.write()

    def write(self) -> None:
        """Replace schema ``raw``; the tables that dbt makes stay."""
        self.warehouse.execute(
            "create schema if not exists raw",
            "create table if not exists raw.source_ids (lead_id text, source_id text)",
        )
        for table, columns in COLUMNS.items():
            typed = {**columns, "load_number": "bigint"}
            listed = ", ".join(f"{name} {kind}" for name, kind in typed.items())
            self.warehouse.execute(f"create table if not exists raw.{table} ({listed})", f"delete from raw.{table}")
            rows = self.rows[table].values()
            self.warehouse.insert(f"raw.{table}", [tuple(row.get(name) for name in typed) for row in rows])


def clocks_of(days: int) -> list[datetime]:
    """Return clocks a day apart, with some at midnight, and some that are the one before once more."""
    clocks: list[datetime] = []
    for day in range(days, -1, -1):
        clock = CLOCK - day * DAY
        if day % 5 == 2:
            clock = clock.replace(hour=0, minute=0, second=0, microsecond=0)
        clocks.append(clocks[-1] if day % 7 == 3 and clocks else clock)
    return clocks


def variables(clock: datetime, load_number: int) -> dict[str, Any]:
    return {**SETTINGS, "as_of": clock.isoformat(), "load_number": load_number}


@pytest.fixture(params=[pytest.param("duckdb", marks=pytest.mark.slow(40)), "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Warehouse, Warehouse, int]]:
    """Return two empty warehouses of an engine, and the days of increments that there is time for."""
    if request.param == "duckdb":
        (tmp_path / "whole").mkdir()
        yield DuckDB(tmp_path), DuckDB(tmp_path / "whole"), 7
        return
    running = request.getfixturevalue("running")
    with database(running) as one, database(running) as other:
        yield Postgres(one), Postgres(other), 4


def test_days_of_increments_gives_the_rows_of_a_whole_build(
    stores: tuple[Warehouse, Warehouse, int], scratch: Path
) -> None:
    store, whole, days = stores
    raw = Raw(store, deliveries(random_crm(seed=21), seed=4))
    clocks = clocks_of(days)
    raw.extract(clocks[0])
    store.dbt("run", scratch, variables(clocks[0], raw.load_number), "--full-refresh", "--select", MODELS)
    kinds = ("observations", "customer_observations")
    total = {each: store.rows(f"select count(*) from intermediate.{each}")[0][0] for each in kinds}
    due: dict[str, list[int]] = {each: [] for each in kinds}
    for before, clock in pairwise(clocks):
        built = {"built_load_number": raw.load_number, "built_us": (before - EPOCH) // timedelta(microseconds=1)}
        raw.extract(clock)
        store.dbt("run", scratch, {**variables(clock, raw.load_number), **built}, "--select", MODELS)
        for each, counts in due.items():
            counts.append(store.rows(f"select count(*) from intermediate.{each}_due")[0][0])
    for each, counts in due.items():
        assert min(counts) > 0
        # a closing that comes late is in the track records of all observations after it, a purchase in the quintiles
        assert sum(count < total[each] / 2 for count in counts) > days / 3, (each, counts, total)

    Raw.write(_same_raw(raw, whole))
    whole.dbt("run", scratch, variables(CLOCK, raw.load_number), "--full-refresh", "--select", MODELS)
    for table, key in COMPARED.items():
        found, expected = (each.records(f"select * from {table}", *key) for each in (store, whole))
        assert len(expected) > 10, table
        assert found.keys() == expected.keys(), table
        different = {each: (found[each], row) for each, row in expected.items() if found[each] != row}
        assert not different, f"{table}: {len(different)} rows, the first {next(iter(different.items()))}"


def _same_raw(raw: Raw, warehouse: Warehouse) -> Raw:
    other = Raw(warehouse, [])
    other.rows = raw.rows
    return other


def test_a_range_of_days_is_computed_anew_and_nothing_else(scratch: Path, tmp_path: Path) -> None:
    store = DuckDB(tmp_path)
    Raw(store, deliveries(random_crm(seed=21), seed=4)).extract(CLOCK)
    given = variables(CLOCK, 1)
    store.dbt("run", scratch, given, "--full-refresh", "--select", MODELS)

    def rows() -> dict[str, dict[Any, dict[str, Any]]]:
        views = (LEAD_FEATURES, CUSTOMER_FEATURES)
        return {each.name: store.records(f"select * from features.{each.name}", each.key, "as_of") for each in views}

    built = rows()
    first, until = CLOCK - 90 * DAY, CLOCK - 60 * DAY
    store.execute(
        "update features.lead_features set interactions_count_7d = -1, rep_win_rate_lifetime = -1",
        f"delete from features.lead_features where as_of >= '{first}' and as_of < '{first + 3 * DAY}'",
        "update features.customer_features set total_spent = -1, frequency_score = -1",
        f"delete from features.customer_features where as_of >= '{first}' and as_of < '{first + 14 * DAY}'",
    )
    changed = rows()
    days = {
        f"range_{name}_us": (each - EPOCH) // timedelta(microseconds=1)
        for name, each in (("from", first), ("until", until))
    }
    by_day = (*LEAD_FEATURES.by_day, *CUSTOMER_FEATURES.by_day)
    store.dbt("run", scratch, {**given, **days}, "--select", " ".join(by_day))
    for each, found in rows().items():
        inside = {key for key in built[each] if first <= key[1] < until}
        assert len(inside) > 10
        assert {key: found[key] for key in inside} == {key: built[each][key] for key in inside}
        assert {key: row for key, row in found.items() if key not in inside} == {
            key: row for key, row in changed[each].items() if key not in inside
        }
