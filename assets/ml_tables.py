"""Schema ``ml``: what the models wrote. Every write is keyed, so that a rerun adds nothing, and is one transaction."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd
    from duckdb import DuckDBPyConnection

    from models.candidate import Candidate
    from models.evaluation import Evaluation
    from models.promotion import Decision, PromotionEvidence
    from models.training_set import TrainingSet

TABLES: Mapping[str, str] = {
    "ml_models": """
        model text not null, version text not null, training_set_id text not null, horizon_days bigint not null,
        rows bigint not null, entities bigint not null, first_as_of timestamptz not null,
        last_as_of timestamptz not null, artifact text not null, manifest_sha256 text not null,
        metrics text not null, baseline text not null, missed_gates text not null, libraries text not null,
        created_at timestamptz not null, primary key (model, version)""",
    "ml_training_logs": """
        run_id text not null, model text not null, version text not null, training_set_id text not null,
        rows bigint not null, entities bigint not null, reused boolean not null, reason text not null,
        started_at timestamptz not null, finished_at timestamptz not null, primary key (run_id, model)""",
    "ml_decisions": """
        run_id text not null, model text not null, kind text not null, version text not null, evidence text not null,
        rule text not null, outcome text not null, reason text not null, decided_at timestamptz not null,
        primary key (run_id, model, kind)""",
    "ml_champions": """
        model text not null, version text not null, artifact text not null, manifest_sha256 text not null,
        promoted_at timestamptz not null, primary key (model)""",
    "ml_predictions": """
        model text not null, version text not null, lead_id text not null, as_of timestamptz not null,
        outcome text not null, probability double not null, score bigint, grade text, reasons text,
        scored_at timestamptz not null""",
}


def ensure(connection: DuckDBPyConnection) -> None:
    """Create the tables that are missing."""
    connection.execute("create schema if not exists ml")
    for name, columns in TABLES.items():
        connection.execute(f"create table if not exists ml.{name} ({columns})")


def record_version(
    connection: DuckDBPyConnection,
    candidate: Candidate,
    evaluation: Evaluation,
    missed_gates: list[str],
    training_set: TrainingSet,
    manifest_sha256: str,
    created_at: datetime,
) -> None:
    """Record a trained version with what was measured; a version that is there already stays as it is."""
    manifest = training_set.manifest
    connection.execute(
        "insert into ml.ml_models values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        [
            candidate.model,
            candidate.version,
            training_set.id,
            manifest["horizon_days"],
            manifest["rows"],
            manifest["entities"],
            manifest["first_as_of"],
            manifest["last_as_of"],
            candidate.directory.name,
            manifest_sha256,
            json.dumps(
                {**evaluation.metrics, "recall": evaluation.recall} if evaluation.recall else evaluation.metrics
            ),
            json.dumps(evaluation.baseline),
            json.dumps(missed_gates),
            json.dumps(candidate.manifest["libraries"]),
            created_at,
        ],
    )


def record_training(
    connection: DuckDBPyConnection,
    run_id: str,
    candidate: Candidate,
    training_set: TrainingSet,
    reason: str,
    started_at: datetime,
    finished_at: datetime,
) -> None:
    """Log a training, also one that found its version trained already."""
    manifest = training_set.manifest
    connection.execute(
        "insert or replace into ml.ml_training_logs values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run_id,
            candidate.model,
            candidate.version,
            training_set.id,
            manifest["rows"],
            manifest["entities"],
            candidate.reused,
            reason,
            started_at,
            finished_at,
        ],
    )


def record_decision(
    connection: DuckDBPyConnection, run_id: str, evidence: PromotionEvidence, decision: Decision, decided_at: datetime
) -> None:
    """Write a decision to the ledger, also a refusal."""
    connection.execute(
        "insert or replace into ml.ml_decisions values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run_id,
            evidence.model,
            decision.kind,
            evidence.version,
            json.dumps(asdict(evidence)),
            decision.rule,
            decision.outcome,
            decision.reason,
            decided_at,
        ],
    )


def add_predictions(connection: DuckDBPyConnection, predictions: pd.DataFrame, scored_at: datetime) -> int:
    """Add the predictions that are not there yet.

    Parameters
    ----------
    connection : DuckDBPyConnection
    predictions : DataFrame
        As `assets.scores.explained` returns them.
    scored_at : datetime

    Returns
    -------
    int
        The number of rows added.
    """
    connection.register("new_predictions", predictions)
    added = connection.execute(
        "insert into ml.ml_predictions "
        "select model, version, lead_id, as_of, outcome, probability, score, grade, reasons, cast(? as timestamptz) "
        "from new_predictions as new where not exists (select 1 from ml.ml_predictions as old where "
        "old.model = new.model and old.version = new.version and old.lead_id = new.lead_id and old.as_of = new.as_of "
        "and old.outcome = new.outcome)",
        [scored_at],
    ).fetchall()[0][0]
    connection.unregister("new_predictions")
    return int(added)
