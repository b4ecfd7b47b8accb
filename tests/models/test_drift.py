"""Drift: what the checks say of figures, and what they do not say without enough evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from models.decisions.drift import (
    CHECKS,
    Distance,
    DriftEvidence,
    Performance,
    Reference,
    Verdict,
    judge,
    measure_performance,
)
from models.declaring.policies import DriftPolicy
from models.tasks.binary import Binary
from models.tasks.multiclass import Multiclass
from models.tasks.regression import Regression
from models.tasks.task import Predictions

POLICY = DriftPolicy()
TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
HELD_OUT = Performance(rows=9_000, entities=400, ranking={"won": 0.75}, bias={"won": 0.01})


def _moved(column: str, psi: float | None) -> Distance:
    return Distance(
        column=column, kind="number", rows_reference=1, rows_current=1, psi=psi, distance=None, wasserstein=None,
        nulls_reference=0.0, nulls_current=0.0, new_categories=None,
    )  # fmt: skip


QUIET = DriftEvidence(
    model="m", version="v", as_of=TRAINED + timedelta(days=60), window_days=30,
    reference=Reference(trained_at=TRAINED, last_as_of=TRAINED - timedelta(days=7), performance=HELD_OUT),
    rows_reference=9_000, rows_current=9_000, entities_reference=900, entities_current=900,
    features=(_moved("source", 0.05), _moved("value", 0.139), _moved("empty", None)),
    predictions=(_moved("won_probability", 0.02),),
    performance=replace(HELD_OUT, rows=2_000), new_labels=700,
)  # fmt: skip


def _verdicts(evidence: DriftEvidence, max_age_days: float = 180) -> dict[str, Verdict]:
    return {each.check: each for each in judge(evidence, POLICY, max_age_days=max_age_days)}


def _failed(evidence: DriftEvidence) -> list[str]:
    return [name for name, each in _verdicts(evidence).items() if each.failed]


def test_a_quiet_world_passes_every_check_with_values_and_thresholds() -> None:
    verdicts = _verdicts(QUIET)
    assert list(verdicts) == list(CHECKS)
    assert _failed(QUIET) == []
    assert verdicts["features"].value == 0.139
    # chance adds nine times 1/900 + 1/900
    assert verdicts["features"].threshold == pytest.approx(0.14)
    assert all(each.value is not None and each.threshold is not None for each in verdicts.values())


def test_one_feature_that_has_moved_is_enough() -> None:
    moved = replace(QUIET, features=(*QUIET.features, _moved("last", 0.141)))
    verdict = _verdicts(moved)["features"]
    assert _failed(moved) == ["features"]
    assert (verdict.subject, verdict.value) == ("last", 0.141)
    assert "last 0.141" in verdict.statement


def test_with_fewer_entities_chance_has_more_room() -> None:
    few, many = (POLICY.psi_bound("features", n, n) for n in (500, 50_000))
    assert few == pytest.approx(POLICY.max_psi + 0.036)
    assert many == pytest.approx(POLICY.max_psi, abs=0.001)


def test_moved_predictions_are_drift() -> None:
    assert _failed(replace(QUIET, predictions=(_moved("won_probability", 0.2),))) == ["predictions"]


@pytest.mark.parametrize("name", ["rows_reference", "rows_current", "entities_reference", "entities_current"])
def test_too_few_on_either_side_prove_nothing(name: str) -> None:
    moved = replace(QUIET, features=(_moved("value", 9.0),), predictions=(_moved("won_probability", 9.0),))
    assert _failed(moved) == ["features", "predictions"]
    few = replace(moved, **{name: 499})
    assert _failed(few) == []
    assert "499 of 500" in _verdicts(few)["features"].statement
    assert _verdicts(few)["features"].value is None


def test_overlapping_windows_say_so() -> None:
    overlapping = replace(QUIET, as_of=TRAINED + timedelta(days=10))
    assert "share 20 days" in _verdicts(overlapping)["features"].statement
    assert "share" not in _verdicts(QUIET)["features"].statement


def test_a_loss_of_ranking_is_a_loss_of_performance() -> None:
    worse = replace(QUIET, performance=replace(QUIET.performance, ranking={"won": 0.67}))
    verdict = _verdicts(worse)["performance"]
    assert _failed(worse) == ["performance"]
    assert (verdict.subject, verdict.threshold) == ("AUC", POLICY.max_ranking_drop)
    assert verdict.value == pytest.approx(0.08)
    assert _failed(replace(QUIET, performance=replace(QUIET.performance, ranking={"won": 0.69}))) == []


def test_of_the_calibration_counts_what_it_has_moved_since_the_held_out_rows() -> None:
    assert _failed(replace(QUIET, performance=replace(QUIET.performance, bias={"won": 0.075}))) == []
    worse = replace(QUIET, performance=replace(QUIET.performance, bias={"won": -0.065}))
    assert _failed(worse) == ["performance"]
    assert _verdicts(worse)["performance"].value == pytest.approx(0.075)


def test_performance_is_compared_on_outcomes_that_both_sides_have() -> None:
    then = replace(HELD_OUT, ranking={"won": 0.75, "rare": 0.99})
    evidence = replace(QUIET, reference=replace(QUIET.reference, performance=then))
    assert _failed(evidence) == []
    assert _verdicts(evidence)["performance"].figures["ranking_drop"] == pytest.approx(0)
    neither = replace(QUIET, performance=replace(QUIET.performance, ranking={"rare": 0.5}, entities=7))
    assert _failed(neither) == []
    assert "7 of 100" in _verdicts(neither)["performance"].statement


def test_few_matured_rows_prove_nothing() -> None:
    few = replace(QUIET, performance=Performance(rows=499, entities=50, ranking={"won": 0.1}, bias={"won": 0.9}))
    assert _failed(few) == []
    assert "499 of 500" in _verdicts(few)["performance"].statement


def test_age_counts_only_where_there_is_something_new_to_learn() -> None:
    old = replace(QUIET, as_of=TRAINED + timedelta(days=181))
    assert _failed(old) == ["champion_age"]
    assert _failed(replace(old, new_labels=0)) == []
    assert _failed(replace(QUIET, as_of=TRAINED + timedelta(days=180))) == []


def test_performance_counts_entities_and_leaves_out_the_rare_outcomes() -> None:
    task = Multiclass(("won", "rare", "lost"))
    entities = np.array([0, 0, 0, 1, 2, 3])
    truth = np.array([0, 0, 2, 0, 1, 2])
    probability = np.array([[0.9, 0.1], [0.8, 0.1], [0.1, 0.1], [0.7, 0.1], [0.2, 0.1], [0.3, 0.1]])
    predicted = np.column_stack([probability, 1 - probability.sum(axis=1)])
    found = measure_performance(Predictions(task=task, truth=truth, predicted=predicted, group=entities), 2)
    assert (found.rows, found.entities) == (6, 2)
    assert found.ranking["won"] == 1
    assert "rare" not in found.ranking
    assert found.bias["won"] == pytest.approx(0.5 - 0.5)
    assert found.bias["rare"] == pytest.approx(0.1 - 1 / 6)


def test_performance_of_values_is_their_order_and_their_mean() -> None:
    truth = np.array([1.0, 2.0, 3.0, 6.0])
    values = Predictions(
        task=Regression(("worth",)), truth=truth, predicted=np.array([[2.0], [1.0], [4.0], [8.0]]), group=np.arange(4)
    )
    found = measure_performance(values, 4)
    assert (found.rows, found.entities) == (4, 4)
    assert found.ranking == {"worth": pytest.approx(0.8)}
    assert found.bias == {"worth": pytest.approx(0.25)}
    assert measure_performance(values, 5).ranking == {}


@pytest.mark.parametrize("task", [Binary(("won",)), Regression(("worth",))])
def test_without_rows_there_is_no_performance(task) -> None:
    nothing = Predictions(task=task, truth=np.zeros(0), predicted=np.zeros((0, 1)), group=np.zeros(0, dtype=int))
    assert measure_performance(nothing, 1) == Performance(rows=0, entities=0, ranking={}, bias={})


def test_a_policy_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="max_psi"):
        DriftPolicy(max_psi=0)
