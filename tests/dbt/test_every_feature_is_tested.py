"""Every feature is described and catalogued, and has a unit test with a value that says something."""

from __future__ import annotations

import csv
import io
import re
from functools import cache
from typing import Any

import pytest
import yaml

from tests.dbt.view_columns import VIEWS, columns
from tests.dbt.warehouses import DBT_PROJECT

CATALOGUE = {
    "group": {
        "engagement",
        "behavioural",
        "temporal",
        "funnel",
        "demographic",
        "track_record",
        "own_history",
        "purchasing",
        "support",
        "usage",
        "segment",
    },
    "unit": {
        "boolean",
        "category",
        "count",
        "currency",
        "days",
        "flag",
        "hour_of_day",
        "hours",
        "per_day",
        "per_month",
        "points",
        "quantity",
        "ratio",
        "share",
        "weekday",
    },
    "window": {"7d", "30d", "60d", "90d", "180d", "365d", "lifetime", "as_of"},
    "null_means": {"not_applicable", "unknown", "never"},
}
"""What ``meta`` says of every feature, as docs/tables.md explains it. ``never``: the column has no nulls."""
UNITS_IN_NAMES = {
    "count": r"_count(_|$)|^appointments_booked_",
    "days": r"_days$|^days_since_",
    "hours": r"_hours(_|$)",
    "share": r"_(rate|share)(_|$)",
    "hour_of_day": r"^hour_of_",
    "weekday": r"weekday",
    "points": r"_score$",
    "per_day": r"_trend_",
    "currency": r"(?<!high)_value$",
}


@cache
def _unit_tests() -> list[dict[str, Any]]:
    files = sorted((DBT_PROJECT / "models").rglob("*.yml"))
    return [test for file in files for test in yaml.safe_load(file.read_text(encoding="utf-8")).get("unit_tests", [])]


def _expected(unit_test: dict[str, Any]) -> list[dict[str, Any]]:
    rows = unit_test["expect"]["rows"]
    return list(csv.DictReader(io.StringIO(rows))) if isinstance(rows, str) else rows


def _says_something(value: object) -> bool:
    return value not in (None, "", 0, "0", False)


ALL = [(view, column) for view in VIEWS for column in columns(view)]


@pytest.mark.parametrize(
    ("view", "column"), ALL, ids=lambda each: str(each["name"]) if isinstance(each, dict) else each
)
def test_feature_is_tested(view: str, column: dict[str, Any]) -> None:
    """A null or a 0 alone proves little: a column that is never filled passes such a test."""
    tests = [test for test in _unit_tests() if test["model"] == view]

    assert any(_says_something(row.get(column["name"])) for test in tests for row in _expected(test)), (
        f"no unit test of {view} expects a value of {column['name']} other than null and 0"
    )


@pytest.mark.parametrize("column", [column for _, column in ALL], ids=lambda column: str(column["name"]))
def test_feature_is_catalogued(column: dict[str, Any]) -> None:
    """What the catalogue says of a feature is there, and agrees with its name, its type and its constraints."""
    name, meta = column["name"], column.get("meta", {})

    assert column.get("description", "").strip(), "no description"
    for key, known in CATALOGUE.items():
        assert meta.get(key) in known, f"meta.{key}: expected one of {sorted(known)}, found {meta.get(key)!r}"
    assert set(meta) <= {*CATALOGUE, "dropped", "drifts"}
    assert meta.get("drifts") in (None, "season", "tenure", "events", "own_history")
    ending = name.rsplit("_", 1)[-1]
    assert meta["window"] == ending or ending not in CATALOGUE["window"], "another window than the name says"
    said = [unit for unit, pattern in UNITS_IN_NAMES.items() if re.search(pattern, name)]
    if column["data_type"] == "boolean":
        said = ["boolean"]
    assert said in ([], [meta["unit"]]), f"the name says {said}"
    assert (meta["unit"] == "category") == (column["data_type"] == "text")


@pytest.mark.parametrize("column", [column for _, column in ALL], ids=lambda column: str(column["name"]))
def test_null_of_a_feature_has_one_meaning(column: dict[str, Any]) -> None:
    """A column either has no nulls, which the database holds it to, or its description says what a null stands for."""
    never = column["meta"]["null_means"] == "never"

    assert ({"type": "not_null"} in column.get("constraints", [])) == never
    assert bool(re.search(r"; null (while|where|without|before)\b", column["description"])) == (not never)
    assert ("unknown" in column["description"].split("; null ")[-1]) or column["meta"]["null_means"] != "unknown"


@pytest.mark.parametrize("view", VIEWS)
def test_dropped_features_have_one_that_stays(view: str) -> None:
    """Each has one in its place, or tells the date."""
    dropped = {column["name"]: column["meta"]["dropped"] for column in columns(view) if "dropped" in column["meta"]}

    assert set(dropped.values()) <= {column["name"] for column in columns(view)} - set(dropped) | {"calendar"}


@pytest.mark.parametrize("unit_test", _unit_tests(), ids=lambda test: str(test["name"]))
def test_expected_rows_of_a_unit_test_have_the_same_columns(unit_test: dict[str, Any]) -> None:
    """The columns of the first expected row are those that dbt compares: others would pass unseen."""
    columns = [list(row) for row in _expected(unit_test)]

    assert all(row == columns[0] for row in columns)


def test_names_of_unit_tests_are_unique() -> None:
    """`dbt test --select <name>` runs one test."""
    names = [test["name"] for test in _unit_tests()]

    assert len(set(names)) == len(names)
