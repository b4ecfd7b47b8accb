"""Run a function in a process of its own, so that the peak memory is that of the function."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def alone(function: Callable[..., T], *arguments: object) -> T:
    """Call a function of a module in a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # not ru_maxrss: on Linux a new process inherits the peak of the one that started it
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak) * 1024
    return _largest(resource.RUSAGE_SELF)


def peak_bytes_of_children() -> int:
    """Return the largest resident memory of any process that this one has started and waited for."""
    return _largest(resource.RUSAGE_CHILDREN)


def _largest(who: int) -> int:
    # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
