"""Evaluation: metrics of a candidate and of the trivial baseline on the same held-out rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from models.candidate import PROBABILITY, TRUTH, Candidate
from models.declaration import LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

BINS = 10


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Held-out rows whose probability of an outcome lies in ``[lower, upper)``; the last bin holds 1 as well."""

    outcome: str
    lower: float
    upper: float
    n: int
    mean_probability: float
    observed_rate: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured on the held-out rows.

    Attributes
    ----------
    model, version, task : str
    n : int
        Held-out rows.
    metrics, baseline : dict of str to float or None
        For the model, and for predicting the frequencies of the training rows everywhere. None where a metric is
        undefined.
    undefined : dict of str to str
        Why a metric is None.
    recall : dict of str to float or None
        By outcome, for a multiclass task; None where the outcome does not occur.
    calibration : tuple of CalibrationBin
    """

    model: str
    version: str
    task: str
    n: int
    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    undefined: dict[str, str]
    recall: dict[str, float | None]
    calibration: tuple[CalibrationBin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that serialise to JSON."""
        return asdict(self)


def evaluate(candidate: Candidate) -> Evaluation:
    """Measure a candidate on its held-out rows, beside the trivial baseline."""
    import numpy as np

    held_out = candidate.held_out()
    probability = held_out[[PROBABILITY + name for name in candidate.outcomes]].to_numpy()
    constant = np.tile(candidate.manifest["baseline"], (len(held_out), 1))
    recall: dict[str, float | None] = {}
    if candidate.manifest["task"] == "binary":
        truth = held_out[TRUTH].astype("int64").to_numpy()
        metrics, undefined = _binary(truth, probability[:, 0])
        baseline, _ = _binary(truth, constant[:, 0])
        truth = np.where(truth == 1, candidate.outcomes[0], "")
    else:
        truth = held_out[TRUTH].to_numpy(dtype=object)
        metrics, undefined = _multiclass(truth, probability, candidate.outcomes)
        baseline, _ = _multiclass(truth, constant, candidate.outcomes)
        recall = _recall(truth, probability, candidate.outcomes)
    return Evaluation(
        model=candidate.model,
        version=candidate.version,
        task=candidate.manifest["task"],
        n=len(held_out),
        metrics=metrics,
        baseline=baseline,
        undefined=undefined,
        recall=recall,
        calibration=calibration_table(truth, probability, candidate.outcomes),
    )


def calibration_table(
    truth: np.ndarray, probability: np.ndarray, outcomes: tuple[str, ...]
) -> tuple[CalibrationBin, ...]:
    """Compare predicted probabilities with observed rates, outcome by outcome.

    Parameters
    ----------
    truth : ndarray of str, shape (n_rows,)
    probability : ndarray of float, shape (n_rows, n_outcomes)
    outcomes : tuple of str

    Returns
    -------
    tuple of CalibrationBin
        Ten bins of equal width for each outcome, without the empty ones and the outcomes that neither occur nor are
        predicted.
    """
    table = []
    for column, outcome in enumerate(outcomes):
        p, happened = probability[:, column], truth == outcome
        if not (p.any() or happened.any()):
            continue
        bins = _bins(p)
        for number in range(BINS):
            inside = bins == number
            if inside.any():
                table.append(
                    CalibrationBin(
                        outcome=outcome,
                        lower=number / BINS,
                        upper=(number + 1) / BINS,
                        n=int(inside.sum()),
                        mean_probability=float(p[inside].mean()),
                        observed_rate=float(happened[inside].mean()),
                    )
                )
    return tuple(table)


def _bins(probability: np.ndarray) -> np.ndarray:
    import numpy as np

    bins: np.ndarray = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    return bins


def _binary(truth: np.ndarray, probability: np.ndarray) -> tuple[dict[str, float | None], dict[str, str]]:
    import numpy as np
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    bins = _bins(probability)
    error = sum(
        abs(float(truth[bins == b].mean()) - float(probability[bins == b].mean())) * float((bins == b).mean())
        for b in np.unique(bins)
    )
    metrics: dict[str, float | None] = {
        "auc": None,
        "pr_auc": None,
        "brier": float(brier_score_loss(truth, probability)),
        "log_loss": float(log_loss(truth, probability, labels=[0, 1])),
        "ece_10": float(error),
        "base_rate": float(truth.mean()),
    }
    if len(np.unique(truth)) < 2:
        reason = f"all {len(truth)} held-out rows have the outcome {int(truth[0])}"
        return metrics, {"auc": reason, "pr_auc": reason}
    metrics["auc"] = float(roc_auc_score(truth, probability))
    metrics["pr_auc"] = float(average_precision_score(truth, probability))
    return metrics, {}


def _multiclass(
    truth: np.ndarray, probability: np.ndarray, outcomes: tuple[str, ...]
) -> tuple[dict[str, float | None], dict[str, str]]:
    import numpy as np
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    chosen = np.array(outcomes, dtype=object)[probability.argmax(axis=1)]
    # an outcome on one side only has no AUC: the mean is over those that occur, and not everywhere
    occurring = [k for k, name in enumerate(outcomes) if 0 < (truth == name).sum() < len(truth)]
    metrics: dict[str, float | None] = {
        "accuracy": float(accuracy_score(truth, chosen)),
        "weighted_f1": float(f1_score(truth, chosen, average="weighted", zero_division=0)),
        "macro_f1": float(f1_score(truth, chosen, average="macro", zero_division=0)),
        "macro_auc": None,
        "log_loss": _multiclass_log_loss(truth, probability, outcomes),
    }
    if not occurring:
        return metrics, {"macro_auc": f"all {len(truth)} held-out rows have the outcome {truth[0]!r}"}
    areas = [roc_auc_score(truth == outcomes[k], probability[:, k]) for k in occurring]
    metrics["macro_auc"] = float(np.mean(areas))
    return metrics, {}


def _multiclass_log_loss(truth: np.ndarray, probability: np.ndarray, outcomes: tuple[str, ...]) -> float:
    import numpy as np

    # not sklearn's log_loss, which reads the columns in alphabetical order of the labels
    position = {name: k for k, name in enumerate(outcomes)}
    of_truth = probability[np.arange(len(truth)), [position[name] for name in truth]]
    return float(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1)).mean())


def _recall(truth: np.ndarray, probability: np.ndarray, outcomes: tuple[str, ...]) -> dict[str, float | None]:
    chosen = probability.argmax(axis=1)
    return {
        name: float((chosen[truth == name] == k).mean()) if (truth == name).any() else None
        for k, name in enumerate(outcomes)
    }


def missed_gates(evaluation: Evaluation, gates: Mapping[str, float]) -> list[str]:
    """Say which declared gates the candidate misses, one sentence each."""
    missed = []
    for name, bound in gates.items():
        value = evaluation.metrics[name]
        if value is None:
            missed.append(f"{name} is undefined: {evaluation.undefined[name]}")
        elif (value > bound) if name in LOWER_IS_BETTER else (value < bound):
            missed.append(f"{name} is {value:.4f}, its gate {bound:.4f}")
    return missed
