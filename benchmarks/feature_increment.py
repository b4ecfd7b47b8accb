"""The time of a daily increment of the feature store compared with a whole build, both by dbt: a day after 24 months.

The facts come from `benchmarks.feature_workload`. The observations are those of the project, which include one of every
open lead at the clock, replaced each day. The time runs from the start of the first model to the end of the last one,
without the start of dbt, which always takes seconds. The increment is checked against a whole build.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compiled import DATABASE, run_dbt
from benchmarks.feature_workload import CLOCK, SIZES, connect, fill
from benchmarks.measuring import Figure, MeasurementError, Report, table
from benchmarks.processes import alone, peak_bytes_of_children
from store.features.compiled import microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = "+lead_features +conversion +deal_value +next_action +feature_clock"
DAY = timedelta(days=1)
COMPARED = "features.lead_features"
KNOWN = {
    "leads": "created_at",
    "interactions": "coalesce(recorded_at, occurred_at)",
    "appointments": "booked_at",
    "projects": "proposed_at",
    "changes": "known_at",
}
"""The time at which a row is known, by table: rows of the last day come with the second extraction, others before."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The time and memory of a build.

    Attributes
    ----------
    name : str
    rows : int
        Rows of the feature view after the build.
    seconds : float
        Time of the models.
    command_seconds : float
        Time of the whole command.
    peak_bytes : int
    """

    name: str
    rows: int
    seconds: float
    command_seconds: float
    peak_bytes: int


def run(sizes: Sequence[str] = ("S",)) -> Report:
    """Measure at some sizes."""
    figures, details = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
            whole, increment = at_size(Path(folder), SIZES[size])
        ratio = increment.seconds / whole.seconds
        figures.append(
            Figure(name=f"{size}: a daily increment over a whole build", value=ratio, bound=0.1, digits=3, unit="x")
        )
        details += [f"{size}: {SIZES[size]:,} leads, 24 months", *(f"  {row}" for row in _table((whole, increment)))]
    return Report(name="feature_increment", figures=figures, details=details)


def at_size(folder: Path, leads: int) -> tuple[Built, Built]:
    """Build the whole store at the clock of the day before, then add a day; return both builds.

    Raises
    ------
    MeasurementError
        If dbt fails, or the increment gives other rows than a whole build.
    """
    path = folder / f"{DATABASE}.duckdb"
    now = datetime.fromisoformat(CLOCK)
    before = now - DAY
    alone(fill, path, leads)
    alone(_extract_twice, path, before)
    whole = _build(folder, path, "whole build", {"as_of": before.isoformat(), "load_number": 1}, "--full-refresh")
    since = {"built_load_number": 1, "built_us": microseconds(before)}
    variables = {"as_of": now.isoformat(), "load_number": 2}
    increment = _build(folder, path, "a day more", variables | since)
    added = alone(_digest, path)
    _build(folder, path, "whole build of both", variables, "--full-refresh")
    rebuilt = alone(_digest, path)
    if added != rebuilt:
        raise MeasurementError(
            f"{COMPARED}: expected the rows of a whole build after the increment, {rebuilt}, found {added} (rows, hash)"
        )
    return whole, increment


def _build(folder: Path, path: Path, name: str, variables: dict[str, Any], *options: str) -> Built:
    seconds, command_seconds, peak = alone(partial(_dbt, folder, variables), *options)
    rows, _ = alone(_digest, path)
    return Built(name=name, rows=rows, seconds=seconds, command_seconds=command_seconds, peak_bytes=peak)


def _extract_twice(path: Path, second_from: datetime) -> None:
    """Set the number of each row's extraction: 2 for rows of the last day, 1 for all others."""
    with connect(path) as connection:
        for name, known in KNOWN.items():
            connection.execute(f"alter table raw.{name} add column load_number bigint default 1")
            connection.execute(f"update raw.{name} set load_number = 2 where {known} >= $1", [second_from])


def _dbt(folder: Path, variables: dict[str, Any], *options: str) -> tuple[float, float, int]:
    """Return the seconds of the models, those of the command, and its peak memory in bytes."""
    began = time.perf_counter()
    run_dbt(folder, "run", variables, "--select", MODELS, *options)
    command_seconds = time.perf_counter() - began
    results = json.loads((folder / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    times = [
        (datetime.fromisoformat(each["started_at"]), datetime.fromisoformat(each["completed_at"]))
        for result in results
        for each in result["timing"]
        if each["name"] == "execute"
    ]
    seconds = (max(end for _, end in times) - min(start for start, _ in times)).total_seconds()
    return seconds, command_seconds, peak_bytes_of_children()


def _digest(path: Path) -> tuple[int, str]:
    """Return the number of rows of the feature view, and a hash of their values that ignores their order."""
    with connect(path) as connection:
        rows, digest = connection.execute(
            f"select count(*), sum(hash(features)::hugeint) from {COMPARED} as features"
        ).fetchall()[0]
    return rows, str(digest)


def _table(builds: Sequence[Built]) -> list[str]:
    header = ("", "rows of the view after it", "seconds of the models", "of the command", "peak MB")
    rows = [
        (
            each.name,
            f"{each.rows:,}",
            f"{each.seconds:,.1f}",
            f"{each.command_seconds:,.1f}",
            f"{each.peak_bytes / 1e6:,.0f}",
        )
        for each in builds
    ]
    return table([header, *rows], left=1)
