"""Versions that were trained, the log of trainings, decisions about them, and which is the champion of its model.

The champions are a history that only grows, whose last row says how it stands: ``ml.ml_champions`` is a view of it with
one row per model that has a champion. Decisions are on promotion and retraining, also refusals: one row for each
version that a run has decided about.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from models.decisions.promotion import Decision, PromotionEvidence, UntrainableEvidence
from models.decisions.retraining import RetrainDecision, RetrainEvidence
from models.evaluation.records import Evaluation
from models.training.training_set import TrainingSet
from models.versions.candidate import NOT_RECORDED, Candidate, load
from store.artifacts import ArtifactStore
from store.ledger.table import Key, put, table
from store.warehouse.tables import Connection

PROMOTED, VOUCHED_ANEW, RETIRED = "promoted", "trained_again", "retired"
"""What happens to a version: the second where a champion was lost and is trained again to other bytes."""

CHAMPION_HISTORY = table(
    "ml_champion_history",
    model=Key[str],
    # counts what happened to the champions of a model: clocks may go back
    number=Key[int],
    event=str,
    version=str,
    artifact=str,
    manifest_sha256=str,
    promoted_at=datetime,
    happened_at=datetime,
)

PRESENT = f"""
    select model, version, artifact, manifest_sha256, promoted_at from ml.ml_champion_history as last
    where event <> '{RETIRED}'
        and number = (select max(number) from ml.ml_champion_history as each where each.model = last.model)
