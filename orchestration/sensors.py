"""The sensors: one starts the jobs that train models anew, one looks after the home.

Checks run in the jobs, under the pool of the warehouse; a sensor never opens the warehouse. The asset
``retrain_decision/<model>`` decides whether to train anew; `models.decisions.training_run.decide_run` decides whether a
run is started now.
"""

import json

import dagster as dg

from assets.monitoring.retrain_decisions import retrain_job_name
from assets.platform import keys
from assets.platform.event_log import (
    EVIDENCE_TAG,
    MAX_RETRIES_TAG,
    MODEL_TAG,
    REASON_TAG,
    failed_before,
    latest_evaluation,
    latest_materialization,
    runs_in_flight,
    runs_on_evidence,
)
from assets.platform.resources import Clock
from models.decisions.drift import CHECKS
from models.decisions.training_run import MAX_ATTEMPTS, TrainingRunEvidence, decide_run
from models.declared.registry import DECLARATIONS
from orchestration.commands.runs import reconcile
from orchestration.jobs import RETRAIN_JOBS, whole_loop
from orchestration.retention import is_due, tidy
from store.settings import settings


@dg.sensor(
    jobs=[*RETRAIN_JOBS.values()],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Starts the job retrain_<model> if the model's last retrain_decision says retrain and a check of its drift or "
        "age failed in the same run: once per piece of evidence, again if the job fails, never while the model is "
        f"being trained. If the decision says quarantine, {MAX_ATTEMPTS} such runs failed, or a later run failed "
        "before it could decide, the sensor logs an error for a person and starts nothing."
    ),
)
def retrain_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Start the runs that are due, and call a person where one is needed."""
    alerted: dict[str, str] = json.loads(context.cursor or "{}")
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    for model in DECLARATIONS:
        evidence = gather_run_evidence(context.instance, model)
        decision = decide_run(evidence)
        if decision.start:
            requests.append(_request(model, evidence))
        else:
            said.append(f"{model}: {decision.reason}")
        # kept apart, so that a failed run does not repeat an alert
        alerts = model if evidence.undecided_run is None else f"{model}, undecided"
        if decision.alert is not None and alerted.get(alerts) != decision.alert_about:
            context.log.error(f"{model} needs a person: {decision.alert}")
            alerted[alerts] = str(decision.alert_about)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(" ".join(said)),
        cursor=json.dumps(alerted, sort_keys=True),
    )


def gather_run_evidence(instance: dg.DagsterInstance, model: str) -> TrainingRunEvidence:
    """Gather what the event log knows of the decision on a model, its checks and its runs."""
    job = retrain_job_name(model)
    undecided = failed_before(instance, keys.retrain_decision(model), but=job)
    run, step = (None, None) if undecided is None else (undecided.run_id, undecided.step)
    if (decision := latest_materialization(instance, keys.retrain_decision(model))) is None:
        return TrainingRunEvidence(job=job, undecided_run=run, undecided_step=step)
    evidence_id = str(decision.metadata["evidence_id"])
    evaluations = {name: latest_evaluation(instance, dg.AssetCheckKey(keys.drift(model), name)) for name in CHECKS}
    training = runs_in_flight(instance, [job, whole_loop.name], keys.candidate(model))
    earlier = runs_on_evidence(instance, job, evidence_id)
    return TrainingRunEvidence(
        job=job,
        outcome=str(decision.metadata["outcome"]),
        reason=str(decision.metadata["reason"]),
        evidence_id=evidence_id,
        run_id=decision.run_id,
        failed_checks=tuple(
            name
            for name, each in evaluations.items()
            if each is not None and each.failed and each.run_id == decision.run_id
        ),
        in_flight=training[0] if training else None,
        succeeded=dg.DagsterRunStatus.SUCCESS in earlier,
        failures=earlier.count(dg.DagsterRunStatus.FAILURE),
        undecided_run=run,
        undecided_step=step,
    )


def _request(model: str, evidence: TrainingRunEvidence) -> dg.RunRequest:
    return dg.RunRequest(
        job_name=evidence.job,
        # a key starts one run, ever: one that was cancelled, say, is not started again on the same evidence
        run_key=f"{model}-{evidence.evidence_id}-{evidence.failures}",
        tags={
            REASON_TAG: evidence.reason or "",
            EVIDENCE_TAG: evidence.evidence_id or "",
            MODEL_TAG: model,
            # this sensor does the retries
            MAX_RETRIES_TAG: "0",
        },
    )


@dg.sensor(
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Marks runs as failed if their process is gone, so that nothing waits for them. Once a day it removes runs, "
        "reports, answers and what failed dbt steps left, if older than LEADLINE_KEEP_DAYS. Starts nothing."
    ),
)
def tidy_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look after the home while the UI runs."""
    dead = reconcile(context.instance)
    said = f"{len(dead)} runs were killed before they ended"
    current, now = settings(), Clock().present()
    if is_due(current, now):
        said = f"{said}; {tidy(current, context.instance, now)}"
    return dg.SkipReason(f"{said}.")
