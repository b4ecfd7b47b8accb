"""The whole loop on the default simulated CRM: its time, its memory, and the changes of a second run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Figure, Report, Usage, clean_environment, cores, measured, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_SECONDS = 180.0
"""The bound for four cores, without the installation."""
LIMIT_MEGABYTES = 2000.0
COMMAND = ("-m", "orchestration", "run")
"""The command behind `make run`."""

SCHEMAS = ("raw", "features", "labels", "ml", "marts")
RUN_LOGS = frozenset({"ml.ml_training_logs", "ml.ml_decisions"})
"""Tables to which each run adds rows, even if it has decided to do nothing."""


@dataclass(frozen=True)
class Part:
    """A stretch of a run: its name and wall seconds."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Step:
    """A step of the event log: its key, and when it started and ended, in seconds since 1970."""

    key: str
    started_at: float
    ended_at: float


def run() -> Report:
    """Run the loop twice in a fresh home, and measure both runs."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        home = Path(folder) / "home"
        environment = clean_environment(home)
        first = measured(COMMAND, environment, Path(folder) / "first.log")
        parts = timeline(first, latest_steps(home))
        before = contents(home)
        second = measured(COMMAND, environment, Path(folder) / "second.log")
        again = {part.name: part.seconds for part in timeline(second, latest_steps(home))}
        changes = differences(before, contents(home))
    return Report(
        name="whole_loop",
        figures=[
            Figure(name="wall time of the first run", value=first.seconds, bound=LIMIT_SECONDS, unit="s"),
            Figure(
                name="peak memory of the process tree",
                value=_megabytes(first),
                bound=LIMIT_MEGABYTES,
                unit="MB",
                digits=0,
            ),
            Figure(name="wall time of the second run", value=second.seconds, unit="s"),
            Figure(name="tables and files that the second run changed", value=len(changes), bound=0, digits=0),
        ],
        details=[
            "10,000 leads, 18 months, seed 22, in a fresh home",
            *(_described(name, usage) for name, usage in (("first", first), ("second", second))),
            *(
                []
                if cores() == 4
                else [f"the limit of {LIMIT_SECONDS:.0f} s is meant for 4 cores, this machine has {cores()}"]
            ),
            "",
            *table(
                [
                    ("", "first run, s", "share", "second run, s"),
                    *(
                        (
                            part.name,
                            f"{part.seconds:.1f}",
                            f"{part.seconds / first.seconds:.0%}",
                            f"{again[part.name]:.1f}",
                        )
                        for part in parts
                    ),
                ]
            ),
            "",
            *(f"changed by the second run: {change}" for change in changes),
        ],
    )


def timeline(usage: Usage, steps: Sequence[Step]) -> list[Part]:
    """Divide the wall time of a run into its steps and the time around them; the parts add up to the whole."""
    ordered = sorted(steps, key=lambda step: step.started_at)
    if not ordered:
        return [Part("no step ran", usage.seconds)]
    working = [Part(step.key.replace("__", "/"), step.ended_at - step.started_at) for step in ordered]
    start = ordered[0].started_at - usage.started_at
    end = usage.ended_at - ordered[-1].ended_at
    between = usage.seconds - start - end - sum(part.seconds for part in working)
    return [
        Part("start: imports, code location, planning", start),
        *working,
        Part("between steps", between),
        Part("end: summary", end),
    ]


def latest_steps(home: Path) -> list[Step]:
    """Read the steps of the latest run from the event log of a home."""
    from orchestration.commands.runs import open_instance
    from store.settings import settings

    with open_instance(settings({"LEADLINE_HOME": str(home)})) as instance:
        run_id = instance.get_run_records(limit=1)[0].dagster_run.run_id
        return [
            Step(stats.step_key, stats.start_time, stats.end_time)
            for stats in instance.get_run_step_stats(run_id)
            if stats.start_time is not None and stats.end_time is not None
        ]


def contents(home: Path) -> dict[str, str]:
    """Return a fingerprint for each table of the warehouse and each file of the artifacts, without `RUN_LOGS`."""
    import duckdb

    found = {}
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where list_contains(?, schema_name)", [list(SCHEMAS)]
        ).fetchall()
        for schema, name in tables:
            table_name = f"{schema}.{name}"
            if table_name not in RUN_LOGS:
                rows, digest = connection.execute(
                    f'select count(*), bit_xor(hash(each)) from {schema}."{name}" as each'
                ).fetchall()[0]
                found[table_name] = f"{rows:,} rows with hash {digest}"
    for path in sorted((home / "artifacts").rglob("*")):
        # the values folder holds Dagster's values between steps, which each run writes again
        if path.is_file() and path.relative_to(home / "artifacts").parts[0] != "values":
            stat = path.stat()
            found[str(path.relative_to(home))] = f"{stat.st_size:,} bytes written at {stat.st_mtime_ns}"
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the differences between two sets of contents."""
    return [
        f"{name}: {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _megabytes(usage: Usage) -> float:
    return usage.peak_bytes / 1e6


def _described(name: str, usage: Usage) -> str:
    return (
        f"{name} run: {usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of CPU, {_megabytes(usage):,.0f} MB; "
        f"other processes kept {usage.others_busy_cores:.1f} of {cores()} cores busy meanwhile"
    )
