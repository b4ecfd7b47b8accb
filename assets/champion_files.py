"""The champion of a model as its readers get it: the version that the pointer names, verified before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.artifacts import MANIFEST, ArtifactMismatchError, sha256
from models.candidate import Candidate, load

if TYPE_CHECKING:
    from assets.resources import ArtifactStore
    from assets.warehouse import Connection


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
    directory = artifacts.versions(model) / artifact
    found = sha256(directory / MANIFEST) if (directory / MANIFEST).exists() else "no file"
    if found != recorded:
        raise ArtifactMismatchError(
            f"{directory / MANIFEST}: expected SHA-256 {recorded}, as recorded at its promotion, found {found}; "
            "restore the artifact from a backup, or train again: the scores published so far stay as they are"
        )
    return load(directory)
