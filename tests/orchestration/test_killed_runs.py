"""Runs that are killed or interrupted: the published snapshot stays, and the next run completes by itself."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.conftest import NEXT_DAY
from tests.homes import Home, ask, contents, reading, without


@dataclass(frozen=True)
class Kill:
    """A moment to kill a run with its children: some seconds after a line."""

    line: str
    seconds: float


def _scores(home: Home) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: without(home.published, f"marts.{table}", "scored_at") for table in ("lead_scores", "lead_score_history")
    }


KILLS = [
    Kill("… crm", 0.6),
    Kill("… marts", 3.0),
    Kill("… published/snapshot", 0.0),
]
"""In the order of the steps: each run must get past the place where the one before was killed."""


@pytest.mark.slow(250)
def test_a_home_with_a_snapshot_survives(own: Home, undisturbed: Home) -> None:
    home = Home(own.path, {**own.settings, "LEADLINE_AS_OF": NEXT_DAY})
    old = contents(home.published, "marts")
    with reading(home.published) as reader, ExitStack() as processes:
        rows = reader.execute("select count(*) from marts.lead_scores").fetchall()
        for kill in KILLS:
            running = processes.enter_context(home.started("score_leads"))
            running.wait_for(kill.line)
            time.sleep(kill.seconds)
            assert running.process.poll() is None, running.text("err")[-3000:]
            running.kill_group()
            if kill == KILLS[-1]:
                # the snapshot may have been swapped in when the kill arrives, never half of it
                assert contents(home.published, "marts") == old or _scores(home) == _scores(undisturbed)
            else:
                assert contents(home.published, "marts") == old
        running = processes.enter_context(home.started("score_leads"))
        running.wait_for("… feature_store")
        os.killpg(running.process.pid, signal.SIGINT)
        interrupted = running.finished()
        assert interrupted.code == 130, interrupted.err[-3000:]
        assert "a run was killed before it ended" in interrupted.err
        assert "Traceback" not in interrupted.err
        assert interrupted.err.endswith(
            "\nInterrupted. Nothing that was published has changed. To go on, run the same command again: it takes up "
            "what is left.\n"
        )
        last = home.run("score_leads")
        assert last.code == 0, last.err[-3000:]
        assert reader.execute("select count(*) from marts.lead_scores").fetchall() == rows
        assert reader.execute("from marts.lead_score_history order by all").fetchall() != []
    assert _scores(home) == _scores(undisturbed)
    assert sorted(path.name for path in home.published.parent.iterdir()) == [home.published.name]
    assert list(home.path.rglob("*.unfinished*")) == []


@pytest.mark.slow(120)
def test_an_empty_home_survives(empty: Home, filled: Home) -> None:
    with empty.started() as running:
        running.wait_for("loading leads")
        time.sleep(0.3)
        assert running.process.poll() is None, running.text("err")[-3000:]
    with empty.started() as running, ExitStack() as processes:
        running.wait_for("… feature_store")
        dbt = running.child("dbt")
        time.sleep(1)
        assert running.process.poll() is None, running.text("err")[-3000:]
        # dbt lives on for a while, and holds the warehouse
        running.kill()
        assert dbt.is_running()
        assert not empty.published.exists()
        running = processes.enter_context(empty.started())
        running.wait_for("… candidate/conversion")
        time.sleep(0.7)
        assert running.process.poll() is None, running.text("err")[-3000:]
        running.kill_group()
        last = empty.run()
    assert last.code == 0, last.err[-3000:]
    assert "a run was killed before it ended" in last.err
    assert _scores(empty) == _scores(filled)
    assert ask(empty.warehouse, "select count(*) from ml.ml_models") == [(3,)]
