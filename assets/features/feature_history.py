"""Layer `features`, by day: the features of the observations of any days, computed anew.

The builds of `assets.features.feature_store` keep the features up to date and compute what may have changed. A backfill
of this asset replaces the rows of the picked days in the same table, and no others.
"""

import json
import shutil
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.dbt import Dbt
from assets.platform.resources import WAREHOUSE_POOL
from models.declaring.declaration import Horizons
from models.declaring.feature_view import FeatureView
from store.features.builds import gather_build_evidence
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.features.dbt_project import manifest_path, settings_of
from store.warehouse.warehouse import StaleFeaturesError, Warehouse

DAYS = dg.DailyPartitionsDefinition(start_date="2010-01-01", timezone="UTC")
"""Days of observation. Partitions need a first one; what lies before is built with the rest, and cannot be picked."""


def by_day_asset(view: FeatureView) -> dg.AssetsDefinition:
    """Return the asset that computes the features of a range of days anew."""
    with warnings.catch_warnings():
        # Dagster calls backfill policies beta, and would say so at every start
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(
            key=keys.by_day(view),
            deps=[keys.features(view)],
            partitions_def=DAYS,
            # one run for a range, whose days are replaced together
            backfill_policy=dg.BackfillPolicy.single_run(),
            group_name="features",
            kinds={"dbt"},
            owners=["team:data-engineering"],
            description=(
                f"The days of {view.schema}.{view.name}. Materialize a day or a range to compute the features of its "
                "observations anew, from what is extracted now: their rows are replaced in one transaction, and no "
                "others. Builds report the days that they add; what a whole build computed is not marked here."
            ),
            pool=WAREHOUSE_POOL,
        )
        def days(
            context: dg.AssetExecutionContext,
            dbt: Dbt,
            warehouse: dg.ResourceParam[Warehouse],
            horizons: dg.ResourceParam[Horizons],
            compiled: dg.ResourceParam[CompiledSql],
        ) -> dg.MaterializeResult[Any]:
            return _compute(view, context, dbt, warehouse, horizons, compiled)

        return days


def _compute(
    view: FeatureView,
    context: dg.AssetExecutionContext,
    dbt: Dbt,
    warehouse: Warehouse,
    horizons: Horizons,
    compiled: CompiledSql,
) -> dg.MaterializeResult[Any]:
    """Compute the features of a range of days.

    Raises
    ------
    StaleFeaturesError
        If the store was built from other rows, settings or SQL than there are now: days of two builds would mix.
    """
    extraction = warehouse.built_extraction()
    evidence = gather_build_evidence(warehouse, horizons, compiled)
    if evidence.last != evidence.now:
        raise StaleFeaturesError(
            f"{warehouse.shown}: expected a feature store that is built from the last extraction by the SQL and the "
            f"settings of now, found {evidence.last}. Materialize the feature store first: it computes whatever has "
            "changed, so that there may be nothing left to compute by day."
        )
    first, until = context.partition_time_window
    variables = {
        "as_of": extraction.as_of.isoformat(timespec="microseconds"),
        **settings_of(extraction, horizons),
        "range_from_us": microseconds(first.astimezone(UTC)),
        "range_until_us": microseconds(until.astimezone(UTC)),
    }
    finished = dbt.cli(
        ["run", "--select", " ".join(view.by_day), "--vars", json.dumps(variables)],
        manifest=manifest_path(),
    ).wait()
    shutil.rmtree(finished.target_path)
    with warehouse.connect() as connection:
        rows = connection.execute(
            f"select count(*) from {view.schema}.{view.name} where as_of >= $1 and as_of < $2", [first, until]
        ).fetchall()[0][0]
    return dg.MaterializeResult(
        metadata={"dagster/partition_row_count": rows, "clock": dg.MetadataValue.timestamp(extraction.as_of)}
    )


def added_days(view: FeatureView, warehouse: Warehouse, since: datetime) -> Iterator[dg.AssetMaterialization]:
    """Yield what a build has added to a view, day by day: the observations since the one before."""
    with warehouse.connect() as connection:
        days = connection.execute(
            f"select cast(as_of as date) as day, count(*) from {view.schema}.{view.name} where as_of > $1 "
            "and observation_kind <> 'clock' group by cast(as_of as date) order by day",
            [since],
        ).fetchall()
    for day, rows in days:
        key = day.isoformat()
        if DAYS.has_partition_key(key):
            yield dg.AssetMaterialization(
                keys.by_day(view), partition=key, metadata={"dagster/partition_row_count": rows}
            )
