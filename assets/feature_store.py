"""Layers `staging`, `intermediate`, `features` and `labels`: the point-in-time feature store, built by dbt."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

from assets.dbt import DBT_PROJECT, Dbt, Translator, build, manifest_path
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
    """Build features and labels at the clock of the last extraction, and keep the SQL that made them."""
    yield from build(context, dbt, warehouse, horizons, compiled)
