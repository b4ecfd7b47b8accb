"""The days of a feature view: the asset that shows which run computed each day, and the job that recomputes days.

The builds of `assets.features.feature_store` keep the features up to date. They and the job report the days that they
compute; the asset itself cannot be materialized.
"""

import json
import shutil
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from pydantic import Field

from assets.platform import keys
from assets.platform.dbt import Dbt
from assets.platform.event_log import PARTITION_ROWS, reported_rows
from assets.platform.resources import WAREHOUSE_POOL
from models.declared.registry import FEATURE_VIEWS
from models.declaring.declaration import Horizons
from models.declaring.feature_view import FeatureView
from store.features.builds import gather_build_evidence
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.features.dbt_project import manifest_path, settings_of
from store.features.parsed_dbt import in_parts
from store.warehouse.warehouse import Extraction, StaleFeaturesError, Warehouse


class DaysError(ValueError):
    """The configuration of `recompute_days` is wrong; the message says what was expected and found."""


class Days(dg.Config):
    """The days to compute anew."""

    days: str = Field(description="The first and the last day, as 2026-03-01...2026-03-07, or one day. Days are UTC.")
    view: str | None = Field(default=None, description="The feature view; all views of the source if none is named.")


def days_of(view: FeatureView) -> dg.DynamicPartitionsDefinition:
    """Return the partitions of a feature view: the days that have observations."""
    return dg.DynamicPartitionsDefinition(name=f"{view.name}_days")


def by_day_spec(view: FeatureView) -> dg.AssetSpec:
    """Return the asset that shows the days of a feature view."""
    return dg.AssetSpec(
        key=keys.by_day(view),
        deps=[keys.features(view)],
        partitions_def=days_of(view),
        group_name="features",
        kinds={"dbt"},
        owners=["team:data-engineering"],
        description=(
            f"The days of {view.schema}.{view.name}, each with its number of observations (without those at the "
            "clock) and the run that computed it last. Builds report the days that they compute. To compute days anew "
            "from the last extraction, run the job recompute_days."
        ),
    )


@dg.op(
    pool=WAREHOUSE_POOL,
    description=(
        "Compute the features of a range of days anew. Only rows of these days are replaced, in one transaction per "
        "table."
    ),
    out=dg.Out(dg.Nothing),
)
def recompute(
    context: dg.OpExecutionContext,
    config: Days,
    dbt: Dbt,
    warehouse: dg.ResourceParam[Warehouse],
    horizons: dg.ResourceParam[Horizons],
    compiled: dg.ResourceParam[CompiledSql],
) -> None:
    """Compute the features of a range of days.

    Raises
    ------
    DaysError
        If the days or the view of the configuration are wrong.
    StaleFeaturesError
        If the extraction, the settings or the SQL have changed since the build: days of two builds would mix.
    """
    extraction = warehouse.built_extraction()
    views = _views_of(config.view, extraction)
    first, last = first_and_last(config.days, extraction.as_of)
    evidence = gather_build_evidence(warehouse, horizons, compiled)
    if evidence.last != evidence.now:
        raise StaleFeaturesError(
            f"{warehouse.shown}: expected a feature store built from the last extraction with the present SQL and "
            f"settings, found {evidence.last}. Materialize the feature store first: the build computes all that has "
            "changed, perhaps these days as well."
        )
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    variables = {
        "as_of": extraction.as_of.isoformat(timespec="microseconds"),
        **settings_of(extraction, horizons),
        "range_from_us": microseconds(begin),
        "range_until_us": microseconds(begin + (last - first + timedelta(days=1))),
    }
    manifest = manifest_path()
    finished = (
        dbt.parsed(manifest)
        .cli(
            [
                "run",
                "--select",
                " ".join(name for view in views for name in view.by_day),
                *in_parts(json.dumps(variables)),
            ],
            manifest=manifest,
        )
        .wait()
    )
    shutil.rmtree(finished.target_path)
    for view in views:
        rows = report_days(context, view, warehouse, computed=(first, last))
        context.log.info(f"{view.schema}.{view.name}: {rows:,} rows of {first} to {last} were computed anew.")


@dg.job(
    name="recompute_days",
    description="Compute the features of a range of observation days anew. The configuration names the days.",
)
def recompute_days() -> None:
    """Run `recompute`."""
    recompute()


def first_and_last(days: str, clock: datetime) -> tuple[date, date]:
    """Return the first and the last of a range of days; the day of the clock takes the place of a later last one.

    Raises
    ------
    DaysError
        If the text is not such a range, or all of it lies after the clock.
    """
    begin, dots, end = days.strip().partition("...")
    try:
        first = date.fromisoformat(begin)
        last = date.fromisoformat(end) if dots else first
    except ValueError:
        raise DaysError(
            f"days: expected a first and a last day, as 2026-03-01...2026-03-07, or one day, found {days!r}."
        ) from None
    if last < first:
        raise DaysError(f"days: expected a last day that is not before the first, found {days!r}.")
    if first > clock.date():
        raise DaysError(f"days: expected days up to the clock of the features, {clock.date()}, found {days!r}.")
    return first, min(last, clock.date())


def report_days(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    view: FeatureView,
    warehouse: Warehouse,
    *,
    computed: tuple[date, date] | None,
) -> int:
    """Report the computed days of a view, and the days whose number of rows differs from the last report.

    Parameters
    ----------
    context : AssetExecutionContext or OpExecutionContext
        The context of the step that computed the days.
    view : FeatureView
    warehouse : Warehouse
    computed : tuple of date, optional
        The first and the last computed day; by default all days.

    Returns
    -------
    int
        The number of rows of the computed days.
    """
    with warehouse.connect() as connection:
        rows: dict[date, int] = dict(
            connection.execute(
                f"select cast(as_of as date) as day, count(*) from {view.schema}.{view.name} "
                "where observation_kind <> 'clock' group by cast(as_of as date) order by day"
            ).fetchall()
        )
    first, last = computed or (date.min, date.max)
    definition, key = str(days_of(view).name), keys.by_day(view)
    known = reported_rows(context.instance, key)
    # a person may have added one in the UI, which no build would compute
    for other_day in sorted({*context.instance.get_dynamic_partitions(definition)} - {day.isoformat() for day in rows}):
        context.instance.delete_dynamic_partition(definition, other_day)
    context.instance.add_dynamic_partitions(definition, [day.isoformat() for day in rows])
    for day, number in rows.items():
        if first <= day <= last or known.get(day.isoformat()) != number:
            context.log_event(
                dg.AssetMaterialization(key, partition=day.isoformat(), metadata={PARTITION_ROWS: number})
            )
    return sum(number for day, number in rows.items() if first <= day <= last)


def _views_of(name: str | None, extraction: Extraction) -> list[FeatureView]:
    views = {each.name: each for each in FEATURE_VIEWS.values() if each.by_day and not extraction.lacks(each.entity)}
    if name is not None and name not in views:
        raise DaysError(f"view: expected one of {', '.join(sorted(views))}, found {name}.")
    return list(views.values()) if name is None else [views[name]]
