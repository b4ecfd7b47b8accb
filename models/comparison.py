"""Comparison of a candidate with the champion on rows from which neither has learnt."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from models.candidate import PROBABILITY, TRUTH, Candidate
from models.declaration import AS_OF
from models.frames import model_input
from models.held_out import RESAMPLES
from models.learning import predict
from models.measures import resampled
from models.promotion import SharedRows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEED = 7
LEAST_ROWS = 500
"""Rows below which the comparison would be mostly chance."""


def on_shared_rows(candidate: Candidate, champion: Candidate, frame: pd.DataFrame) -> SharedRows | None:
    """Compare a candidate with the champion on the candidate's held-out rows that are later than the champion.

    On these rows the world is the same for both. What each has on record was measured on rows of its own time, and
    after a change of the world the new rows can be harder for any model.

    Parameters
    ----------
    candidate, champion : Candidate
        Over the same horizon.
    frame : DataFrame
        The candidate's training set.

    Returns
    -------
    SharedRows or None
        None where there are fewer than `LEAST_ROWS` rows, or the champion knows a feature or outcome that the rows
        do not have.
    """
    import pandas as pd

    held_out = candidate.held_out()
    last_learnt = pd.Timestamp(datetime.fromisoformat(champion.manifest["last_as_of"]))
    later = held_out[held_out[AS_OF] > last_learnt]
    if (
        len(later) < LEAST_ROWS
        or candidate.outcomes != champion.outcomes
        or not set(champion.features) <= set(frame.columns)
    ):
        return None
    rows = later.merge(frame, on=[candidate.key, AS_OF], how="left", validate="one_to_one", suffixes=("", "_"))
    probabilities = {
        "candidate": rows[[PROBABILITY + name for name in candidate.outcomes]].to_numpy(dtype="float64"),
        "champion": predict(champion.pipeline, model_input(rows, champion.features), champion.outcomes),
    }
    baseline = probabilities["candidate"] * 0 + candidate.manifest["baseline"]
    truth = rows[TRUTH].to_numpy(dtype=object)
    losses = {name: _losses(truth, each, candidate.outcomes) for name, each in probabilities.items()}
    trivial = float(_losses(truth, baseline, candidate.outcomes).mean())
    lost = (losses["candidate"] - losses["champion"]) / trivial
    return SharedRows(
        rows=len(rows),
        candidate_log_loss=float(losses["candidate"].mean()),
        champion_log_loss=float(losses["champion"].mean()),
        baseline_log_loss=trivial,
        lost_at_least=_at_least(lost, pd.factorize(rows[candidate.key])[0]),
    )


def _losses(truth: np.ndarray, probability: np.ndarray, outcomes: tuple[str, ...]) -> np.ndarray:
    import numpy as np

    if len(outcomes) == 1:
        of_truth = np.where(truth == "1", probability[:, 0], 1 - probability[:, 0])
    else:
        position = {name: column for column, name in enumerate(outcomes)}
        of_truth = probability[np.arange(len(truth)), [position[name] for name in truth]]
    losses: np.ndarray = -np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1))
    return losses


def _at_least(values: np.ndarray, entities: np.ndarray) -> float:
    """Return the lower end of the interval of a mean over rows, whose entities are drawn again and again."""
    import numpy as np

    weights = resampled(int(entities.max()) + 1, RESAMPLES, SEED)
    totals, counts = np.bincount(entities, weights=values), np.bincount(entities)
    means = (weights @ totals) / (weights @ counts)
    return float(np.quantile(means, 0.025))
