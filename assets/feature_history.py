"""Layer `features`, by day: the features of the observations of any days, computed anew.

Features are kept up to date by the builds of `assets.feature_store`, which compute what may have changed. This asset is
the calendar of the same table: a backfill of a range replaces the rows of these days, and no others.
"""

import json
import shutil
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.compiled import microseconds
from assets.dbt import Dbt, manifest_path, settings_of
from assets.feature_builds import gather
from assets.resources import WAREHOUSE_POOL, CompiledSql, Horizons
from assets.warehouse import StaleFeaturesError, Warehouse

KEY = dg.AssetKey(["features", "lead_features_by_day"])
DAYS = dg.DailyPartitionsDefinition(start_date="2010-01-01", timezone="UTC")
"""Days of observation. Partitions need a first one; what lies before is built with the rest, and cannot be picked."""

ONE_RUN = dg.BackfillPolicy.single_run()
# Dagster calls backfill policies beta; it would say so at every start
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)


@dg.asset(
    key=KEY,
    deps=[["features", "lead_features"]],
    partitions_def=DAYS,
    # one run for a range, whose days are replaced together
    backfill_policy=ONE_RUN,
    group_name="features",
    kinds={"dbt"},
    owners=["team:data-engineering"],
    description=(
        "The days of features.lead_features. Materialize a day or a range to compute the features of its observations "
        "anew, from what is extracted now: their rows are replaced in one transaction, and no others. Builds report "
        "the days that they add; what a whole build computed is not marked here."
    ),
    pool=WAREHOUSE_POOL,
)
def lead_features_by_day(
    context: dg.AssetExecutionContext, dbt: Dbt, warehouse: Warehouse, horizons: Horizons, compiled: CompiledSql
) -> dg.MaterializeResult[Any]:
    """Compute the features of a range of days.

    Raises
    ------
    StaleFeaturesError
        If the store was built from other rows, settings or SQL than there are now: days of two builds would mix.
    """
    extraction = warehouse.built_extraction()
    evidence = gather(warehouse, horizons, compiled)
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
        ["run", "--select", "observations_due track_records lead_features", "--vars", json.dumps(variables)],
        manifest=manifest_path(),
    ).wait()
    shutil.rmtree(finished.target_path)
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select count(*) from features.lead_features where as_of >= $1 and as_of < $2", [first, until]
        ).fetchall()[0][0]
    return dg.MaterializeResult(
        metadata={"dagster/partition_row_count": rows, "clock": dg.MetadataValue.timestamp(extraction.as_of)}
    )


def added_days(warehouse: Warehouse, since: datetime) -> Iterator[dg.AssetMaterialization]:
    """Yield what a build has added, day by day: the observations since the one before."""
    with warehouse.connect() as connection:
        days = connection.execute(
            "select cast(as_of as date) as day, count(*) from features.lead_features where as_of > $1 "
            "and observation_kind <> 'clock' group by cast(as_of as date) order by day",
            [since],
        ).fetchall()
    for day, rows in days:
        key = day.isoformat()
        if DAYS.has_partition_key(key):
            yield dg.AssetMaterialization(KEY, partition=key, metadata={"dagster/partition_row_count": rows})
