"""Held-out rows: what their predictions say of a version, with intervals over resampled entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.evaluation.calibration import CalibrationDecision, CalibrationEvidence
from models.evaluation.hindsight import Hindsight
from models.evaluation.records import (
    Calibration,
    CalibrationBin,
    Census,
    Confusion,
    Evaluation,
    Figure,
    Gains,
    Segment,
    Validation,
)
from models.evaluation.validation import some_rows
from models.tasks.measures import calibration_error, once, resampled
from models.tasks.task import Predictions, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RESAMPLES = 200

INTERVAL_ROWS = 10_000
"""Held-out rows on which intervals are measured, at most; figures without an interval are of all of them."""

SEGMENT_ROWS = 50
"""A segment of fewer rows is shown without figures."""

SEGMENT_INTERVAL_ROWS = 2_500

SEGMENTS_SHOWN = 10

GAIN_STEPS = 20

LIFT_AT = (0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out rows as the model, the linear model and the trivial baseline predict them.

    Attributes
    ----------
    model, before_scaling, after_scaling, linear, baseline : Predictions
        `model` is one of the two before it: what is published.
    segments : DataFrame of shape (n_rows, n_columns)
        The columns by which figures are told apart.
    linear_rows : int
        From which the linear model learnt.
    """

    model: Predictions
    before_scaling: Predictions
    after_scaling: Predictions
    linear: Predictions
    baseline: Predictions
    segments: pd.DataFrame
    linear_rows: int


def measure_held_out(
    declaration: ModelDeclaration,
    version: str,
    held_out: HeldOut,
    scaling: CalibrationEvidence | None,
    decision: CalibrationDecision,
    scaling_rows: int,
    validation: Validation,
    census: Census | None,
    hindsight: Hindsight,
) -> Evaluation:
    """Measure predictions of held-out rows.

    Parameters
    ----------
    declaration : ModelDeclaration
    version : str
    held_out : HeldOut
    scaling, decision, scaling_rows
        What is known of the calibration, whether it is applied, and from how many rows it was learnt.
    validation : Validation
        What was measured on the training rows.
    census : Census or None
        What was measured on a census.
    hindsight : Hindsight
        What was measured of each feature.
    """
    model, task = held_out.model, declaration.task
    sample = some_rows(len(model), INTERVAL_ROWS, declaration.seed)
    weights = resampled(model.rows(sample).groups, RESAMPLES, declaration.seed)
    measured = task.by_outcome(model, once(model.groups))
    measured_again = task.by_outcome(model.rows(sample), weights)
    compared = {
        "model": (model.measured(once(model.groups), measured), model.rows(sample).measured(weights, measured_again)),
        **{
            name: (each.measured(once(each.groups)), each.rows(sample).measured(weights))
            for name, each in (("linear", held_out.linear), ("baseline", held_out.baseline))
        },
    }
    values = {
        name: {metric: _defined(v[0]) for metric, v in all_rows.items()} for name, (all_rows, _) in compared.items()
    }
    intervals = {
        name: {metric: figure(v[0], resamples[metric]) for metric, v in all_rows.items()}
        for name, (all_rows, resamples) in compared.items()
    }
    classes = {
        outcome: {name: figure(v[0], measured_again[outcome][name]) for name, v in of_outcome.items()}
        for outcome, of_outcome in measured.items()
    }
    only = task.named(model.truth[0]) if len(model) else ""
    reason = f"all {len(model)} held-out rows have the outcome {only}"
    return Evaluation(
        model=declaration.name,
        version=version,
        task=task.name,
        primary_metric=declaration.primary_metric,
        n=len(model),
        entities=model.groups,
        metrics=values["model"],
        linear=values["linear"],
        baseline=values["baseline"],
        intervals=intervals["model"],
        linear_intervals=intervals["linear"],
        baseline_intervals=intervals["baseline"],
        over_linear=improvement(task, compared["model"], compared["linear"]),
        over_baseline=improvement(task, compared["model"], compared["baseline"]),
        interval_rows=int(sample.sum()),
        linear_rows=held_out.linear_rows,
        undefined={name: reason for name, value in values["model"].items() if value is None}
        if (model.truth == model.truth[:1]).all()
        else {},
        recall={outcome: each["recall"].value for outcome, each in classes.items() if "recall" in each},
        classes=classes,
        segments=segments(declaration, model, held_out.segments),
        confusion=confusion(model, [*map(float, held_out.baseline.predicted[0])]),
        gains=tuple(gains(model)),
        calibration=Calibration(
            scaling=None if scaling is None else scaling.scaling,
            applied=decision.applied,
            reason=decision.reason,
            rows=scaling_rows,
            error_before=_calibration_error(held_out.before_scaling, sample, weights),
            error_after=_calibration_error(held_out.after_scaling, sample, weights),
            bins_before=calibration_table(held_out.before_scaling),
            bins_after=calibration_table(held_out.after_scaling),
        ),
        validation=validation,
        census=census,
        hindsight=hindsight,
        happened_to=task.entities_of(model),
    )


def beside_baseline(
    declaration: ModelDeclaration, model: Predictions, baseline: list[float]
) -> tuple[dict[str, float | None], dict[str, float | None], dict[str, Figure]]:
    """Measure predictions beside the trivial baseline alone: the metrics of both, and by how much it is beaten."""
    import numpy as np

    trivial = replace(model, predicted=np.tile(baseline, (len(model), 1)))
    sample = some_rows(len(model), INTERVAL_ROWS, declaration.seed)
    weights = resampled(model.rows(sample).groups, RESAMPLES, declaration.seed)
    of_model, of_trivial = (
        (each.measured(once(each.groups)), each.rows(sample).measured(weights)) for each in (model, trivial)
    )
    values = [{name: _defined(value[0]) for name, value in each[0].items()} for each in (of_model, of_trivial)]
    return values[0], values[1], improvement(declaration.task, of_model, of_trivial)


