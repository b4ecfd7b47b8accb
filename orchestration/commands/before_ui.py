"""The checks of `make ui` before it starts: its port is free, no other UI serves the home, the source can be read."""

import fcntl
import os
import socket
import sys
from pathlib import Path

import dagster as dg

from assets.ingest.crm import last_source, why_other_source
from assets.platform.resources import CrmSource
from models.artifacts import set_aside
from models.declared.registry import DECLARATIONS
from store.places import SettingError
from store.settings import MOST_PORT, Settings, whole_number

LOCK = "ui.lock"
"""The file beside the databases of Dagster that the UI of a home keeps locked. It contains the address of the UI."""


def ui_port(current: Settings, given: str) -> int:
    """Return the port of the UI.

    Raises
    ------
    SettingError
        If the text names no port, or one that is not free or that the reports take.
    """
    port = whole_number("PORT", given, least=1, most=MOST_PORT)
    if port == current.reports_port:
        raise SettingError(
            f"PORT: expected another port than that of the reports, found {port} for both. Name another port "
            "(`make ui PORT=3010`), or set LEADLINE_REPORTS_PORT."
        )
    with socket.socket() as probe:
        # the UI sets this too: the port of a UI that has just ended is not free at once without it
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingError(
                f"PORT: expected a port of this machine that is free, found {port} ({error.strerror}). Another UI may "
                "run there: open it, end it, or name another port (`make ui PORT=3010`)."
            ) from None
    return port


def claim(current: Settings, address: str) -> int:
    """Lock the home for one UI; return the descriptor of the locked file, which the processes of the UI keep open.

    The lock ends with the last process that has the file open, even if that process is killed.

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
        ui = os.read(lock, 1_000).decode("utf-8", "replace").strip()
        os.close(lock)
        raise SettingError(
            f"{current.home}: expected a home that no other UI serves, found one at {ui}, whose daemon would "
            "run each schedule as well. Open that UI, or end it and try again (a killed UI ends within a minute). For "
            "another company, set another home (HOME_DIR=<folder> with make, else LEADLINE_HOME)."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{address}\n".encode())
    return lock


def refuse_source(current: Settings, instance: dg.DagsterInstance) -> None:
    """Refuse a source or a mapping with which each run of the UI would fail; no rows are read.

    If the database of the source does not answer, a home that was filled before opens with a warning.

    Raises
    ------
    SettingError
        If the source differs from the last extraction's and no person has accepted that, or cannot be read.
    """
    from store.source.contract import SourceContractError, SourceUnavailableError
    from store.source.opening import check_source

    source = CrmSource.of(current)
    is_simulated, filled_from = source.address is None, last_source(instance)
    try:
        if not source.accept_new_source and filled_from is not None:
            refusal = why_other_source(filled_from, source.place, moved=is_simulated, of=str(current.home))
            if refusal is not None:
                raise SettingError(refusal)
        # a simulated CRM that does not exist is made by the first run
        if not is_simulated or Path(source.place).exists():
            check_source(source.place, source.mapping, DECLARATIONS, source.in_home)
    except SourceContractError as error:
        if filled_from is None or not isinstance(error, SourceUnavailableError):
            raise SettingError(str(error)) from error
        sys.stderr.write(f"{error} Until then each run fails; the UI opens and shows earlier runs.\n")
