"""Where the socket of a server of one's own lies: in a folder that its user alone can enter."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from store.permissions import replaceable
from store.places import OWN_SERVER, SettingError

PORT = "5432"
"""The number in the name of the socket; nothing listens on a network."""

SOCKETS = "leadline-socket-"
"""How the name of a folder for a socket begins, where the home's path is too long for one."""

LONGEST_SOCKET = 103
"""Bytes of a socket's path that every system takes."""


class NotStartedError(SettingError):
    """A server that does not start; the message has what it said."""


def not_started(found: str, folder: Path) -> NotStartedError:
    """Return the error of a server that does not start on a folder, and what was found."""
    return NotStartedError(
        f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected a PostgreSQL server that starts on its files in {folder}, found "
        f"{found.rstrip('.')}."
    )


def fits(folder: Path) -> bool:
    """Say whether a socket can lie in a folder, and every client reads its path alike."""
    path = str(folder / f".s.PGSQL.{PORT}")
    return len(path) <= LONGEST_SOCKET and re.fullmatch(r"[A-Za-z0-9._/~+-]+", path) is not None


def short_folder(data: Path, account: tuple[int, int] | None) -> Path:
    """Return a new folder for a socket that the server's user alone can enter, among the temporary ones."""
    # the last two have names that are short everywhere, and nobody can replace what mkdtemp makes there
    parents = dict.fromkeys(Path(each).resolve() for each in (tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108
    for parent in parents:
        if not fits(parent / f"{SOCKETS}{'x' * 8}") or not is_safe(parent, account):
            continue
        with suppress(OSError):
            made = Path(tempfile.mkdtemp(prefix=SOCKETS, dir=parent))
            if account is not None:
                os.chown(made, *account)
            return made
    raise not_started(
        f"no folder for its socket: of {', '.join(map(str, parents))}, each is too long for one, or another user could "
        "take its place. Set TMPDIR to a short folder of yours, or give a home with a shorter path",
        data,
    )


def is_safe(folder: Path, account: tuple[int, int] | None) -> bool:
    """Say whether nobody else can replace what lies in a folder, and the server's user can enter it."""
    can_be_entered = account is None or all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))
    return can_be_entered and replaceable(folder) is None


def remove_sockets(folder: Path) -> None:
    """Remove a folder of `short_folder`, with the socket of a server that is gone."""
    if folder.name.startswith(SOCKETS) and folder.is_dir() and not folder.is_symlink():
        with suppress(OSError):
            for each in folder.glob(".s.PGSQL.*"):
                each.unlink()
            folder.rmdir()
