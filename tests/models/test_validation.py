"""Folds share no entity, samples are what they are said to be, and what cannot be measured says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.evaluation import validation
from models.evaluation.validation import Observed, cross_validate, importance, learning_curve, some_entities, some_rows
from models.learning.fitting import fit, predict


def observed(entities: int = 200, each: int = 4, seed: int = 1) -> Observed:
    """Return rows whose outcome depends on a number; of the other features one repeats it and one names the entity."""
    rng = np.random.default_rng(seed)
    rows = entities * each
    entity = np.repeat(np.arange(entities), each)
    x = rng.normal(size=rows)
    features = pd.DataFrame({"x": x, "noise": rng.normal(size=rows), "name": entity.astype(float)})
    label = pd.Series((rng.random(rows) < 1 / (1 + np.exp(-2 * x))).astype(int))
    return Observed(features=features, label=label, weights=np.ones(rows), stands_for=np.ones(rows), entities=entity)


def test_sampled_rows_are_of_nearly_all_entities():
    rows = observed()
    chosen = some_rows(len(rows), 300, seed=1)
    assert chosen.sum() == 300
    assert len(np.unique(rows.entities[chosen])) > 150
    np.testing.assert_array_equal(chosen, some_rows(len(rows), 300, seed=1))
    assert some_rows(10, 300, seed=1).all()


def test_sampled_entities_come_whole_and_nested():
    entities = observed().entities
    quarter, half = (some_entities(entities, share, seed=1) for share in (0.25, 0.5))
    assert (quarter.sum(), half.sum()) == (200, 400)
    assert not (quarter & ~half).any()
    assert not set(entities[half]) & set(entities[~half])
    assert len(np.unique(entities[some_entities(entities, 0.0001, seed=1)])) == 1


def test_folds_share_no_entity(conversion):
    rows = observed()
    crossed, predictions, folds, _ = cross_validate(conversion, rows)
    assert (crossed.rows, crossed.entities, len(crossed.folds)) == (800, 200, 5)
    for fold in range(5):
        assert not set(predictions.group[folds == fold]) & set(predictions.group[folds != fold])
    assert crossed.mean == pytest.approx(np.mean(crossed.folds))
    assert crossed.spread == pytest.approx(np.std(crossed.folds, ddof=1) / crossed.mean)
    assert 0.75 < crossed.mean < 0.95


def test_out_of_fold_predictions_have_not_seen_their_rows(conversion):
    rng = np.random.default_rng(2)
    rows = observed()
    # the outcome is the entity's own, and only who has seen the entity can know it
    own = pd.Series(rng.integers(2, size=200)[rows.entities])
    known = replace(rows, features=rows.features[["name", "noise"]], label=own)
    crossed, *_ = cross_validate(conversion, known)
    assert crossed.mean == pytest.approx(0.5, abs=0.1)


def test_what_cannot_be_cross_validated_says_why(conversion):
    assert cross_validate(conversion, observed(entities=4)) == "4 entities are too few for 5 folds"
    rows = observed()
    rare = replace(rows, label=pd.Series((rows.entities == 3).astype(int)))
    assert cross_validate(conversion, rare) == "1 of 5 folds leave one value of the label or no feature to learn from"


def test_the_learning_curve_ends_with_all_rows(conversion, monkeypatch):
    monkeypatch.setattr(validation, "SAMPLED_ROWS", 400)
    train, test = observed(), observed(seed=2)
    fitted = fit(conversion, train.features, train.label, train.weights)
    measured = test.predicted(predict(fitted, test.features, conversion.task), conversion.task)
    curve = learning_curve(conversion, train, test, measured)
    sampled = len(np.unique(train.entities[some_rows(800, 400, conversion.seed)]))
    assert [point.entities for point in curve] == [int(sampled * share) for share in (0.125, 0.25, 0.5)] + [200]
    assert curve[-1].rows == 800
    assert curve[0].primary < curve[-1].primary
    assert curve[0].loss > curve[-1].loss


def test_importance_is_what_shuffling_costs(conversion):
    train, test = observed(), observed(seed=2)
    fitted = fit(conversion, train.features, train.label, train.weights)
    ranked, rows = importance(fitted, test, conversion.task, seed=1)
    assert rows == 800
    assert ranked[0].feature == "x"
    assert ranked[0].rise > 10 * abs(ranked[1].rise)
