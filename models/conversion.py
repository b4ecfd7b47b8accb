"""The declaration of the conversion model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.declaration import (
    COST_GATES,
    LEAD_FEATURES,
    OWN_HISTORY,
    SEASONAL,
    SILENCE,
    ModelDeclaration,
    RequiredFacts,
)
from models.drift import DriftPolicy

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def estimator() -> BaseEstimator:
    """Return small, strongly regularised boosted trees.

    Chosen by forward-chaining cross-validation over the training leads of the real funnel (BPI Challenge 2012, 30
    days): leads ordered by creation, three folds, each of a fifth of the leads, predicted from the leads before it;
    the lowest log-loss of 50 combinations of learning rate, trees, leaves, leaf size and share of features per
    split, and the fewer trees of two that were equal to four digits. Its two months of training leads are too few
    to leave 30 days between the sides of a fold, so the folds keep leads apart and not horizons. Larger trees
    gained nothing and lost calibration.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=100,
        max_leaf_nodes=7,
        min_samples_leaf=100,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
    )


CONVERSION = ModelDeclaration(
    name="conversion",
    description="Probability that a project of the lead is won within the horizon.",
    owner="team:sales-analytics",
    feature_view=LEAD_FEATURES,
    drift=DriftPolicy(shown_only=(*SEASONAL, *OWN_HISTORY)),
    label="conversion",
    label_column="converted",
    horizon_days=90,
    task="binary",
    outcomes=("converted",),
    estimator=estimator,
    row_weight=SILENCE,
    primary_metric="auc",
    gates={"auc": 0.7, "ece_10": 0.05, **COST_GATES},
    requires=(
        RequiredFacts(
            condition="fact = 'project_closed' and outcome = 'won'",
            absent=(
                "No project was won in the whole source, so nothing tells what wins a lead. Where there were wins, map "
                "projects and the status that means won."
            ),
        ),
    ),
    grades={"A": 0.9, "B": 0.7, "C": 0.4, "D": 0.0},
)
