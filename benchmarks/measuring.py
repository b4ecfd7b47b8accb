"""Measure commands with their time and memory, compare figures with their bounds, and describe the machine."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE_SECONDS = 0.2
LIBRARIES = ("dagster", "dagster-dbt", "dbt-core", "dlt", "duckdb", "numpy", "pandas", "polars", "scikit-learn")


class MeasurementError(RuntimeError):
    """A measured command or comparison failed; the message says how, with the end of the output."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its bound.

    Attributes
    ----------
    name : str
    value : float
    bound : float or None
        None if nothing was promised.
    unit : str
    digits : int
        Decimals with which value and bound are shown and compared.
    more_is_better : bool
        Whether the bound is a minimum.
    """

    name: str
    value: float
    bound: float | None = None
    unit: str = ""
    digits: int = 1
    more_is_better: bool = False

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED``, or an empty text without a bound."""
        if self.bound is None:
            return ""
        # compared as shown: a bound with three digits says nothing about the fourth
        value, bound = round(self.value, self.digits), round(self.bound, self.digits)
        return "met" if (value >= bound if self.more_is_better else value <= bound) else "MISSED"

    def cells(self) -> tuple[str, str, str, str]:
        """Return name, value, bound and verdict as text."""
        sign = "≥" if self.more_is_better else "≤"
        bound = "" if self.bound is None else f"{sign} {self._shown(self.bound)}"
        return self.name, self._shown(self.value), bound, self.verdict

    def _shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of a benchmark.

    Attributes
    ----------
    name : str
    figures : sequence of Figure
        Empty if the benchmark was skipped.
    details : sequence of str
        Lines with further details.
    skipped : str or None
        The reason why it did not run.
    """

    name: str
    figures: Sequence[Figure] = ()
    details: Sequence[str] = ()
    skipped: str | None = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The time and memory of a command.

    Attributes
    ----------
    started_at, ended_at : float
        Seconds since 1970.
    cpu_seconds : float
        CPU time of the command and of the processes that it started and waited for.
    peak_bytes : int
        The largest sum, at one moment, of the resident memory of the command and its descendants.
    others_busy_cores : float
        Cores that other processes kept busy meanwhile, on average; many of them make the seconds unreliable.
    """

    started_at: float
    ended_at: float
    cpu_seconds: float
    peak_bytes: int
    others_busy_cores: float

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.ended_at - self.started_at


@dataclass
class _Memory:
    root: psutil.Process
    peak: int = field(default=0)

    def sample(self) -> None:
        """Sample the memory of all processes of the tree.

        ``getrusage`` would give only the peak of the largest process, but dbt runs beside the process that started it.
        Pages that two processes share count twice, so the sum may be too high.
        """
        total = 0
        try:
            tree = [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in tree:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak = max(self.peak, total)


def measured(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Usage:
    """Run a command of the repository to its end and measure it.

    Parameters
    ----------
    arguments : sequence of str
        The arguments of the Python interpreter.
    environment : mapping of str to str
    log : Path
        Receives the output of the command.

    Raises
    ------
    MeasurementError
        If the command fails.
    """
    cpu_before, busy_before, started_at = _cpu_of_children(), _busy_seconds(), time.time()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=REPOSITORY, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        memory = _Memory(psutil.Process(process.pid))
        try:
            while process.poll() is None:
                memory.sample()
                time.sleep(SAMPLE_SECONDS)
        finally:
            # an interrupted benchmark must not leave its command running
            process.kill()
            process.wait()
    ended_at, busy, cpu = time.time(), _busy_seconds() - busy_before, _cpu_of_children() - cpu_before
    if process.returncode != 0:
        tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-30:])
        raise MeasurementError(
            f"python {' '.join(arguments)}: expected exit code 0, found {process.returncode}.\n{tail}"
        )
    return Usage(
        started_at=started_at,
        ended_at=ended_at,
        cpu_seconds=cpu,
        peak_bytes=memory.peak,
        others_busy_cores=max(0.0, (busy - cpu) / (ended_at - started_at)),
    )


def clean_environment(home: Path, **settings: str) -> dict[str, str]:
    """Return the environment of this process with another home, and with these settings instead of its own."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LEADLINE_", "DAGSTER_", "DBT_"))
    }
    return {**inherited, "LEADLINE_HOME": str(home), **settings}


def machine() -> list[str]:
    """Describe the machine and the versions, on which all figures depend."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return [
        f"machine    {cores()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()} "
        f"{platform.machine()}; load average {os.getloadavg()[0]:.1f}",
        f"versions   Python {platform.python_version()}, {libraries}",
    ]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table(rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """Align rows in columns: the first `left` columns to the left, the others to the right."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    return [
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system)
