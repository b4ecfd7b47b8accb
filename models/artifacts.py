"""Files that are written whole or not at all, and that are what they were when they are read again."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST = "manifest.json"


class ArtifactMismatchError(RuntimeError):
    """A stored artifact is not what its manifest says; the message names the file, both values and the remedy."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Fill a directory that appears under its name only when it is complete.

    Parameters
    ----------
    directory : Path
        The directory to create; it must not exist. Its name is derived from its content, so one writer at a time is
        assumed.

    Yields
    ------
    Path
        An empty directory beside it, to write into. What a killed writer left there is removed first.
    """
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.replace(directory)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of a directory, with the SHA-256 of every file that is already in it.

    Returns
    -------
    dict
        The manifest as it will be read again.
    """
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    text = json.dumps({**manifest, "files": files}, indent=2, allow_nan=False)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    complete: dict[str, Any] = json.loads(text)
    return complete


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest of a directory and verify every file that it names.

    Raises
    ------
    ArtifactMismatchError
        If the manifest or a file is missing or unreadable, or a file's SHA-256 is not the recorded one.
    """
    path = directory / MANIFEST
    remedy = f"remove {directory} and run the step that writes it again, or restore it from a backup"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactMismatchError(f"{path}: expected a readable manifest, found {error!r}; {remedy}") from error
    for name, expected in files.items():
        file = directory / name
        found = sha256(file) if file.exists() else "no file"
        if found != expected:
            raise ArtifactMismatchError(f"{file}: expected SHA-256 {expected}, found {found}; {remedy}")
    return manifest
