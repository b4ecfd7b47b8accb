"""Scoring: the probabilities of a version, with reasons, in the long form in which they are kept."""

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


def score(candidate: Candidate, frame: pd.DataFrame, bounds: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Score observations.

    Parameters
    ----------
    candidate : Candidate
    frame : DataFrame of shape (n_rows, n_columns)
        Rows of the feature view that the candidate was trained on; columns that it did not learn from are ignored.
    bounds : mapping of str to float, optional
        The lowest probability of each grade, from the best grade to the worst.

    Returns
    -------
    DataFrame of shape (n_rows * n_outcomes, 9)
        model, version, the key, as_of, outcome, probability, for a binary model score (1 to 99: the probability in per
        cent) and grade, which are null otherwise, and outside_training: in what a row lies where training has seen
        (almost) nothing, or null. In the order of `frame`, the outcomes of a row together.

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
    probability = predicted.reshape(-1)
    # versions of an earlier recipe do not say what they learnt from
    beyond = outside(features, candidate.manifest.get("ranges", {}))
    return pd.DataFrame(
        {
            "model": pd.Series([candidate.model] * len(probability), dtype=object),
            "version": pd.Series([candidate.version] * len(probability), dtype=object),
            candidate.key: frame[candidate.key].repeat(n).reset_index(drop=True),
            AS_OF: frame[AS_OF].repeat(n).reset_index(drop=True),
            "outcome": pd.Series(list(outcomes) * len(frame), dtype=object),
            "probability": probability,
            "score": pd.array(task.score(probability), dtype="Int64"),
            "grade": pd.Series(grades_of(probability, bounds or {}), dtype=object),
            "outside_training": pd.Series(beyond, dtype=object).repeat(n).reset_index(drop=True),
        }
    )


def explained(champion: Candidate, open_leads: pd.DataFrame, bounds: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Score leads, grade them by `bounds` and give reasons for each lead's most probable outcome.

    Returns
    -------
    DataFrame
        That of `score`, with a column ``reasons``: text, or None for the outcomes that were not chosen.
    """
    predictions = score(champion, open_leads, bounds).assign(reasons=None)
    if open_leads.empty:
        return predictions
    # of equally probable outcomes the first by name, as in marts.lead_scores
    ranked = predictions.sort_values(["probability", "outcome"], ascending=[False, True], kind="stable")
    keyed = open_leads.set_index(champion.key, drop=False)
    for outcome, rows in ranked.drop_duplicates(champion.key).groupby("outcome"):
        named = reasons(champion, keyed.loc[rows[champion.key]], str(outcome))
        predictions.loc[rows.index, "reasons"] = ["; ".join(each) or None for each in named]
    return predictions
