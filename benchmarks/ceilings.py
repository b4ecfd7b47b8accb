"""Ceilings: the best values of metrics that any model could reach on the simulated CRM, whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF
from models.tasks.classification import RECALL
from models.versions.candidate import TRUTH

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.versions.candidate import Candidate

SAMPLE = 2_000
"""Held-out rows whose true probability is simulated."""

BRANCHES = 200
"""Simulated continuations of each row: with 60 the AUC of the true probability is .013 too low, with 200 .005."""


def ceiling(source: str, label: str, candidate: Candidate) -> dict[str, float]:
    """Return the ceilings of a candidate's metrics on its held-out rows.

    For the next action these are the accuracy, the weighted F1 and the recall of a predictor that knows the playbook of
    the reps, but not when they leave it (`simulation.ceiling`). For conversion, and for customers who leave, it is the
    AUC of the true probability, which also uses hidden values (`simulation.truth`), on a sample.

    Parameters
    ----------
    source : str
        The source of the records.
    label : str
        The label model.
    candidate : Candidate

    Returns
    -------
    dict of str to float
        By the name of the gate; empty if the source is no simulation, or the ceiling is not defined.
    """
    export = Path(source)
    if label not in _OF_LABEL or "://" in source or not (export / "truth" / "simulation.json").is_file():
        return {}
    return _OF_LABEL[label](export, candidate.held_out(), candidate)


def _of_next_action(export: Path, held_out: pd.DataFrame, candidate: Candidate) -> dict[str, float]:
    import pyarrow.parquet as pq
    from sklearn.metrics import f1_score

    from simulation.ceiling import action_ceiling

    found = action_ceiling(
        pq.read_table(export / "truth" / "decisions.parquet"),
        held_out[candidate.key].to_numpy(),
        _moments(held_out),
        held_out[TRUTH].to_numpy(),
        horizon_days=candidate.manifest["horizon_days"],
    )
    return {
        "accuracy": found.accuracy,
        "weighted_f1": float(f1_score(held_out[TRUTH].to_numpy(dtype=str), found.predicted, average="weighted")),
        **{f"{RECALL}_{name}": value for name, value in found.recall.items()},
    }


def _of_conversion(export: Path, held_out: pd.DataFrame, candidate: Candidate) -> dict[str, float]:
    from simulation.truth import Truth

    rows = held_out.sample(min(SAMPLE, len(held_out)), random_state=0)
    chances = Truth.of(export).conversion(
        rows[candidate.key].to_numpy(),
        _moments(rows),
        horizon_days=candidate.manifest["horizon_days"],
        branches=BRANCHES,
    )
    return _ranked(rows, chances.probability)


def _of_leaving(export: Path, held_out: pd.DataFrame, candidate: Candidate) -> dict[str, float]:
    from simulation.customers.truth import CustomerTruth

    # the truth is known of midnights
    rows = held_out[held_out[AS_OF] == held_out[AS_OF].dt.normalize()]
    rows = rows.sample(min(SAMPLE, len(rows)), random_state=0)
    chances = CustomerTruth.of(export).leaving(
        rows[candidate.key].to_numpy(), _moments(rows), horizon_days=candidate.manifest["horizon_days"]
    )
    return _ranked(rows, chances.probability)


def _ranked(rows: pd.DataFrame, probability: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    if rows[TRUTH].nunique() < 2:
        return {}
    return {"auc": float(roc_auc_score(rows[TRUTH].astype(int), probability))}


def _moments(rows: pd.DataFrame) -> np.ndarray:
    moments: np.ndarray = rows[AS_OF].dt.tz_convert(None).to_numpy()
    return moments


_OF_LABEL = {
    "next_action": _of_next_action,
    "conversion": _of_conversion,
    "churn_30d": _of_leaving,
    "churn_60d": _of_leaving,
}
"""Functions that compute ceilings from the truth of a simulation, by label model."""
