"""Held-out rows: the figures of a version on them, with intervals over resampled entities."""

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
"""The most held-out rows on which intervals are measured; values are measured on all of them."""

SEGMENT_ROWS = 50
"""A segment of fewer rows is shown without figures."""

SEGMENT_INTERVAL_ROWS = 2_500

SEGMENTS_SHOWN = 10

GAIN_STEPS = 20

LIFT_AT = (0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Predictions of the held-out rows by the model, the linear model and the trivial baseline.

    Attributes
    ----------
    model, before_scaling, after_scaling, linear, baseline : Predictions
        `model` has the predictions of the published kind: those before scaling, or those after it.
    segments : DataFrame of shape (n_rows, n_columns)
        The columns that divide the rows into segments.
    linear_rows : int
        The number of rows that the linear model learnt from.
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
        The evidence on the scaling, whether it is applied, and the number of rows that it was fitted on.
    validation : Validation
        The figures of fits on samples of the training rows.
    census : Census or None
        The figures on a census.
    hindsight : Hindsight
        The measures of hindsight by feature.
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
    """Compare predictions with the trivial baseline: the metrics of both, and by how much the model is better."""
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
    """Return a value with its 95 % interval over resamples; those in which it is undefined are left out.

    The resamples give only the width of the interval, which is centred on the value of all rows. They are resamples of
    a sample of the rows, and may be biased: the calibration error of resampled rows is larger than that of the rows.
    """
    import numpy as np

    defined = resamples[~np.isnan(resamples)]
    if np.isnan(value) or not len(defined):
        return Figure(value=_defined(value), lower=None, upper=None)
    lower, upper = value + np.quantile(defined, [0.025, 0.975]) - defined.mean()
    return Figure(value=float(value), lower=float(lower), upper=float(upper))


def calibration_table(predictions: Predictions) -> tuple[CalibrationBin, ...]:
    """Compare predictions with actual values, by outcome and bin.

    Returns
    -------
    tuple of CalibrationBin
        The bins of the task for each outcome, without the empty ones and the outcomes that neither occur nor are
        predicted.
    """
    table = []
    for column, outcome in enumerate(predictions.outcomes):
        p, actual = predictions.predicted[:, column], predictions.actual(column)
        if not (p.any() or actual.any()):
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
                        mean_actual=float(actual[inside].mean()),
                    )
                )
    return tuple(table)


def confusion(predictions: Predictions, baseline: Sequence[float]) -> Confusion:
    """Count rows by actual and predicted class; empty for a task without classes."""
    labels, counts = predictions.task.confusion(predictions, baseline)
    return Confusion(labels=labels, rows=tuple(tuple(map(int, row)) for row in counts))


def gains(predictions: Predictions) -> list[Gains]:
    """Measure the share of each outcome that is found by looking at the rows with its highest predictions first.

    Outcomes that do not occur are left out. Rows with equal predictions count as equally likely to be looked at.
    """
    import numpy as np

    measured = []
    for column, outcome in enumerate(predictions.outcomes):
        actual = predictions.actual(column)
        if not actual.any() or actual.min() < 0:
            continue
        score = predictions.predicted[:, column]
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) + 1
        looked_at = np.r_[0, ends] / len(score)
        found = np.r_[0, np.cumsum(actual[order])[ends - 1]] / actual.sum()
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
    """Measure segments, the most frequent values of each column; those with few rows or one label have no figures."""
    import numpy as np

    measured = []
    for column in columns:
        values = columns[column].astype(object).where(columns[column].notna(), "(missing)").astype(str).to_numpy()
        names, counts = np.unique(values, return_counts=True)
        for name in names[np.lexsort((names, -counts))][:SEGMENTS_SHOWN]:
            inside = predictions.rows(values == name)
            measurable = len(inside) >= SEGMENT_ROWS and len(np.unique(inside.truth)) > 1
            primary = loss = None
            if measurable:
                sample = inside.rows(some_rows(len(inside), SEGMENT_INTERVAL_ROWS, declaration.seed))
                all_rows = inside.measured(once(inside.groups))
                resamples = sample.measured(resampled(sample.groups, RESAMPLES, declaration.seed))
                primary, loss = (
                    figure(all_rows[metric][0], resamples[metric])
                    for metric in (declaration.primary_metric, declaration.task.loss)
                )
            rates = measurable and len(predictions.outcomes) == 1
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
    """Return by how much a model is better than another; each comes with its figures on all rows and on resamples."""
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
