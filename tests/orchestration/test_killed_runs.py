"""Runs that are killed or interrupted: the published snapshot stays, and the next run completes by itself."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import NEXT_DAY
from tests.homes import Home, ask, contents, reading, without

if TYPE_CHECKING:
    from pathlib import Path


def _scores(home: Home) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: without(home.published, f"marts.{table}", "scored_at") for table in ("lead_scores", "lead_score_history")
    }


@pytest.mark.slow(120)
def test_a_home_with_a_snapshot_survives(own: Home, undisturbed: Home) -> None:
    home = Home(own.path, {**own.settings, "LEADLINE_AS_OF": NEXT_DAY})
    old = contents(home.published, "marts")
    with reading(home.published) as reader:
        rows = reader.execute("select count(*) from marts.lead_scores").fetchall()
        with home.started("score_leads") as running:
            running.wait_for("… feature_store")
            os.killpg(running.process.pid, signal.SIGINT)
            interrupted = running.finished()
        assert interrupted.code == 130, interrupted.err[-3000:]
        assert "Traceback" not in interrupted.err
        assert interrupted.err.endswith(
            "\nInterrupted. Nothing that was published has changed. To go on, run the same command again: it takes up "
            "what is left.\n"
        )
        assert contents(home.published, "marts") == old
        # it gets past the place where the one before was ended
        with home.started("score_leads") as running:
            running.wait_for("… published/snapshot")
            assert running.process.poll() is None, running.text("err")[-3000:]
            running.kill_group()
        # the snapshot may have been swapped in when the kill arrives, never half of it
        assert contents(home.published, "marts") == old or _scores(home) == _scores(undisturbed)
        last = home.run("score_leads")
        assert last.code == 0, last.err[-3000:]
        assert "a run was killed before it ended" in last.err
        assert reader.execute("select count(*) from marts.lead_scores").fetchall() == rows
        assert reader.execute("from marts.lead_score_history order by all").fetchall() != []
    assert _scores(home) == _scores(undisturbed)
    assert sorted(path.name for path in home.published.parent.iterdir()) == [home.published.name]
    assert list(home.path.rglob("*.unfinished*")) == []


@pytest.mark.slow(130)
def test_a_home_whose_warehouse_and_models_were_lost_survives(own: Home) -> None:
    """It is made anew, with the history that readers have."""
    before, swapped = contents(own.published, "marts"), own.published.stat().st_mtime_ns
    leads, history = len(before["marts.lead_scores"]), before["marts.lead_score_history"]
    scores = _scores(own)
    models = own.path / "artifacts/models"
    trained = _vouched_for(models)
    shutil.rmtree(models)
    own.warehouse.unlink()

    score = own.run("score_leads")

    assert score.code == 1, score.err[-3000:]
    assert f"has published {leads} leads as of " in score.err
    assert f"and {len(history)} rows of history, found one in which no model was ever trained" in score.err
    assert "run the job whole_loop (`make run`), which fills it from the source and trains anew" in score.err
    assert "… feature_store" not in score.err

    with own.started() as running:
        running.wait_for("… feature_store")
        dbt = running.child("dbt")
        time.sleep(1)
        assert running.process.poll() is None, running.text("err")[-3000:]
        # dbt lives on for a while, and holds the warehouse
        running.kill()
        assert dbt.is_running()
        assert (contents(own.published, "marts"), own.published.stat().st_mtime_ns) == (before, swapped)
        anew = own.run()

    assert anew.code == 0, anew.err[-3000:]
    assert "a run was killed before it ended" in anew.err
    assert _vouched_for(models) == trained
    assert ask(own.warehouse, "select count(*) from ml.ml_models") == [(3,)]
    assert f"marts.lead_score_history: {len(history)} rows that {own.warehouse} did not have" in anew.err
    # as they were published, and not as they were scored again
    assert own.ask("from marts.lead_score_history order by all") == history
    assert contents(own.published, "marts")["marts.lead_score_history"] == history
    assert _scores(own) == scores
    never_null = "select column_name from duckdb_columns() where table_name = 'lead_score_history' and not is_nullable"
    assert ("scored_at",) in own.ask(never_null)
    assert ("grade",) not in own.ask(never_null)


def _vouched_for(models: Path) -> dict[Path, bytes]:
    """Return the files of which the manifests vouch, and these: what training cost depends on the machine."""
    return {
        path.relative_to(models): path.read_bytes()
        for path in models.rglob("*")
        if path.is_file() and path.name not in ("card.md", "cost.json")
    }
