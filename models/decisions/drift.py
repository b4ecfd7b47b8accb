"""Drift: the evidence on a change of a champion's world, and a pure decision on which checks fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models.declaring.columns import Kind
from models.declaring.policies import DriftPolicy
from models.tasks.task import Predictions

CHECKS: Mapping[str, str] = {
    "features": "Every feature is distributed as it was when the champion was trained.",
    "predictions": "The predictions of the champion are distributed as they were when it was trained.",
    "performance": "On labels that have matured since, the champion is as good as it was on its held-out rows.",
    "champion_age": "The champion is young enough, or no label has matured since its training.",
}
"""The checks of a champion's drift, with the statement that is true if they pass."""

MEASURED_ON_LABELS = "performance"


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far the current rows of a column lie from the reference rows. None where a figure is undefined.

    Attributes
    ----------
    column : str
    kind : {"number", "text"}
    rows_reference, rows_current : int
        Rows with a value.
    psi : float or None
        Population stability index, the sum of (p - q) ln(p / q) over bins: for a number the deciles of the reference, a
        bin beyond it on either side, and one for null; for text the nine commonest values of the reference, all others
        together, and null. Undefined where a side has no row.
    distance : float or None
        The distance of the values that are not null. For a number the Kolmogorov-Smirnov statistic, the largest
        distance between the two distribution functions; for text the Jensen-Shannon distance to base 2. From 0 to 1.
    wasserstein : float or None
        For a number the area between the two distribution functions, in standard deviations of the reference; 0.1
        means that the values have moved by a tenth of their spread. Undefined where the reference is constant.
    nulls_reference, nulls_current : float or None
        Share of null rows.
    new_categories : float or None
        For text the share of current rows whose value no reference row has.
    """

    column: str
    kind: Kind
    rows_reference: int
    rows_current: int
    psi: float | None
    distance: float | None
    wasserstein: float | None
    nulls_reference: float | None
    nulls_current: float | None
    new_categories: float | None

    def statistics(self) -> dict[str, float]:
        """Return the figures that are defined, by the name under which they are kept."""
        figures = {
            "psi": self.psi,
            "kolmogorov_smirnov" if self.kind == "number" else "jensen_shannon": self.distance,
            "wasserstein": self.wasserstein,
            "nulls_reference": self.nulls_reference,
            "nulls_current": self.nulls_current,
            "new_categories": self.new_categories,
        }
        return {name: value for name, value in figures.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Performance:
    """How good predictions were, on observations whose outcome is known.

    Attributes
    ----------
    rows : int
    entities : int
        Entities with the commonest outcome; all entities for a task without classes.
    ranking : dict of str to float
        `Task.rank_quality` by outcome, without the outcomes of too few entities.
    bias : dict of str to float
        `Task.bias` by outcome.
    """

    rows: int
    entities: int
    ranking: dict[str, float]
    bias: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The world of a champion's training, with which the present one is compared.

    Attributes
    ----------
    trained_at : datetime
        The clock at which it was trained, UTC.
    last_as_of : datetime
        Its latest training observation, UTC.
    performance : Performance
        The performance on its held-out rows.
    """

    trained_at: datetime
    last_as_of: datetime
    performance: Performance


