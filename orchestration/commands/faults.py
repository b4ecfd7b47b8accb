"""What a terminal is told of an error, and the log that keeps what it is not told."""

import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from orchestration.progress import for_terminal
from store.faults import explained, names_damaged_database
from store.settings import shown

LOG = "errors.log"
"""The file of a home that keeps errors in full."""

SUSPECTED = "databases_are_suspected"
"""The file, beside the databases of Dagster, by which the next start looks at all of them."""

_OURS = ("assets.", "store.", "models.", "orchestration.")
"""Where errors are made whose message is meant for whoever reads a terminal."""


def told(error: Exception, home: Path | None) -> str:
    """Return an error in one sentence, and keep it in full in the log of a home, if there is one.

    Parameters
    ----------
    error : Exception
    home : Path or None
    """
    kept = "" if home is None else keep(error, home)
    if type(error).__module__.startswith(_OURS):
        return for_terminal(shown(str(error)))
    text = "\n".join(f"{type(each).__name__}: {each}" for each in _chain(error))
    if home is not None and names_damaged_database(text):
        with suppress(OSError):
            (home / "dagster" / SUSPECTED).touch()
    known = None if home is None else explained(text, home, room(home))
    if known is not None:
        return for_terminal(shown(known))
    first = next(iter(str(error).strip().splitlines()), "")
    return for_terminal(shown(f"Expected no error, found {type(error).__name__}: {first.rstrip('.')}.{kept}"))


def room(home: Path) -> int | None:
    """Return the bytes that are free on the disk of a home; None where it cannot be told."""
    try:
        return shutil.disk_usage(home).free
    except OSError:
        return None


def keep(error: Exception, home: Path) -> str:
    """Keep an error in the log; return where it is, as a sentence."""
    log = home / LOG
    text = "".join(traceback.format_exception(error))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(opened, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n{for_terminal(shown(text))}\n")
    except OSError as failed:
        return f" {log} could not keep the rest ({failed.strerror})."
    return f" The rest is in {log}."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
