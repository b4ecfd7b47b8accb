"""The scikit-learn pipeline of a declaration: columns, categories, missing values, and the declared estimator."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.declaring.entity import DeclarationError
from models.pickled.columns import FilledNumbers, TextColumns

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

FREQUENT_ROWS = 20
"""Values of a text with fewer rows share a category."""


def build_pipeline(declaration: ModelDeclaration) -> Pipeline:
    """Build the unfitted pipeline of a model, which takes what `models.learning.frames.model_input` returns.

    Text becomes categories where the estimator splits on them (`fit` tells it which columns they are), and indicator
    columns elsewhere; rare categories share one. Numbers are clipped at bounds learned from the rows that the pipeline
    is fitted on and keep their missing values; columns without enough values there are left out. Every
    ``random_state`` is the seed of the declaration.
    """
    from sklearn.pipeline import Pipeline

    from models.pickled.estimators import QuantileClipper, learner

    estimator = declaration.estimator()
    inner = learner(estimator)
    columns = _columns(
        _categories() if splits_on_categories(inner) else _indicators(),
        QuantileClipper(levels=inner.get_params(deep=False).get("max_bins")),
    )
    return _seeded(Pipeline([("columns", columns), ("estimator", estimator)]), declaration.seed)


def build_linear_pipeline(declaration: ModelDeclaration) -> Pipeline:
    """Build the unfitted linear model with which every model is compared.

    Text becomes indicator columns; numbers are clipped, filled with their median (an indicator column says where), and
    scaled.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler

    from models.pickled.estimators import QuantileClipper

    numbers = make_pipeline(QuantileClipper(), SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    steps = [("columns", _columns(_indicators(), numbers)), ("estimator", declaration.task.linear())]
    return _seeded(Pipeline(steps), declaration.seed)


def _columns(text: BaseEstimator, numbers: BaseEstimator) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer

    return ColumnTransformer(
        [("text", text, TextColumns()), ("numbers", numbers, FilledNumbers())], verbose_feature_names_out=False
    )


def _indicators() -> OneHotEncoder:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=FREQUENT_ROWS, max_categories=30, sparse_output=False
    )


def _categories() -> OrdinalEncoder:
    from sklearn.preprocessing import OrdinalEncoder

    # an unknown category counts as missing: trees learn on which side of a split missing values belong
    return OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=float("nan"),
        min_frequency=FREQUENT_ROWS,
        max_categories=30,
    )


def splits_on_categories(estimator: BaseEstimator) -> bool:
    """Return whether an estimator takes categories as they are."""
    return "categorical_features" in estimator.get_params(deep=False)


def _seeded(pipeline: Pipeline, seed: int) -> Pipeline:
    seeds = {name: seed for name in pipeline.get_params() if name.split("__")[-1] == "random_state"}
    return pipeline.set_params(**seeds)


def fingerprint(declaration: ModelDeclaration) -> str:
    """Hash everything in a declaration that changes what is learnt or stored with it.

    Returns
    -------
    str
        64 hexadecimal digits. Equal in every process; descriptions, owners, gates and promotion tolerances do
        not enter.

    Raises
    ------
    DeclarationError
        If a parameter of the estimator has no stable representation (a lambda, for example).
    """
    parameters = _parameters(declaration)
    further = {name: _parameters(replace(declaration, estimator=each)) for name, each in declaration.estimators.items()}
    unstable = sorted(
        {name for each in (parameters, *further.values()) for name, value in each.items() if " at 0x" in value}
    )
    if unstable:
        raise DeclarationError(
            f"model {declaration.name!r}: the estimator's parameters {unstable} are represented by their "
            "memory address, so equal models "
            "would get different versions; use named values or objects with a stable repr"
        )
    weight = declaration.row_weight
    learnt = {
        "name": declaration.name,
        "key": declaration.feature_view.key,
        "not_features": sorted(declaration.not_features),
        "label": [
            declaration.label,
            declaration.label_column,
            declaration.horizon_days,
            declaration.task.name,
            list(declaration.outcomes),
        ],
        "weights": [declaration.success_weight, weight and [weight.column, weight.at_least]],
        "test_share": declaration.test_share,
        "segments": list(declaration.feature_view.segments),
        "bands": {name: list(bounds) for name, bounds in declaration.feature_view.bands.items()},
        "ranges": list(declaration.feature_view.ranges),
        "primary_metric": declaration.primary_metric,
        "grades": dict(declaration.grades),
        "seed": declaration.seed,
        "pipeline": parameters,
        # younger fields enter only if they are declared, so that older declarations keep their fingerprints
        **({"estimators": further} if further else {}),
        **(
            {"further_segments": list(declaration.feature_view.further_segments)}
            if declaration.feature_view.further_segments
            else {}
        ),
        **({"costs": declaration.task.costs.matrix(declaration.outcomes).tolist()} if declaration.task.costs else {}),
        **({"scope": declaration.scope} if declaration.scope else {}),
        **({"lasting": True} if declaration.feature_view.entity.lasting else {}),
        **({"rule": declaration.rule} if declaration.rule else {}),
    }
    return hashlib.sha256(json.dumps(learnt, sort_keys=True).encode()).hexdigest()


def _parameters(declaration: ModelDeclaration) -> dict[str, str]:
    return {name: repr(value) for name, value in build_pipeline(declaration).get_params().items()}
