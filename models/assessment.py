"""Assessment: the pipeline that is fitted on the training rows alone, and all that is measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.calibration import (
    CalibrationDecision,
    CalibrationEvidence,
    Scaling,
    calibration_evidence,
    decide_calibration,
)
from models.census import measure_census
from models.evaluation import Census, Evaluation, Validation
from models.held_out import RESAMPLES, HeldOut, measure
from models.hindsight import Hindsight, OneSided, measure_alone
from models.learning import build_linear_pipeline, fit, predict, threads
from models.validation import (
    FOLDS,
    SAMPLED_ROWS,
    Observed,
    cross_validate,
    importance,
    learning_curve,
    some_rows,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.declaration import ModelDeclaration

LINEAR_ROWS = 20_000
"""Training rows that the linear model learns from at most: it needs no more."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What was measured, the held-out probabilities, and the scaling that the published pipeline applies, if any."""

    evaluation: Evaluation
    probability: np.ndarray
    scaling: Scaling | None


def assess(
    declaration: ModelDeclaration,
    version: str,
    train: Observed,
    test: Observed,
    baseline: list[float],
    segments: pd.DataFrame,
    census: tuple[Observed, pd.DataFrame] | None = None,
    one_sided: tuple[OneSided, ...] = (),
) -> Assessment:
    """Fit a model on training rows and measure it on held-out rows, beside a linear model and the trivial baseline.

    Parameters
    ----------
    declaration : ModelDeclaration
    version : str
    train, test : Observed
    baseline : list of float
        The frequency of each outcome in the training rows.
    segments : DataFrame
        The columns of the held-out rows by which figures are told apart.
    census : tuple of (Observed, DataFrame), optional
        The open entities of past clocks, none of whose outcomes the training rows know, with the columns by which they
        are measured apart.
    one_sided : tuple of OneSided
        What the training set says of its features.
    """
    import numpy as np

    outcomes = declaration.outcomes
    pipeline = fit(declaration, train.features, train.label, train.weights)
    before = predict(pipeline, test.features, outcomes)

    crossed = cross_validate(declaration, train)
    evidence: CalibrationEvidence | None = None
    if isinstance(crossed, str):
        decision = CalibrationDecision(applied=False, reason=crossed)
        cross_validation, note = None, crossed
    else:
        cross_validation, out_of_fold, folds, stands_for = crossed
        note = ""
        evidence = calibration_evidence(
            out_of_fold,
            folds,
            stands_for,
            learnt_share=(1 - 1 / FOLDS) * len(out_of_fold) / len(train),
            resamples=RESAMPLES,
            seed=declaration.seed,
        )
        decision = decide_calibration(evidence)
    after = before if evidence is None else evidence.scaling.apply(before)
    published = after if decision.applied else before

    measured_census: Census | None = None
    if census is not None:
        rows, columns = census
        expected = predict(pipeline, rows.features, outcomes)
        if evidence is not None and decision.applied:
            expected = evidence.scaling.apply(expected)
        measured_census = measure_census(declaration, rows.predicted(expected, outcomes), columns)

    linear, linear_rows = _linear(declaration, train, test)
    curve_rows = some_rows(len(test), SAMPLED_ROWS, declaration.seed)
    unscaled = test.predicted(before, outcomes)
    ranked, shuffled_rows = importance(pipeline, test, outcomes, declaration.seed)
    evaluation = measure(
        declaration,
        version,
        HeldOut(
            model=test.predicted(published, outcomes),
            before_scaling=unscaled,
            after_scaling=test.predicted(after, outcomes),
            linear=test.predicted(linear, outcomes),
            baseline=test.predicted(np.tile(baseline, (len(test), 1)), outcomes),
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
        Hindsight(alone=measure_alone(train, test, outcomes), one_sided=one_sided),
    )
    scaling = evidence.scaling if evidence is not None and decision.applied else None
    return Assessment(evaluation=evaluation, probability=published, scaling=scaling)


def _linear(declaration: ModelDeclaration, train: Observed, test: Observed) -> tuple[np.ndarray, int]:
    sample = train.rows(some_rows(len(train), LINEAR_ROWS, declaration.seed))
    if sample.label.nunique() < 2:
        # the rows of the other class are so few that the sample has none
        sample = train
    # one thread: sums in another order would give another last digit
    with threads(1):
        fitted = build_linear_pipeline(declaration).fit(
            sample.features, sample.label, estimator__sample_weight=sample.weights
        )
    return predict(fitted, test.features, declaration.outcomes, cores=1), len(sample)