"""
"""The query of ``ml.ml_champions``."""

_NEXT = "(select coalesce(max(number), 0) + 1 from ml.ml_champion_history where model = $1)"


def load_champion(connection: Connection, artifacts: ArtifactStore, model: str) -> Candidate | None:
    """Load the champion of a model, or return None where it has none.

    Raises
    ------
    ArtifactMismatchError
        If its files are not those that were promoted.
    """
    pointer = connection.execute(
        "select artifact, manifest_sha256 from ml.ml_champions where model = $1", [model]
    ).fetchone()
    if pointer is None:
        return None
    artifact, recorded = pointer
    return load(artifacts.versions(model) / artifact, recorded)


def promote(connection: Connection, version: Candidate, manifest_sha256: str, promoted_at: datetime) -> None:
    """Make a version the champion of its model, unless it is."""
    connection.execute(
        f"insert into ml.ml_champion_history select cast($1 as text), {_NEXT}, '{PROMOTED}', cast($2 as text), "
        "cast($3 as text), cast($4 as text), cast($5 as timestamptz), cast($5 as timestamptz) where not exists "
        "(select 1 from ml.ml_champions where model = $1 and version = $2 and manifest_sha256 = $4)",
        [version.model, version.version, version.directory.name, manifest_sha256, promoted_at],
    )


def follow(
    connection: Connection,
    model: str,
    version: str,
    event: str,
    happened_at: datetime,
    manifest_sha256: str | None = None,
) -> None:
    """Record what has happened to a version, where it is the champion.

    A model whose champion is retired has none; its versions and what they predicted stay.
    """
    connection.execute(
        f"insert into ml.ml_champion_history select model, {_NEXT}, cast($3 as text), version, artifact, "
        "coalesce(cast($4 as text), manifest_sha256), promoted_at, cast($5 as timestamptz) "
        "from ml.ml_champions where model = $1 and version = $2",
        [model, version, event, manifest_sha256, happened_at],
    )


def unmeasured_champion(connection: Connection, model: str, measure: str = "census") -> str | None:
    """Return the version of a champion that was never measured so (``census`` or ``hindsight``), or None."""
    row = connection.execute(
        "select champions.version from ml.ml_champions as champions "
        "inner join ml.ml_models as versions using (model, version) "
        f"where champions.model = $1 and versions.{measure} is null",
        [model],
    ).fetchone()
    return None if row is None else str(row[0])


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


def record_decision(
    connection: Connection,
    run_id: str,
    evidence: PromotionEvidence | UntrainableEvidence | RetrainEvidence,
    decision: Decision | RetrainDecision,
    decided_at: datetime,
) -> None:
    """Write a decision to the ledger, also a refusal."""
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
    )


def why_no_champion(connection: Connection, model: str) -> str:
    """Return the reason of the last promotion decision of a model that has no champion."""
    row = connection.execute(
        "select reason from ml.ml_decisions where model = $1 and kind = 'promotion' order by decided_at desc limit 1",
        [model],
    ).fetchone()
    return "The model has never been trained: run the job whole_loop." if row is None else str(row[0])


VERSIONS = table(
    "ml_models",
    model=Key[str],
    version=Key[str],
    training_set_id=str,
    horizon_days=int,
    rows=int,
    entities=int,
    first_as_of=datetime,
    last_as_of=datetime,
    artifact=str,
    manifest_sha256=str,
    metrics=str,
    baseline=str,
    missed_gates=str,
    libraries=str,
    created_at=datetime,
    census=str | None,
    hindsight=str | None,
)

TRAININGS = table(
    "ml_training_logs",
    run_id=Key[str],
    model=Key[str],
    version=Key[str],
    training_set_id=str,
    rows=int,
    entities=int,
    reused=bool,
    reason=str,
    started_at=datetime,
    finished_at=datetime,
    as_of=datetime | None,
    evidence=str | None,
    feature_code=str | None,
    training_minutes=float | None,
    prediction_milliseconds=float | None,
    proof=str | None,
    confirmed_features=str | None,
)


def recorded_versions(connection: Connection, model: str) -> dict[str, str]:
    """Return the versions of a model that the ledger has, with the SHA-256 of their manifests."""
    recorded = "select version, manifest_sha256 from ml.ml_models where model = $1"
    return dict(connection.execute(recorded, [model]).fetchall())


def load_version(connection: Connection, artifacts: ArtifactStore, model: str, version: str) -> Candidate:
    """Load a version of a model.

    Raises
    ------
    ArtifactMismatchError
        If the ledger does not have it, or its files are not those that were recorded.
    """
    recorded = recorded_versions(connection, model).get(version, NOT_RECORDED)
    return load(artifacts.versions(model) / version, recorded)


def record_version(
    connection: Connection,
    candidate: Candidate,
    evaluation: Evaluation,
    missed_gates: list[str],
    training_set: TrainingSet,
    manifest_sha256: str,
    created_at: datetime,
) -> None:
    """Record a trained version with what was measured; a version that is there already stays as it is.

    One that was lost and trained again to other bytes takes its place, also as the champion: its scores are of the same
    rows, declaration and libraries.
    """
    manifest = training_set.manifest
    known = recorded_versions(connection, candidate.model).get(candidate.version, manifest_sha256)
    metrics = {**evaluation.metrics, "recall": evaluation.recall} if evaluation.recall else evaluation.metrics
    connection.begin()
    put(
        connection,
        VERSIONS,
        {
            "model": candidate.model,
            "version": candidate.version,
            "training_set_id": training_set.id,
            "horizon_days": manifest["horizon_days"],
            "rows": manifest["rows"],
            "entities": manifest["entities"],
            "first_as_of": datetime.fromisoformat(manifest["first_as_of"]),
            "last_as_of": datetime.fromisoformat(manifest["last_as_of"]),
            "artifact": candidate.directory.name,
            "manifest_sha256": manifest_sha256,
            "metrics": json.dumps(metrics),
            "baseline": json.dumps(evaluation.baseline),
            "missed_gates": json.dumps(missed_gates),
            "libraries": json.dumps(candidate.manifest["libraries"]),
            "created_at": created_at,
            "census": None if evaluation.census is None else json.dumps(asdict(evaluation.census)),
            "hindsight": None if evaluation.hindsight is None else json.dumps(asdict(evaluation.hindsight)),
        },
        replace=known != manifest_sha256,
    )
    if known != manifest_sha256:
        follow(connection, candidate.model, candidate.version, VOUCHED_ANEW, created_at, manifest_sha256)
    connection.commit()


def record_training(
    connection: Connection,
    run_id: str,
    candidate: Candidate,
    training_set: TrainingSet,
    reason: str,
    started_at: datetime,
    finished_at: datetime,
    *,
    as_of: datetime,
    evidence: str | None,
    feature_code: str,
    proof: str | None = None,
    confirmed_features: Sequence[str] = (),
) -> None:
    """Log a training, also one that found its version trained already.

    `evidence` identifies what asked for it, where a sensor did; `as_of` is its clock and `feature_code` that of
    `store.features.dbt_project.feature_code`; `proof` is the certificate of the build that its rows come from, if it
    has one; `confirmed_features` are those that a person says were known at the time. What it cost is that of the run
    that trained the version.
    """
    manifest, cost = training_set.manifest, candidate.cost()
    put(
        connection,
        TRAININGS,
        {
            "run_id": run_id,
            "model": candidate.model,
            "version": candidate.version,
            "training_set_id": training_set.id,
            "rows": manifest["rows"],
            "entities": manifest["entities"],
            "reused": candidate.reused,
            "reason": reason,
            "started_at": started_at,
            "finished_at": finished_at,
            "as_of": as_of,
            "evidence": evidence,
            "feature_code": feature_code,
            "training_minutes": cost["training_minutes"],
            "prediction_milliseconds": cost["prediction_milliseconds"],
            "proof": proof,
            "confirmed_features": json.dumps(list(confirmed_features)),
        },
    )
