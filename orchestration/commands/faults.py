"""The messages of errors for a terminal, and the log that keeps errors in full."""

import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from orchestration.terminal import for_terminal
from store.faults import explained, names_damaged_database
from store.settings import shown

LOG = "errors.log"
"""The file of a home that keeps errors in full."""

SUSPECTED = "databases_are_suspected"
"""The file in the folder of Dagster's databases after which the next start checks all of them."""

_OWN_PACKAGES = ("assets.", "store.", "models.", "orchestration.")
"""The packages whose errors have messages for the reader of a terminal."""


def told(error: Exception, home: Path | None) -> str:
    """Return the message of an error, and keep the error in full in the log of the home, if there is one.

    Parameters
    ----------
    error : Exception
    home : Path or None
    """
    log_note = "" if home is None else keep(error, home)
    if type(error).__module__.startswith(_OWN_PACKAGES):
        return for_terminal(shown(str(error)))
    text = "\n".join(f"{type(each).__name__}: {each}" for each in _chain(error))
    if home is not None and names_damaged_database(text):
        with suppress(OSError):
            (home / "dagster" / SUSPECTED).touch()
    explanation = None if home is None else explained(text, home, room(home))
    if explanation is not None:
        return for_terminal(shown(explanation))
    first_line = next(iter(str(error).strip().splitlines()), "")
    return for_terminal(shown(f"Expected no error, found {type(error).__name__}: {first_line.rstrip('.')}.{log_note}"))


def room(home: Path) -> int | None:
    """Return the bytes that are free on the disk of a home; None if that is unknown."""
    try:
        return shutil.disk_usage(home).free
    except OSError:
        return None


def keep(error: Exception, home: Path) -> str:
    """Keep an error in the log; return a sentence that names the log."""
    log = home / LOG
    text = "".join(traceback.format_exception(error))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n{for_terminal(shown(text))}\n")
    except OSError as failure:
        return f" {log} could not keep the rest ({failure.strerror})."
    return f" The rest is in {log}."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
