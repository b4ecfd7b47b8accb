"""Layer `feature_quality`: how each feature of a view is filled and distributed, in ``ml.ml_feature_quality``.

A flag is information, not a fault: no feature is dropped because of a flag, and no check fails. A value is missing if
the view leaves it null. The view fills counts with 0 and categories with ``unknown``; the days since an event that
never happened, for example, stay null, and the models learn from them as missing.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL
from assets.platform.tables import metadata_table
from models.declaring.feature_view import FeatureView
from store.ledger.measurements import FEATURE_QUALITY, FeatureQuality
from store.ledger.schema import ledger
from store.ledger.table import replace_measurement
from store.measuring.feature_quality import (
    MAX_CORRELATION,
    MIN_COMPLETENESS,
    SAMPLE_ROWS,
    feature_groups,
    measure_features,
)
from store.warehouse.engine import Excerpt
from store.warehouse.warehouse import Warehouse


def feature_quality_asset(view: FeatureView) -> dg.AssetsDefinition:
    """Return the asset that measures the features of a view."""

    @dg.asset(
        key=keys.feature_quality(view),
        deps=[keys.features(view), keys.CLOCK],
        group_name="feature_quality",
        kinds={"duckdb"},
        owners=["team:data-engineering"],
        description=(
            f"Completeness, range, outliers and strongest correlation of every feature of `{view.name}`. One row per "
            "feature and clock; the rows of a clock are replaced as a whole. Flags are information: no feature is "
            "dropped because of a flag."
        ),
        pool=WAREHOUSE_POOL,
    )
    def feature_quality(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[Any]:
        extraction = warehouse.built_extraction()
        if none := extraction.lacks(view.entity):
            return dg.MaterializeResult(metadata={"absent": none})
        as_of, groups = extraction.as_of, feature_groups(view.name, extraction.attributes)
        with warehouse.analyze(Excerpt(view.schema, view.name, [view.key, "as_of", *groups])) as analysis:
            measured = measure_features(analysis, f"{view.schema}.{view.name}", view.key, groups)
        with ledger(warehouse) as connection:
            replace_measurement(connection, FEATURE_QUALITY, {"feature_view": view.name, "as_of": as_of}, measured)
        return dg.MaterializeResult(
            metadata={
                "seldom_filled": _seldom_filled(measured),
                "correlated": _correlated(measured),
                "features": len(measured),
                "features_incomplete": sum(each.incomplete for each in measured),
                "features_constant": sum(each.constant for each in measured),
                "features_redundant": sum(each.redundant for each in measured),
                "incomplete_below": MIN_COMPLETENESS,
                "redundant_beyond": MAX_CORRELATION,
                "features_by_group": dg.MetadataValue.json(
                    {group: list(groups.values()).count(group) for group in sorted(set(groups.values()))}
                ),
                "dagster/row_count": len(measured),
                "observations": measured[0].rows,
                "sample_rows": min(SAMPLE_ROWS, measured[0].rows),
                "clock": dg.MetadataValue.timestamp(as_of),
            }
        )

    return feature_quality


def _seldom_filled(measured: Sequence[FeatureQuality]) -> dg.TableMetadataValue:
    """Return the features that seldom have a value, or have one value everywhere."""
    flagged = sorted(
        (each for each in measured if each.incomplete or each.constant), key=lambda each: each.completeness
    )
    return metadata_table(
        ("feature", "group", "completeness", "constant"),
        [
            (each.feature, each.feature_group, f"{each.completeness:.3f}", "yes" if each.constant else "")
            for each in flagged
        ],
    )


def _correlated(measured: Sequence[FeatureQuality]) -> dg.TableMetadataValue:
    """Return the features that order the rows almost like another feature."""
    flagged = sorted((each for each in measured if each.redundant), key=lambda each: -abs(each.correlation or 0.0))
    return metadata_table(
        ("feature", "most correlated with", "rank correlation"),
        [(each.feature, each.most_correlated_with, f"{each.correlation:.3f}") for each in flagged],
    )
