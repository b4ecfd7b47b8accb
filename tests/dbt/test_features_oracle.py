"""Every feature of a random CRM, and each label of churn, equals an independent implementation in plain Python."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.dbt import customers_oracle
from tests.dbt.customers_oracle import churned
from tests.dbt.features_oracle import expected_features
from tests.dbt.random_crm import ATTRIBUTE_FEATURES, ATTRIBUTES, CLOCK, CLOSES, CLOSING_OUTCOMES, random_crm
from tests.dbt.view_columns import columns
from tests.dbt.warehouses import DuckDB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEED = 1
SOME = {"closing_outcomes": CLOSING_OUTCOMES}
CALCULATED = (
    "avg_contact_gap_days",
    "avg_response_hours",
    "rep_win_rate_lifetime",
    "rep_first_outbound_hours_lifetime",
    "source_win_rate_lifetime",
    "source_first_outbound_hours_lifetime",
    "engagement_score",
    "urgency_score",
    "average_purchase_value",
    "avg_purchase_gap_days",
    "avg_resolution_hours",
    "feature_usage_normalized",
    "gaps_since_last_purchase",
    "login_frequency",
    "logins_trend_30d",
    "logins_trend_60d",
    "logins_trend_180d",
    "purchase_frequency",
    "purchases_trend_60d",
    "purchases_trend_180d",
    "quantity_per_purchase",
    "revenue_trend_180d",
    "sd_purchase_gap_days",
    "spending_per_month",
    "uses_trend_60d",
)
"""Features of several rounded steps, or of exp(): equal within RELATIVE_TOLERANCE, and the others to the last digit."""
RELATIVE_TOLERANCE = 1e-14
DIFFERENCES = 1e-9
"""The tolerance of features that are a difference of two means or more, near 0."""


@pytest.mark.parametrize("closes", [SOME, CLOSES], ids=["outcomes", "statuses"])
def test_features_equal_the_oracle(closes: Mapping[str, list[str]], tmp_path: Path, scratch: Path) -> None:
    """The same observations, the same features and the same churn; customers without contracts, and with contracts."""
    by_closing = closes is CLOSES
    crm = random_crm(seed=SEED)
    warehouse = DuckDB(tmp_path)
    warehouse.load(crm)
    variables = {
        "as_of": CLOCK.isoformat(),
        **closes,
        "attribute_features": ATTRIBUTE_FEATURES,
        "customers_close": by_closing,
    }
    warehouse.dbt("run", scratch, variables, "--select", "+lead_features +customer_features +churn_30d +churn_60d")

    found = warehouse.records("select * from features.lead_features", "lead_id", "as_of")
    expected = expected_features(crm, CLOCK, closes, ATTRIBUTES)
    assert {row["observation_kind"] for row in expected.values()} == {"activity", "heartbeat", "silence", "clock"}
    _assert_same(found, expected)

    found = warehouse.records("select * from features.customer_features", "customer_id", "as_of")
    expected = customers_oracle.expected_features(crm, CLOCK, ATTRIBUTES, by_closing=by_closing)
    assert {row["observation_kind"] for row in expected.values()} == {"grid", "clock"}
    _assert_same(found, expected)
    for days in (30, 60):
        labels = warehouse.rows(f"select customer_id, as_of, churned_{days}d from labels.churn_{days}d")
        assert {(customer, as_of): label for customer, as_of, label in labels} == churned(
            crm, CLOCK, days, by_closing=by_closing
        )


def _assert_same(found: Mapping[Any, dict[str, Any]], expected: Mapping[Any, dict[str, Any]]) -> None:
    assert found.keys() == expected.keys()
    different = {
        (name, *key): (row.get(name), expected[key].get(name))
        for key, row in found.items()
        for name in row.keys() | expected[key].keys()
        if not _same(name, row.get(name, "missing"), expected[key].get(name, "missing"))
    }
    assert not different, f"{len(different)} values, (found, expected): {dict(sorted(different.items(), key=str)[:10])}"


def _same(name: str, found: Any, expected: Any) -> bool:
    if name.endswith("_vs_won") and isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=DIFFERENCES, abs_tol=DIFFERENCES)
    if isinstance(found, Decimal) and isinstance(expected, float):
        # of sums of hundredths
        return found == Decimal(str(expected))
    if name in CALCULATED and isinstance(found, float):
        # trends are differences of two rounded numbers
        bound = RELATIVE_TOLERANCE if "_trend_" in name else 0
        return expected is not None and math.isclose(found, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=bound)
    return found == expected


EXPECTED = {
    "lead_features": lambda crm: expected_features(crm, CLOCK, SOME, ATTRIBUTES),
    "customer_features": lambda crm: customers_oracle.expected_features(crm, CLOCK, ATTRIBUTES),
}
PREFIXES = {"lead_features": ("attribute_", "project_"), "customer_features": ("customer_",)}
"""The beginnings of the names of features that follow from attributes, by view."""


@pytest.mark.parametrize("view", EXPECTED)
def test_the_random_crm_reaches_every_feature(view: str) -> None:
    """A feature that is the same for every observation of the random CRM would be compared in vain."""
    expected = list(EXPECTED[view](random_crm(seed=SEED)).values())

    constant = [name for name in expected[0] if len({row[name] for row in expected}) == 1]

    assert not constant


@pytest.mark.parametrize("view", EXPECTED)
def test_the_random_crm_has_the_nulls_that_are_declared(view: str) -> None:
    """A column that says what its nulls mean has some, and every other value of it is compared as well."""
    expected = list(EXPECTED[view](random_crm(seed=SEED)).values())
    declared = {column["name"] for column in columns(view) if column["meta"]["null_means"] != "never"}
    declared |= {each["column"] for each in ATTRIBUTE_FEATURES if each["column"].startswith(PREFIXES[view])}

    assert {name for name in expected[0] if any(row[name] is None for row in expected)} == declared
