"""Retraining: the decision table, and from when on a run of failures counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from models.decisions.retraining import RetrainEvidence, decide_retraining, onset_of
from models.declaring.policies import RetrainPolicy

POLICY = RetrainPolicy(
    settle_days=30, settle_days_on_labels=50, cooldown_days=20, max_champion_age_days=180, min_new_labels=500
)
TRAINED = datetime(2026, 1, 1, tzinfo=UTC)


def _day(number: float) -> datetime:
    return TRAINED + timedelta(days=number)


QUIET = RetrainEvidence(
    model="conversion", version="v1", as_of=_day(100), trained_at=TRAINED, last_trained_at=TRAINED, horizon_days=90,
    feature_code="a", feature_code_trained="a",
)  # fmt: skip
DRIFTED = replace(QUIET, failed_checks=("features",), onset=_day(60), labels_since_onset=500)
STALE = replace(QUIET, as_of=_day(181), failed_checks=("champion_age",), new_labels=500)


@pytest.mark.parametrize(
    ("evidence", "outcome", "rule"),
    [
        (QUIET, "wait", "nothing_failed"),
        (replace(QUIET, version="", trained_at=None, last_trained_at=None), "wait", "no_champion"),
        (DRIFTED, "retrain", "drift_settled"),
        (replace(DRIFTED, failed_source_checks=("volume",)), "quarantine", "source_broken"),
        (replace(QUIET, failed_source_checks=("nulls",)), "quarantine", "source_broken"),
        (
            replace(QUIET, version="", trained_at=None, failed_source_checks=("data_age",)),
            "quarantine",
            "source_broken",
        ),
        (replace(DRIFTED, feature_code="b"), "quarantine", "feature_code_changed"),
        (replace(QUIET, feature_code="b"), "quarantine", "feature_code_changed"),
        (replace(QUIET, gone_features=("attribute_size",)), "quarantine", "features_gone"),
        (replace(DRIFTED, feature_code_trained=None), "retrain", "drift_settled"),
        (replace(DRIFTED, in_flight=True), "wait", "in_flight"),
        (replace(STALE, in_flight=True), "wait", "in_flight"),
        (replace(DRIFTED, last_trained_at=_day(80.5)), "wait", "cooldown"),
        (replace(DRIFTED, last_trained_at=_day(80)), "retrain", "drift_settled"),
        (replace(STALE, last_trained_at=_day(170)), "wait", "cooldown"),
        (replace(DRIFTED, onset=_day(70.5)), "wait", "settling"),
        (replace(DRIFTED, onset=_day(70)), "retrain", "drift_settled"),
        (replace(DRIFTED, labels_since_onset=499), "wait", "labels_not_matured"),
        (replace(DRIFTED, failed_checks=("performance",), onset=_day(50.5)), "wait", "settling"),
        (replace(DRIFTED, failed_checks=("performance",), onset=_day(50)), "retrain", "drift_settled"),
        (replace(DRIFTED, failed_checks=("champion_age", "performance"), onset=_day(50.5)), "wait", "settling"),
        (replace(DRIFTED, failed_checks=("features", "performance"), onset=_day(70)), "retrain", "drift_settled"),
        (STALE, "retrain", "champion_stale"),
        (replace(STALE, new_labels=499), "wait", "few_new_labels"),
        (
            replace(STALE, failed_checks=("champion_age", "features"), onset=_day(180), new_labels=499),
            "wait",
            "settling",
        ),
        (replace(STALE, failed_checks=("champion_age", "features"), onset=_day(180)), "retrain", "champion_stale"),
    ],
)
def test_each_kind_of_evidence_has_its_answer(evidence: RetrainEvidence, outcome: str, rule: str) -> None:
    decision = decide_retraining(evidence, POLICY)
    assert (decision.kind, decision.outcome, decision.rule) == ("retraining", outcome, rule)


def test_the_reason_carries_the_figures() -> None:
    reason = decide_retraining(replace(DRIFTED, labels_since_onset=40), POLICY).reason
    assert "features" in reason
    assert "40 of 500" in reason
    assert "2026-03-02" in reason
    assert "2026-05-31" in reason
    assert "next look" in reason


def test_the_same_drift_is_the_same_evidence_whatever_else_fails_later() -> None:
    first = decide_retraining(DRIFTED, POLICY)
    later = replace(DRIFTED, as_of=_day(101), failed_checks=("features", "predictions"), labels_since_onset=900)
    assert decide_retraining(later, POLICY).evidence_id == first.evidence_id
    for other in (replace(DRIFTED, onset=_day(61)), replace(DRIFTED, version="v2"), replace(DRIFTED, model="other")):
        assert decide_retraining(other, POLICY).evidence_id != first.evidence_id


def test_another_broken_feed_is_other_evidence() -> None:
    broken = replace(QUIET, failed_source_checks=("volume",), source_onset=_day(90))
    first = decide_retraining(broken, POLICY).evidence_id
    assert decide_retraining(replace(broken, as_of=_day(120)), POLICY).evidence_id == first
    assert decide_retraining(replace(broken, source_onset=_day(95)), POLICY).evidence_id != first
    assert decide_retraining(replace(broken, failed_source_checks=("nulls", "volume")), POLICY).evidence_id != first


@pytest.mark.parametrize(
    ("failures", "onset"),
    [
        ([], None),
        ([(1, False), (2, False)], None),
        ([(1, True), (2, False)], None),
        ([(1, True), (2, False), (3, True), (5, True)], 3),
        ([(5, True), (3, True), (1, True)], 1),
    ],
)
def test_the_onset_is_the_first_look_of_the_run_that_goes_on(
    failures: list[tuple[int, bool]], onset: int | None
) -> None:
    found = onset_of((_day(number), failed) for number, failed in failures)
    assert found == (None if onset is None else _day(onset))


def test_a_policy_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="cooldown_days"):
        RetrainPolicy(cooldown_days=-1)
