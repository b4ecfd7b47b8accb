"""Layers `staging`, `intermediate`, `features` and `labels`: the point-in-time feature store, built by dbt."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

from assets.compiled import microseconds
from assets.dbt import DBT_PROJECT, Dbt, Translator, build, manifest_path
from assets.feature_builds import forget_build, gather, plan_build, refuse_a_part
from assets.feature_history import added_days
from assets.outcome_history import variable_of
from assets.resources import WAREHOUSE_POOL, CompiledSql, Horizons
from assets.warehouse import Warehouse


@dbt_assets(
    manifest=manifest_path(),
    project=DBT_PROJECT,
    select="staging intermediate features labels",
    name="feature_store",
    dagster_dbt_translator=Translator(),
    pool=WAREHOUSE_POOL,
)
def feature_store(
    context: dg.AssetExecutionContext, dbt: Dbt, warehouse: Warehouse, horizons: Horizons, compiled: CompiledSql
) -> Iterator[Any]:
    """Build features and labels at the clock of the last extraction, adding to the last build where that will do.

    Raises
    ------
    PartialBuildError
        If some of the models are picked and not all.
    """
    picked = context.selected_asset_keys
    if not picked:
        # checks alone: tests change nothing
        yield from build(context, dbt, warehouse, horizons)
        return
    refuse_a_part(picked, feature_store.keys)
    evidence = gather(warehouse, horizons, compiled)
    plan = plan_build(evidence)
    context.log.info(plan.reason)
    variables = {"load_number": evidence.now.load_number, "build_code": evidence.now.code}
    if evidence.outcomes is not None:
        variables |= variable_of(evidence.outcomes)
        if evidence.outcomes.since is not None:
            context.log.warning(f"labels.conversion: {evidence.outcomes.reason}")
    # written again at the end: a build that stops half-way leaves nothing that an increment could rest on
    forget_build(warehouse)
    if plan.since is None:
        yield from build(
            context, dbt, warehouse, horizons, variables=variables, options=["--full-refresh"], keep=compiled.keep
        )
        return
    variables |= {"built_load_number": plan.since.load_number, "built_us": microseconds(plan.since.as_of)}
    yield from build(context, dbt, warehouse, horizons, variables=variables)
    compiled.advance(evidence.now.as_of)
    for added in added_days(warehouse, plan.since.as_of):
        context.log_event(added)