@dataclass(frozen=True, kw_only=True)
class DriftEvidence:
    """The evidence on a champion's world at a clock.

    Attributes
    ----------
    model, version : str
    as_of : datetime
        The clock, UTC.
    window_days : int
        Length of each window.
    reference : Reference
    rows_reference, rows_current, entities_reference, entities_current : int
        Sizes of the two windows.
    features, predictions : tuple of Distance
        The distance of each feature, and of each published column of the predictions.
    performance : Performance
        The performance on observations after the training with matured labels, over as many days as a window has.
    new_labels : int
        Observations later than any of the training whose labels have matured.
    ranking : str
        The name of the ranking of the task.
    """

    model: str
    version: str
    as_of: datetime
    window_days: int
    reference: Reference
    rows_reference: int
    rows_current: int
    entities_reference: int
    entities_current: int
    features: tuple[Distance, ...]
    predictions: tuple[Distance, ...]
    performance: Performance
    new_labels: int
    ranking: str = "AUC"

    @property
    def days_since_training(self) -> float:
        """Days from the training to the clock."""
        return (self.as_of - self.reference.trained_at).total_seconds() / 86_400


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict of a check.

    Attributes
    ----------
    check : str
    failed : bool
        Never without enough evidence.
    statement : str
        A sentence with the figures; without enough evidence it says so.
    value, threshold : float or None
        The figure that decides and its bound; None where it could not be measured.
    subject : str
        The column or outcome of `value` (the feature that has moved most, say), or an empty text.
    figures : dict of str to float
        Other figures that help to read it.
    shown_only : tuple of str
        Columns that were measured and held to no bound.
    """

    check: str
    failed: bool
    statement: str
    value: float | None = None
    threshold: float | None = None
    subject: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    shown_only: tuple[str, ...] = ()


def judge(evidence: DriftEvidence, policy: DriftPolicy, *, max_age_days: float) -> tuple[Verdict, ...]:
    """Return the verdict of every check in `CHECKS`, in that order."""
    return (
        _judge_distances("features", evidence.features, evidence, policy),
        _judge_distances("predictions", evidence.predictions, evidence, policy),
        _judge_performance(evidence, policy),
        _judge_age(evidence, max_age_days),
    )


def _judge_distances(
    check: str, distances: tuple[Distance, ...], evidence: DriftEvidence, policy: DriftPolicy
) -> Verdict:
    smaller = min(evidence.rows_reference, evidence.rows_current)
    fewer = min(evidence.entities_reference, evidence.entities_current)
    if smaller < policy.min_rows:
        return _not_enough(check, smaller, policy.min_rows, "observations in a window")
    if fewer < policy.min_entities:
        return _not_enough(check, fewer, policy.min_entities, "entities in a window")
    bound = policy.psi_bound(check, evidence.entities_reference, evidence.entities_current)
    index = {
        each.column: each.psi for each in distances if each.psi is not None and each.column not in policy.shown_only
    }
    if not index:
        return _not_enough(check, 0, 1, "columns with a value")
    worst = max(index, key=lambda name: (index[name], name))
    drifted = sorted((name for name in index if index[name] > bound), key=lambda name: (-index[name], name))
    overlap = max(0.0, evidence.window_days - evidence.days_since_training)
    statement = (
        f"{len(drifted)} of {len(index)} have moved by more than {bound:.3f}: "
        + ", ".join(f"{name} {index[name]:.3f}" for name in drifted[:5])
        + (", …." if len(drifted) > 5 else ".")
        if drifted
        else f"None of {len(index)} has moved by more than {bound:.3f}; {worst} has moved most, by {index[worst]:.3f}."
    )
    if overlap:
        statement += f" The two windows share {overlap:.0f} days, so little can differ yet."
    return Verdict(
        check=check,
        failed=bool(drifted),
        statement=statement,
        value=index[worst],
        threshold=bound,
        subject=worst,
        figures={"drifted": len(drifted), "measured": len(index)},
        shown_only=policy.shown_only,
    )


def _judge_performance(evidence: DriftEvidence, policy: DriftPolicy) -> Verdict:
    current, reference = evidence.performance, evidence.reference.performance
    check, bound = MEASURED_ON_LABELS, policy.max_ranking_drop
    if current.rows < policy.min_performance_rows:
        return _not_enough(check, current.rows, policy.min_performance_rows, "matured observations since training")
    common = [name for name in current.ranking if name in reference.ranking]
    if not common:
        return _not_enough(check, current.entities, policy.min_positives, "entities with an outcome since training")
    ranking, held_out = (sum(each.ranking[name] for name in common) / len(common) for each in (current, reference))
    drop = held_out - ranking
    gaps = {name: abs(bias - reference.bias.get(name, 0.0)) for name, bias in current.bias.items()}
    worst = max(gaps, key=lambda name: (gaps[name], name))
    figures = {
        "ranking": ranking, "ranking_held_out": held_out, "ranking_drop": drop,
        "calibration_gap": gaps[worst], "max_calibration_gap": policy.max_calibration_gap,
        "rows": current.rows, "entities": current.entities,
    }  # fmt: skip
    statement = (
        f"On {current.rows:,} matured observations the {evidence.ranking} is {ranking:.3f}, {abs(drop):.3f} "
        f"{'below' if drop > 0 else 'above'} that of the held-out rows (bound {bound:g}); the mean prediction of "
        f"{worst} has moved {gaps[worst]:.3f} away from the actual mean (bound {policy.max_calibration_gap:g})."
    )
    # the verdict shows the figure that is further beyond its bound
    if gaps[worst] / policy.max_calibration_gap > drop / bound:
        return Verdict(
            check=check, failed=gaps[worst] > policy.max_calibration_gap, statement=statement,
            value=gaps[worst], threshold=policy.max_calibration_gap, subject=worst, figures=figures,
        )  # fmt: skip
    return Verdict(
        check=check, failed=drop > bound, statement=statement,
        value=drop, threshold=bound, subject=evidence.ranking, figures=figures,
    )  # fmt: skip


def _judge_age(evidence: DriftEvidence, bound: float) -> Verdict:
    age = evidence.days_since_training
    return Verdict(
        check="champion_age",
        failed=age > bound and evidence.new_labels > 0,
        statement=f"Trained {age:.0f} days before the clock (bound {bound:g}); {evidence.new_labels:,} labels have "
        "matured since that it has not seen.",
        value=age,
        threshold=bound,
        figures={"new_labels": evidence.new_labels},
    )


def _not_enough(check: str, found: int, needed: int, what: str) -> Verdict:
    return Verdict(check=check, failed=False, statement=f"Not enough evidence: {found:,} of {needed:,} {what}.")


def measure_performance(predictions: Predictions, least: int) -> Performance:
    """Compare predictions with actual outcomes.

    Parameters
    ----------
    predictions : Predictions
    least : int
        The ranking of an outcome of fewer entities is left out, because it would be mostly chance. Rows of one entity
        are not independent, so entities are counted.
    """
    task, of_outcome = predictions.task, predictions.task.entities_of(predictions)
    ranking, bias = {}, {}
    for column, name in enumerate(task.outcomes if len(predictions) else ()):
        actual, predicted = predictions.actual(column), predictions.predicted[:, column]
        bias[name] = task.bias(actual, predicted)
        if of_outcome.get(name, predictions.groups) >= least:
            quality = task.rank_quality(actual, predicted)
            if quality is not None:
                ranking[name] = quality
    return Performance(
        rows=len(predictions),
        entities=max(of_outcome.values(), default=predictions.groups),
        ranking=ranking,
        bias=bias,
    )
