"""What becomes known at T or later changes no feature and no matured label of a moment up to T."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.dbt.random_crm import (
    ATTRIBUTE_FEATURES,
    ATTRIBUTES,
    CLOCK,
    CLOSES,
    CLOSING_OUTCOMES,
    DAY,
    Crm,
    iso,
    random_crm,
)
from tests.dbt.warehouses import DuckDB

if TYPE_CHECKING:
    from pathlib import Path

# a midnight, so that facts and observations fall exactly on it
T = datetime(2024, 5, 1, tzinfo=UTC)
VARIABLES = {
    "as_of": CLOCK.isoformat(),
    **CLOSES,
    "attribute_features": ATTRIBUTE_FEATURES,
    "silence_closes_after_days": 30,
    "conversion_horizon_days": 30,
    "customers_close": True,
}
MODELS = "+lead_features +conversion +next_action +customer_features +churn_30d"
PAST = {
    "features.lead_features": f"select * from features.lead_features where as_of <= '{T}'",
    "features.customer_features": f"select * from features.customer_features where as_of <= '{T}'",
    "labels.churn_30d": f"select * from labels.churn_30d where matures_at <= '{T}'",
    "labels.conversion": f"select * from labels.conversion where matures_at <= '{T}'",
    # a success after T is no part of the past
    "labels.next_action": "select lead_id, as_of, matures_at, next_action, "
    f"case when succeeded_at < '{T}' then succeeded_at end as succeeded_at "
    f"from labels.next_action where matures_at <= '{T}'",
}


def deleted(crm: Crm) -> Crm:
    """Return the CRM as it was just before T, with the columns that it overwrites as they were then."""
    past: Crm = {table: [] for table in crm}
    for row in deepcopy(crm["leads"]):
        row.update(status="new", assigned_to=None, updated_at=row["created_at"], property_value=None, zip_code=None)
        _keep(past, "leads", row, row["created_at"])
    for row in deepcopy(crm["interactions"]):
        for column in ("opened_at", "responded_at"):
            if row[column] and row[column] >= T:
                row[column] = None
        _keep(past, "interactions", row, max(row["occurred_at"], row["recorded_at"] or row["occurred_at"]))
    for row in deepcopy(crm["appointments"]):
        if row["ended_at"] and row["ended_at"] >= T:
            row.update(ended_at=None, status="scheduled")
        _keep(past, "appointments", row, row["booked_at"])
    for row in deepcopy(crm["projects"]):
        if row["closed_at"] and row["closed_at"] >= T:
            row.update(closed_at=None, status="open")
        _keep(past, "projects", row, row["proposed_at"])
    for row in deepcopy(crm["changes"]):
        _keep(past, "changes", row, row["known_at"])
    for row in deepcopy(crm["customers"]):
        if row["closed_at"] and row["closed_at"] >= T:
            row["closed_at"] = None
        _keep(past, "customers", {**row, "plan": None}, row["created_at"])
    for row in deepcopy(crm["transactions"]):
        _keep(past, "transactions", row, max(row["occurred_at"], row["recorded_at"] or row["occurred_at"]))
    for row in crm["usage"]:
        _keep(past, "usage", row, row["occurred_at"])
    for table, first, last in (("tickets", "opened_at", "resolved_at"), ("offers", "offered_at", "accepted_at")):
        for row in deepcopy(crm[table]):
            if row[last] and row[last] >= T:
                row[last] = None
            _keep(past, table, row, row[first])
    return past


def scrambled(crm: Crm) -> Crm:
    """Return the CRM with another future from T on: other kinds, values and times, and another state of today."""
    future = deepcopy(crm)
    known = {row["lead_id"] for row in crm["leads"] if row["created_at"] < T}
    for row in future["leads"]:
        row.update(status="lost", assigned_to="R9", updated_at=CLOCK + DAY, property_value=1, zip_code="9999")
        if row["lead_id"] not in known:
            later = row["created_at"] + 5 * DAY
            row.update(source="elsewhere", created_at=later)
    for row in future["interactions"]:
        recorded_or_occurred = "recorded_at" if row["recorded_at"] and row["recorded_at"] >= T else "occurred_at"
        if row[recorded_or_occurred] >= T:
            row.update(type="proposal", direction="inbound", outcome=CLOSING_OUTCOMES[0])
            row[recorded_or_occurred] = T
        for column in ("opened_at", "responded_at"):
            if row[column] and row[column] >= T:
                row[column] = T
    for row in future["appointments"]:
        row.update(scheduled_at=T + 40 * DAY)
        if row["booked_at"] >= T:
            row.update(booked_at=T, ended_at=T, status="no_show")
        elif row["ended_at"] is None or row["ended_at"] >= T:
            row.update(ended_at=T + 3 * DAY, status="completed")
    for row in future["projects"]:
        row.update(cost=5, value=78, stage="elsewhere", expected_close_at=CLOCK)
        if row["proposed_at"] >= T:
            row.update(proposed_at=T, closed_at=T, status="won", value=77)
        elif row["closed_at"] is None or row["closed_at"] >= T:
            row.update(closed_at=T, status="won")
    for row in future["changes"]:
        if row["known_at"] >= T:
            row.update(known_at=T, changed_at=T, value=_other_value(row["column_name"]))
    for row in future["customers"]:
        row.update(plan="elsewhere", updated_at=CLOCK + DAY)
        if row["created_at"] >= T:
            row.update(created_at=T, closed_at=T)
        elif row["closed_at"] is None or row["closed_at"] >= T:
            row["closed_at"] = T
    for row in future["transactions"]:
        recorded_or_occurred = "recorded_at" if row["recorded_at"] and row["recorded_at"] >= T else "occurred_at"
        if row[recorded_or_occurred] >= T:
            row.update(kind="purchase", amount=12345, product="other")
            row[recorded_or_occurred] = T
    for table, first, last in (("tickets", "opened_at", "resolved_at"), ("offers", "offered_at", "accepted_at")):
        for row in future[table]:
            row.update({first: min(row[first], T), last: T if row[last] is None else min(row[last], T)})
    for row in future["usage"]:
        if row["occurred_at"] >= T:
            row.update(occurred_at=T, metric="login", quantity=9)
    future["changes"] += [
        {"change_id": f"{row['customer_id']} {column}", "customer_id": row["customer_id"], "column_name": column}
        | {"value": _other_value(column), "known_at": T, "origin": "extraction"}
        for row in future["customers"]
        for column in ("plan", *(each.stored for each in ATTRIBUTES))
    ]
    future["changes"] += [
        {"change_id": f"{row['lead_id']} {column}", "lead_id": row["lead_id"], "column_name": column, "value": "78.00"}
        | {"known_at": T, "changed_at": None, "origin": "extraction"}
        for row in future["leads"]
        for column in ("status", "assigned_to", "property_value", "zip_code")
    ]
    future["changes"] += [
        {"change_id": f"{row['project_id']} {column}", "lead_id": row["lead_id"], "project_id": row["project_id"]}
        | {"column_name": column, "value": _other_value(column), "known_at": T, "origin": "extraction"}
        for row in future["projects"]
        for column in ("stage", "value", "expected_close_at", *(each.stored for each in ATTRIBUTES))
    ]
    return future


def _other_value(column: str) -> str:
    """Return a value that fits the column."""
    if column in ("expected_close_at", "attributes.date"):
        return iso(T + 70 * DAY)
    return {"status": "lost", "attributes.flag": "true"}.get(column, "77.00")


def _keep(crm: Crm, table: str, row: dict[str, Any], known: datetime) -> None:
    if known < T:
        crm[table].append(row)


def test_the_future_does_not_reach_the_past(tmp_path: Path, scratch: Path) -> None:
    """Features up to T, and labels that have matured by T, stay as they were when the facts from T on go or change."""
    crm = random_crm(seed=5)
    expected = _past_rows(crm, tmp_path / "original", scratch)
    for change in (deleted, scrambled):
        changed = change(crm)
        assert changed != crm
        found = _past_rows(changed, tmp_path / change.__name__, scratch)
        for table, rows in expected.items():
            assert len(rows) > 30, f"{table}: too few past rows to tell"
            assert found[table] == rows, f"{table}: {change.__name__} facts known at {T} or later changed the past"


def _past_rows(crm: Crm, folder: Path, scratch: Path) -> dict[str, list[Any]]:
    folder.mkdir()
    warehouse = DuckDB(folder)
    warehouse.load(crm)
    warehouse.dbt("run", scratch, VARIABLES, "--select", MODELS)
    return {table: sorted(warehouse.rows(query), key=lambda row: row[:2]) for table, query in PAST.items()}
