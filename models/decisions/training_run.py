"""Whether a run that trains a model anew is started: a pure decision on evidence from the event log."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ATTEMPTS = 3
"""Runs on one piece of evidence that may fail before a person is called."""


@dataclass(frozen=True, kw_only=True)
class TrainingRunEvidence:
    """The evidence on which a run is started.

    Attributes
    ----------
    job : str
        The job that trains the model anew.
    outcome, reason, evidence_id, run_id : str or None
        The latest decision on retraining, and the run that made it; None if there is none.
    failed_checks : tuple of str
        Checks of the model's drift whose latest finished evaluation failed and is of that run.
    in_flight : str or None
        A run that trains the model now.
    succeeded : bool
        Whether a run on this evidence has succeeded.
    failures : int
        Runs on this evidence that have failed.
    undecided_run, undecided_step : str or None
        A run after that decision that failed before it could make another one, and the first of its steps that failed.
        Runs that train are not meant.
    """

    job: str
    outcome: str | None = None
    reason: str | None = None
    evidence_id: str | None = None
    run_id: str | None = None
    failed_checks: tuple[str, ...] = ()
    in_flight: str | None = None
    succeeded: bool = False
    failures: int = 0
    undecided_run: str | None = None
    undecided_step: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingRunDecision:
    """A decision with its reason.

    Attributes
    ----------
    start : bool
        Whether a run is started.
    reason : str
    alert : str or None
        The message to a person.
    alert_about : str or None
        An identifier of its subject: a person gets one alert on each.
    """

    start: bool
    reason: str
    alert: str | None = None
    alert_about: str | None = None


def decide_run(evidence: TrainingRunEvidence) -> TrainingRunDecision:
    """Decide whether a run is started: once per piece of evidence, and never while the model is being trained.

    No run is started if the checks have failed to run since the decision, because nobody knows whether the decision
    would be made again.
    """
    if evidence.undecided_run is not None:
        at = "" if evidence.undecided_step is None else f" at {evidence.undecided_step}"
        failed = f"run {evidence.undecided_run} failed{at}, before it could decide whether to train anew"
        last = "no decision yet" if evidence.run_id is None else f"the last decision is that of run {evidence.run_id}"
        return TrainingRunDecision(
            start=False,
            reason=f"{last}: {failed}.",
            alert=f"{failed}. Look at it, mend the cause and run the job again; until then nothing is trained anew.",
            alert_about=evidence.undecided_run,
        )
    if evidence.outcome is None or evidence.reason is None:
        return TrainingRunDecision(start=False, reason="no decision yet; the checks have not run.")
    if evidence.outcome == "quarantine":
        return TrainingRunDecision(
            start=False, reason=evidence.reason, alert=evidence.reason, alert_about=evidence.evidence_id
        )
    if evidence.outcome != "retrain":
        return TrainingRunDecision(start=False, reason=evidence.reason)
    if not evidence.failed_checks:
        return TrainingRunDecision(
            start=False,
            reason=f"run {evidence.run_id} decided to retrain, and none of its checks has finished as failed.",
        )
    if evidence.in_flight is not None:
        return TrainingRunDecision(
            start=False, reason=f"run {evidence.in_flight} is queued or running; nothing is started meanwhile."
        )
    if evidence.succeeded:
        return TrainingRunDecision(
            start=False,
            reason=f"evidence {evidence.evidence_id} has been answered; the next checks look at what came of it.",
        )
    if evidence.failures >= MAX_ATTEMPTS:
        return TrainingRunDecision(
            start=False,
            reason=f"{evidence.failures} runs of {evidence.job} failed; a person has been called.",
            alert=f"{evidence.failures} runs of {evidence.job} failed; look at the last one. {evidence.reason}",
            alert_about=evidence.evidence_id,
        )
    return TrainingRunDecision(start=True, reason=evidence.reason)
