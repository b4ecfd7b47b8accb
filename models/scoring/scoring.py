"""Scoring: the predictions of a version, with reasons, in the long form in which they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF
from models.grades import grades_of
from models.learning.fitting import predict
from models.learning.frames import check_observations, model_input
from models.learning.ranges import outside
from models.scoring.explanation import reasons
from models.versions.candidate import Candidate

if TYPE_CHECKING:
    import pandas as pd


def score(
    candidate: Candidate, frame: pd.DataFrame, entity: str, bounds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Score observations.

    Parameters
    ----------
    candidate : Candidate
    frame : DataFrame of shape (n_rows, n_columns)
        Rows of the feature view that the candidate was trained on; columns that it did not learn from are ignored.
    entity : str
        The name of the entity that the rows are about.
    bounds : mapping of str to float, optional
        The lowest prediction of each grade, from the best grade to the worst.

    Returns
    -------
    DataFrame of shape (n_rows * n_outcomes, 13)
        model, version, entity, entity_id, as_of, target (the outcome), value (its probability, or the number that is
        predicted), lower and upper (an interval that held nine of ten held-out rows; null for probabilities), score
        (1 to 99: a probability in per cent) and grade, which are null for other tasks, chosen (whether the declared
        costs of errors choose this target; null without costs), and outside_training (the features of which training
        has seen no such value, or null). In the order of `frame`, the outcomes of a row together.

    Raises
    ------
    ObservationError
        If a feature is missing or of another kind than in training, or the rows are not observations in UTC.
    """
    import numpy as np
    import pandas as pd

    check_observations(frame, candidate.key)
    task, outcomes = candidate.task, candidate.outcomes
    features = model_input(frame, candidate.features)
    predicted = predict(candidate.pipeline, features, task)
    n = len(outcomes)
    if predicted.shape != (len(frame), n) or not np.isfinite(predicted).all():
        raise ValueError(
            f"{candidate.model} {candidate.version}: expected {len(frame)} x {n} {task.quantity}, found "
            f"{int(np.isfinite(predicted).sum())}; this version is not fit for use: roll back to an earlier one"
        )
    value = predicted.reshape(-1)
    lower, upper = task.interval(value, candidate.manifest.get("interval"))
    chosen = task.chosen(predicted, candidate.manifest.get("choice"))
    # versions of an earlier recipe have no ranges
    remarks = outside(features, candidate.manifest.get("ranges", {}))
    return pd.DataFrame(
        {
            "model": pd.Series([candidate.model] * len(value), dtype=object),
            "version": pd.Series([candidate.version] * len(value), dtype=object),
            "entity": pd.Series([entity] * len(value), dtype=object),
            "entity_id": frame[candidate.key].repeat(n).reset_index(drop=True),
            AS_OF: frame[AS_OF].repeat(n).reset_index(drop=True),
            "target": pd.Series(list(outcomes) * len(frame), dtype=object),
            "value": value,
            "lower": lower,
            "upper": upper,
            "score": pd.array(task.score(value), dtype="Int64"),
            "grade": pd.Series(grades_of(value, bounds or {}), dtype=object),
            "chosen": pd.array([None] * len(value) if chosen is None else chosen.reshape(-1), dtype="boolean"),
            "outside_training": pd.Series(remarks, dtype=object).repeat(n).reset_index(drop=True),
        }
    )


def explained(
    champion: Candidate, rows: pd.DataFrame, entity: str, bounds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Score entities, grade them by `bounds`, and give reasons for one prediction of each.

    The reasons are given for the target that costs of errors choose, else for the target of the highest value.

    Returns
    -------
    DataFrame
        The result of `score` with a further column ``reasons``: text, or None for the other targets.
    """
    predictions = score(champion, rows, entity, bounds).assign(reasons=None)
    if rows.empty:
        return predictions
    # equal predictions are ordered by name, as in the marts
    is_chosen = predictions["chosen"].fillna(False)
    ranked = predictions.assign(chosen=is_chosen).sort_values(
        ["chosen", "value", "target"], ascending=[False, False, True], kind="stable"
    )
    keyed = rows.set_index(champion.key, drop=False)
    for target, of_target in ranked.drop_duplicates("entity_id").groupby("target"):
        named = reasons(champion, keyed.loc[of_target["entity_id"]], str(target))
        predictions.loc[of_target.index, "reasons"] = ["; ".join(each) or None for each in named]
    return predictions
