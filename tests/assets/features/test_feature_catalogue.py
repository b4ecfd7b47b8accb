"""The catalogue: what is said, what was measured and what it is worth, of every feature, on both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.declared.lead_features import LEAD_FEATURES
from models.declared.registry import DECLARATIONS
from models.declaring.attribute import Attribute
from store.features.catalogue import COLUMNS, IMPORTANT, described, most_important, replace
from store.features.dbt_project import described_columns
from store.warehouse.connection import columns_of
from store.warehouse.warehouse import Warehouse
from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.warehouse.connection import Connection
    from tests.homes import Home

META = {"group": "temporal", "unit": "days", "window": "as_of", "null_means": "never"}
DESCRIBED = {
    "lead_id": {"description": "The lead.", "data_type": "text", "meta": {}},
    "age": {"description": "Its age. ", "data_type": "double precision", "meta": META},
    "twin": {"description": "The same.", "data_type": "double precision", "meta": {**META, "dropped": "age"}},
}
MEASURED = {("lead_features", "age"): [0.25, False, "twin", 0.99, True]}
IMPORTANT_TO_CONVERSION = [0.5 if name == "conversion" else None for name in DECLARATIONS]
IMPORTANCE: dict[str, dict[str, float]] = {
    **{name: {} for name in DECLARATIONS},
    "conversion": {"age": 0.5},
    # a feature of another view, which has the same name
    "churn_30d": {"age": 0.7},
}


@pytest.fixture(params=["duckdb", "postgres"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    if request.param == "duckdb":
        with Warehouse(address="duckdb::memory:").connect() as opened:
            yield opened
        return
    with database(request.getfixturevalue("running")) as address, Warehouse(address=address).connect() as opened:
        yield opened


def test_rows_carry_what_is_said_measured_and_learnt(connection: Connection) -> None:
    rows = described(LEAD_FEATURES, DESCRIBED, MEASURED, IMPORTANCE)
    connection.execute("create schema features")
    for _ in range(2):
        replace(connection, rows)
    assert columns_of(connection, "features", "catalogue") == list(COLUMNS)
    found = connection.execute("select * from features.catalogue order by feature").fetchall()
    said = ("temporal", "{}", "double precision", "days", "as_of", "never")
    assert found == [
        ("lead_features", "age", *(each.format("Its age.") for each in said), 0.25, False, "twin", 0.99, True, None,
         *IMPORTANT_TO_CONVERSION),
        ("lead_features", "twin", *(each.format("The same.") for each in said), None, None, None, None, None, "age",
         *(None for _ in DECLARATIONS)),
    ]  # fmt: skip


def test_attributes_are_described_after_the_features_of_the_project() -> None:
    attribute = Attribute(
        entity="projects", name="due", label="Fällig am", kind="date", known="creation", prefix="project", of="the deal"
    )
    columns = described_columns("lead_features", [attribute])
    *_, row = described(LEAD_FEATURES, columns, {}, IMPORTANCE)
    found = dict(zip(COLUMNS, row, strict=True))
    assert len(columns) == len(described_columns("lead_features", [])) + 1
    assert {name: found[name] for name in ("feature", "feature_group", "data_type", "unit", "dropped_for")} == {
        "feature": "project_due_days",
        "feature_group": "attribute",
        "data_type": "double precision",
        "unit": "days",
        "dropped_for": None,
    }
    assert "'Fällig am' of the deal" in found["description"]


def test_the_features_that_each_model_would_miss_most_come_first() -> None:
    columns = {f"f{number}": DESCRIBED["age"] for number in range(8)}
    importance = {
        **{name: {} for name in DECLARATIONS},
        "conversion": {f"f{number}": number / 10 for number in range(7)},
        "deal_value": {"f0": -0.1},
        "next_best_action": {"f7": 0.25, "f1": 0.25},
    }
    measured = {("lead_features", "f6"): [0.25, False, None, None, False]}
    found = most_important(described(LEAD_FEATURES, columns, measured, importance))
    assert [each[:3] for each in found] == [
        *(("conversion", f"f{number}", number / 10) for number in (6, 5, 4, 3, 2)),
        ("next_best_action", "f1", 0.25), ("next_best_action", "f7", 0.25),
    ]  # fmt: skip
    assert dict(zip(("model", *IMPORTANT), found[0], strict=True)) == {
        "model": "conversion", "feature": "f6", "importance": 0.6, "feature_group": "temporal", "unit": "days",
        "null_rate": 0.25, "description": "Its age.",
    }  # fmt: skip


def test_a_run_catalogues_every_feature(filled: Home) -> None:
    features = (
        {
            name
            for (name,) in filled.ask(
                "select column_name from information_schema.columns where table_name = 'lead_features' "
                "and table_schema = 'features'"
            )
        }
        - set(LEAD_FEATURES.not_features)
        - {"lead_id", "as_of"}
    )
    rows = filled.ask("select feature, null_rate, description, importance_conversion from features.catalogue")
    assert {feature for feature, *_ in rows} == features
    assert len(rows) >= 80
    assert all(null_rate is not None and description for _, null_rate, description, _ in rows)
    learnt = {feature for feature, *_, importance in rows if importance is not None}
    assert learnt == features - set(LEAD_FEATURES.dropped)
