"""Retraining: a pure function from evidence to retrain, wait or quarantine; its callers act."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from models.decisions.drift import MEASURED_ON_LABELS
from models.declaring.policies import RetrainPolicy

AGE = "champion_age"

NEXT_LOOK = "The next look is the next run of the checks."


@dataclass(frozen=True, kw_only=True)
class RetrainEvidence:
    """The evidence on which a retraining is decided.

    Attributes
    ----------
    model, version : str
        The model and its champion; the version is an empty text where there is none.
    as_of : datetime
        The clock, UTC.
    trained_at : datetime or None
        The clock at which the champion was trained.
    last_trained_at : datetime or None
        The clock of the latest training of the model, whatever came of it.
    horizon_days : int
        Days after which the label of an observation matures.
    failed_source_checks : tuple of str
    source_onset : datetime or None
        The clock of the first look since which a check of the source has failed at every look.
    feature_code, feature_code_trained : str or None
        Hash of the SQL that makes the feature view, now and at the training; None where it is not known.
    gone_features : tuple of str
        Features from which the champion learnt, and which the feature view no longer has.
    withdrawn_features : tuple of str
        Features whose values in the past, from which the champion learnt, turned out to be later ones.
    learnt_otherwise : str
        Why the labels from which the champion learnt mean something else than those of now; empty if they do not.
    failed_checks : tuple of str
        Names of `models.decisions.drift.CHECKS`.
    onset : datetime or None
        The clock of the first look, after the last training, since which every look has found drift.
    new_labels : int
        Matured labels of observations later than any of the training.
    labels_since_onset : int
        Matured labels of observations since the onset; if the performance has failed, those that it is measured on.
    in_flight : bool
        Whether a training of the model is queued or running.
    """

    model: str
    version: str
    as_of: datetime
    trained_at: datetime | None
    last_trained_at: datetime | None
    horizon_days: int
    failed_source_checks: tuple[str, ...] = ()
    source_onset: datetime | None = None
    feature_code: str | None = None
    feature_code_trained: str | None = None
    gone_features: tuple[str, ...] = ()
    withdrawn_features: tuple[str, ...] = ()
    learnt_otherwise: str = ""
    failed_checks: tuple[str, ...] = ()
    onset: datetime | None = None
    new_labels: int = 0
    labels_since_onset: int = 0
    in_flight: bool = False


@dataclass(frozen=True, kw_only=True)
class RetrainDecision:
    """A decision with its reason, as the ledger keeps it.

    Attributes
    ----------
    outcome : {"retrain", "wait", "quarantine"}
    rule : str
        The rule that decided, as an identifier.
    reason : str
        A sentence with the figures.
    evidence_id : str
        Equal for all looks at the same evidence. One training at most succeeds per identifier.
    kind : str
    """

    outcome: Literal["retrain", "wait", "quarantine"]
    rule: str
    reason: str
    evidence_id: str
    kind: str = "retraining"


def onset_of(looks: Iterable[tuple[datetime, bool]]) -> datetime | None:
    """Return the first look since which every look has failed; None if the last look has not failed.

    Parameters
    ----------
    looks : iterable of (datetime, bool)
        Clock and whether a check failed, in any order.
    """
    onset = None
    for as_of, failed in sorted(looks):
        onset = (onset or as_of) if failed else None
    return onset


def decide_retraining(evidence: RetrainEvidence, policy: RetrainPolicy) -> RetrainDecision:
    """Decide whether a model is trained anew.

    Learning from broken data is the worst outcome of all, so reasons to doubt the data are checked first, and call a
    person. Then come the reasons to wait for a training; then the age of the champion; then drift, which must settle.
    """
    if evidence.failed_source_checks:
        since = f" since {_day(evidence.source_onset)}" if evidence.source_onset else ""
        return _decision(
            evidence, "quarantine", "source_broken",
            f"The source fails {', '.join(evidence.failed_source_checks)}{since}: nothing is learnt from it. Mend the "
            "feed; if the change is meant, set LEADLINE_SOURCE_ACCEPTED_SINCE to its day.",
        )  # fmt: skip
    if evidence.feature_code_trained is not None and evidence.feature_code != evidence.feature_code_trained:
        return _decision(
            evidence, "quarantine", "feature_code_changed",
            f"The SQL of the features has changed since {evidence.version} was trained, so a difference may come from "
            "the code and not from the world. Look at the change; then run whole_loop, which trains on new features.",
        )  # fmt: skip
    if evidence.gone_features:
        return _decision(
            evidence, "quarantine", "features_gone",
            f"{evidence.version} learnt from features that are no more ({', '.join(evidence.gone_features)}), so it "
            "can be neither measured nor used. Mend the source; if the change is meant, run whole_loop, which trains "
            "anew.",
        )  # fmt: skip
    if evidence.withdrawn_features and not evidence.in_flight:
        return _decision(
            evidence, "retrain", "values_withdrawn",
            f"{evidence.version} learnt from values that were later than they seemed "
            f"({', '.join(evidence.withdrawn_features)}), so it scores nothing any more.",
        )  # fmt: skip
    if evidence.learnt_otherwise and not evidence.in_flight:
        return _decision(
            evidence, "retrain", "labels_changed",
            f"{evidence.version} learnt from {evidence.learnt_otherwise}, so it scores nothing any more.",
        )  # fmt: skip
    if evidence.trained_at is None:
        return _decision(
            evidence,
            "wait",
            "no_champion",
            "There is no champion to measure; each whole_loop tries to train the first one.",
        )
    if not evidence.failed_checks:
        return _decision(evidence, "wait", "nothing_failed", f"Every check of {evidence.version} passes.")
    failing = f"{evidence.version} fails {', '.join(evidence.failed_checks)}"
    if evidence.in_flight:
        return _decision(evidence, "wait", "in_flight", f"{failing}; a training is queued or running already.")
    if evidence.last_trained_at is not None:
        until = evidence.last_trained_at + timedelta(days=policy.cooldown_days)
        if evidence.as_of < until:
            return _decision(
                evidence, "wait", "cooldown",
                f"{failing}; the last training was on {_day(evidence.last_trained_at)}, and the next one is started "
                f"from {_day(until)} on. {NEXT_LOOK}",
            )  # fmt: skip
    if AGE in evidence.failed_checks and evidence.new_labels >= policy.min_new_labels:
        return _decision(
            evidence, "retrain", "champion_stale",
            f"{evidence.version} was trained on {_day(evidence.trained_at)}, more than "
            f"{policy.max_champion_age_days} days ago, and {evidence.new_labels:,} labels have matured that it has "
            "not seen.",
        )  # fmt: skip
    if evidence.onset is None:
        return _decision(
            evidence, "wait", "few_new_labels",
            f"{failing}, and {evidence.new_labels:,} of {policy.min_new_labels:,} new labels have matured. {NEXT_LOOK}",
        )  # fmt: skip
    on_labels_alone = {*evidence.failed_checks} - {AGE} == {MEASURED_ON_LABELS}
    settle_days = policy.settle_days_on_labels if on_labels_alone else policy.settle_days
    settled = evidence.onset + timedelta(days=settle_days)
    if evidence.as_of < settled:
        return _decision(
            evidence, "wait", "settling",
            f"{failing} since {_day(evidence.onset)}; a training before {_day(settled)} would learn a mixture of two "
            f"worlds. {NEXT_LOOK}",
        )  # fmt: skip
    if evidence.labels_since_onset < policy.min_new_labels:
        matured = evidence.onset + timedelta(days=evidence.horizon_days)
        return _decision(
            evidence, "wait", "labels_not_matured",
            f"{failing} since {_day(evidence.onset)}; {evidence.labels_since_onset:,} of {policy.min_new_labels:,} "
            f"labels of observations since then have matured, the first on {_day(matured)}. {NEXT_LOOK}",
        )  # fmt: skip
    return _decision(
        evidence, "retrain", "drift_settled",
        f"{failing} at every look since {_day(evidence.onset)}, and {evidence.labels_since_onset:,} labels of the "
        "changed world have matured.",
    )  # fmt: skip


def _decision(
    evidence: RetrainEvidence, outcome: Literal["retrain", "wait", "quarantine"], rule: str, reason: str
) -> RetrainDecision:
    # drift is identified by its onset, because the checks that fail change from look to look
    about = {
        "source_broken": [evidence.failed_source_checks, str(evidence.source_onset)],
        "feature_code_changed": [evidence.feature_code],
        "features_gone": evidence.gone_features,
        "values_withdrawn": evidence.withdrawn_features,
        "labels_changed": evidence.learnt_otherwise,
        "champion_stale": [str(evidence.last_trained_at)],
        "drift_settled": [str(evidence.onset)],
    }.get(rule, [str(evidence.as_of)])
    identity = json.dumps([evidence.model, evidence.version, rule, about])
    return RetrainDecision(
        outcome=outcome, rule=rule, reason=reason, evidence_id=hashlib.sha256(identity.encode()).hexdigest()[:12]
    )


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
