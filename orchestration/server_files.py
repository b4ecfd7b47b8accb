"""Why the PostgreSQL server of Leadline's own does not start, in one sentence with what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from assets.faults import explained
from orchestration.faults import room

if TYPE_CHECKING:
    from pathlib import Path

    from orchestration.own_server import NotStartedError

_FATAL = re.compile(r"(?:FATAL|PANIC):\s*(.+)|(initdb: error: .+)")


def why_not_started(folder: Path, error: NotStartedError) -> str:
    """Return why a server does not start on a folder."""
    text = str(error)
    known = explained(text, folder.parent, room(folder.parent))
    if known is not None:
        return known
    found = _FATAL.findall(text)
    if not found:
        return text
    said = next(each for each in found[-1] if each)
    return (
        f"{folder}: expected the files of a PostgreSQL server, found that none starts on them "
        f"({' '.join(said.split()).rstrip('.')[:300]}). {folder / 'log'} says more. Bring the folder back from a "
        "backup; or move it away and run the same command again, which fills a new one from the source and trains "
        "anew. What does not come back stands in docs/damage.md."
    )
