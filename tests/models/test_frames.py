"""The cast that training and scoring share."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from models.learning.frames import MISSING, ObservationError, check_observations, feature_kinds, model_input


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([1, 2], dtype="int64"), [1, 2]),
        (pd.Series([1, None], dtype="Int64"), [1, np.nan]),
        (pd.Series([1.5, None]), [1.5, np.nan]),
        (pd.Series([Decimal("1.25"), None], dtype=object), [1.25, np.nan]),
        (pd.Series([True, False]), [1, 0]),
        (pd.Series([True, None], dtype=object), [1, np.nan]),
        (pd.Series([True, None], dtype="boolean"), [1, np.nan]),
    ],
)
def test_numbers_become_doubles(column, expected):
    frame = column.to_frame("x")
    kinds = feature_kinds(frame, frozenset())
    assert kinds == {"x": "number"}
    cast = model_input(frame, kinds)["x"]
    assert cast.dtype == "float64"
    np.testing.assert_array_equal(cast, expected)


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_text_keeps_missing_as_a_category(dtype):
    frame = pd.DataFrame({"x": pd.Series(["a", None], dtype=dtype)})
    kinds = feature_kinds(frame, frozenset())
    assert kinds == {"x": "text"}
    assert model_input(frame, kinds)["x"].tolist() == ["a", MISSING]


def test_a_column_of_nulls_scores_as_it_was_learnt():
    nulls = pd.DataFrame({"number": [None, None], "text": [None, None]})
    cast = model_input(nulls, {"number": "number", "text": "text"})
    assert cast["number"].isna().all()
    assert cast["text"].tolist() == [MISSING, MISSING]


def test_order_and_index_are_those_of_training_and_of_the_frame():
    frame = pd.DataFrame({"extra": [0], "b": [1], "a": [2]}, index=[7])
    cast = model_input(frame, {"a": "number", "b": "number"})
    assert cast.columns.tolist() == ["a", "b"]
    assert cast.index.tolist() == [7]


def test_a_missing_feature_is_named():
    with pytest.raises(ObservationError, match=r"\['b'\] are missing"):
        model_input(pd.DataFrame({"a": [1]}), {"a": "number", "b": "text"})


def test_text_where_numbers_were_learnt_is_refused():
    with pytest.raises(ObservationError, match="'12'"):
        model_input(pd.DataFrame({"a": ["12", None]}), {"a": "number"})


def test_a_time_is_no_feature():
    with pytest.raises(ObservationError, match=r"'closed_at'.*datetime"):
        feature_kinds(pd.DataFrame({"closed_at": pd.to_datetime(["2025-01-01"])}), frozenset())


def day(zone):
    return pd.to_datetime(["2025-01-01", "2025-01-02"]).tz_localize(zone)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"as_of": day("UTC")}, r"\['k'\] are missing"),
        ({"k": ["a", None], "as_of": day("UTC")}, "1 nulls in 2 rows"),
        ({"k": ["a", "b"], "as_of": day(None)}, "zone UTC"),
        ({"k": ["a", "b"], "as_of": day("Europe/London")}, "Europe/London"),
        ({"k": ["a", "a"], "as_of": day("UTC")[[1, 1]]}, "1 doubled rows.*'a'"),
    ],
)
def test_rows_that_are_no_observations_are_refused(frame, message):
    with pytest.raises(ObservationError, match=message):
        check_observations(pd.DataFrame(frame), "k")
