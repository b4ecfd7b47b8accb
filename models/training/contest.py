"""The contest of the declared estimators, and of weights by costs, on validation rows inside the training side.

Held-out rows take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.declaring.entity import DeclarationError
from models.evaluation.costs import Rehearsal, folds, try_weights, with_costs
from models.evaluation.held_out import RESAMPLES
from models.evaluation.records import Contestant
from models.evaluation.validation import FOLDS, Observed, some_rows
from models.learning.fitting import fit, predict
from models.learning.splitting import temporal_split
from models.pickled.scaling import Scaling
from models.tasks.measures import means, resampled
from models.tasks.task import Predictions
from models.untrainable import UntrainableError

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.base import BaseEstimator

CONTEST_ROWS = 20_000
"""Rows that each estimator learns from, at most."""


def choose_estimator(
    declaration: ModelDeclaration, frame: pd.DataFrame, rows: Observed
) -> tuple[ModelDeclaration, tuple[Contestant, ...]]:
    """Return the declaration with the estimator that wins the contest, and the result of each contestant.

    Parameters
    ----------
    declaration : ModelDeclaration
    frame : DataFrame
        The training side of a split.
    rows : Observed
        The same rows, in the form that estimators learn from.

    Returns
    -------
    tuple of (ModelDeclaration, tuple of Contestant)
        The given declaration and no contestants if it has one estimator, or if the training side cannot be split once
        more.

    Raises
    ------
    DeclarationError
        If a further estimator has the name of the first one.
    """
    import numpy as np

    if not declaration.estimators:
        return declaration, ()
    own = type(declaration.estimator()).__name__
    if own in declaration.estimators:
        raise DeclarationError(
            f"model {declaration.name!r}: expected estimators of other names than that of the first one, {own}"
        )
    estimators_by_name = {own: declaration.estimator, **declaration.estimators}
    try:
        sides = temporal_split(frame, declaration)
    except UntrainableError:
        return declaration, ()
    train, validation = rows.rows(sides.train), rows.rows(sides.test)
    sample = train.rows(some_rows(len(train), CONTEST_ROWS, declaration.seed))
    losses = {}
    for name, estimator in estimators_by_name.items():
        fitted = fit(replace(declaration, estimator=estimator), sample.features, sample.label, sample.weights)
        predictions = validation.predicted(predict(fitted, validation.features, declaration.task), declaration.task)
        losses[name] = predictions.losses()
    draws = resampled(predictions.groups, RESAMPLES, declaration.seed)
    first = next(iter(estimators_by_name))
    contestants = []
    for name, loss in losses.items():
        excess = means(predictions, loss - losses[first], draws)
        contestants.append(
            Contestant(
                name=name,
                learnt_rows=len(sample),
                rows=len(validation),
                loss=float(loss.mean()),
                over_first=float((loss - losses[first]).mean()),
                over_first_at_most=float(np.quantile(excess, 0.975)),
            )
        )
    chosen = decide_contest(contestants)
    return replace(declaration, estimator=estimators_by_name[chosen]), tuple(
        replace(each, chosen=each.name == chosen) for each in contestants
    )


def decide_contest(contestants: Sequence[Contestant]) -> str:
    """Choose the estimator of the lowest loss among those that beat the first one beyond noise, else the first one."""
    better = [each for each in contestants if each.over_first_at_most < 0]
    return min(better, key=lambda each: each.loss).name if better else contestants[0].name


def rehearse(
    declaration: ModelDeclaration, frame: pd.DataFrame, rows: Observed
) -> tuple[ModelDeclaration, Rehearsal | None]:
    """Return the declaration, with class weights if these lower the costs of errors, and its validation predictions.

    The estimator learns without and with class weights from the same rows, and is measured on the same later rows. It
    learns from all earlier rows, because scaling and threshold must suit the model of all rows.

    Parameters
    ----------
    declaration : ModelDeclaration
        With the estimator that `choose_estimator` chose.
    frame, rows
        As for `choose_estimator`.

    Returns
    -------
    tuple of (ModelDeclaration, Rehearsal or None)
        The given declaration and None if it declares no costs, or if the training side has too few rows to be split
        once more.
    """
    task = with_costs(declaration.task)
    if task is None:
        return declaration, None
    weights = task.class_weights()
    try:
        sides = temporal_split(frame, declaration)
    except UntrainableError:
        return declaration, None
    train, validation = rows.rows(sides.train), rows.rows(sides.test)
    fold = folds(validation.entities, declaration.seed)
    if any(validation.label[fold != number].nunique() < 2 for number in range(FOLDS)):
        return declaration, None

    def weighted(scaling: Scaling | None) -> ModelDeclaration:
        make = partial(_weighted, declaration.estimator, weights, scaling)
        return replace(declaration, estimator=make)

    def predicted(each: ModelDeclaration) -> Predictions:
        fitted = fit(each, train.features, train.label, train.weights)
        return validation.predicted(predict(fitted, validation.features, task), task)

    try:
        without = predicted(declaration)
        # equal weights change nothing
        with_weights = without if len({*weights.values()}) == 1 else predicted(weighted(None))
    except UntrainableError:
        return declaration, None
    result = try_weights(
        declaration,
        without,
        with_weights,
        validation.stands_for,
        learnt_rows=len(train),
        learnt_share=len(train) / len(rows),
    )
    if not result.applied or result.scaling is None:
        return declaration, Rehearsal(predictions=without, stands_for=validation.stands_for, weights=result)
    scaled = replace(with_weights, predicted=result.scaling.apply(with_weights.predicted))
    return weighted(result.scaling), Rehearsal(predictions=scaled, stands_for=validation.stands_for, weights=result)


def _weighted(
    estimator: Callable[[], BaseEstimator], weights: dict[int | str, float], scaling: Scaling | None
) -> BaseEstimator:
    from models.pickled.estimators import ClassWeighted

    return ClassWeighted(estimator(), weights, scaling)
