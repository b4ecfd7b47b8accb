"""Explanation: which features moved a prediction, in words that a sales rep can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.learning.fitting import predict, predict_changed
from models.learning.frames import model_input
from models.tasks.task import Task
from models.versions.candidate import Candidate

if TYPE_CHECKING:
    import pandas as pd


def reasons(candidate: Candidate, frame: pd.DataFrame, outcome: str, top: int = 3) -> pd.Series:
    """Name the features that move the prediction of an outcome most.

    Each feature in turn is replaced by its typical value (in training: the median, missing where most values are,
    or the most frequent category), and the effect is the prediction less the prediction after this change [1]_.
    Features that say the same, such as counts in nested windows, share the effect in no particular way, and an effect
    is a property of the model, not of the world.

    Parameters
    ----------
    candidate : Candidate
    frame : DataFrame
        As for scoring.
    outcome : str
        One of the candidate's outcomes.
    top : int
        At most so many reasons per row.

    Returns
    -------
    Series of list of str
        With the index of `frame`; the strongest first, equal effects by name, such as ``"calls_count_7d = 0 lowers
        it by 0.12"``. A feature that holds its typical value gives no reason.

    References
    ----------
    .. [1] M. Robnik-Šikonja and I. Kononenko, "Explaining classifications for individual instances", IEEE
       Transactions on Knowledge and Data Engineering 20(5), 2008.
    """
    import numpy as np
    import pandas as pd

    if outcome not in candidate.outcomes:
        raise ValueError(
            f"{candidate.model} {candidate.version}: expected one of the outcomes {candidate.outcomes}, "
            f"found {outcome!r}"
        )
    if frame.empty:
        return pd.Series([], index=frame.index, dtype=object, name="reasons")
    task = candidate.task
    position = task.outcomes.index(outcome)
    smallest = task.smallest_effect(candidate.manifest["baseline"], outcome)
    features = model_input(frame, candidate.features).reset_index(drop=True)
    names = sorted(candidate.features)
    predicted = predict(candidate.pipeline, features, task)[:, position]
    effects = np.zeros((len(features), len(names)))
    typical = {name: np.nan if value is None else value for name, value in candidate.manifest["typical"].items()}
    changed: list[tuple[int, np.ndarray]] = []
    for column, name in enumerate(names):
        differs = (features[name] != typical[name]) & ~(features[name].isna() & pd.isna(typical[name]))
        if differs.any():
            changed.append((column, np.flatnonzero(differs)))
    predictions = predict_changed(
        candidate.pipeline,
        features,
        features.head(1).assign(**{name: typical[name] for name in names}),
        ((names[column], rows, np.zeros(len(rows), dtype=int)) for column, rows in changed),
        task,
    )
    for (column, rows), changed_prediction in zip(changed, predictions, strict=True):
        effects[rows, column] = predicted[rows] - changed_prediction[:, position]
    columns = [features[name].to_numpy() for name in names]
    # names are sorted and the sort is stable, so equal effects come by name; rounding keeps noise from deciding
    order = np.argsort(-np.abs(effects).round(9), axis=1, kind="stable")[:, :top]
    found = [
        [
            _sentence(task, names[k], columns[k][row], effects[row, k])
            for k in strongest
            if abs(effects[row, k]) >= smallest
        ]
        for row, strongest in enumerate(order)
    ]
    return pd.Series(found, index=frame.index, dtype=object, name="reasons")


def _sentence(task: Task, name: str, value: float | str, effect: float) -> str:
    if isinstance(value, str):
        text = value
    elif value != value:
        text = "missing"
    else:
        text = f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"
    return f"{name} = {text} {'raises' if effect > 0 else 'lowers'} it by {task.amount(abs(effect))}"
