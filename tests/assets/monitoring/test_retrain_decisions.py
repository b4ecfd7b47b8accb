"""The evidence of a retraining as it is gathered from the warehouse, day after day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from models.decisions.drift import judge
from models.decisions.retraining import RetrainDecision, RetrainEvidence, decide_retraining
from models.declared.lead import LEAD
from models.declaring.attribute import Attribute
from models.declaring.policies import RetrainPolicy
from store.ledger.champions import learnt_wrong
from store.ledger.decisions import record_decision
from store.ledger.measurements import SourceFigure, record_drift, record_source_health
from store.measuring.drift import MeasurementMissingError, gather_retrain_evidence, measure_drift, reference
from tests.drifting import DECLARED, HORIZON, TRAINED_AT, TRAINED_DAY, fill, world

if TYPE_CHECKING:
    from datetime import datetime

    from duckdb import DuckDBPyConnection

    from models.versions.candidate import Candidate

POLICY = RetrainPolicy(settle_days=30, cooldown_days=5, max_champion_age_days=180, min_new_labels=500)
MODEL = replace(DECLARED, retrain=POLICY)


def clock(day: float) -> datetime:
    return TRAINED_AT + timedelta(days=day)


def look(connection: DuckDBPyConnection, champion: Candidate, day: int) -> None:
    """Measure and record, as the asset of the drift does."""
    evidence = measure_drift(connection, MODEL, champion, clock=clock(day), reference=reference(MODEL, champion))
    verdicts = judge(evidence, MODEL.drift, max_age_days=POLICY.max_champion_age_days)
    record_drift(connection, f"run-{day}", evidence, verdicts, clock(day))
    if not connection.execute("select 1 from ml.ml_source_health where as_of = ?", [clock(day)]).fetchall():
        record_source_health(connection, f"run-{day}", clock(day), [], clock(day))


def gathered(connection: DuckDBPyConnection, champion: Candidate | None, day: int) -> RetrainEvidence:
    return gather_retrain_evidence(connection, MODEL, champion, clock=clock(day), feature_code="code", in_flight=False)


def decided(connection: DuckDBPyConnection, champion: Candidate, day: int) -> RetrainDecision:
    look(connection, champion, day)
    return decide_retraining(gathered(connection, champion, day), POLICY)


def log_training(connection: DuckDBPyConnection, champion: Candidate, version: str, day: int, code: str) -> None:
    connection.execute(
        "insert into ml.ml_training_logs (run_id, model, version, training_set_id, rows, entities, reused, reason, "
        "started_at, finished_at, as_of, feature_code) values (?, ?, ?, '', 1, 1, false, '', ?, ?, ?, ?)",
        [f"training-{version}-{day}", champion.model, version, clock(day), clock(day), clock(day), code],
    )


def break_source(connection: DuckDBPyConnection, day: int, *, failed: bool) -> None:
    figure = SourceFigure(
        check="volume", subject="e-mails", value=0.0, threshold=0.25, failed=failed, rows_reference=70, rows_current=0
    )
    record_source_health(connection, f"run-{day}", clock(day), [figure], clock(day))


def test_a_shift_leads_to_one_training_when_it_has_settled(connection: DuckDBPyConnection, champion: Candidate) -> None:
    fill(connection, world(values=TRAINED_DAY + 5))
    rules = {day: decided(connection, champion, day) for day in range(0, 70, 5)}
    outcomes = [decision.outcome for decision in rules.values()]
    retrains = [day for day, decision in rules.items() if decision.outcome == "retrain"]
    assert retrains
    onset = retrains[0] - 30
    assert [rules[day].rule for day in (0, 5, onset, retrains[0] - 5)] == [
        "nothing_failed", "nothing_failed", "settling", "settling"
    ]  # fmt: skip
    assert "quarantine" not in outcomes
    assert len({rules[day].evidence_id for day in retrains}) == 1


def test_labels_of_the_changed_world_are_waited_for(connection: DuckDBPyConnection, champion: Candidate) -> None:
    fill(connection, world(values=TRAINED_DAY))
    for day in (20, 30, 50):
        look(connection, champion, day)
    evidence = gathered(connection, champion, 50)
    assert evidence.onset == clock(20)
    # 60 observations a day, from after the onset to a horizon before the clock
    assert evidence.labels_since_onset == 60 * (50 - 20 - HORIZON)
    assert evidence.new_labels == 60 * 50
    few = decide_retraining(evidence, replace(POLICY, min_new_labels=evidence.labels_since_onset + 1))
    assert few.rule == "labels_not_matured"


def test_of_drift_measured_on_labels_the_measured_rows_count(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world(concept=TRAINED_DAY))
    look(connection, champion, 35)
    look(connection, champion, 36)
    evidence = gathered(connection, champion, 36)
    assert evidence.failed_checks == ("performance",)
    assert evidence.labels_since_onset == 60 * (36 - HORIZON + 1)


def test_a_look_that_passes_ends_the_run_of_failures(connection: DuckDBPyConnection, champion: Candidate) -> None:
    fill(connection, world(values=TRAINED_DAY))
    for day in (20, 40):
        look(connection, champion, day)
    connection.execute("update ml.ml_drift_logs set failed = false where as_of = ?", [clock(40)])
    look(connection, champion, 60)
    assert gathered(connection, champion, 60).onset == clock(60)


def test_what_was_found_before_the_last_training_has_been_answered(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world(values=TRAINED_DAY))
    for day in (20, 40, 60):
        look(connection, champion, day)
    log_training(connection, champion, "refused", 50, "code")
    evidence = gathered(connection, champion, 60)
    assert (evidence.last_trained_at, evidence.onset) == (clock(50), clock(60))
    # at an earlier clock it has not happened
    assert gathered(connection, champion, 40).last_trained_at == TRAINED_AT


def test_changed_features_and_a_broken_source_are_evidence_for_a_quarantine(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world())
    for day in (1, 2, 3):
        look(connection, champion, day)
    log_training(connection, champion, champion.version, 0, "earlier code")
    log_training(connection, champion, "another", 0, "code")
    assert decide_retraining(gathered(connection, champion, 1), POLICY).rule == "feature_code_changed"
    for day, failed in ((1, False), (2, True), (3, True)):
        break_source(connection, day, failed=failed)
    evidence = gathered(connection, champion, 3)
    assert (evidence.failed_source_checks, evidence.source_onset) == (("volume",), clock(2))
    assert decide_retraining(evidence, POLICY).rule == "source_broken"
    assert gathered(connection, champion, 1).failed_source_checks == ()


def test_without_a_champion_the_source_is_still_looked_at(connection: DuckDBPyConnection) -> None:
    fill(connection, world())
    with pytest.raises(MeasurementMissingError, match="Materialize source_health/crm first"):
        gathered(connection, None, 3)
    record_source_health(connection, "run-3", clock(3), [], clock(3))
    assert decide_retraining(gathered(connection, None, 3), POLICY).rule == "no_champion"
    break_source(connection, 3, failed=True)
    assert decide_retraining(gathered(connection, None, 3), POLICY).rule == "source_broken"


def test_a_champion_whose_features_were_rewritten_or_are_gone_is_decided_on_without_a_measurement(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world())
    record_source_health(connection, "run-4", clock(4), [], clock(4))
    log_training(connection, champion, champion.version, 0, "another code")
    decision = decide_retraining(gathered(connection, champion, 4), POLICY)
    assert (decision.outcome, decision.rule) == ("quarantine", "feature_code_changed")
    log_training(connection, champion, champion.version, 1, "code")
    feature = next(iter(champion.features))
    connection.execute(f"alter table features.lead_features drop column {feature}")
    decision = decide_retraining(gathered(connection, champion, 4), POLICY)
    assert (decision.outcome, decision.rule) == ("quarantine", "features_gone")
    assert f"learnt from features that are no more ({feature})" in decision.reason


def test_a_champion_that_learnt_from_values_that_were_later_is_trained_anew(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    """Its version says which first values it took for those of the creation."""
    fill(connection, world())
    record_source_health(connection, "run-4", clock(4), [], clock(4))
    revenue = Attribute(entity="leads", name="revenue", label="Revenue", kind="number", known="creation")
    learnt = replace(champion, manifest={**champion.manifest, "assumed": revenue.assumed})
    look(connection, learnt, 4)
    connection.execute("create schema if not exists raw; create table raw.extraction (attributes text)")
    connection.execute("insert into raw.extraction values (?)", [json.dumps([revenue.as_json()])])
    assert decide_retraining(gathered(connection, learnt, 4), POLICY).outcome == "wait"
    late = replace(revenue, known="extraction", withdrawn=True)
    connection.execute("update raw.extraction set attributes = ?", [json.dumps([late.as_json()])])
    decision = decide_retraining(gathered(connection, learnt, 4), POLICY)
    assert (decision.outcome, decision.rule) == ("retrain", "values_withdrawn")
    assert decide_retraining(gathered(connection, champion, 4), POLICY).outcome == "wait"


def test_a_champion_whose_labels_mean_something_else_now_is_trained_anew(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    """Whether customers have contracts decides what leaving means."""
    model = replace(MODEL, feature_view=replace(MODEL.feature_view, entity=replace(LEAD, ends="customers_close")))
    fill(connection, world())
    record_source_health(connection, "run-4", clock(4), [], clock(4))
    connection.execute("create schema if not exists raw; create table raw.extraction as select true as customers_close")

    def decision(learnt: Candidate) -> RetrainDecision:
        evidence = gather_retrain_evidence(
            connection, model, learnt, clock=clock(4), feature_code="code", in_flight=False
        )
        return decide_retraining(evidence, POLICY)

    for was, why in ((True, ""), (False, "learnt from a time when the source told no ends (customers_close)")):
        learnt = replace(champion, manifest={**champion.manifest, "ends": was})
        look(connection, learnt, 4)
        assert learnt_wrong(connection, learnt, model.feature_view) == why
        assert decision(learnt).rule == ("labels_changed" if why else "nothing_failed")
    connection.execute("update raw.extraction set customers_close = null")
    assert "ends that the source tells no longer" in learnt_wrong(
        connection, replace(champion, manifest={**champion.manifest, "ends": True}), model.feature_view
    )
    assert decision(champion).rule == "nothing_failed", "a version of an entity that always tells its ends"


def test_a_champion_that_was_not_measured_is_not_decided_on(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world())
    look(connection, champion, 3)
    record_source_health(connection, "run-4", clock(4), [], clock(4))
    with pytest.raises(MeasurementMissingError, match="Materialize drift/conversion first"):
        gathered(connection, champion, 4)


def test_the_ledger_keeps_the_decision_beside_that_on_promotion(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world())
    look(connection, champion, 3)
    evidence = gathered(connection, champion, 3)
    for _ in range(2):
        record_decision(connection, "run", evidence, decide_retraining(evidence, POLICY), clock(3))
    assert connection.execute(
        "select model, kind, version, rule, outcome, evidence ->> 'onset' from ml.ml_decisions"
    ).fetchall() == [("conversion", "retraining", champion.version, "nothing_failed", "wait", None)]
