"""Runs that are killed or interrupted: the published snapshot stays, and the next run completes by itself."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.homes import Home, ask, contents, reading, without

if TYPE_CHECKING:
    from pathlib import Path


def _scores(home: Home) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: without(home.published, f"marts.{table}", "scored_at") for table in ("lead_scores", "lead_score_history")
    }


@pytest.mark.slow(70)
def test_a_home_with_a_snapshot_survives(own: Home) -> None:
    """The shortest of the jobs that publish, where something else is to be published than there is."""
    job, old = "retrain_next_best_action", contents(own.published, "marts")
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("update ml.ml_predictions set reasons = 'others' where model = 'next_best_action'")
    with reading(own.published) as reader:
        rows = reader.execute("select count(*) from marts.lead_scores").fetchall()
        with own.started(job) as running:
            running.wait_for("… training_set/next_best_action")
            os.killpg(running.process.pid, signal.SIGINT)
            interrupted = running.finished()
        assert interrupted.code == 130, interrupted.err[-3000:]
        assert "Traceback" not in interrupted.err
        assert interrupted.err.endswith(
            "\nInterrupted. Nothing that was published has changed. To go on, run the same command again: it "
            "completes the work.\n"
        )
        assert contents(own.published, "marts") == old
        # it gets past the place where the one before was ended
        with own.started(job) as running:
            running.wait_for("… published/snapshot")
            assert running.process.poll() is None, running.text("err")[-3000:]
            running.kill_group()
        # the snapshot may have been swapped in when the kill arrives, never half of it
        found = contents(own.published, "marts")
        assert found == old or found == own.contents("marts")
        last = own.run(job)
        assert last.code == 0, last.err[-3000:]
        assert "a run was killed before it ended" in last.err
        assert reader.execute("select count(*) from marts.lead_scores").fetchall() == rows
        assert reader.execute("from marts.lead_score_history order by all").fetchall() != []
    assert contents(own.published, "marts") == own.contents("marts")
    # and its history has no row twice
    assert {table: len(each) for table, each in own.contents("marts").items()} == {
        table: len(each) for table, each in old.items()
    }
    assert ask(own.published, "select distinct action_reasons from marts.lead_scores") == [("others",)]
    assert sorted(path.name for path in own.published.parent.iterdir()) == [own.published.name]
    assert list(own.path.rglob("*.unfinished*")) == []


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
        dbt = running.child("parsed_dbt.py")
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
    assert f"marts.lead_score_history: {len(history)} rows that {own.warehouse} had lost were taken back" in anew.err
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
