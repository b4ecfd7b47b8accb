"""The files of the PostgreSQL server of Leadline's own: what of them is made again, and what is said of the others."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import psutil

from assets.faults import explained
from models.artifacts import set_aside
from orchestration.faults import room

if TYPE_CHECKING:
    from pathlib import Path

_FATAL = re.compile(r"(?:FATAL|PANIC):\s*(.+)|(initdb: error: .+)")


def mend(folder: Path) -> None:
    """Set aside what says of a server that does not run who has asked for it, and where it runs, and is damaged."""
    for name, is_whole in (("postmaster.pid", _names_a_server), (".handle_pids.json", _lists_processes)):
        path = folder / name
        if path.exists() and not is_whole(path) and not _runs(folder):
            sys.stderr.write(
                f"  {path}: expected a file of the PostgreSQL server, found that it is damaged: it is now "
                f"{set_aside(path)}, and made again\n"
            )


def why_not_started(folder: Path, error: Exception) -> str:
    """Return why a server does not start on a folder, in one sentence with what to do."""
    text = "\n".join(str(each) for each in (error, getattr(error, "stderr", None), _log(folder)) if each)
    known = explained(text, folder.parent, room(folder.parent))
    if known is not None:
        return known
    found = _FATAL.findall(text)
    said = next((each for each in found[-1] if each), "") if found else f"{type(error).__name__}: {error}"
    return (
        f"{folder}: expected the files of a PostgreSQL server, found that none starts on them "
        f"({' '.join(said.split())[:300]}). {folder / 'log'} says more. Bring the folder back from a backup; or move "
        "it away and run the same command again, which fills a new one from the source and trains anew. What does not "
        "come back stands in docs/damage.md."
    )


def _names_a_server(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (IsADirectoryError, UnicodeDecodeError):
        return False
    # process, folder, time, port, folder of the socket, host, memory, status
    return len(lines) == 8 and lines[0].strip().isdecimal()


def _lists_processes(path: Path) -> bool:
    try:
        said = json.loads(path.read_text(encoding="utf-8") or "[]")
    except (IsADirectoryError, ValueError, RecursionError):
        return False
    return isinstance(said, list)


def _runs(folder: Path) -> bool:
    """Say whether a server runs on the folder, be it that it has only just begun to write down where."""
    return any(
        process.info["name"] == "postgres" and process.info["cwd"] == str(folder.resolve())
        for process in psutil.process_iter(["name", "cwd"])
    )


def _log(folder: Path) -> str:
    try:
        return "\n".join((folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    except OSError:
        return ""
