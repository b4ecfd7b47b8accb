"""The keys of the assets."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from models.declaring.declaration import ModelDeclaration
from models.declaring.feature_view import FeatureView

SOURCE_HEALTH = dg.AssetKey(["source_health", "crm"])
CATALOGUE = dg.AssetKey(["features", "catalogue"])
SNAPSHOT = dg.AssetKey(["published", "snapshot"])
CLOCK = dg.AssetKey(["features", "feature_clock"])
"""The clock of the feature store, which every build materializes."""
DBT_DOCS = dg.AssetKey(["reports", "dbt_docs"])


def _in_layer(layer: str) -> Callable[[str], dg.AssetKey]:
    """Return the function from a name to its key in a layer."""
    return lambda name: dg.AssetKey([layer, name])


# by name of a table
crm = _in_layer("crm")
staging = _in_layer("staging")
mart = _in_layer("marts")

# by name of a model
training_set = _in_layer("training_set")
candidate = _in_layer("candidate")
champion = _in_layer("champion")
scores = _in_layer("scores")
drift = _in_layer("drift")
retrain_decision = _in_layer("retrain_decision")


def features(view: FeatureView) -> dg.AssetKey:
    """Return the key of a feature view."""
    return dg.AssetKey([view.schema, view.name])


def by_day(view: FeatureView) -> dg.AssetKey:
    """Return the key of the days of a feature view."""
    return dg.AssetKey([view.schema, f"{view.name}_by_day"])


def label(declaration: ModelDeclaration) -> dg.AssetKey:
    """Return the key of the label of a model."""
    return dg.AssetKey(["labels", declaration.label])


def feature_quality(view: FeatureView) -> dg.AssetKey:
    """Return the key of the quality of a feature view."""
    return dg.AssetKey(["feature_quality", view.name])
