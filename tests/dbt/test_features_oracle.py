"""Every feature of a random CRM equals an independent implementation in plain Python."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.dbt.features_oracle import expected_features
from tests.dbt.lead_features import columns
from tests.dbt.random_crm import ATTRIBUTE_FEATURES, ATTRIBUTES, CLOCK, CLOSES, CLOSING_OUTCOMES, random_crm
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
)
"""Features of several rounded steps, or of exp(): equal within RELATIVE_TOLERANCE, and the others to the last digit."""
RELATIVE_TOLERANCE = 1e-14
DIFFERENCES = 1e-9
"""The tolerance of features that are a difference of two means or more, near 0."""


@pytest.mark.parametrize("closes", [SOME, CLOSES], ids=["outcomes", "statuses"])
def test_features_equal_the_oracle(closes: Mapping[str, list[str]], tmp_path: Path, scratch: Path) -> None:
    """The same observations and the same features."""
    crm = random_crm(seed=SEED)
    warehouse = DuckDB(tmp_path)
    warehouse.load(crm)
    variables = {"as_of": CLOCK.isoformat(), **closes, "attribute_features": ATTRIBUTE_FEATURES}
    warehouse.dbt("run", scratch, variables, "--select", "+lead_features")

    found = warehouse.records("select * from features.lead_features", "lead_id", "as_of")
    expected = expected_features(crm, CLOCK, closes, ATTRIBUTES)

    assert found.keys() == expected.keys()
    assert {row["observation_kind"] for row in expected.values()} == {"activity", "heartbeat", "silence", "clock"}
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
    if name in CALCULATED and isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=0)
    return found == expected


def test_the_random_crm_reaches_every_feature() -> None:
    """A feature that is the same for every observation of the random CRM would be compared in vain."""
    expected = list(expected_features(random_crm(seed=SEED), CLOCK, SOME, ATTRIBUTES).values())

    constant = [name for name in expected[0] if len({row[name] for row in expected}) == 1]

    assert not constant


def test_the_random_crm_has_the_nulls_that_are_declared() -> None:
    """A column that says what its nulls mean has some, and every other value of it is compared as well."""
    expected = list(expected_features(random_crm(seed=SEED), CLOCK, SOME, ATTRIBUTES).values())
    declared = {column["name"] for column in columns() if column["meta"]["null_means"] != "never"}
    declared |= {each["column"] for each in ATTRIBUTE_FEATURES}

    assert {name for name in expected[0] if any(row[name] is None for row in expected)} == declared
