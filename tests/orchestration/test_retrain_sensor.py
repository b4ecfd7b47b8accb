"""The sensor on a real instance: it acts on what the event log says, once, and on nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from assets.platform.event_log import EVIDENCE_TAG, MODEL_TAG, REASON_TAG, latest_evaluation
from models.decisions.drift import CHECKS
from models.decisions.training_run import MAX_ATTEMPTS
from models.declared.registry import DECLARATIONS
from orchestration.sensors import retrain_sensor

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "conversion"
JOB = "retrain_conversion"
DRIFT, DECISION = ["drift", MODEL], ["retrain_decision", MODEL]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as opened:
        yield opened


def checked(
    instance: dg.DagsterInstance, outcome: str = "retrain", *, failed: tuple[str, ...] = ("features",),
    evidence: str = "e1", crash: bool = False, crash_later: bool = False, decide: bool = True, job: str = "score_leads",
) -> str:  # fmt: skip
    """Record a run of the checks and of the decision, as the assets do, and return its identifier."""

    @dg.asset(key=DRIFT, check_specs=[dg.AssetCheckSpec(name, asset=DRIFT) for name in CHECKS])
    def drift() -> Iterator[Any]:
        if crash:
            raise RuntimeError("the warehouse is locked")
        yield dg.Output(None)
        for name in CHECKS:
            yield dg.AssetCheckResult(check_name=name, passed=name not in failed, severity=dg.AssetCheckSeverity.WARN)

    @dg.asset(key=DECISION, deps=[DRIFT])
    def retrain_decision() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(
            metadata={"outcome": outcome, "reason": f"Because of {evidence}.", "evidence_id": evidence}
        )

    @dg.asset(deps=[DECISION])
    def published() -> None:
        if crash_later:
            raise RuntimeError("the disk is full")

    made = [drift, retrain_decision, published] if decide else [drift]
    run = dg.Definitions(assets=made, jobs=[dg.define_asset_job(job)]).resolve_job_def(job)
    return run.execute_in_process(instance=instance, raise_on_error=False).run_id


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = retrain_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def keys(result: dg.SensorResult) -> list[str | None]:
    return [each.run_key for each in result.run_requests or []]


def skipped(result: dg.SensorResult) -> str:
    assert not result.run_requests
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, job: str = JOB, evidence: str = "e1") -> None:
    create_run_for_test(instance, job_name=job, status=status, tags={EVIDENCE_TAG: evidence})


def test_nothing_happens_before_the_first_checks(instance: dg.DagsterInstance) -> None:
    said = skipped(tick(instance))
    assert all(f"{model}: no decision yet" in said for model in DECLARATIONS)


def test_a_failed_check_and_a_decision_to_retrain_start_one_run(instance: dg.DagsterInstance) -> None:
    checked(instance)
    result = tick(instance)
    (request,) = result.run_requests or []
    assert request.job_name == JOB
    # a training that was killed is started again by the sensor, and not by Dagster's daemon as well
    assert request.tags == {
        REASON_TAG: "Because of e1.", EVIDENCE_TAG: "e1", MODEL_TAG: MODEL, "dagster/max_retries": "0"
    }  # fmt: skip
    # Dagster starts one run for a key, for ever
    assert keys(tick(instance, result.cursor)) == keys(result) == ["conversion-e1-0"]
    run_of(instance, dg.DagsterRunStatus.SUCCESS)
    assert "has been answered" in skipped(tick(instance, result.cursor))
    # looked at again tomorrow, it is the same evidence
    checked(instance)
    assert "has been answered" in skipped(tick(instance, result.cursor))
    checked(instance, evidence="e2")
    assert keys(tick(instance, result.cursor)) == ["conversion-e2-0"]


@pytest.mark.parametrize("job", [JOB, "whole_loop"])
@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_nothing_is_started_while_the_model_is_being_trained(
    instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus
) -> None:
    checked(instance)
    run_of(instance, status, job, evidence="another")
    assert "queued or running" in skipped(tick(instance))


def test_the_training_of_another_model_is_no_hindrance(instance: dg.DagsterInstance) -> None:
    checked(instance)
    run_of(instance, dg.DagsterRunStatus.STARTED, "retrain_next_best_action")
    assert keys(tick(instance)) == ["conversion-e1-0"]


def test_a_decision_to_wait_waits_and_says_why(instance: dg.DagsterInstance) -> None:
    checked(instance, "wait")
    assert "conversion: Because of e1." in skipped(tick(instance))


def test_quarantine_calls_a_person_once_and_starts_nothing(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    def alerts() -> int:
        return capsys.readouterr().err.count("conversion needs a person: Because of")

    checked(instance, "quarantine")
    first = tick(instance)
    assert "Because of e1." in skipped(first)
    assert alerts() == 1
    checked(instance, "quarantine")
    second = tick(instance, first.cursor)
    assert skipped(second)
    assert alerts() == 0
    checked(instance, "quarantine", evidence="e2")
    third = tick(instance, second.cursor)
    assert skipped(third)
    assert alerts() == 1
    assert json.loads(third.cursor or "") == {MODEL: "e2"}


def test_a_crashed_check_is_not_a_failed_one(instance: dg.DagsterInstance) -> None:
    checked(instance, crash=True)
    assert latest_evaluation(instance, dg.AssetCheckKey(dg.AssetKey(DRIFT), "features")) is None
    assert "conversion: no decision yet: run " in skipped(tick(instance))


def test_a_run_that_failed_before_it_could_decide_calls_a_person_and_starts_nothing(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(instance)
    failed = checked(instance, crash=True)
    found = latest_evaluation(instance, dg.AssetCheckKey(dg.AssetKey(DRIFT), "features"))
    assert found is not None
    assert found.failed, "a crash does not hide what was found before"
    result = tick(instance)
    assert f"conversion: the last decision is that of run {found.run_id}: run {failed} failed" in skipped(result)
    said = f"conversion needs a person: run {failed} failed at drift__conversion, before it could decide"
    assert capsys.readouterr().err.count(said) == 1
    # a person is told once
    assert skipped(tick(instance, result.cursor))
    assert "needs a person" not in capsys.readouterr().err
    again = checked(instance, crash=True)
    result = tick(instance, result.cursor)
    assert f"run {again} failed at drift__conversion" in capsys.readouterr().err
    # the next run that decides is believed
    checked(instance)
    assert keys(tick(instance, result.cursor)) == ["conversion-e1-0"]


def test_a_run_that_was_killed_and_is_started_again_calls_nobody(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(instance)
    killed = checked(instance, crash=True)
    instance.add_run_tags(killed, {"dagster/will_retry": "true"})
    assert keys(tick(instance)) == ["conversion-e1-0"]
    # once it has been, it counts by itself
    instance.add_run_tags(killed, {"dagster/auto_retry_run_id": "another"})
    assert "failed before it could decide" not in capsys.readouterr().err
    assert f"run {killed} failed" in skipped(tick(instance))


def test_a_failed_training_is_no_failed_check(instance: dg.DagsterInstance) -> None:
    checked(instance)
    checked(instance, crash=True, job=JOB)
    assert keys(tick(instance)) == ["conversion-e1-0"]


def test_a_run_that_failed_after_it_had_decided_is_believed(instance: dg.DagsterInstance) -> None:
    checked(instance, "wait", crash_later=True)
    assert "conversion: Because of e1." in skipped(tick(instance))


def test_a_decision_needs_a_check_of_the_same_run_that_failed(instance: dg.DagsterInstance) -> None:
    checked(instance, failed=())
    assert "none of its checks has finished as failed" in skipped(tick(instance))
    # measured again since, and nobody has decided on it yet
    checked(instance, decide=False)
    assert "none of its checks has finished as failed" in skipped(tick(instance))


def test_a_failed_training_is_tried_again_and_then_a_person_is_called(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(instance)
    for attempt in range(MAX_ATTEMPTS):
        assert keys(tick(instance)) == [f"conversion-e1-{attempt}"]
        run_of(instance, dg.DagsterRunStatus.FAILURE)
    result = tick(instance)
    assert "a person has been called" in skipped(result)
    assert "conversion needs a person: 3 runs" in capsys.readouterr().err
    assert skipped(tick(instance, result.cursor))
    assert "needs a person" not in capsys.readouterr().err


def test_a_cancelled_training_is_left_to_the_person_who_cancelled_it(instance: dg.DagsterInstance) -> None:
    checked(instance)
    key = keys(tick(instance))
    run_of(instance, dg.DagsterRunStatus.CANCELED)
    assert keys(tick(instance)) == key
