"""Learning: the one pipeline from raw features to predictions, and the threads that it may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from models.declaring.declaration import ModelDeclaration
from models.learning.pipelines import build_pipeline, splits_on_categories
from models.pickled.columns import FilledNumbers, TextColumns
from models.tasks.task import Task
from models.untrainable import UntrainableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

Piece = TypeVar("Piece")

Result = TypeVar("Result")

FEW_ROWS = 10_000
"""Up to so many rows one thread fits boosted trees as fast as four idle ones (40 columns) and predicts within 6 ms."""

ROWS_WORTH_A_PROCESS = 5_000
"""Up to so many rows, a fit takes less time than the start of a process."""

ROWS_AT_A_TIME = 50_000
"""Rows of small frames that are collected for one prediction; with a hundred features they take some 40 MB."""


def fit(
    declaration: ModelDeclaration,
    features: pd.DataFrame,
    label: pd.Series,
    sample_weight: np.ndarray,
    *,
    cores: int | None = None,
) -> Pipeline:
    """Fit the pipeline of a model on a model input.

    Parameters
    ----------
    declaration : ModelDeclaration
    features : DataFrame of shape (n_rows, n_features)
    label : Series of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,)
    cores : int, optional
        By default all free ones, or one for few rows.

    Raises
    ------
    UntrainableError
        If no feature tells the rows apart.
    """
    from models.pickled.estimators import learner

    categories = TextColumns()(features)
    if not (FilledNumbers()(features) or categories):
        raise UntrainableError(
            f"No feature tells rows apart: all {features.shape[1]} are constant or empty in the {len(features)} rows "
            "to learn from. Look at the feature view and its sources.",
            horizon_matters=False,
        )
    pipeline = build_pipeline(declaration)
    inner = learner(pipeline.named_steps["estimator"])
    if splits_on_categories(inner):
        # the categories are the first columns
        inner.set_params(categorical_features=list(range(len(categories))))
    with threads(cores or (1 if len(features) <= FEW_ROWS else free_cores())):
        return pipeline.fit(features, label, estimator__sample_weight=sample_weight)


def predict(
    pipeline: Pipeline, features: pd.DataFrame | np.ndarray, task: Task, *, cores: int | None = None
) -> np.ndarray:
    """Predict each outcome.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    features : DataFrame or ndarray of shape (n_rows, n_features)
        A model input; or, for the last step alone, what the steps before it give.
    task : Task
    cores : int, optional
        By default all, or one for few rows.

    Returns
    -------
    ndarray of shape (n_rows, n_outcomes)
    """
    import numpy as np

    if not len(features):
        return np.zeros((0, len(task.outcomes)))
    with threads(cores or (1 if len(features) <= FEW_ROWS else _cores())):
        return task.predict(pipeline, features)


def predict_changed(
    pipeline: Pipeline,
    features: pd.DataFrame,
    others: pd.DataFrame,
    changes: Iterable[tuple[str, np.ndarray, np.ndarray]],
    task: Task,
) -> Iterator[np.ndarray]:
    """Predict rows in which one feature has the value of another row, for one change after the other.

    Where the pipeline prepares each column by itself, as for trees, the rows are prepared once for all changes.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    features, others : DataFrame
        Model inputs: the rows, and those whose values they get.
    changes : iterable of (str, ndarray of int, ndarray of int)
        The feature, positions of rows in `features`, and the position in `others` for each of them.
    task : Task
    """
    columns, estimator = pipeline[:-1], pipeline[-1:]
    prepared_names = list(columns.get_feature_names_out())
    if not {*prepared_names} <= {*features.columns}:
        frames = (
            features.iloc[rows].assign(**{name: others[name].iloc[positions].to_numpy()})
            for name, rows, positions in changes
        )
        return predict_each(pipeline, frames, task)
    prepared, of_others = columns.transform(features), columns.transform(others)
    place = {name: number for number, name in enumerate(prepared_names)}

    def changed(name: str, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        found: np.ndarray = prepared[rows]
        # a column without enough values is left out
        if name in place:
            found[:, place[name]] = of_others[positions, place[name]]
        return found

    return predict_each(estimator, (changed(*each) for each in changes), task)


def predict_each(
    pipeline: Pipeline, inputs: Iterable[pd.DataFrame] | Iterable[np.ndarray], task: Task
) -> Iterator[np.ndarray]:
    """Predict many small inputs in a few large batches, and yield what `predict` would return for each of them.

    A prediction of few rows is mostly overhead, and uses one thread.
    """
    import numpy as np
    import pandas as pd

    batch: list[Any] = []

    def predicted_batch() -> list[np.ndarray]:
        ends = np.cumsum([len(each) for each in batch])[:-1]
        together = pd.concat(batch) if isinstance(batch[0], pd.DataFrame) else np.concatenate(batch)
        return np.split(predict(pipeline, together, task), ends)

    for each in inputs:
        batch.append(each)
        if sum(map(len, batch)) >= ROWS_AT_A_TIME:
            yield from predicted_batch()
            batch.clear()
    if batch:
        yield from predicted_batch()


def side_by_side(work: Callable[[Piece], Result], pieces: Iterable[Piece], *, rows: int) -> list[Result]:
    """Do pieces of work in parallel, each on one core: for fits that are too small to share cores.

    The pieces run in processes, because boosted trees hold Python's lock most of the time: five small fits took longer
    in four threads than one after another. A process takes two seconds to start and is kept for the next call.

    Parameters
    ----------
    work : callable
        Calls `fit` and `predict` with one core.
    pieces : iterable
    rows : int
        About how many rows a piece learns from: few rows are not worth a process.
    """
    import joblib

    workers = 1 if rows <= ROWS_WORTH_A_PROCESS else free_cores()
    return list(joblib.Parallel(n_jobs=workers)(joblib.delayed(work)(piece) for piece in pieces))


def threads(count: int) -> AbstractContextManager[object]:
    """Limit the native threads of the libraries; the result of a fit does not depend on their number."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(count)


def free_cores() -> int:
    """Return how many cores of this process are idle, measured over a fifth of a second; at least 1.

    OpenMP threads wait for each other at barriers. With more threads than free cores this waiting takes many times
    longer than the work itself.
    """
    import psutil

    cores = _cores()
    busy = psutil.cpu_percent(interval=0.2) / 100 * (psutil.cpu_count() or cores)
    return max(1, min(cores, round((psutil.cpu_count() or cores) - busy)))


def _cores() -> int:
    import joblib

    return int(joblib.cpu_count())
