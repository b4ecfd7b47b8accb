"""Comparison of a candidate with the champion on rows from which neither has learnt."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from models.decisions.promotion import SharedRows
from models.declaring.columns import AS_OF
from models.evaluation.held_out import RESAMPLES
from models.learning.fitting import predict
from models.learning.frames import model_input
from models.tasks.measures import means, resampled
from models.tasks.task import Predictions
from models.versions.candidate import TRUTH, Candidate

if TYPE_CHECKING:
    import pandas as pd

SEED = 7

LEAST_ROWS = 500
"""With fewer rows the comparison would be mostly chance."""


def on_shared_rows(
    candidate: Candidate, champion: Candidate, frame: pd.DataFrame, *, lasting: bool = False
) -> SharedRows | None:
    """Compare a candidate with the champion on held-out rows of the candidate whose entities the champion never saw.

    Later rows of an entity that the champion has learnt from are left out, because their outcome is mostly the learnt
    one. Where entities last, they stay if they lie after the training of the champion: their outcomes are others. The
    shared rows are of one world for both, while the stored figures of each are of rows of its own time: after a change
    of the world, newer rows can be harder for any model.

    Parameters
    ----------
    candidate, champion : Candidate
        Over the same horizon.
    frame : DataFrame
        The candidate's training set.
    lasting : bool
        As in `models.declaring.entity.Entity`.

    Returns
    -------
    SharedRows or None
        None where there are fewer than `LEAST_ROWS` rows, or the champion knows a feature or outcome that the rows
        do not have.
    """
    import numpy as np

    held_out = candidate.held_out()
    last_learnt = datetime.fromisoformat(champion.manifest["last_as_of"])
    first = frame.groupby(candidate.key)[AS_OF].min()
    if lasting:
        unseen = held_out[held_out[AS_OF] >= datetime.fromisoformat(champion.manifest["as_of"])]
    else:
        unseen = held_out[held_out[candidate.key].isin(first.index[first > last_learnt])]
    if len(unseen) < LEAST_ROWS or candidate.task != champion.task or not set(champion.features) <= set(frame.columns):
        return None
    rows = unseen.merge(frame, on=[candidate.key, AS_OF], how="left", validate="one_to_one", suffixes=("", "_"))
    task = candidate.task
    model = Predictions(
        task=task,
        truth=task.truth(rows[TRUTH]),
        predicted=rows[task.stored_columns].to_numpy(dtype="float64"),
        group=rows[candidate.key].factorize()[0],
    )
    by_champion = predict(champion.pipeline, model_input(rows, champion.features), task)
    baseline = np.tile(candidate.manifest["baseline"], (len(rows), 1))
    own, champions, trivial = (
        replace(model, predicted=each).losses() for each in (model.predicted, by_champion, baseline)
    )
    lost_skill = means(model, (own - champions) / trivial.mean(), resampled(model.groups, RESAMPLES, SEED))
    return SharedRows(
        rows=len(rows),
        candidate_loss=float(own.mean()),
        champion_loss=float(champions.mean()),
        baseline_loss=float(trivial.mean()),
        lost_at_least=float(np.quantile(lost_skill, 0.025)),
    )
