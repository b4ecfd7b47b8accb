"""Every feature of a random CRM equals an independent implementation in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.dbt.features_oracle import expected_features
from tests.dbt.random_crm import CLOCK, CLOSING_OUTCOMES, random_crm
from tests.dbt.warehouses import DuckDB

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {"as_of": CLOCK.isoformat(), "closing_outcomes": CLOSING_OUTCOMES}


def test_features_equal_the_oracle(tmp_path: Path, scratch: Path) -> None:
    """The same observations, the same features, equal to the last digit."""
    crm = random_crm(seed=2)
    warehouse = DuckDB(tmp_path)
    warehouse.load(crm)
    warehouse.dbt("run", scratch, VARIABLES, "--select", "+lead_features")

    found = warehouse.records("select * from features.lead_features", "lead_id", "as_of")
    expected = expected_features(crm, CLOCK, CLOSING_OUTCOMES)

    assert found.keys() == expected.keys()
    assert {row["observation_kind"] for row in expected.values()} == {"activity", "heartbeat", "clock"}
    different = {
        (name, *key): (row.get(name), expected[key].get(name))
        for key, row in found.items()
        for name in row.keys() | expected[key].keys()
        if row.get(name, "missing") != expected[key].get(name, "missing")
    }
    assert not different, f"{len(different)} values, (found, expected): {dict(sorted(different.items(), key=str)[:10])}"


def test_the_random_crm_reaches_every_feature() -> None:
    """A feature that is the same for every observation of the random CRM would be compared in vain."""
    expected = list(expected_features(random_crm(seed=2), CLOCK, CLOSING_OUTCOMES).values())

    constant = [name for name in expected[0] if len({row[name] for row in expected}) == 1]

    assert not constant
