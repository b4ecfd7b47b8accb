"""The trial of a horizon: whether a model over it would be promoted, measured on few rows without storing anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.decisions.horizons import HorizonTrial
from models.decisions.promotion import PromotionEvidence, decide_promotion
from models.declaring.columns import AS_OF
from models.declaring.declaration import ModelDeclaration
from models.evaluation.census import census_clocks, census_rows, measure_beside_rule, slices_of_silence, totals
from models.evaluation.held_out import beside_baseline
from models.evaluation.records import BesideRule, CensusSlice, Total
from models.evaluation.validation import Observed, some_rows
from models.learning.fitting import fit, predict
from models.learning.frames import feature_kinds, model_input
from models.learning.splitting import row_weights, sample_weights, temporal_split
from models.untrainable import UntrainableError

if TYPE_CHECKING:
    import pandas as pd

TRIAL_ROWS = 20_000
"""Rows that a trial learns from, at most."""


def try_horizon(
    declaration: ModelDeclaration,
    frame: pd.DataFrame,
    clock: pd.Timestamp,
    census: Callable[[list[pd.Timestamp]], pd.DataFrame],
) -> HorizonTrial:
    """Measure the declared model over its horizon as a training would, and decide as for a first champion.

    A training also cross-validates, and may scale the predictions; a trial does neither.

    Parameters
    ----------
    declaration : ModelDeclaration
        The model with the horizon that is tried.
    frame : DataFrame
        As for `models.training.training_set.freeze`.
    clock : Timestamp
    census : callable
        Returns the open entities of past clocks, as `models.training.training_set.freeze` takes them.
    """
    days, task = declaration.horizon_days, declaration.task
    if frame.empty:
        return HorizonTrial(horizon_days=days, passes=False, primary=None, reason="No label has matured.")
    # in the order of a training set, so that a rerun gives the same figures
    frame = frame.sort_values([declaration.feature_view.key, AS_OF], kind="stable", ignore_index=True)
    kinds = feature_kinds(frame, declaration.not_features)
    try:
        sides = temporal_split(frame, declaration)
        rows = Observed(
            features=model_input(frame, kinds),
            label=task.cast(frame[declaration.label_column]),
            weights=sample_weights(frame, declaration, sides.cut),
            stands_for=row_weights(frame, declaration),
            entities=frame[declaration.feature_view.key].factorize()[0],
        )
        train, test = rows.rows(sides.train), rows.rows(sides.test)
        sample = train.rows(some_rows(len(train), TRIAL_ROWS, declaration.seed))
        fitted = fit(declaration, sample.features, sample.label, sample.weights)
    except UntrainableError as error:
        return HorizonTrial(horizon_days=days, passes=False, primary=None, reason=str(error))
    predicted = test.predicted(predict(fitted, test.features, task), task)
    metrics, trivial, over_baseline = beside_baseline(declaration, predicted, task.baseline(train.label))
    clocks = census_clocks(sides.cut, clock, days)
    of_clocks = census(clocks) if clocks else None
    census_totals: tuple[Total, ...] = ()
    silence: tuple[CensusSlice, ...] = ()
    beside_rule: BesideRule | None = None
    # a training freezes no census either if no entity was open
    if of_clocks is not None and len(of_clocks):
        expected = census_rows(declaration, of_clocks, kinds)
        predictions = expected.predicted(predict(fitted, expected.features, task), task)
        census_totals = totals(predictions, of_clocks[AS_OF].factorize(sort=True)[0])
        silence = slices_of_silence(declaration, predictions, of_clocks)
        beside_rule = measure_beside_rule(declaration, predictions, of_clocks)
    decision = decide_promotion(
        PromotionEvidence(
            model=declaration.name,
            version=f"A version over {days} days",
            horizon_days=days,
            primary_metric=declaration.primary_metric,
            loss=task.loss,
            metrics=metrics,
            baseline=trivial,
            over_baseline=over_baseline,
            census=census_totals,
            silence=silence,
            rule=declaration.rule,
            beside_rule=beside_rule,
            words=dict(task.words),
            max_census_off=declaration.max_census_off,
            max_skill_loss=declaration.max_skill_loss,
            champion=None,
        )
    )
    return HorizonTrial(
        horizon_days=days,
        passes=decision.outcome == "promote",
        primary=metrics[declaration.primary_metric],
        reason=decision.reason,
    )
