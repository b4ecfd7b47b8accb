"""Clipping learns its bounds from the rows that it is fitted on and drops nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.estimators import QuantileClipper


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
