"""The split out of time and the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.declared.lead_features import SILENCE
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import RowWeight
from models.learning.frames import ObservationError
from models.learning.splitting import row_weights, sample_weights, temporal_split
from models.untrainable import UntrainableError

CONVERSION = DECLARATIONS["conversion"].with_horizon(10)
START = pd.Timestamp("2025-01-01", tz="UTC")


def leads(created: list[int], offsets: tuple[int, ...] = (1, 4, 12)) -> pd.DataFrame:
    """Return observations of leads created on the given days; every other row converts."""
    rows = [(f"L{n:02d}", START + pd.Timedelta(days=d), START + pd.Timedelta(days=d + o))
            for n, d in enumerate(created) for o in offsets]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["lead_id", "lead_created_at", "as_of"])
    return frame.assign(converted=np.arange(len(frame)) % 2, days_since_last_fact=1.0)


def test_the_last_created_are_held_out_and_open_labels_do_not_train():
    frame = leads([0, 5, 10, 15, 20, 25, 30, 40, 50, 60])
    split = temporal_split(frame, CONVERSION)
    assert split.cut == START + pd.Timedelta(days=40)
    assert frame.loc[split.test, "lead_id"].unique().tolist() == ["L07", "L08", "L09"]
    assert (split.train_entities, split.test_entities) == (6, 3)
    # L05 was created on day 25: its labels of days 26 and 29 mature by day 40, the one of day 37 does not
    assert frame.loc[split.train, "as_of"].max() == START + pd.Timedelta(days=29)
    assert not split.train[frame["lead_id"] == "L06"].any()


def test_leads_of_the_same_moment_are_ordered_by_key():
    frame = leads([0] * 7 + [30] * 3)
    held_out = temporal_split(frame.sample(frac=1, random_state=1), replace(CONVERSION, test_share=0.2))
    again = temporal_split(frame, replace(CONVERSION, test_share=0.2))
    assert frame.loc[again.test, "lead_id"].unique().tolist() == ["L08", "L09"]
    assert held_out.cut == again.cut


def test_of_entities_that_last_the_last_observations_are_held_out():
    churn = DECLARATIONS["churn_30d"].with_horizon(10)
    frame = leads([0, 0, 0, 5], offsets=(1, 11, 21, 31, 41)).rename(columns={"lead_id": "customer_id"})
    frame = frame.assign(churned_30d=np.arange(len(frame)) % 2)
    split = temporal_split(frame, churn)
    # 6 of 20 observations: the last of the customers of day 0, and two of the one of day 5, from day 36 on
    assert split.cut == START + pd.Timedelta(days=31)
    assert (frame.loc[split.test, "as_of"] >= split.cut).all()
    assert split.test.sum() == 8, "all observations of the moment of the cut"
    assert frame.loc[split.train, "as_of"].max() + pd.Timedelta(days=10) == split.cut
    assert (split.train_entities, split.test_entities) == (4, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=2, max_size=40), st.sampled_from([0.1, 0.3, 0.5]))
def test_no_lead_on_both_sides_and_nothing_learnt_from_the_future(created, share):
    frame = leads(created)
    try:
        split = temporal_split(frame, replace(CONVERSION, test_share=share))
    except UntrainableError:
        return
    assert not set(frame.loc[split.train, "lead_id"]) & set(frame.loc[split.test, "lead_id"])
    assert (frame.loc[split.train, "as_of"] + pd.Timedelta(days=10) <= split.cut).all()
    assert (frame.loc[split.test, "lead_created_at"] >= split.cut).all()
    assert frame.loc[split.test, "lead_id"].nunique() == len(created) - int(len(created) * (1 - share))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            leads([0, 1, 2, 3]),
            r"The training rows need two values of converted, found none: .* 10 days\. Load more history",
        ),
        (
            leads([0, 5, 40, 60]).assign(converted=0),
            "have 0 as converted.* Load leads of other outcomes",
        ),
        (
            leads([0, 5, 40, 60]).assign(converted=[0, 1] * 3 + [0] * 6),
            r"held-out rows need two values of converted, found 6 of 0: .* 10 days\. Load more history",
        ),
    ],
)
def test_too_few_rows_come_with_figures_and_remedy(frame, message):
    with pytest.raises(UntrainableError, match=message) as refused:
        temporal_split(frame, CONVERSION)
    assert refused.value.value.horizon_matters


def test_the_trivial_baseline_is_what_the_training_rows_show():
    assert CONVERSION.task.baseline(pd.Series([0, 0, 1, 0])) == [0.25]
    actions = DECLARATIONS["next_best_action"]
    assert actions.task.baseline(pd.Series(["no_action", "call_immediate"] * 2)) == [0.5, 0.0, 0.0, 0.0, 0.5]


def test_only_success_that_was_known_weighs_more():
    cut = START + pd.Timedelta(days=20)
    frame = leads([0]).assign(succeeded_at=[cut - pd.Timedelta(days=1), cut, pd.NaT])
    declared = replace(CONVERSION, success_weight=3.0, row_weight=None)
    assert sample_weights(frame, declared, cut).tolist() == [3, 1, 1]
    # on top of what a row stands for
    silent = frame.assign(days_since_last_fact=[1.0, 20.0, 8.0])
    assert sample_weights(silent, replace(declared, row_weight=SILENCE), cut).tolist() == [21, 20, 8]


def test_a_row_weighs_what_it_stands_for():
    frame = leads([0]).assign(days_since_last_fact=[0.5, 7.0, 30.25])
    assert row_weights(frame, CONVERSION).tolist() == [7, 7, 30.25]
    low = replace(CONVERSION, row_weight=RowWeight(column="days_since_last_fact", at_least=0.25))
    assert row_weights(frame, low).tolist() == [0.5, 7, 30.25]
    assert row_weights(frame, replace(CONVERSION, row_weight=None)).tolist() == [1, 1, 1]


def test_what_is_weighed_by_must_be_known():
    with pytest.raises(ObservationError, match=r"weighted by days_since_last_fact, .* found no such column"):
        row_weights(leads([0]).drop(columns="days_since_last_fact"), CONVERSION)
    with pytest.raises(ObservationError, match="found rows without a value"):
        row_weights(leads([0]).assign(days_since_last_fact=[1.0, None, 3.0]), CONVERSION)


def test_weights_need_to_know_who_succeeded():
    assert sample_weights(leads([0]), CONVERSION, START).tolist() == [7, 7, 7]
    with pytest.raises(ValueError, match="'succeeded_at'"):
        sample_weights(leads([0]), replace(CONVERSION, success_weight=2.0), START)
