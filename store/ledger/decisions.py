"""Decisions on promotion and retraining, refusals included: a row per run, kind and version."""

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

LATEST_FIRST = "order by decided_at desc, run_id desc, version desc"
"""The order of the decisions of a model and kind, also where two were made at one moment."""

LAST = f"{LATEST_FIRST} limit 1"
"""The end of a query for the last decision of a model and kind."""

SHOWN = ("decided_at", "outcome", "rule", "reason", "version")
"""The columns of a list of decisions."""


def record_decision(
    connection: Connection,
    run_id: str,
    evidence: PromotionEvidence | UntrainableEvidence | RetrainEvidence,
    decision: Decision | RetrainDecision,
    decided_at: datetime,
) -> None:
    """Write a decision to the ledger, refusals included.

    A step that runs again in its run replaces its decision, unless the version is the champion already: then the
    promotion that it recorded stays.
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


def last_decisions(connection: Connection, model: str, kind: str) -> list[tuple[object, ...]]:
    """Return the last ten decisions of a model and kind, the latest first, with the columns `SHOWN`."""
    rows: list[tuple[object, ...]] = connection.execute(
        f"select {', '.join(SHOWN)} from ml.ml_decisions where model = $1 and kind = $2 {LATEST_FIRST} limit 10",
        [model, kind],
    ).fetchall()
    return rows


def why_no_champion(connection: Connection, model: str) -> str:
    """Return the reason of the last promotion decision of a model that has no champion."""
    row = connection.execute(
        f"select reason from ml.ml_decisions where model = $1 and kind = 'promotion' {LAST}", [model]
    ).fetchone()
    return "The model has never been trained: run the job whole_loop." if row is None else str(row[0])
