"""What of a home is old enough to go: a pure decision on what is there. Models, training sets and scores never go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

KEEP_DAYS = 30
"""Days for which runs, their events and logs, drift reports and answers are kept, where no setting says otherwise."""

MOST_REPORTS = 14
"""Drift reports of a model that are kept at most: each has several megabytes."""

MOST_RUNS = 200
"""Runs that go at a time, so that it takes seconds."""


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A run that has ended.

    Attributes
    ----------
    run_id : str
    ended_at : datetime
    evidence : str or None
        The evidence on which it was to train a model anew.
    """

    run_id: str
    ended_at: datetime
    evidence: str | None = None


def runs_to_forget(
    runs: Iterable[EndedRun], *, now: datetime, keep_days: int, needed: Collection[str], evidence: Collection[str]
) -> list[str]:
    """Return the runs that may go, the longest ago first.

    Parameters
    ----------
    runs : iterable of EndedRun
    now : datetime
    keep_days : int
    needed : collection of str
        Runs that stay whatever their age: those with the latest events and evaluations.
    evidence : collection of str
        The evidence of the latest decisions: whether to train on it is decided by the runs that were started on it.
    """
    before = now - timedelta(days=keep_days)
    old = [
        run
        for run in runs
        if run.ended_at < before and run.run_id not in needed and (run.evidence is None or run.evidence not in evidence)
    ]
    return [run.run_id for run in sorted(old, key=lambda run: run.ended_at)][:MOST_RUNS]


def files_to_remove(
    written: Mapping[Path, datetime],
    *,
    now: datetime,
    keep_days: int,
    needed: Collection[Path] = (),
    most: int | None = None,
) -> list[Path]:
    """Return the files that may go.

    Parameters
    ----------
    written : mapping of Path to datetime
        When each was written.
    now : datetime
    keep_days : int
    needed : collection of Path
        Files that stay whatever their age.
    most : int, optional
        How many of the youngest stay at most.
    """
    before = now - timedelta(days=keep_days)
    youngest = sorted(written, key=lambda path: (written[path], path), reverse=True)
    return [
        path
        for number, path in enumerate(youngest)
        if path not in needed and (written[path] < before or (most is not None and number >= most))
    ]
