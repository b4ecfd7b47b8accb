"""Layer `feature_quality`: what each feature of a view is worth, in ``ml.ml_feature_quality``, and checks that say so.

Flags are information: no feature is dropped for one. What counts as missing is what is missing *after* imputation by
the view itself, which fills counts with 0 and categories with ``unknown``; what is null there, such as the days since
something that never happened, the models learn from as missing.
"""

from collections.abc import Iterator, Sequence

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
        deps=[keys.features(view)],
        group_name="feature_quality",
        kinds={"duckdb"},
        owners=["team:data-engineering"],
        description=(
            f"Completeness, range, outliers and strongest correlation of every feature of `{view.name}`. One row per "
            "feature and clock; the rows of a clock are replaced as a whole. Flags are information: no feature is "
            "dropped for one."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "completeness",
                asset=keys.feature_quality(view),
                description=(
                    f"No feature has a value in fewer than {MIN_COMPLETENESS:.0%} of the rows, or the same in all. "
                    "Counts are 0 and categories `unknown` where there is nothing; what is null after that is missing."
                ),
            ),
            dg.AssetCheckSpec(
                "correlation",
                asset=keys.feature_quality(view),
                description=f"No two features have a rank correlation beyond {MAX_CORRELATION} or -{MAX_CORRELATION}.",
            ),
        ],
        pool=WAREHOUSE_POOL,
    )
    def feature_quality(warehouse: dg.ResourceParam[Warehouse]) -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
        as_of = warehouse.built_extraction().as_of
        groups = feature_groups(view.name)
        with warehouse.analyze(Excerpt(view.schema, view.name, [view.key, "as_of", *groups])) as analysis:
            measured = measure_features(analysis, f"{view.schema}.{view.name}", view.key, groups)
        with ledger(warehouse) as connection:
            replace_measurement(connection, FEATURE_QUALITY, {"feature_view": view.name, "as_of": as_of}, measured)
        yield dg.Output(
            None,
            metadata={
                "dagster/row_count": len(measured),
                "observations": measured[0].rows,
                "sample_rows": min(SAMPLE_ROWS, measured[0].rows),
                "features_by_group": dg.MetadataValue.json(
                    {group: list(groups.values()).count(group) for group in sorted(set(groups.values()))}
                ),
                "clock": dg.MetadataValue.timestamp(as_of),
            },
        )
        yield _completeness(measured)
        yield _correlation(measured)

    return feature_quality


def _completeness(measured: Sequence[FeatureQuality]) -> dg.AssetCheckResult:
    flagged = sorted(
        (each for each in measured if each.incomplete or each.constant), key=lambda each: each.completeness
    )
    rows = [
        (each.feature, each.feature_group, f"{each.completeness:.3f}", "yes" if each.constant else "")
        for each in flagged
    ]
    return dg.AssetCheckResult(
        check_name="completeness",
        passed=not flagged,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "least_completeness": min(each.completeness for each in measured),
            "threshold": MIN_COMPLETENESS,
            "features_incomplete": sum(each.incomplete for each in measured),
            "features_constant": sum(each.constant for each in measured),
            "features": len(measured),
            "flagged": metadata_table(("feature", "group", "completeness", "constant"), rows),
        },
    )


def _correlation(measured: Sequence[FeatureQuality]) -> dg.AssetCheckResult:
    amounts = {each.feature: abs(each.correlation or 0.0) for each in measured}
    flagged = sorted((each for each in measured if each.redundant), key=lambda each: -amounts[each.feature])
    rows = [(each.feature, each.most_correlated_with, f"{each.correlation:.3f}") for each in flagged]
    return dg.AssetCheckResult(
        check_name="correlation",
        passed=not flagged,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "strongest_correlation": max(amounts.values()),
            "threshold": MAX_CORRELATION,
            "features_redundant": len(flagged),
            "features": len(measured),
            "flagged": metadata_table(("feature", "most correlated with", "rank correlation"), rows),
        },
    )
