"""Measure the seconds that loading the code location adds to the import of Dagster, at every run and sensor tick."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.measuring import REPOSITORY, Figure, MeasurementError, Report, clean_environment

LIMIT_SECONDS = 2.0
PROCESSES = 7

TIMED = """
import json, time
def clocks():
    return time.perf_counter(), time.process_time()
start = clocks()
import dagster, dagster_dbt
libraries = clocks()
from orchestration.definitions import defs
defs()
definitions = clocks()
print(json.dumps([[b - a for a, b in zip(*pair)] for pair in ((start, libraries), (libraries, definitions))]))
"""
"""Both imports are timed in one process, because times of two processes vary more than the difference."""


def run() -> Report:
    """Import the code location in fresh processes, after an uncounted one that parses the dbt project if needed."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        _timed(Path(folder))
        timings = [_timed(Path(folder)) for _ in range(PROCESSES)]
    libraries, added = (sorted(timing[part][0] for timing in timings) for part in (0, 1))
    added_cpu = sorted(timing[1][1] for timing in timings)
    return Report(
        name="load_time",
        figures=[
            Figure(
                name="load the code location, median", value=median(added), bound=LIMIT_SECONDS, unit="s",
                digits=2,
            ),
            Figure(name="the same, CPU time", value=median(added_cpu), unit="s", digits=2),
            Figure(name="import dagster, dagster_dbt, median", value=median(libraries), unit="s", digits=2),
        ],
        details=[
            f"{PROCESSES} fresh processes; the code location added {added[0]:.2f} to {added[-1]:.2f} s, "
            f"the libraries before it took {libraries[0]:.2f} to {libraries[-1]:.2f} s",
        ],
    )  # fmt: skip


def _timed(home: Path) -> list[list[float]]:
    finished = subprocess.run(
        [sys.executable, "-c", TIMED], cwd=REPOSITORY, env=clean_environment(home), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if finished.returncode != 0:
        raise MeasurementError(f"the code location could not be imported:\n{finished.stderr[-3000:]}")
    timings: list[list[float]] = json.loads(finished.stdout.splitlines()[-1])
    return timings
