"""The Dagster definitions of a declared model and of a feature view: assets, checks and the retraining job."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.features.feature_history import by_day_spec
from assets.features.proof import point_in_time_check
from assets.learning.candidates import candidate_asset
from assets.learning.champions import champion_asset
from assets.learning.training_sets import training_set_asset
from assets.monitoring.drift import drift_asset
from assets.monitoring.feature_quality import feature_quality_asset
from assets.monitoring.retrain_decisions import retrain_decision_asset
from assets.platform.beta import without_beta_warnings
from assets.publishing.scores import scores_asset
from models.declaring.declaration import ModelDeclaration
from models.declaring.feature_view import FeatureView
from orchestration.jobs import RETRAIN_JOBS


def model_definitions(declaration: ModelDeclaration) -> dg.Definitions:
    """Return the assets of a model, from its training set to the decision to train it anew, with checks and job."""
    return dg.Definitions(
        assets=with_code(
            training_set_asset(declaration),
            candidate_asset(declaration),
            champion_asset(declaration),
            scores_asset(declaration),
            drift_asset(declaration),
            retrain_decision_asset(declaration),
        ),
        jobs=[RETRAIN_JOBS[declaration.name]],
    )


def view_definitions(view: FeatureView) -> dg.Definitions:
    """Return the definitions of a feature view other than its dbt model: proof, quality and, if it has them, days."""
    return dg.Definitions(
        assets=with_code(feature_quality_asset(view), *([by_day_spec(view)] if view.by_day else [])),
        asset_checks=[point_in_time_check(view)],
    )


def with_code(*assets: Any) -> list[Any]:
    """Return assets with references to the code that makes them."""
    # references to code are beta
    with without_beta_warnings():
        return list(dg.with_source_code_references(assets))
