"""A feature store that dbt builds from a random CRM, on either engine; `benchmarks.planting` puts leaks into copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.planting import Store
from store.features.compiled import of_run
from store.warehouse.warehouse import Warehouse
from tests.dbt.random_crm import ATTRIBUTE_FEATURES, CLOCK, CLOSING_OUTCOMES, random_crm
from tests.dbt.warehouses import DuckDB, Postgres

if TYPE_CHECKING:
    from pathlib import Path

LEADS = 300
VARIABLES = {
    "as_of": CLOCK.isoformat(timespec="microseconds"),
    "closing_outcomes": CLOSING_OUTCOMES,
    "attribute_features": ATTRIBUTE_FEATURES,
    "silence_closes_after_days": None,
    "conversion_horizon_days": 30,
    "deal_value_horizon_days": 30,
    "next_action_horizon_days": 7,
}


def built(kind: DuckDB | Postgres, scratch: Path, *, leads: int = LEADS, **variables: object) -> Store:
    """Fill a warehouse with a random CRM, and let dbt build features and labels in it."""
    config = {**VARIABLES, **variables}
    kind.load(random_crm(seed=7, leads=leads))
    models = "+lead_features +conversion +deal_value +next_action +lead_values +customer_features +churn_30d +churn_60d"
    kind.dbt("run", scratch, config, "--select", models)
    address = f"duckdb:{kind.path}" if isinstance(kind, DuckDB) else kind.address
    return Store(Warehouse(address=address), of_run(scratch / kind.target, config))
