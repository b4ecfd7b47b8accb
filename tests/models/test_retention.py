"""What is old enough to go, as a pure decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.decisions.retention import MOST_RUNS, EndedRun, files_to_remove, runs_to_forget

NOW = datetime(2026, 6, 30, tzinfo=UTC)


def ended(run_id: str, days: float, evidence: str | None = None) -> EndedRun:
    return EndedRun(run_id=run_id, ended_at=NOW - timedelta(days=days), evidence=evidence)


@pytest.mark.parametrize(
    ("run", "goes"),
    [
        pytest.param(ended("run", 31), True, id="old"),
        pytest.param(ended("run", 29), False, id="young"),
        pytest.param(ended("latest", 300), False, id="with the latest of something"),
        pytest.param(ended("run", 300, "e1"), False, id="on the evidence of the latest decision"),
        pytest.param(ended("run", 300, "e0"), True, id="on evidence that was answered long ago"),
    ],
)
def test_a_run_goes_when_it_is_old_and_nothing_needs_it(run: EndedRun, goes: bool) -> None:
    gone = runs_to_forget([run], now=NOW, keep_days=30, needed={"latest"}, evidence=["e1"])
    assert gone == ([run.run_id] if goes else [])


def test_the_oldest_runs_go_first_and_not_all_at_a_time() -> None:
    runs = [ended(str(days), days) for days in range(40, 40 + 2 * MOST_RUNS)]
    gone = runs_to_forget(runs, now=NOW, keep_days=30, needed=(), evidence=())
    assert gone == [str(days) for days in range(39 + 2 * MOST_RUNS, 39 + MOST_RUNS, -1)]


def test_files_go_by_age_and_by_number() -> None:
    written = {Path(str(days)): NOW - timedelta(days=days) for days in (1, 2, 3, 31, 400)}
    names = {
        most: [str(each) for each in files_to_remove(written, now=NOW, keep_days=30, needed=[Path("400")], most=most)]
        for most in (None, 2)
    }
    assert names == {None: ["31"], 2: ["3", "31"]}
