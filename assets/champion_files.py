"""The files of a version as its readers get them: those that the ledger vouches for, verified before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.artifacts import ArtifactMismatchError
from models.candidate import Candidate, load

if TYPE_CHECKING:
    from assets.resources import ArtifactStore
    from assets.warehouse import Connection


def recorded_versions(connection: Connection, model: str) -> dict[str, str]:
    """Return the versions of a model that the ledger has, with the SHA-256 of their manifests."""
    found = connection.execute("select version, manifest_sha256 from ml.ml_models where model = $1", [model])
    return dict(found.fetchall())


def load_version(connection: Connection, artifacts: ArtifactStore, model: str, version: str) -> Candidate:
    """Load a version of a model.

    Raises
    ------
    ArtifactMismatchError
        If the ledger does not have it, or its files are not those that were recorded.
    """
    recorded = recorded_versions(connection, model)
    if version not in recorded:
        raise ArtifactMismatchError(
            f"{model}: expected a version that ml.ml_models has, found {version!r}",
            f"materialize candidate/{model} again",
        )
    return load(artifacts.versions(model) / version, recorded[version])


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
