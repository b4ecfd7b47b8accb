"""What a machine says when a file cannot be written or read, in one sentence with what to do. Nothing here measures."""

import re
from pathlib import Path

_FULL = re.compile(
    r"no space left on device|disk quota exceeded|disk is full|disk full|out of disk space|errno (?:28|122)\b",
    re.IGNORECASE,
)

_OF_A_SERVER = re.compile("could not (?:extend|create|write to|fsync) (?:temporary )?file|could not write block")
"""What PostgreSQL says of the files of its databases, which may lie on another machine."""

_MAY_BE_FULL = re.compile(r"i/o error|io error|oserror|errno 5\b", re.IGNORECASE)
"""What is said of a disk that is full as well as of one that is broken."""

LEAST_BYTES = 2**20
"""Room below which a disk counts as full."""

_NOT_WRITABLE = re.compile(
    # without what a database says of its schemas and tables
    r"read-only file system|readonly database|permission denied(?! (?:for|to) )|operation not permitted|"
    r"errno (?:1|13|30)\b",
    re.IGNORECASE,
)

_DAMAGED_WAREHOUSE = re.compile(
    r"not a valid duckdb database file|corrupt database file|failure while replaying wal|could not read .*from file",
    re.IGNORECASE,
)
"""What DuckDB says of a file that is none, is cut short or holds other bytes than those that it wrote."""

_DAMAGED_DATABASE = re.compile(r"database disk image is malformed|file is not a database", re.IGNORECASE)
"""What SQLite says of such a file."""

_NOT_OPENED = re.compile("unable to open database file", re.IGNORECASE)
"""What SQLite says of a file that it may not use, or whose folder it may not."""


class WarehouseDamagedError(RuntimeError):
    """The file of the warehouse is damaged; the message says what comes back, and how."""


def explained(text: str, home: Path, room: int | None = None) -> str | None:
    """Return what an error means for a home, in one sentence with what to do; None where the machine is not at fault.

    Parameters
    ----------
    text : str
        The messages of the error and of its causes.
    home : Path
    room : int, optional
        Bytes that are free on its disk.
    """
    cannot = _first(text, _NOT_WRITABLE)
    said = _first(text, _FULL)
    if said is None and cannot is None and room is not None and room < LEAST_BYTES:
        said = _first(text, _MAY_BE_FULL)
    if said is not None and _OF_A_SERVER.search(said):
        return (
            f"expected room to write where the database lies, found a full disk ({said}). Free some space there, and "
            "run the same command again."
        )
    if said is not None:
        elsewhere = re.search(r"""["'](/[^"']+)["']""", said)
        if elsewhere is not None and not Path(elsewhere[1]).is_relative_to(home):
            return (
                f"{Path(elsewhere[1]).parent}: expected room to write, found a full disk ({said}). Free some space "
                "there, and run the same command again."
            )
        return (
            f"{home}: expected room to write, found a full disk ({said}). Free some space, or give another home "
            "(HOME_DIR=<folder> with make, else LEADLINE_HOME)."
        )
    if cannot is not None:
        elsewhere = re.search(r"'(/[^']+)'", cannot)
        if elsewhere is not None and not Path(elsewhere[1]).is_relative_to(home):
            return (
                f"{elsewhere[1]}: expected a file that this user can use, found that it cannot ({cannot}). Give the "
                "user that runs Leadline access to it."
            )
        return (
            f"{home}: expected files that this user can write, found that some cannot be ({cannot}). Give the user "
            "that runs Leadline write access to all of the home, or give another home (HOME_DIR=<folder> with make, "
            "else LEADLINE_HOME)."
        )
    if (said := _first(text, _NOT_OPENED)) is not None:
        return (
            f"{home / 'dagster'}: expected databases of Dagster that can be opened, found one that cannot ({said}). "
            "Give the user that runs Leadline access to all of the folder, and run the same command again."
        )
    if (said := _first(text, _DAMAGED_DATABASE)) is not None:
        return (
            f"{home / 'dagster'}: expected databases of Dagster that can be read, found a damaged one ({said}). Run "
            "the same command again: it sets it aside, and begins the history of runs anew."
        )
    return None


def names_damaged_database(text: str) -> bool:
    """Say whether an error is that of a damaged database of Dagster."""
    return _first(text, _DAMAGED_DATABASE) is not None


def damaged_warehouse(path: str, text: str) -> str | None:
    """Return what to do about a DuckDB file of which DuckDB says this; None where the file is not at fault."""
    if _first(text, _FULL) or _first(text, _NOT_WRITABLE):
        return None
    said = _first(text, _DAMAGED_WAREHOUSE)
    # a file of the source may be damaged as well
    if said is None or not (path in said or "corrupt database file" in said.lower()):
        return None
    return (
        f"{path}: expected the warehouse, found that it is damaged ({said}). Bring it back from a backup, with its "
        ".wal of the same time if there was one; or move it and its .wal away and run `make run`, which fills a new "
        "one from the source, trains anew and takes the published history back. What does not come back stands in "
        "docs/damage.md."
    )


def _first(text: str, pattern: re.Pattern[str]) -> str | None:
    """Return the first line that a pattern is found in, without the name of the error's class."""
    for line in text.splitlines():
        if pattern.search(line):
            # PostgreSQL's driver repeats the query before what the server says of it
            said = line.rpartition("ERROR:")[2].strip()
            return re.sub(r"^[\w.]*(?:Error|Exception|Full)\w*:\s+", "", said).rstrip(". ")[:300]
    return None
