"""Every feature is described, grouped, and has a unit test with a value that says something."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
import yaml

from tests.dbt.warehouses import DBT_PROJECT

NOT_FEATURES = {"lead_id", "as_of", "observation_kind", "lead_created_at"}
GROUPS = {"engagement", "behavioural", "temporal", "funnel", "demographic", "own_history"}


def _columns() -> list[dict[str, Any]]:
    declared = yaml.safe_load((DBT_PROJECT / "models/features/lead_features.yml").read_text(encoding="utf-8"))
    (model,) = declared["models"]
    return [column for column in model["columns"] if column["name"] not in NOT_FEATURES]


def _unit_tests() -> list[dict[str, Any]]:
    files = sorted((DBT_PROJECT / "models").rglob("*.yml"))
    return [test for file in files for test in yaml.safe_load(file.read_text(encoding="utf-8")).get("unit_tests", [])]


def _expected(unit_test: dict[str, Any]) -> list[dict[str, Any]]:
    rows = unit_test["expect"]["rows"]
    return list(csv.DictReader(io.StringIO(rows))) if isinstance(rows, str) else rows


def _says_something(value: object) -> bool:
    return value not in (None, "", 0, "0", False)


@pytest.mark.parametrize("column", _columns(), ids=lambda column: str(column["name"]))
def test_feature_is_described_grouped_and_tested(column: dict[str, Any]) -> None:
    """A null or a 0 alone proves little: a column that is never filled passes such a test."""
    tests = [test for test in _unit_tests() if test["model"] == "lead_features"]

    assert column.get("description", "").strip(), "no description"
    assert column.get("meta", {}).get("group") in GROUPS, "no meta.group, or an unknown one"
    assert any(_says_something(row.get(column["name"])) for test in tests for row in _expected(test)), (
        f"no unit test of lead_features expects a value of {column['name']} other than null and 0"
    )


@pytest.mark.parametrize("unit_test", _unit_tests(), ids=lambda test: str(test["name"]))
def test_expected_rows_of_a_unit_test_have_the_same_columns(unit_test: dict[str, Any]) -> None:
    """The columns of the first expected row are those that dbt compares: others would pass unseen."""
    columns = [list(row) for row in _expected(unit_test)]

    assert all(row == columns[0] for row in columns)


def test_names_of_unit_tests_are_unique() -> None:
    """`dbt test --select <name>` runs one test."""
    names = [test["name"] for test in _unit_tests()]

    assert len(set(names)) == len(names)
