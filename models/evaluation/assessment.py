"""Assessment: a pipeline is fitted on the training rows alone, and the evaluation measures it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.evaluation.calibration import (
    CalibrationDecision,
    CalibrationEvidence,
    calibration_evidence,
    decide_calibration,
)
from models.evaluation.census import measure_census
from models.evaluation.costs import Rehearsal, measure_costs
from models.evaluation.held_out import RESAMPLES, HeldOut, measure_held_out
from models.evaluation.hindsight import Hindsight, measure_alone
from models.evaluation.one_sided import OneSided
from models.evaluation.records import Census, Evaluation, Validation
from models.evaluation.validation import (
    FOLDS,
    SAMPLED_ROWS,
    Observed,
    cross_validate,
    importance,
    learning_curve,
    some_rows,
)
from models.learning.fitting import fit, predict, threads
from models.learning.pipelines import build_linear_pipeline
from models.tasks.task import Predictions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LINEAR_ROWS = 20_000
"""The most training rows that the linear model learns from: it needs no more."""


def assess(
    declaration: ModelDeclaration,
    version: str,
    train: Observed,
    test: Observed,
    baseline: list[float],
    segments: pd.DataFrame,
    census: tuple[Observed, pd.DataFrame] | None = None,
    one_sided: tuple[OneSided, ...] = (),
    rehearsal: Rehearsal | None = None,
) -> tuple[Evaluation, np.ndarray]:
    """Fit a model on training rows and compare it on held-out rows with a linear model and the trivial baseline.

    Parameters
    ----------
    declaration : ModelDeclaration
    version : str
    train, test : Observed
    baseline : list of float
        The constant prediction of the trivial model.
    segments : DataFrame
        The columns that divide the held-out rows into segments.
    census : tuple of (Observed, DataFrame), optional
        The open entities of past clocks, whose outcomes no training row knows, and the columns that divide them into
        bands.
    one_sided : tuple of OneSided
        The one-sided values that the training set has measured.
    rehearsal : Rehearsal, optional
        Validation rows inside the training side, on which the threshold is chosen.

    Returns
    -------
    tuple of (Evaluation, ndarray of shape (n_rows, n_outcomes))
        The evaluation, and the published predictions of the held-out rows.
    """
    import numpy as np

    task = declaration.task
    of_census: Predictions | None = None
    pipeline = fit(declaration, train.features, train.label, train.weights)
    unscaled_values = predict(pipeline, test.features, task)

    cross_validated = cross_validate(declaration, train)
    evidence: CalibrationEvidence | None = None
    if isinstance(cross_validated, str):
        decision = CalibrationDecision(applied=False, reason=cross_validated)
        cross_validation, note = None, cross_validated
    else:
        cross_validation, out_of_fold, folds, stands_for = cross_validated
        note = ""
        evidence = calibration_evidence(
            out_of_fold,
            folds,
            stands_for,
            learnt_share=(1 - 1 / FOLDS) * len(out_of_fold) / len(train),
            resamples=RESAMPLES,
            seed=declaration.seed,
        )
        decision = CalibrationDecision(applied=False, reason=f"{task.quantity} of a {task.name} are not scaled")
        if evidence is not None:
            decision = decide_calibration(evidence)
    scaled_values = unscaled_values if evidence is None else evidence.scaling.apply(unscaled_values)
    published = scaled_values if decision.applied else unscaled_values

    measured_census: Census | None = None
    if census is not None:
        rows, columns = census
        expected = predict(pipeline, rows.features, task)
        if evidence is not None and decision.applied:
            expected = evidence.scaling.apply(expected)
        of_census = rows.predicted(expected, task)
        measured_census = measure_census(declaration, of_census, columns)

    linear, linear_rows = _linear(declaration, train, test)
    curve_rows = some_rows(len(test), SAMPLED_ROWS, declaration.seed)
    unscaled = test.predicted(unscaled_values, task)
    ranked, shuffled_rows = importance(pipeline, test, task, declaration.seed)
    evaluation = measure_held_out(
        declaration,
        version,
        HeldOut(
            model=test.predicted(published, task),
            before_scaling=unscaled,
            after_scaling=test.predicted(scaled_values, task),
            linear=test.predicted(linear, task),
            baseline=test.predicted(np.tile(baseline, (len(test), 1)), task),
            segments=segments,
            linear_rows=linear_rows,
        ),
        evidence,
        decision,
        0 if cross_validation is None else cross_validation.rows,
        Validation(
            cross_validation=cross_validation,
            note=note,
            learning_curve=learning_curve(declaration, train, test.rows(curve_rows), unscaled.rows(curve_rows)),
            importance=ranked,
            importance_rows=shuffled_rows,
        ),
        measured_census,
        Hindsight(alone=measure_alone(train, test, task), one_sided=one_sided),
    )
    costs = measure_costs(
        task,
        test.predicted(published, task),
        of_census,
        rehearsal,
        evidence.scaling if evidence is not None and decision.applied else None,
        declaration.seed,
    )
    return replace(evaluation, costs=costs), published


def _linear(declaration: ModelDeclaration, train: Observed, test: Observed) -> tuple[np.ndarray, int]:
    sample = train.rows(some_rows(len(train), LINEAR_ROWS, declaration.seed))
    if sample.label.nunique() < 2:
        # the rows of the other values are so few that the sample has none
        sample = train
    # one thread: sums in another order would give another last digit
    with threads(1):
        fitted = build_linear_pipeline(declaration).fit(
            sample.features, sample.label, estimator__sample_weight=sample.weights
        )
    return predict(fitted, test.features, declaration.task, cores=1), len(sample)
