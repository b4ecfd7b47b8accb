"""Explain errors of disks, permissions and damaged files, each in one sentence that says what to do."""

import re
from pathlib import Path

_FULL = re.compile(
    r"no space left on device|disk quota exceeded|disk is full|disk full|out of disk space|errno (?:28|122)\b",
    re.IGNORECASE,
)

_OF_A_SERVER = re.compile("could not (?:extend|create|write to|fsync) (?:temporary )?file|could not write block")
"""Messages of PostgreSQL about the files of its databases, which may lie on another machine."""

_MAY_BE_FULL = re.compile(r"i/o error|io error|oserror|errno 5\b", re.IGNORECASE)
"""Messages that mean either a full disk or a broken one."""

LEAST_BYTES = 2**20
"""Free bytes below which a disk counts as full."""

_NOT_WRITABLE = re.compile(
    # except a database's refusal of a schema or table
    r"read-only file system|readonly database|permission denied(?! (?:for|to) )|operation not permitted|"
    r"errno (?:1|13|30)\b",
    re.IGNORECASE,
)

_DAMAGED_WAREHOUSE = re.compile(
    r"not a valid duckdb database file|corrupt database file|failure while replaying wal|could not read .*from file",
    re.IGNORECASE,
)
"""Messages of DuckDB about a file that is no database, is cut short or was changed by something else."""

_DAMAGED_DATABASE = re.compile(r"database disk image is malformed|file is not a database", re.IGNORECASE)
"""Messages of SQLite about such a file."""

_NOT_OPENED = re.compile("unable to open database file", re.IGNORECASE)
"""Message of SQLite about a file or a folder that it may not use."""


class WarehouseDamagedError(RuntimeError):
    """The file of the warehouse is damaged; the message says how to restore it."""


def explained(text: str, home: Path, room: int | None = None) -> str | None:
    """Explain an error in one sentence with what to do; None where neither disk, permissions nor files caused it.

    Parameters
    ----------
    text : str
        The messages of the error and of its causes.
    home : Path
    room : int, optional
        Free bytes on the disk of the home.
    """
    denied = _first(text, _NOT_WRITABLE)
    message = _first(text, _FULL)
    if message is None and denied is None and room is not None and room < LEAST_BYTES:
        message = _first(text, _MAY_BE_FULL)
    if message is not None and _OF_A_SERVER.search(message):
        return (
            f"expected room to write where the database lies, found a full disk ({message}). Free some space there, "
            "and run the same command again."
        )
    if message is not None:
        other_path = re.search(r"""["'](/[^"']+)["']""", message)
        if other_path is not None and not Path(other_path[1]).is_relative_to(home):
            return (
                f"{Path(other_path[1]).parent}: expected room to write, found a full disk ({message}). Free some space "
                "there, and run the same command again."
            )
        return (
            f"{home}: expected room to write, found a full disk ({message}). Free some space, or give another home "
            "(HOME_DIR=<folder> with make, else LEADLINE_HOME)."
        )
    if denied is not None:
        other_path = re.search(r"'(/[^']+)'", denied)
        if other_path is not None and not Path(other_path[1]).is_relative_to(home):
            return (
                f"{other_path[1]}: expected a file that this user can use, found that it cannot ({denied}). Give the "
                "user that runs Leadline access to it."
            )
        return (
            f"{home}: expected files that this user can write, found that some cannot be ({denied}). Give the user "
            "that runs Leadline write access to all of the home, or give another home (HOME_DIR=<folder> with make, "
            "else LEADLINE_HOME)."
        )
    if (message := _first(text, _NOT_OPENED)) is not None:
        return (
            f"{home / 'dagster'}: expected databases of Dagster that can be opened, found one that cannot ({message}). "
            "Give the user that runs Leadline access to all of the folder, and run the same command again."
        )
    if (message := _first(text, _DAMAGED_DATABASE)) is not None:
        return (
            f"{home / 'dagster'}: expected databases of Dagster that can be read, found a damaged one ({message}). Run "
            "the same command again: it sets it aside, and begins the history of runs anew."
        )
    return None


def names_damaged_database(text: str) -> bool:
    """Say whether an error comes from a damaged database of Dagster."""
    return _first(text, _DAMAGED_DATABASE) is not None


def damaged_warehouse(path: str, text: str) -> str | None:
    """Return what to do about the DuckDB file that caused an error; None where the file is not damaged."""
    if _first(text, _FULL) or _first(text, _NOT_WRITABLE):
        return None
    message = _first(text, _DAMAGED_WAREHOUSE)
    # the damaged file may be one of the source
    if message is None or not (path in message or "corrupt database file" in message.lower()):
        return None
    return (
        f"{path}: expected the warehouse, found that it is damaged ({message}). Bring it back from a backup, with its "
        ".wal of the same time if there was one; or move it and its .wal away and run `make run`, which fills a new "
        "one from the source, trains anew and takes the published history back. What does not come back stands in "
        "docs/damage.md."
    )


def _first(text: str, pattern: re.Pattern[str]) -> str | None:
    """Return the first line that matches a pattern, without the name of the error's class."""
    for line in text.splitlines():
        if pattern.search(line):
            # PostgreSQL's driver puts the query before the server's message
            message = line.rpartition("ERROR:")[2].strip()
            return re.sub(r"^[\w.]*(?:Error|Exception|Full)\w*:\s+", "", message).rstrip(". ")[:300]
    return None
