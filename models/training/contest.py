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
    """Return the declaration with the estimator that is measured and published, and how the contest went.

    Parameters
    ----------
    declaration : ModelDeclaration
    frame : DataFrame
        The training side of a split.
    rows : Observed
        The same rows, as they are learnt from.

    Returns
    -------
    tuple of (ModelDeclaration, tuple of Contestant)
        The first declared estimator and no contestants where it is alone, or where the training side cannot be split
        once more.

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
    entered = {own: declaration.estimator, **declaration.estimators}
    try:
        sides = temporal_split(frame, declaration)
    except UntrainableError:
        return declaration, ()
    train, validation = rows.rows(sides.train), rows.rows(sides.test)
    learnt = train.rows(some_rows(len(train), CONTEST_ROWS, declaration.seed))
    losses = {}
    for name, estimator in entered.items():
        fitted = fit(replace(declaration, estimator=estimator), learnt.features, learnt.label, learnt.weights)
        predictions = validation.predicted(predict(fitted, validation.features, declaration.task), declaration.task)
        losses[name] = predictions.losses()
    drawn = resampled(predictions.groups, RESAMPLES, declaration.seed)
    first = next(iter(entered))
    contestants = []
    for name, loss in losses.items():
        lost = means(predictions, loss - losses[first], drawn)
        contestants.append(
            Contestant(
                name=name,
                learnt_rows=len(learnt),
                rows=len(validation),
                loss=float(loss.mean()),
                over_first=float((loss - losses[first]).mean()),
                over_first_at_most=float(np.quantile(lost, 0.975)),
            )
        )
    chosen = decide_contest(contestants)
    return replace(declaration, estimator=entered[chosen]), tuple(
        replace(each, chosen=each.name == chosen) for each in contestants
    )


def decide_contest(contestants: Sequence[Contestant]) -> str:
    """Choose the estimator of the lowest loss among those that beat the first one beyond noise, else the first one."""
    better = [each for each in contestants if each.over_first_at_most < 0]
    return min(better, key=lambda each: each.loss).name if better else contestants[0].name


def rehearse(
    declaration: ModelDeclaration, frame: pd.DataFrame, rows: Observed
) -> tuple[ModelDeclaration, Rehearsal | None]:
    """Return the declaration that learns as errors cost least, and validation rows as it predicts them.

    The estimator learns without and with weights of the classes by their costs, from the same rows, and chooses on the
    same later ones. It learns from all earlier rows, for scaling and threshold are to suit the model of all rows.

    Parameters
    ----------
    declaration : ModelDeclaration
        With the estimator that `choose_estimator` chose.
    frame, rows
        As there.

    Returns
    -------
    tuple of (ModelDeclaration, Rehearsal or None)
        The given one and None where no costs are declared, or where the training side has too few rows to be split once
        more.
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
        # equal weights are none
        with_weights = without if len({*weights.values()}) == 1 else predicted(weighted(None))
    except UntrainableError:
        return declaration, None
    tried = try_weights(
        declaration,
        without,
        with_weights,
        validation.stands_for,
        learnt_rows=len(train),
        learnt_share=len(train) / len(rows),
    )
    if not tried.applied or tried.scaling is None:
        return declaration, Rehearsal(predictions=without, stands_for=validation.stands_for, weights=tried)
    scaled = replace(with_weights, predicted=tried.scaling.apply(with_weights.predicted))
    return weighted(tried.scaling), Rehearsal(predictions=scaled, stands_for=validation.stands_for, weights=tried)


def _weighted(
    estimator: Callable[[], BaseEstimator], weights: dict[int | str, float], scaling: Scaling | None
) -> BaseEstimator:
    from models.pickled.estimators import ClassWeighted

    return ClassWeighted(estimator(), weights, scaling)
