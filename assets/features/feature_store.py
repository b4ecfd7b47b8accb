"""Layers `staging`, `intermediate`, `features` and `labels`: the point-in-time feature store, built by dbt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets.features.feature_history import report_days
from assets.platform.dbt import Dbt, whole_layers
from assets.platform.dbt_build import build
from models.declared.registry import FEATURE_VIEWS
from models.declaring.declaration import Horizons
from store.features.builds import forget_build, gather_build_evidence, plan_build, variables_of
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.warehouse.warehouse import Warehouse

LAYERS = "staging intermediate features labels"
"""The layers of the dbt project that are built together."""


def feature_store_assets(manifest: Path) -> dg.AssetsDefinition:
    """Return the assets of the feature store, one per dbt model.

    They are built together or not at all, because an increment shares its list of due rows among them.

    Parameters
    ----------
    manifest : Path
        The manifest of the dbt project.
    """

    @whole_layers(manifest, "feature_store", select=LAYERS)
    def feature_store(
        context: dg.AssetExecutionContext,
        dbt: Dbt,
        warehouse: dg.ResourceParam[Warehouse],
        horizons: dg.ResourceParam[Horizons],
        compiled: dg.ResourceParam[CompiledSql],
    ) -> Iterator[Any]:
        yield from build_features(context, dbt, warehouse, horizons, compiled)

    return feature_store


def build_features(
    context: dg.AssetExecutionContext,
    dbt: Dbt,
    warehouse: Warehouse,
    horizons: Horizons,
    compiled: CompiledSql,
) -> Iterator[Any]:
    """Build features and labels at the clock of the last extraction, as an increment of the last build if possible."""
    evidence = gather_build_evidence(warehouse, horizons, compiled)
    plan = plan_build(evidence)
    context.log.info(plan.reason)
    variables = {"load_number": evidence.now.load_number, "build_code": evidence.now.code}
    variables |= variables_of(evidence.outcomes)
    for label, outcomes in evidence.outcomes.items():
        if outcomes.since is not None:
            context.log.warning(f"labels.{label}: {outcomes.reason}")
    # the record of the build is written again at its end, so no increment is added to an unfinished build
    forget_build(warehouse)
    if plan.since is None:
        options, keep = ["--full-refresh"], compiled.keep
    else:
        options, keep = [], None
        variables |= {"built_load_number": plan.since.load_number, "built_us": microseconds(plan.since.as_of)}
    yield from build(
        context, dbt, warehouse, horizons,
        select=LAYERS, variables=variables, options=options, code=evidence.now.code, keep=keep,
    )  # fmt: skip
    if plan.since is not None:
        compiled.advance(evidence.now.as_of)
    # an increment adds rows after the last clock only; of the earlier days that it recomputes for touched entities,
    # `report_days` reports those whose number of rows has changed
    computed = None if plan.since is None else (plan.since.as_of.date(), evidence.now.as_of.date())
    for view in (each for each in FEATURE_VIEWS.values() if each.by_day):
        report_days(context, view, warehouse, computed=computed)
