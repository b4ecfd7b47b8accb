"""Whether a run that trains a model anew is started: a pure decision on what the event log knows."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ATTEMPTS = 3
"""Runs on one piece of evidence that may fail before a person is called."""


@dataclass(frozen=True, kw_only=True)
class TrainingRunEvidence:
    """What is known before a run is started.

    Attributes
    ----------
    job : str
        The job that trains the model anew.
    outcome, reason, evidence_id, run_id : str or None
        Of the latest decision on retraining, and the run that made it; None where there is none.
    failed_checks : tuple of str
        Checks of the model's drift whose latest finished evaluation failed and is of that run.
    in_flight : str or None
        A run that trains the model now.
    succeeded : bool
        Whether a run on this evidence has succeeded.
    failures : int
        Runs on this evidence that have failed.
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


@dataclass(frozen=True, kw_only=True)
class TrainingRunDecision:
    """A decision with its reason.

    Attributes
    ----------
    start : bool
        Whether a run is started.
    reason : str
    alert : str or None
        What a person is told, once per piece of evidence.
    """

    start: bool
    reason: str
    alert: str | None = None


def decide_run(evidence: TrainingRunEvidence) -> TrainingRunDecision:
    """Decide whether a run is started: once per piece of evidence, and never while the model is being trained."""
    if evidence.outcome is None or evidence.reason is None:
        return TrainingRunDecision(start=False, reason="no decision yet; the checks have not run.")
    if evidence.outcome == "quarantine":
        return TrainingRunDecision(start=False, reason=evidence.reason, alert=evidence.reason)
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
        )
    return TrainingRunDecision(start=True, reason=evidence.reason)
