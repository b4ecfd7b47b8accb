"""Gates know which way is better, what is undefined, and what nobody could surpass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.evaluation.gates import gates
from models.versions.candidate import evaluate

COST = {"entities": 500.0, "training_minutes": 0.5, "prediction_milliseconds": 60.0, "file_megabytes": 0.1}


@pytest.fixture
def evaluation(converter):
    measured = evaluate(converter)
    return replace(measured, metrics={**measured.metrics, "auc": 0.75, "ece_10": 0.04})


def test_minima_and_maxima(evaluation):
    found = gates({"auc": 0.75, "ece_10": 0.04}, evaluation, COST)
    assert [(gate.met, gate.at_most) for gate in found] == [(True, False), (True, True)]
    missed = gates({"auc": 0.76, "ece_10": 0.03}, evaluation, COST)
    assert [gate.sentence for gate in missed] == [
        "auc is 0.75, its gate at least 0.76",
        "ece_10 is 0.04, its gate at most 0.03",
    ]
    assert not any(gate.met for gate in missed)


def test_what_it_cost_is_held_to_its_bounds(evaluation):
    found = gates({"entities": 10_000, "prediction_milliseconds": 50, "file_megabytes": 50}, evaluation, COST)
    assert [(gate.name, gate.met) for gate in found] == [
        ("entities", False),
        ("prediction_milliseconds", False),
        ("file_megabytes", True),
    ]


def test_the_spread_of_the_folds_is_a_gate(evaluation):
    (gate,) = gates({"cv_spread": 0.05}, evaluation, COST)
    assert gate.value == evaluation.validation.cross_validation.spread
    without = replace(evaluation.validation, cross_validation=None, note="4 leads are too few for 5 folds")
    (gate,) = gates({"cv_spread": 0.05}, replace(evaluation, validation=without), COST)
    assert not gate.met
    assert gate.sentence == "cv_spread is undefined: 4 leads are too few for 5 folds"


def test_recall_is_a_gate_of_each_class_that_occurs(recommender):
    evaluation = evaluate(recommender)
    found = gates({"recall": 0.7}, evaluation, COST)
    assert [gate.name for gate in found] == ["recall_call_immediate", "recall_send_proposal", "recall_no_action"]


def test_an_undefined_metric_misses_its_gate(evaluation):
    undefined = replace(evaluation, metrics={**evaluation.metrics, "auc": None}, undefined={"auc": "one class"})
    (gate,) = gates({"auc": 0.5}, undefined, COST)
    assert not gate.met
    assert gate.sentence == "auc is undefined: one class"


def test_a_missed_gate_shows_value_and_bound(evaluation):
    (gate,) = gates({"auc": 0.9}, evaluation, COST)
    assert gate.sentence == "auc is 0.75, its gate at least 0.9"
