"""Permissions of Leadline's files: only the owner reads them, and a group, if set, reads the published file."""

import grp
import os
import pwd
import stat
from pathlib import Path

from models.artifacts import replace_file

OTHERS = 0o077
"""The rights of everyone but the owner: the umask of every process that writes into a home."""

GROUP_FOLDER, GROUP_FILE = 0o2750, 0o640
"""The modes of a folder and a file that a group may read; new files in the folder belong to its group."""

BELONGING = "home_of_this_copy"
"""The file in a published folder outside of a home that names the home."""


class AccessError(ValueError):
    """A folder cannot be given the rights that it needs; the message says why, and what to do."""


def close_home(home: Path) -> None:
    """Make the home a folder whose files only its owner can read; an open home is closed, with all its files.

    Files of other users, such as those of a server, and targets of links are left as they are.

    Raises
    ------
    AccessError
        If the home cannot be closed to others.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AccessError(
            f"expected a folder that is there or can be made, found {home}: {error.strerror}. Name another."
        ) from None
    mode, owner = _mode(home), home.stat().st_uid
    if not mode & OTHERS:
        return
    try:
        # the home itself comes last: after an interruption the next command starts again
        for folder, _, names in os.walk(home, topdown=False):
            for path in (*(Path(folder, name) for name in names), Path(folder)):
                found = path.stat() if path == home else path.lstat()
                if found.st_uid == owner and not stat.S_ISLNK(found.st_mode):
                    path.chmod(stat.S_IMODE(found.st_mode) & 0o700)
    except PermissionError:
        pass
    if _mode(home) & OTHERS:
        raise AccessError(
            f"expected a folder that can be closed to all but its owner, found {home} of the user {_user(owner)} with "
            f"mode {mode:04o}, which stays as it is. Name a folder within it, which Leadline makes itself, or one on a "
            "file system that keeps modes."
        )


def group_number(name: str) -> int:
    """Return the number of a group of this machine.

    Raises
    ------
    AccessError
        If the machine has no such group.
    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise AccessError(
            f"expected a group of this machine, found {name!r}, which is none. Make it (`groupadd {name}`), or name "
            "another."
        ) from None


def prepare_published(path: Path, group: str | None, home: Path, *, is_new: bool) -> None:
    """Make the folder of a published file outside of the home, readable by its owner or also by a group.

    Parameters
    ----------
    path : Path
        The published file.
    group : str or None
    home : Path
    is_new : bool
        Whether the home has no publication yet: an existing file then belongs to another home.

    Raises
    ------
    AccessError
        If the folder holds anything else, belongs to another home, or cannot be given to the group.
    """
    folder = path.parent
    belonging = folder / BELONGING
    try:
        if (above := replaceable(folder.parent)) is not None:
            raise AccessError(
                f"expected a folder that no other user can replace, found {folder}, below {above}, in which another "
                f"user can. Close that one to others (`chmod go-w {above}`, and have it given to "
                f"{_user(os.geteuid())} or root), or name a folder elsewhere."
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        _refuse_planted(folder, path, belonging)
        names = {each.name for each in folder.iterdir()}
        belongs_to = _belongs_to(belonging)
    except OSError as error:
        raise _not_written(folder, error) from None
    # the published file, temporary files and set-aside copies of it, and the file that names the home
    own_prefixes = (path.name, f".{path.name}.", BELONGING)
    if extra := sorted(name for name in names if not name.startswith(own_prefixes)):
        raise AccessError(
            f"expected a folder for the published file alone, found {extra[0]} in {folder}. Name a folder of its own "
            f"({folder / 'leadline'}), which Leadline makes."
        )
    if belongs_to is None and path.exists() and is_new:
        raise AccessError(
            f"expected a folder without a published file, or with that of the home {home}, found {path}, of which the "
            f"home knows nothing. Name another folder; if the home has published it, put it back into "
            f"{home / 'published'}, run once, and then move it."
        )
    if belongs_to not in (None, str(home)):
        raise AccessError(
            f"expected a folder that the home {home} publishes to, found {folder}, to which {belongs_to} does. Name "
            f"another folder; if it is the same home at a new place, delete {belonging}."
        )
    _open_folder(folder, group)
    try:
        if belongs_to is None:
            replace_file(belonging, f"{home}\n")
    except OSError as error:
        raise _not_written(folder, error) from None
    if path.is_file():
        open_to_group(path, group)


def replaceable(folder: Path) -> Path | None:
    """Return the nearest of a folder and its parents in which another user can replace files; None if there is none."""
    for each in (folder, *folder.parents):
        found = each.stat()
        if found.st_uid not in (0, os.geteuid()) or (found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX):
            return each
    return None


def open_to_group(path: Path, group: str | None) -> None:
    """Let a group read a file; without a group, let only its owner read it."""
    _give(path, group, GROUP_FILE if group else 0o600)


def _open_folder(folder: Path, group: str | None) -> None:
    wanted = GROUP_FOLDER if group else 0o700
    found, mode = folder.stat(), _mode(folder)
    if mode == wanted and (group is None or found.st_gid == group_number(group)):
        return
    _give(folder, group, wanted)


def _refuse_planted(folder: Path, *files: Path) -> None:
    """Refuse a folder or file of another user, and a link."""
    if (owner := folder.stat().st_uid) != os.geteuid():
        raise AccessError(
            f"expected a folder of the user {_user(os.geteuid())}, who publishes, found {folder} of the user "
            f"{_user(owner)}. Have it given to that user (`chown`), or name another."
        )
    for each in files:
        if os.path.lexists(each) and (each.is_symlink() or each.lstat().st_uid != os.geteuid()):
            raise AccessError(
                f"expected a file of the user {_user(os.geteuid())}, found {each}, which is a link or another user's. "
                "Remove it, or name another folder."
            )


def _belongs_to(belonging: Path) -> str | None:
    try:
        return belonging.read_text(encoding="utf-8").strip() or None
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        return None


def _not_written(folder: Path, error: OSError) -> AccessError:
    return AccessError(
        f"expected a folder that can be written, in one that is there, found {folder}: {error.strerror}. Make it, "
        "make room on its disk, or name another."
    )


def _give(path: Path, group: str | None, mode: int) -> None:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # the group is set before the mode: until then the old mode keeps others out
            if group is not None and os.fstat(opened).st_gid != group_number(group):
                os.fchown(opened, -1, group_number(group))
            os.fchmod(opened, mode)
        finally:
            os.close(opened)
    except PermissionError:
        raise AccessError(
            f"expected that {path} can be given to the group {group}, found that the user {_user(os.geteuid())} may "
            f"not. Make that user a member of the group (`usermod --append --groups {group} {_user(os.geteuid())}`, "
            "and log in again), or name a group of that user's."
        ) from None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
