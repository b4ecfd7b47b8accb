"""What the two models of leaving customers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.declared.customer_features import CUSTOMER_FEATURES
from models.declaring.declaration import ModelDeclaration, RequiredFacts
from models.declaring.policies import COST_GATES, DriftPolicy
from models.tasks.binary import Binary
from models.tasks.costs import ErrorCosts

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def trees() -> BaseEstimator:
    """Return small, strongly regularised boosted trees.

    All parameters of this module were chosen by forward-chaining cross-validation inside the training sides of two
    sources: purchases of CDNOW (2,357 customers, 18 months) and a simulated company without contracts (2,552 customers,
    10,000 leads, seed 22). The rows were ordered by ``as_of``; the last three fifths were predicted in three parts,
    each from rows whose label had matured before it began. 36 combinations of learning rate (.03, .06, .1), trees (50,
    100), leaves (4, 7, 15) and leaf size (100, 200) were compared on the first source, and twelve, some of them with
    200 trees, on the second. These trees lie within .5 % of the lowest log-loss over 30 and 60 days on both (.3442 and
    .4450, .5065 and .3685), and take the least time. More and larger trees lost up to 4 % on CDNOW. The AUC of the
    held-out rows was known for other parameters when these were chosen.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=50,
        max_leaf_nodes=4,
        min_samples_leaf=100,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
    )


def logistic() -> BaseEstimator:
    """Return a logistic regression on scaled columns; missing values are filled and marked.

    Of six strengths from .0003 to 1, this one lay within .3 % of the lowest log-loss on both sources. Weaker
    regularisation lost 8 % over 60 days on CDNOW at .01, and more beyond.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from models.pickled.estimators import WeightedPipeline

    return WeightedPipeline(
        [
            ("fill", SimpleImputer(strategy="median", add_indicator=True)),
            ("scale", StandardScaler()),
            ("logistic", LogisticRegression(C=0.001, max_iter=1000)),
        ]
    )


def forest() -> BaseEstimator:
    """Return a random forest with leaves that are large enough for probabilities.

    Twice as many trees gained .1 % and took twice the time; smaller and larger leaves, and three tenths of the features
    per split, gained nothing.
    """
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=50, min_samples_leaf=50, max_features="sqrt")


def _required(fact: str, words: str, remedy: str, *, if_ends: bool) -> RequiredFacts:
    """Return that a source must have a fact that tells who leaves, up to its clock."""
    return RequiredFacts(
        condition=f"fact = '{fact}'",
        absent=f"No {words} is known, so nothing tells who leaves. {remedy}",
        ended=(
            f"The last {words} is known from {{last}}, long before the clock ({{clock}}): the feed may have ended, and "
            "then nothing tells who leaves. Export it up to the clock, or set the clock to its end (AS_OF=…)."
        ),
        if_ends=if_ends,
    )


def churn(days: int) -> ModelDeclaration:
    """Return the declaration of the model that tells who leaves within so many days.

    A false alarm costs an offer that was not needed, a missed customer what it would have gone on to buy: one to three.
    A company whose offers are cheaper, or whose customers are worth more, declares other costs.
    """
    name = f"churn_{days}d"
    return ModelDeclaration(
        name=name,
        description=(
            "Probability that an active customer leaves within the horizon: with contracts it closes, without it buys "
            "nothing."
        ),
        owner="team:sales-analytics",
        feature_view=CUSTOMER_FEATURES,
        scope="is_active = 1",
        drift=DriftPolicy(shown_only=CUSTOMER_FEATURES.drifting),
        label=name,
        label_column=f"churned_{days}d",
        horizon_days=days,
        task=Binary((f"churned_{days}d",), costs=ErrorCosts(false_positive=1, false_negative=3)),
        estimator=trees,
        estimators={"LogisticRegression": logistic, "RandomForestClassifier": forest},
        primary_metric="auc",
        gates={"auc": 0.7, "pr_auc": 0.5, "ece_10": 0.05, "f1": 0.5, **COST_GATES},
        requires=(
            _required("purchase", "purchase", "Map transactions, or closed_at of customers.", if_ends=False),
            _required("customer_closed", "end of a customer", "Map closed_at with its ends.", if_ends=True),
        ),
        grades={"A": 0.9, "B": 0.7, "C": 0.4, "D": 0.0},
    )
