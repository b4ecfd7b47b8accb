"""Scoring: the probabilities of a version for observations, in the long form in which they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.declaration import AS_OF
from models.frames import check_observations, model_input
from models.learning import predict

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.candidate import Candidate


def score(candidate: Candidate, frame: pd.DataFrame) -> pd.DataFrame:
    """Score observations.

    Parameters
    ----------
    candidate : Candidate
    frame : DataFrame of shape (n_rows, n_columns)
        Rows of the feature view that the candidate was trained on; columns that it did not learn from are ignored.

    Returns
    -------
    DataFrame of shape (n_rows * n_outcomes, 8)
        model, version, the key, as_of, outcome, probability, and for a binary model score (1 to 99: the probability
        in per cent) and grade, which are null otherwise. In the order of `frame`, the outcomes of a row together.

    Raises
    ------
    ObservationError
        If a feature is missing or of another kind than in training, or the rows are not observations in UTC.
    """
    import numpy as np
    import pandas as pd

    check_observations(frame, candidate.key)
    outcomes = candidate.outcomes
    probabilities = predict(candidate.pipeline, model_input(frame, candidate.features), outcomes)
    n = len(outcomes)
    if probabilities.shape != (len(frame), n) or not np.isfinite(probabilities).all():
        raise ValueError(
            f"{candidate.model} {candidate.version}: expected {len(frame)} x {n} probabilities, found "
            f"{int(np.isfinite(probabilities).sum())}; this version is not fit for use: roll back to an earlier one"
        )
    probability = probabilities.reshape(-1)
    scored = pd.DataFrame(
        {
            "model": pd.Series([candidate.model] * len(probability), dtype=object),
            "version": pd.Series([candidate.version] * len(probability), dtype=object),
            candidate.key: frame[candidate.key].repeat(n).reset_index(drop=True),
            AS_OF: frame[AS_OF].repeat(n).reset_index(drop=True),
            "outcome": pd.Series(list(outcomes) * len(frame), dtype=object),
            "probability": probability,
        }
    )
    bounds: dict[str, float] = candidate.manifest["grades"]
    if candidate.manifest["task"] == "binary":
        scored["score"] = pd.array(np.clip(np.rint(100 * probability), 1, 99), dtype="Int64")
    else:
        scored["score"] = pd.array([pd.NA] * len(scored), dtype="Int64")
    scored["grade"] = pd.Series(grades(probability, bounds), dtype=object)
    return scored


def grades(probability: np.ndarray, bounds: dict[str, float]) -> list[str | None]:
    """Return for each probability the best grade whose bound it reaches, or None where no grades are declared."""
    import numpy as np

    if not bounds:
        return [None] * len(probability)
    names = list(bounds)
    reached = np.asarray(probability)[:, None] >= np.asarray(list(bounds.values()))[None, :]
    return [names[k] for k in reached.argmax(axis=1)]
