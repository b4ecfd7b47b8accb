"""Reasons name what moves a prediction, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from models.learning.fitting import predict
from models.learning.frames import model_input
from models.scoring.explanation import reasons


@pytest.fixture
def rows(frame):
    return frame.tail(40)


def test_the_strongest_reason_is_the_cause(converter, rows):
    told = reasons(converter, rows, "converted")
    assert told.index.tolist() == rows.index.tolist()
    busy = told[rows["calls_count_7d"] >= 4]
    quiet = told[rows["calls_count_7d"] == 0]
    assert len(busy) > 0
    assert len(quiet) > 0
    assert all(re.match(r"calls_count_7d = [4-9] raises it by 0\.\d\d$", sentences[0]) for sentences in busy)
    assert all(re.match(r"calls_count_7d = 0 lowers it by 0\.\d\d$", sentences[0]) for sentences in quiet)


def test_the_effect_is_that_of_the_typical_value(converter, rows):
    row = rows[rows["calls_count_7d"] >= 4].head(1)
    features = model_input(row, converter.features)
    changed = features.assign(calls_count_7d=converter.manifest["typical"]["calls_count_7d"])
    before, after = (predict(converter.pipeline, each, converter.task)[0, 0] for each in (features, changed))
    assert reasons(converter, row, "converted").iloc[0][0].endswith(f"raises it by {before - after:.2f}")


def test_a_typical_row_has_no_reasons(converter, rows):
    typical = {name: np.nan if value is None else value for name, value in converter.manifest["typical"].items()}
    assert reasons(converter, rows.head(2).assign(**typical), "converted").tolist() == [[], []]


def test_at_most_so_many_and_none_without_effect(converter, rows):
    told = reasons(converter, rows, "converted", top=1)
    assert {len(sentences) for sentences in told} <= {0, 1}
    effects = [float(s.rsplit(" ", 1)[1]) for each in reasons(converter, rows, "converted", top=9) for s in each]
    assert min(effects) >= converter.task.smallest_effect(converter.manifest["baseline"], "converted")


def test_reasons_do_not_depend_on_the_other_rows(converter, rows):
    together = reasons(converter, rows, "converted")
    assert [reasons(converter, rows.iloc[[n]], "converted").iloc[0] for n in range(4)] == together.head(4).tolist()


def test_missing_values_text_and_fractions_are_readable(recommender, rows):
    told = reasons(recommender, rows.assign(noise_days=0.123456), "call_immediate", top=9)
    sentences = {sentence for each in told for sentence in each}
    assert any(sentence.startswith("source_channel = ") for sentence in sentences)
    assert all("0.123456" not in sentence for sentence in sentences)
    missing = reasons(recommender, rows.assign(calls_count_7d=None, source_channel=None), "call_immediate", top=9)
    assert any("source_channel = (missing)" in sentence for each in missing for sentence in each)


def test_an_unknown_outcome_is_named(converter, rows):
    with pytest.raises(ValueError, match="found 'lost'"):
        reasons(converter, rows, "lost")


def test_no_rows_no_reasons(converter, rows):
    assert reasons(converter, rows.head(0), "converted").tolist() == []
