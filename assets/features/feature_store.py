"""Layers `staging`, `intermediate`, `features` and `labels`: the point-in-time feature store, built by dbt."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets.features.feature_history import added_days
from assets.platform import keys
from assets.platform.dbt import Dbt, build, layer_assets
from models.declared.registry import FEATURE_VIEWS
from models.declaring.declaration import Horizons
from store.features.builds import forget_build, gather_build_evidence, plan_build, variables_of
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.warehouse.warehouse import Warehouse


class PartialBuildError(RuntimeError):
    """Some models of the feature store were picked and not all; the message says what to do."""


def feature_store_assets(manifest: Path) -> dg.AssetsDefinition:
    """Return the assets of the feature store, one per dbt model.

    Parameters
    ----------
    manifest : Path
        Of the dbt project.
    """

    @layer_assets(manifest, "feature_store", select="staging intermediate features labels")
    def feature_store(
        context: dg.AssetExecutionContext,
        dbt: Dbt,
        warehouse: dg.ResourceParam[Warehouse],
        horizons: dg.ResourceParam[Horizons],
        compiled: dg.ResourceParam[CompiledSql],
    ) -> Iterator[Any]:
        # checks alone: tests change nothing
        if not context.selected_asset_keys:
            yield from build(context, dbt, warehouse, horizons)
            return
        refuse_a_part(context.selected_asset_keys, feature_store.keys)
        yield from build_features(context, dbt, warehouse, horizons, compiled)

    return feature_store


def build_features(
    context: dg.AssetExecutionContext,
    dbt: Dbt,
    warehouse: Warehouse,
    horizons: Horizons,
    compiled: CompiledSql,
) -> Iterator[Any]:
    """Build features and labels at the clock of the last extraction, adding to the last build where that will do."""
    evidence = gather_build_evidence(warehouse, horizons, compiled)
    plan = plan_build(evidence)
    context.log.info(plan.reason)
    variables = {"load_number": evidence.now.load_number, "build_code": evidence.now.code}
    variables |= variables_of(evidence.outcomes)
    for label, outcomes in evidence.outcomes.items():
        if outcomes.since is not None:
            context.log.warning(f"labels.{label}: {outcomes.reason}")
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
    for view in (each for each in FEATURE_VIEWS.values() if each.by_day):
        for added in added_days(view, warehouse, plan.since.as_of):
            context.log_event(added)


def refuse_a_part(picked: Collection[dg.AssetKey], models: Collection[dg.AssetKey]) -> None:
    """Refuse to build some models of the feature store: they add to each other what is due, and would not agree.

    Raises
    ------
    PartialBuildError
        If not all models are picked.
    """
    left_out = sorted(key.to_user_string() for key in set(models) - set(picked))
    if left_out:
        raise PartialBuildError(
            f"Expected all {len(models)} models of staging, intermediate, features and labels, found {len(picked)}; "
            f"{', '.join(left_out[:3])}{' and more' if len(left_out) > 3 else ''} left out. They are built together, "
            "because each adds to the last build what the others found due. Materialize the groups staging, "
            "intermediate, features and labels, or run score_leads; for days of features anew, materialize "
            f"{' or '.join(keys.by_day(each).to_user_string() for each in FEATURE_VIEWS.values() if each.by_day)}."
        )
