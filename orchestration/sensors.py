"""Sensors: what runs because something was found. They read Dagster's event log and never open the warehouse."""

import json
from typing import Any

import dagster as dg

from assets.event_log import (
    EVIDENCE_TAG,
    MODEL_TAG,
    REASON_TAG,
    latest_evaluation,
    latest_materialization,
    runs_in_flight,
    runs_on_evidence,
)
from assets.retrain_decisions import retrain_job_name
from models.drift import CHECKS
from models.registry import DECLARATIONS
from orchestration.jobs import retrain_jobs, whole_loop

MAX_ATTEMPTS = 3
"""Runs on one piece of evidence that may fail before a person is called."""


@dg.sensor(
    jobs=retrain_jobs,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Starts the job retrain_<model> where the latest checks of a model's drift or age failed and its "
        "retrain_decision says retrain: once per piece of evidence, never while the model is being trained. Where the "
        "decision says quarantine, it logs an error for a person and starts nothing."
    ),
)
def retrain_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Look at the latest decision of every model."""
    alerted: dict[str, str] = json.loads(context.cursor or "{}")
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    for model in DECLARATIONS:
        found = _look(context, model, alerted)
        if isinstance(found, dg.RunRequest):
            requests.append(found)
        else:
            said.append(f"{model}: {found}")
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(" ".join(said)),
        cursor=json.dumps(alerted, sort_keys=True),
    )


def _look(context: dg.SensorEvaluationContext, model: str, alerted: dict[str, str]) -> dg.RunRequest | str:
    """Return the run that a model needs, or why it needs none."""
    instance = context.instance
    decision = latest_materialization(instance, dg.AssetKey(["retrain_decision", model]))
    if decision is None:
        return "no decision yet; the checks have not run."
    outcome, reason, evidence = (str(decision.metadata[name]) for name in ("outcome", "reason", "evidence_id"))
    if outcome == "quarantine":
        _alert(context, model, alerted, evidence, reason)
        return reason
    if outcome != "retrain":
        return reason
    failed = _failed_checks(context, model, decision.run_id)
    if not failed:
        return f"run {decision.run_id} decided to retrain, and none of its checks has finished as failed."
    job = retrain_job_name(model)
    training = runs_in_flight(instance, [job, whole_loop.name], dg.AssetKey(["candidate", model]))
    if training:
        return f"run {training[0]} is queued or running; nothing is started meanwhile."
    earlier = runs_on_evidence(instance, job, evidence)
    if dg.DagsterRunStatus.SUCCESS in earlier:
        return f"evidence {evidence} has been answered; the next checks look at what came of it."
    attempt = earlier.count(dg.DagsterRunStatus.FAILURE)
    if attempt >= MAX_ATTEMPTS:
        _alert(context, model, alerted, evidence, f"{attempt} runs of {job} failed; look at the last one. {reason}")
        return f"{attempt} runs of {job} failed; a person has been called."
    return dg.RunRequest(
        job_name=job,
        # a key is used once and for ever: a run that was cancelled, say, is not started again on the same evidence
        run_key=f"{model}-{evidence}-{attempt}",
        tags={REASON_TAG: reason, EVIDENCE_TAG: evidence, MODEL_TAG: model},
    )


def _failed_checks(context: dg.SensorEvaluationContext, model: str, run_id: str) -> list[str]:
    """Return the checks of a model's drift whose latest finished evaluation failed and is of the run that decided."""
    key = dg.AssetKey(["drift", model])
    evaluations = {name: latest_evaluation(context.instance, dg.AssetCheckKey(key, name)) for name in CHECKS}
    return [name for name, each in evaluations.items() if each is not None and each.failed and each.run_id == run_id]


def _alert(context: dg.SensorEvaluationContext, model: str, alerted: dict[str, str], evidence: str, what: Any) -> None:
    """Call a person, once per piece of evidence."""
    if alerted.get(model) != evidence:
        context.log.error(f"{model} needs a person: {what}")
        alerted[model] = evidence
