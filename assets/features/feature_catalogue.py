"""The catalogue ``features.catalogue``: one row per feature, for people who search for features with SQL.

A row has the description in the dbt project, the measured quality, and the importance to each champion.
"""

from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL
from assets.platform.tables import metadata_table
from models.declared.registry import DECLARATIONS, FEATURE_VIEWS
from store.artifacts import ArtifactStore
from store.features.catalogue import IMPORTANT, described, importance_of, most_important, replace
from store.features.dbt_project import described_columns
from store.ledger.schema import ledger
from store.warehouse.warehouse import Warehouse


@dg.asset(
    key=keys.CATALOGUE,
    deps=[
        *(keys.feature_quality(view) for view in FEATURE_VIEWS.values()),
        *(keys.champion(name) for name in DECLARATIONS),
    ],
    group_name="feature_quality",
    kinds={"sql"},
    owners=["team:data-engineering"],
    description=(
        "One row per feature: description, unit, group, window, what a null means, the share of nulls, the most "
        "correlated feature, and the importance to the champion of each model."
    ),
    pool=WAREHOUSE_POOL,
)
def feature_catalogue(
    warehouse: dg.ResourceParam[Warehouse], artifacts: dg.ResourceParam[ArtifactStore]
) -> dg.MaterializeResult[Any]:
    """Replace the catalogue."""
    extraction = warehouse.built_extraction()
    as_of = extraction.as_of
    with ledger(warehouse) as connection:
        measured = {
            (view, feature): found
            for view, feature, *found in connection.execute(
                "select feature_view, feature, 1 - completeness, constant, most_correlated_with, correlation, "
                "redundant from ml.ml_feature_quality where as_of = $1",
                [as_of],
            ).fetchall()
        }
        importance = {name: importance_of(connection, artifacts, name) for name in DECLARATIONS}
        rows = []
        for view in FEATURE_VIEWS.values():
            if extraction.lacks(view.entity):
                continue
            columns = described_columns(view.name, extraction.attributes)
            rows += described(view, columns, measured, importance)
        replace(connection, rows)
    return dg.MaterializeResult(
        metadata={
            "most_important": metadata_table(("model", *IMPORTANT), most_important(rows)),
            "dagster/row_count": len(rows),
            "clock": dg.MetadataValue.timestamp(as_of),
        },
    )
