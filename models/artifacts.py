"""Files that are written whole or not at all, and verified when they are read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


class UnreadableFileError(ValueError):
    """A file does not hold the JSON object that Leadline writes there; `found` says what it holds."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: expected a JSON object as Leadline writes it, found {found}")
        self.found = found


class ArtifactMismatchError(RuntimeError):
    """A stored artifact differs from its manifest; the message names the file, both values and the remedy.

    Parameters
    ----------
    found : str
        The file and both values.
    remedy : str
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}; {remedy}")
        self.found = found
        self.remedy = remedy


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that Leadline has written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    UnreadableFileError
        If the file holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except NotADirectoryError:
        raise FileNotFoundError(f"{path}: a file is in the place of its folder") from None
    except IsADirectoryError:
        found = "a folder"
    except RecursionError:
        found = "JSON that is nested too deeply"
    except ValueError as error:
        found = f"text that is not JSON ({error})" if path.stat().st_size else "an empty file"
    else:
        if isinstance(content, dict):
            return content
        found = "JSON that is not an object"
    raise UnreadableFileError(path, found)


def replace_file(path: Path, text: str) -> None:
    """Replace the content of a file atomically; a folder at its path is set aside."""
    make_folder(path.parent)
    if path.is_dir():
        set_aside(path)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        # a half-written file takes up room on a full disk
        temporary.unlink(missing_ok=True)
        raise


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to ``<name>.damaged-<number>``, which nothing reads, and return its new path."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    return path.rename(next(name for name in names if not os.path.lexists(name)))


def make_folder(path: Path) -> None:
    """Make a folder unless it exists; a file at its path, or a link that points nowhere, is set aside."""
    if os.path.lexists(path) and not path.is_dir():
        set_aside(path)
    path.mkdir(parents=True, exist_ok=True)


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
        The directory to create; it must not exist, and no other process may create it at the same time.

    Yields
    ------
    Path
        An empty directory beside it, to write into. The leftovers of a killed writer are removed first.
    """
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except OSError:
        # unfinished files take up room on a full disk
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.replace(directory)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of a directory, with the SHA-256 of every file that is already in it.

    Returns
    -------
    dict
        The manifest as `read_manifest` will return it.
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
        manifest = read_object(path)
        files = dict(manifest["files"])
    except FileNotFoundError:
        raise ArtifactMismatchError(f"{path}: expected a readable manifest, found no file", remedy) from None
    except UnreadableFileError as error:
        raise ArtifactMismatchError(f"{path}: expected a readable manifest, found {error.found}", remedy) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactMismatchError(f"{path}: expected a readable manifest, found {error!r}", remedy) from error
    for name, expected in files.items():
        file = directory / name
        found = sha256(file) if file.is_file() else "no file"
        if found != expected:
            raise ArtifactMismatchError(f"{file}: expected SHA-256 {expected}, found {found}", remedy)
    return manifest
