"""Trained versions with their measurements, and the log of trainings."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from models.evaluation.records import Evaluation
from models.training.training_set import TrainingSet
from models.versions.candidate import NOT_RECORDED, Candidate, load
from store.artifacts import ArtifactStore
from store.ledger.champions import VOUCHED_ANEW, follow
from store.ledger.table import Key, put, table
from store.warehouse.connection import Connection

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
    estimators=str | None,
    costs=str | None,
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
    """Return the versions of a model in the ledger, with the SHA-256 of their manifests."""
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
    """Record a trained version with its measurements; a version that is recorded already stays as it is.

    If the files of a version were lost and training it again gave other bytes, the record is replaced, also that of the
    champion: rows, declaration and libraries are the same.
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
            "estimators": json.dumps([asdict(each) for each in evaluation.contest]) if evaluation.contest else None,
            "costs": None if evaluation.costs is None else json.dumps(asdict(evaluation.costs)),
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

    `as_of` is its clock, and `feature_code` the hash of `store.features.dbt_project.feature_code`. `evidence`
    identifies the evidence on which a sensor asked for it. `proof` is the certificate of the build of its rows, if
    there is one. `confirmed_features` are features that a person says were known at the time. The cost is that of the
    run that trained the version.
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