def figure(value: float, resamples: np.ndarray) -> Figure:
    """Return a value with the 95 % interval of its resamples, without those in which it is undefined.

    The resamples give the width; they are centred on the value, which is of all rows. They are of a sample of the rows,
    and of some figures they are biased: a calibration error of resampled rows is larger than that of the rows.
    """
    import numpy as np

    defined = resamples[~np.isnan(resamples)]
    if np.isnan(value) or not len(defined):
        return Figure(value=_defined(value), lower=None, upper=None)
    lower, upper = value + np.quantile(defined, [0.025, 0.975]) - defined.mean()
    return Figure(value=float(value), lower=float(lower), upper=float(upper))


def calibration_table(predictions: Predictions) -> tuple[CalibrationBin, ...]:
    """Compare predictions with what came, outcome by outcome.

    Returns
    -------
    tuple of CalibrationBin
        The bins of the task for each outcome, without the empty ones and the outcomes that neither occur nor are
        predicted.
    """
    table = []
    for column, outcome in enumerate(predictions.outcomes):
        p, did = predictions.predicted[:, column], predictions.actual(column)
        if not (p.any() or did.any()):
            continue
        numbers, bounds = predictions.task.bins(p)
        for number, (lower, upper) in enumerate(pairwise(bounds)):
            inside = numbers == number
            if inside.any():
                table.append(
                    CalibrationBin(
                        outcome=outcome,
                        lower=lower,
                        upper=upper,
                        n=int(inside.sum()),
                        mean_predicted=float(p[inside].mean()),
                        mean_actual=float(did[inside].mean()),
                    )
                )
    return tuple(table)


def confusion(predictions: Predictions, baseline: Sequence[float]) -> Confusion:
    """Count rows by what happened and what was predicted, as far as the task names either."""
    labels, counts = predictions.task.confusion(predictions, baseline)
    return Confusion(labels=labels, rows=tuple(tuple(map(int, row)) for row in counts))


def gains(predictions: Predictions) -> list[Gains]:
    """Measure for each outcome that occurs how much of it the highest predictions find.

    Rows of equal prediction are found in the proportion in which they hold the outcome.
    """
    import numpy as np

    measured = []
    for column, outcome in enumerate(predictions.outcomes):
        did = predictions.actual(column)
        if not did.any() or did.min() < 0:
            continue
        score = predictions.predicted[:, column]
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) + 1
        looked_at = np.r_[0, ends] / len(score)
        found = np.r_[0, np.cumsum(did[order])[ends - 1]] / did.sum()
        steps = np.interp(np.linspace(0, 1, GAIN_STEPS + 1), looked_at, found)
        measured.append(
            Gains(
                outcome=outcome,
                found=tuple(map(float, steps)),
                lift={f"{share:.0%}": float(np.interp(share, looked_at, found) / share) for share in LIFT_AT},
            )
        )
    return measured


def segments(declaration: ModelDeclaration, predictions: Predictions, columns: pd.DataFrame) -> tuple[Segment, ...]:
    """Measure the most frequent values of each column apart; those with few rows or one label have no figures."""
    import numpy as np

    measured = []
    for column in columns:
        values = columns[column].astype(object).where(columns[column].notna(), "(missing)").astype(str).to_numpy()
        names, counts = np.unique(values, return_counts=True)
        for name in names[np.lexsort((names, -counts))][:SEGMENTS_SHOWN]:
            inside = predictions.rows(values == name)
            told = len(inside) >= SEGMENT_ROWS and len(np.unique(inside.truth)) > 1
            primary = loss = None
            if told:
                sample = inside.rows(some_rows(len(inside), SEGMENT_INTERVAL_ROWS, declaration.seed))
                all_rows = inside.measured(once(inside.groups))
                resamples = sample.measured(resampled(sample.groups, RESAMPLES, declaration.seed))
                primary, loss = (
                    figure(all_rows[metric][0], resamples[metric])
                    for metric in (declaration.primary_metric, declaration.task.loss)
                )
            rates = told and len(predictions.outcomes) == 1
            measured.append(
                Segment(
                    column=str(column),
                    value=str(name),
                    rows=len(inside),
                    entities=inside.groups,
                    primary=primary,
                    loss=loss,
                    predicted=float(inside.predicted.mean()) if rates else None,
                    observed=float(inside.truth.mean()) if rates else None,
                )
            )
    return tuple(measured)


def improvement(
    task: Task,
    model: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    other: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
) -> dict[str, Figure]:
    """Return by how much a model is better than another, from the figures of all rows and of the resamples of both."""
    improvements = {}
    for metric, value in model[0].items():
        sign = -1 if metric in task.less_is_better else 1
        improvements[metric] = figure(
            sign * (value[0] - other[0][metric][0]), sign * (model[1][metric] - other[1][metric])
        )
    return improvements


def _calibration_error(predictions: Predictions, sample: np.ndarray, weights: np.ndarray) -> Figure:
    value = calibration_error(predictions, once(predictions.groups))[0]
    return figure(value, calibration_error(predictions.rows(sample), weights))


def _defined(value: float) -> float | None:
    return None if value != value else float(value)
