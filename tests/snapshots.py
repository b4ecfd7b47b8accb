"""The asset that publishes the marts, made from the project's manifest."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from assets.publishing.marts import mart_assets, snapshot_asset
from store.features.dbt_project import manifest_path

if TYPE_CHECKING:
    import dagster as dg


@cache
def published_snapshot() -> dg.AssetsDefinition:
    """Return the asset."""
    return snapshot_asset(mart_assets(manifest_path()))
