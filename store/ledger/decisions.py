"""Decisions on promotion and retraining, also refusals: one row for each version that a run has decided about."""

import json
from dataclasses import asdict
from datetime import datetime

from models.decisions.promotion import SAME_VERSION, Decision, PromotionEvidence, UntrainableEvidence
from models.decisions.retraining import RetrainDecision, RetrainEvidence
from store.ledger.table import Key, put, table
from store.warehouse.connection import Connection

DECISIONS = table(
    "ml_decisions",
    run_id=Key[str],
    model=Key[str],
    kind=Key[str],
    version=Key[str],
    evidence=str,
    rule=str,
    outcome=str,
    reason=str,
    decided_at=datetime,
)

LAST = "order by decided_at desc, run_id desc, version desc limit 1"
"""Which decision of a model and kind is the last one, also where two were made at one moment."""


def record_decision(
    connection: Connection,
    run_id: str,
    evidence: PromotionEvidence | UntrainableEvidence | RetrainEvidence,
    decision: Decision | RetrainDecision,
    decided_at: datetime,
) -> None:
    """Write a decision to the ledger, also a refusal.

    A step that runs again in its run replaces what it decided, unless it finds its own promotion: that one stays.
    """
    put(
        connection,
        DECISIONS,
        {
            "run_id": run_id,
            "model": evidence.model,
            "kind": decision.kind,
            "version": evidence.version,
            "evidence": json.dumps(asdict(evidence), default=str),
            "rule": decision.rule,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "decided_at": decided_at,
        },
        replace=decision.rule != SAME_VERSION,
    )


def why_no_champion(connection: Connection, model: str) -> str:
    """Return the reason of the last promotion decision of a model that has no champion."""
    row = connection.execute(
        f"select reason from ml.ml_decisions where model = $1 and kind = 'promotion' {LAST}", [model]
    ).fetchone()
    return "The model has never been trained: run the job whole_loop." if row is None else str(row[0])
