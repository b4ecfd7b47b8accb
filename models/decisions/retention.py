"""Pure decisions on the runs and files of a home to remove. Models, training sets and scores are never removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

KEEP_DAYS = 30
"""Days for which runs, their events and logs, drift reports and answers are kept, by default."""

MOST_REPORTS = 14
"""At most this many drift reports of a model are kept, because each has several megabytes."""

MOST_RUNS = 200
"""At most this many runs are removed at a time, which takes seconds."""


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A run that has ended.

    Attributes
    ----------
    run_id : str
    ended_at : datetime
    evidence : str or None
        The identifier of the evidence on which it was requested; None if it is no requested training.
    """

    run_id: str
    ended_at: datetime
    evidence: str | None = None


def runs_to_forget(
    runs: Iterable[EndedRun], *, now: datetime, keep_days: int, needed: Collection[str], evidence: Collection[str]
) -> list[str]:
    """Return the runs to remove, in the order in which they ended.

    Parameters
    ----------
    runs : iterable of EndedRun
    now : datetime
    keep_days : int
    needed : collection of str
        Runs that stay whatever their age: those with the latest events and evaluations.
    evidence : collection of str
        The evidence of the latest retrain decisions. Its runs stay: they tell whether another run is requested on it.
    """
    cutoff = now - timedelta(days=keep_days)
    old_runs = [
        run
        for run in runs
        if run.ended_at < cutoff and run.run_id not in needed and (run.evidence is None or run.evidence not in evidence)
    ]
    return [run.run_id for run in sorted(old_runs, key=lambda run: run.ended_at)][:MOST_RUNS]


def files_to_remove(
    times: Mapping[Path, datetime],
    *,
    now: datetime,
    keep_days: int,
    needed: Collection[Path] = (),
    most: int | None = None,
) -> list[Path]:
    """Return the files to remove.

    Parameters
    ----------
    times : mapping of Path to datetime
        The time at which each file was written.
    now : datetime
    keep_days : int
    needed : collection of Path
        Files that stay whatever their age.
    most : int, optional
        At most this many of the youngest files stay besides `needed`; None for no limit.
    """
    cutoff = now - timedelta(days=keep_days)
    youngest = sorted(times, key=lambda path: (times[path], path), reverse=True)
    return [
        path
        for number, path in enumerate(youngest)
        if path not in needed and (times[path] < cutoff or (most is not None and number >= most))
    ]
