"""Layer `features`, described: ``features.catalogue``, one row per feature, for those who look for one.

What the dbt project says of a feature, what was measured of it in the store, and what it is worth to the champions, in
one place that SQL can ask.
"""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.champion_files import load_champion
from assets.dbt import manifest_path
from assets.ml_tables import ensure
from assets.resources import WAREHOUSE_POOL, ArtifactStore
from assets.warehouse import Connection, Warehouse, insert_rows
from models.declaration import FeatureView
from models.evaluation import evaluate
from models.registry import DECLARATIONS

COLUMNS = {
    "feature_view": "text",
    "feature": "text",
    "feature_group": "text",
    "description": "text",
    "data_type": "text",
    "unit": "text",
    "feature_window": "text",
    "null_means": "text",
    "null_rate": "double precision",
    "constant": "boolean",
    "most_correlated_with": "text",
    "correlation": "double precision",
    "redundant": "boolean",
    "dropped_for": "text",
    **{f"importance_{name}": "double precision" for name in DECLARATIONS},
}
"""The columns of the table, with their types."""

_VIEWS = {declaration.feature_view.name: declaration.feature_view for declaration in DECLARATIONS.values()}


@dg.asset(
    key=["features", "catalogue"],
    deps=[
        *(["feature_quality", name] for name in _VIEWS),
        *(["champion", name] for name in DECLARATIONS),
    ],
    group_name="features",
    kinds={"sql"},
    owners=["team:data-engineering"],
    description=(
        "One row per feature: description, unit, group, window, what a null means, the share of nulls, the feature "
        "that orders leads most alike, and what it is worth to the champion of each model."
    ),
    pool=WAREHOUSE_POOL,
)
def feature_catalogue(warehouse: Warehouse, artifacts: ArtifactStore) -> dg.MaterializeResult[Any]:
    """Write the catalogue in place of the one that is there."""
    as_of = warehouse.built_extraction().as_of
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    with warehouse.connect() as connection:
        ensure(connection)
        measured = {
            (view, feature): found
            for view, feature, *found in connection.execute(
                "select feature_view, feature, 1 - completeness, constant, most_correlated_with, correlation, "
                "redundant from ml.ml_feature_quality where as_of = $1",
                [as_of],
            ).fetchall()
        }
        importance = {name: _importance(connection, artifacts, name) for name in DECLARATIONS}
        rows = []
        for view in _VIEWS.values():
            columns = manifest["nodes"][f"model.leadline.{view.name}"]["columns"]
            rows += described(view, columns, measured, importance)
        replace(connection, rows)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(rows), "clock": dg.MetadataValue.timestamp(as_of)},
    )


def described(
    view: FeatureView,
    columns: Mapping[str, Mapping[str, Any]],
    measured: Mapping[tuple[str, str], list[Any]],
    importance: Mapping[str, Mapping[str, float]],
) -> list[tuple[Any, ...]]:
    """Return the rows of a view, in the order of its columns.

    Parameters
    ----------
    view : FeatureView
    columns : mapping of str to mapping
        Of the dbt model, as its manifest has them.
    measured : mapping of (str, str) to list
        By view and feature: share of nulls, constant, closest feature, correlation, redundant. A feature that was not
        measured has nulls there.
    importance : mapping of str to mapping of str to float
        By model and feature: the rise of the log-loss of the held-out rows when the feature is shuffled among them.
    """
    return [
        (
            view.name, name, column["meta"]["group"], column["description"].strip(), column["data_type"],
            column["meta"]["unit"], column["meta"]["window"], column["meta"]["null_means"],
            *measured.get((view.name, name), [None] * 5),
            column["meta"].get("dropped"),
            *(importance[model].get(name) for model in DECLARATIONS),
        )
        for name, column in columns.items()
        if "group" in column["meta"]
    ]  # fmt: skip


def replace(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Write the rows in place of all that are there, in one transaction."""
    connection.begin()
    connection.execute("drop table if exists features.catalogue")
    connection.execute(
        f"create table features.catalogue ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())}, "
        "primary key (feature_view, feature))"
    )
    insert_rows(connection, "features", "catalogue", list(COLUMNS), rows)
    connection.commit()


def _importance(connection: Connection, artifacts: ArtifactStore, model: str) -> dict[str, float]:
    champion = load_champion(connection, artifacts, model)
    if champion is None:
        return {}
    return {each.feature: each.rise for each in evaluate(champion).validation.importance}
