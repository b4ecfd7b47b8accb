"""What `make ui` looks at before it starts: whether another one serves the home, and whether the source can be read."""

import fcntl
import os
import sys
from pathlib import Path

import dagster as dg

from assets.ingest.crm import last_source, why_other_source
from assets.platform.resources import CrmSource
from models.artifacts import set_aside
from models.declared.registry import DECLARATIONS
from store.places import SettingError
from store.settings import Settings

LOCK = "ui.lock"
"""The file, beside the databases of Dagster, that the UI of a home holds locked and in which its address stands."""


def claim(current: Settings, address: str) -> int:
    """Lock the home for one UI; return the open file, for whoever else must keep it locked.

    The lock is gone with the last process that has the file open, also where they were killed.

    Raises
    ------
    SettingError
        If another UI serves the home.
    """
    path = current.dagster_home / LOCK
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        set_aside(path)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        there = os.read(lock, 1_000).decode("utf-8", "replace").strip()
        os.close(lock)
        raise SettingError(
            f"{current.home}: expected a home that no other UI serves, found one at {there}, whose daemon would run "
            "each schedule as well. Open that one, or end it and try again (one that was killed ends within a minute); "
            "for another company give a home of its own (HOME_DIR=<folder> with make, else LEADLINE_HOME)."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{address}\n".encode())
    return lock


def refuse_source(current: Settings, instance: dg.DagsterInstance) -> None:
    """Refuse a source or a mapping with which each run of the UI would fail; no rows are read.

    A home that was filled before opens with a warning while the database of its source does not answer.

    Raises
    ------
    SettingError
        If it is another source than that of the last extraction, or one that cannot be read.
    """
    from store.source.contract import SourceContractError, SourceUnavailableError
    from store.source.extract import check_source

    source = CrmSource.of(current)
    is_simulated, filled_from = source.address is None, last_source(instance)
    try:
        if not source.accept_new_source and filled_from is not None:
            refusal = why_other_source(filled_from, source.place, moved=is_simulated, of=str(current.home))
            if refusal is not None:
                raise SettingError(refusal)
        # the first run makes the simulated CRM
        if not is_simulated or Path(source.place).exists():
            check_source(source.place, source.mapping, DECLARATIONS)
    except SourceContractError as error:
        if filled_from is None or not isinstance(error, SourceUnavailableError):
            raise SettingError(str(error)) from error
        sys.stderr.write(f"{error} Until then each run fails; the UI opens all the same and shows the earlier ones.\n")
