"""Learning: the one pipeline from raw features to probabilities, and the threads that it may use."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.frames import ObservationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from models.declaration import ModelDeclaration

FEW_ROWS = 10_000
"""Up to here one thread fitted boosted trees as fast as four idle ones did (40 columns), and predicted within 6 ms."""


@dataclass(frozen=True)
class TextColumns:
    """Selects the text columns of a model input.

    An object rather than a function, for a repr that is the same in every process: the fingerprint is made of it.
    """

    def __call__(self, frame: pd.DataFrame) -> list[str]:
        """Return the names of the text columns."""
        return list(frame.select_dtypes(exclude="number").columns)


@dataclass(frozen=True)
class FilledNumbers:
    """Selects the numeric columns with enough values to learn from.

    HistGradientBoosting of scikit-learn 1.9 fails on a column without a value, also when only the 200,000 rows that
    it draws to find its bins have none. A column with one value in `rows_per_value` rows is all but certain to have
    one there.
    """

    rows_per_value: int = 10_000

    def __call__(self, frame: pd.DataFrame) -> list[str]:
        """Return the names of the numeric columns that are filled and not constant."""
        numbers = frame.select_dtypes("number")
        enough = max(2, math.ceil(len(frame) / self.rows_per_value))
        kept = (numbers.count() >= enough) & (numbers.nunique(dropna=False) > 1)
        return [str(name) for name in numbers.columns[kept]]


def build_pipeline(declaration: ModelDeclaration) -> Pipeline:
    """Build the unfitted pipeline of a model, which takes what `models.frames.model_input` returns.

    Text becomes indicator columns, rare and unknown categories sharing one. Numbers pass through with their missing
    values, except columns without enough values in the rows that the pipeline is fitted on. Every ``random_state``
    is the seed of the declaration.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = ColumnTransformer(
        [
            (
                "text",
                OneHotEncoder(
                    handle_unknown="infrequent_if_exist", min_frequency=20, max_categories=30, sparse_output=False
                ),
                TextColumns(),
            ),
            ("numbers", "passthrough", FilledNumbers()),
        ],
        verbose_feature_names_out=False,
    )
    pipeline = Pipeline([("columns", columns), ("estimator", declaration.estimator())])
    seeds = {name: declaration.seed for name in pipeline.get_params() if name.split("__")[-1] == "random_state"}
    return pipeline.set_params(**seeds)


def fit(declaration: ModelDeclaration, features: pd.DataFrame, label: pd.Series, sample_weight: np.ndarray) -> Pipeline:
    """Fit the pipeline of a model on a model input.

    Raises
    ------
    ObservationError
        If no feature tells the rows apart.
    """
    if not (FilledNumbers()(features) or TextColumns()(features)):
        raise ObservationError(
            f"model {declaration.name!r}: all {features.shape[1]} features are constant or empty in the "
            f"{len(features)} rows to "
            "learn from; look at the feature view and its sources"
        )
    pipeline = build_pipeline(declaration)
    with threads(1 if len(features) <= FEW_ROWS else free_cores()):
        return pipeline.fit(features, label, estimator__sample_weight=sample_weight)


def predict(pipeline: Pipeline, features: pd.DataFrame, outcomes: tuple[str, ...]) -> np.ndarray:
    """Predict the probability of each outcome.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    features : DataFrame of shape (n_rows, n_features)
        A model input.
    outcomes : tuple of str
        One name for a binary model, whose classes are 0 and 1; the class names otherwise.

    Returns
    -------
    ndarray of shape (n_rows, n_outcomes)
        An outcome that did not occur in training has probability 0.
    """
    import numpy as np

    probabilities = np.zeros((len(features), len(outcomes)))
    if features.empty:
        return probabilities
    with threads(1 if len(features) <= FEW_ROWS else _cores()):
        predicted = pipeline.predict_proba(features)
    classes: list[int | str] = [1] if len(outcomes) == 1 else list(outcomes)
    for position, name in enumerate(pipeline.classes_):
        if name in classes:
            probabilities[:, classes.index(name)] = predicted[:, position]
    return probabilities


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Bound the native threads of the libraries; what is learnt does not depend on their number."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(count):
        yield


def free_cores() -> int:
    """Return how many of the cores that this process may use nobody is using now, measured over a fifth of a second.

    OpenMP threads wait for each other at barriers. With more threads than free cores that costs many times more than
    the work itself.
    """
    import psutil

    cores = _cores()
    busy = psutil.cpu_percent(interval=0.2) / 100 * (psutil.cpu_count() or cores)
    return max(1, min(cores, round((psutil.cpu_count() or cores) - busy)))


def _cores() -> int:
    import joblib

    return int(joblib.cpu_count())
