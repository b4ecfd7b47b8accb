"""Clipping learns its bounds from the rows that it is fitted on and drops nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from models.pickled.estimators import QuantileClipper, WeightedPipeline


def test_bounds_are_quantiles_that_occur():
    clipper = QuantileClipper(lower=0.01, upper=0.99).fit(np.arange(1000.0)[:, None])
    assert (clipper.lower_[0], clipper.upper_[0]) == (9, 990)
    assert clipper.transform(np.array([[-5.0], [500], [1e9]]))[:, 0].tolist() == [9, 500, 990]


def test_missing_values_neither_count_nor_change():
    column = np.r_[np.arange(1000.0), np.full(5000, np.nan)][:, None]
    clipper = QuantileClipper(lower=0.01, upper=0.99).fit(column)
    assert (clipper.lower_[0], clipper.upper_[0]) == (9, 990)
    clipped = clipper.transform(column)
    assert clipped.shape == column.shape
    assert np.isnan(clipped[1000:]).all()


def test_columns_with_few_distinct_values_are_left_alone():
    few = np.r_[np.zeros(9999), 1e6]
    empty = np.full(10_000, np.nan)
    clipper = QuantileClipper().fit(pd.DataFrame({"few": few, "empty": empty}))
    assert clipper.transform(pd.DataFrame({"few": [1e9], "empty": [7.0]})).tolist() == [[1e9, 7.0]]


def test_an_outlier_among_new_rows_is_held_to_the_bound():
    rng = np.random.default_rng(1)
    clipper = QuantileClipper().fit(rng.normal(size=(5000, 1)))
    assert 2 < clipper.transform([[1e6]])[0, 0] < 4


def test_more_distinct_values_than_levels_are_rounded_up_to_quantiles():
    values = np.random.default_rng(2).exponential(size=(5000, 1))
    clipper = QuantileClipper(levels=15).fit(values)
    rounded = clipper.transform(values)[:, 0]
    _, counts = np.unique(rounded, return_counts=True)
    assert len(counts) == 15
    assert counts[1:].min() > 0.9 * 5000 / 14
    inside = (values[:, 0] >= clipper.lower_[0]) & (values[:, 0] <= clipper.upper_[0])
    assert (rounded[inside] >= values[inside, 0]).all()
    assert clipper.transform([[1e6]])[0, 0] == clipper.upper_[0]
    assert np.isnan(clipper.transform([[np.nan]])[0, 0])


def test_as_many_distinct_values_as_levels_stay_as_they_are():
    values = np.arange(30.0)[:, None]
    clipper = QuantileClipper(lower=0, upper=1, levels=30).fit(values)
    assert clipper.transform(values).tolist() == values.tolist()


def test_trees_split_between_levels_and_nowhere_else():
    """What the levels replace: with as many bins as levels, the trees need not look for bins of their own."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4000, 3))
    label = (values[:, 0] + values[:, 1] ** 2 + rng.normal(size=4000) > 1).astype(int)
    trees = HistGradientBoostingClassifier(max_iter=20, max_bins=63, early_stopping=False, random_state=1)
    levels = QuantileClipper(levels=63)
    fitted = make_pipeline(levels, clone(trees)).fit(
        values, label, histgradientboostingclassifier__sample_weight=label + 1
    )
    for column, found in enumerate(fitted[-1]._bin_mapper.bin_thresholds_):
        rising = fitted[0].levels_[column]
        assert found == pytest.approx((rising[1:] + rising[:-1]) / 2)
    fresh = rng.normal(size=(20_000, 3))
    happens = (fresh[:, 0] + fresh[:, 1] ** 2 + rng.normal(size=20_000) > 1).astype(int)
    losses = [
        log_loss(happens, each.fit(values, label).predict_proba(fresh)[:, 1])
        for each in (clone(trees), make_pipeline(levels, clone(trees)))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_a_pipeline_weighs_the_rows_of_its_last_step() -> None:
    rng = np.random.default_rng(4)
    x, weights = rng.normal(size=(60, 2)), rng.integers(1, 4, 60)
    y = x @ [2.0, -1.0] + rng.normal(size=60)
    x[::7, 1] = np.nan

    def fitted(**weighted: np.ndarray) -> WeightedPipeline:
        steps = [("fill", SimpleImputer(strategy="constant", fill_value=0)), ("ridge", Ridge())]
        return WeightedPipeline(steps).fit(x, y, **weighted)

    filled, of_rows = np.nan_to_num(x), fitted(sample_weight=weights).predict(x)
    assert np.allclose(of_rows, Ridge().fit(filled, y, sample_weight=weights).predict(filled))
    assert np.allclose(fitted().predict(x), Ridge().fit(filled, y).predict(filled))
    assert not np.allclose(of_rows, fitted().predict(x))
