"""What training has seen, counted by entities, and what lies outside of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from models.declaring.declaration import RowWeight
from models.learning.ranges import learnt_ranges, named, outside


def numbers(values: list[float | None]) -> pd.DataFrame:
    return pd.DataFrame({"age": np.array(values, dtype="float64")})


def texts(values: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"source": pd.Series(values, dtype=object)})


def test_a_number_reaches_as_far_as_twenty_entities():
    # one entity at each of 0 to 999: twenty lie at or below 19, and twenty at or above 980
    found = learnt_ranges(numbers(list(range(1000))), np.arange(1000), ("age",))
    assert found == {"age": {"lower": 19.0, "upper": 980.0, "missing": False}}


def test_entities_are_counted_and_not_rows():
    # a thousand rows of one entity far out say nothing; fifty entities have been at 1 and at 5
    values = [1, 5] * 50 + [500] * 1_000
    entities = np.r_[np.repeat(np.arange(50), 2), np.full(1_000, 50)]
    assert learnt_ranges(numbers(values), entities, ("age",)) == {"age": {"lower": 1.0, "upper": 5.0, "missing": False}}
    sources = learnt_ranges(texts(["web", "fair"] * 50 + ["spam"] * 1_000), entities, ("source",))
    assert sources == {"source": {"values": ["fair", "web"]}}


@pytest.mark.parametrize(("without", "missing"), [(19, False), (20, True)])
def test_missing_is_seen_where_twenty_entities_had_none(without, missing):
    found = learnt_ranges(numbers([None] * without + [1.0] * 981), np.arange(without + 981), ("age",))
    assert found["age"] == {"lower": 1.0, "upper": 1.0, "missing": missing}


@pytest.mark.parametrize(("entities", "lower", "upper"), [(10, 1, 8), (100, 1, 98), (500, 9, 490), (5000, 19, 4980)])
def test_of_few_entities_a_share_suffices(entities, lower, upper):
    found = learnt_ranges(numbers(list(range(entities))), np.arange(entities), ("age",))
    assert found["age"] == {"lower": lower, "upper": upper, "missing": False}


def test_rare_texts_are_seen_together():
    """They share a category in learning."""
    values, entities = ["web"] * 1000 + [f"rare {number}" for number in range(20)], np.arange(1020)
    assert len(learnt_ranges(texts(values), entities, ("source",))["source"]["values"]) == 21
    assert learnt_ranges(texts(values[:-1]), entities[:-1], ("source",))["source"]["values"] == ["web"]


def test_a_text_with_many_rows_of_one_entity_is_not_seen_with_the_rare_ones():
    """It has a category of its own in learning, which nobody else is in."""
    values = ["web"] * 1000 + [f"rare {number}" for number in range(20)] + ["spam"] * 25
    entities = np.r_[np.arange(1020), np.full(25, 1020)]
    seen = learnt_ranges(texts(values), entities, ("source",))["source"]["values"]
    assert len(seen) == 21
    assert "spam" not in seen
    # with a few rows it shares theirs
    assert "spam" in learnt_ranges(texts(values[:-6]), entities[:-6], ("source",))["source"]["values"]


@pytest.mark.parametrize(("many", "all_seen"), [(9, False), (10, True)])
def test_values_of_few_entities_are_all_seen_where_a_tenth_have_one(many, all_seen):
    """As postal regions of a small company: two entities each, with rows enough for a category of their own."""
    entities = np.repeat(np.arange(200), 25)
    of_entity = [f"region {number // 2}" if number < 2 * many else "home" for number in range(200)]
    found = learnt_ranges(texts([of_entity[number] for number in entities]), entities, ("source",))
    assert len(found["source"]["values"]) == 1 + many * all_seen
    new = texts(["region 0", "home", "nowhere"])
    marked = ["source = region 0 (seldom or never learnt from)", None, "source = nowhere (seldom or never learnt from)"]
    assert outside(new, found) == [None if all_seen else marked[0], *marked[1:]]


def test_a_feature_that_was_never_known_has_no_range():
    found = learnt_ranges(numbers([None] * 30), np.arange(30), ("age",))
    assert found == {"age": {"lower": None, "upper": None, "missing": True}}
    assert outside(numbers([None, 5]), found) == [None, None]


def test_what_is_no_feature_has_no_range():
    assert learnt_ranges(numbers([1.0] * 30), np.arange(30), ("zip_prefix",)) == {}


def test_a_silence_is_learnt_from_up_to_twice_its_length():
    features = pd.DataFrame({"silent": [2.0] * 30 + [40.0] * 30, "age": [2.0] * 30 + [40.0] * 30})
    weight = RowWeight(column="silent", at_least=7)
    found = learnt_ranges(features, np.arange(60), ("silent", "age"), weight)
    assert (found["silent"]["lower"], found["silent"]["upper"]) == (2, 80)
    assert found["age"]["upper"] == 40, "and no other feature"
    short = learnt_ranges(features.head(30), np.arange(30), ("silent",), weight)
    assert short["silent"]["upper"] == 9, "a row stands for seven days at least"


def test_outside_says_of_what_in_words():
    ranges = {
        "age": {"lower": 2.0, "upper": 100.0, "missing": False},
        "source": {"values": ["fair", "web"]},
        "worth": {"lower": 1.0, "upper": 9.0, "missing": True},
    }
    features = pd.DataFrame(
        {
            "age": [2.0, 100.0, 1.5, 123.456, np.nan],
            "source": pd.Series(["web", "fair", "web", "spam", "web"], dtype=object),
            "worth": [1.0, np.nan, 9.0, 10.0, np.nan],
            "noise": [1e9] * 5,
        }
    )
    assert outside(features, ranges) == [
        None,
        None,
        "age = 1.5 (learnt from 2 on)",
        "age = 123.5 (learnt from up to 100); source = spam (seldom or never learnt from); "
        "worth = 10 (learnt from up to 9)",
        "age is missing (seldom or never learnt from)",
    ]
    assert [named(each) for each in outside(features, ranges) if each] == [["age"], ["age", "source", "worth"], ["age"]]
    odd = outside(texts(["a (b); age = 3 or so", "is missing"]), {"source": {"values": []}})
    assert [named(each) for each in odd] == [["source"], ["source"]]
    assert outside(features, {}) == [None] * 5
    assert outside(features.head(0), ranges) == []


def test_ranges_survive_json():
    features = pd.concat([numbers([1.5, None] * 20), texts(["web"] * 40)], axis=1)
    found = learnt_ranges(features, np.arange(40), ("age", "source"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert outside(features, found) == [None] * 40
