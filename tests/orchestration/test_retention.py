"""Old runs, reports and answers are removed, and what is still asked for is not."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.platform.event_log import EVIDENCE_TAG, latest_evaluation, latest_materialization, runs_on_evidence
from models.decisions.retention import MOST_REPORTS
from orchestration.commands.runs import open_instance
from orchestration.retention import DBT_FOLDER, is_due, tidy
from store.settings import Settings, settings

START = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)
DAYS = dg.DailyPartitionsDefinition("2026-01-01", timezone="UTC")


@dg.asset(check_specs=[dg.AssetCheckSpec("holds", asset="nightly")])
def nightly(context: dg.AssetExecutionContext) -> Iterator[Any]:
    yield dg.MaterializeResult(metadata={"text": "a" * 20_000})
    yield dg.AssetCheckResult(check_name="holds", passed=True, metadata={"text": "b" * 20_000})
    # as builds of the feature store do
    context.log_event(dg.AssetMaterialization("days", partition=context.run.tags["day"]))


@dg.asset(check_specs=[dg.AssetCheckSpec("held", asset="once")])
def once() -> Iterator[Any]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(check_name="held", passed=False)


@dg.asset(partitions_def=DAYS)
def days() -> None:
    """Is reported by the other."""


DEFINITIONS = dg.Definitions(
    assets=[nightly, once, days],
    jobs=[dg.define_asset_job("night", selection=["nightly"]), dg.define_asset_job("first", selection=["once"])],
)


@pytest.fixture
def current(tmp_path: Path) -> Settings:
    return settings({"LEADLINE_HOME": str(tmp_path / "home"), "LEADLINE_KEEP_DAYS": "3"})


@pytest.fixture
def instance(current: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(current) as opened:
        yield opened


def run(instance: dg.DagsterInstance, current: Settings, night: int, job: str = "night", **tags: str) -> str:
    """Run a job and have it ended in that night."""
    ended_at = START + timedelta(days=night)
    tags = {"day": f"{ended_at:%Y-%m-%d}", **{name.replace("__", "/"): value for name, value in tags.items()}}
    done = DEFINITIONS.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)
    logs = current.dagster_home / "storage" / done.run_id / "compute_logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "step.err").write_text("c" * 20_000)
    with closing(sqlite3.connect(current.dagster_home / "history" / "runs.db")) as runs, runs:
        runs.execute(
            "update runs set update_timestamp = ? where run_id = ?",
            [f"{ended_at:%Y-%m-%d %H:%M:%S.000000}", done.run_id],
        )
    return done.run_id


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_home_stops_growing_and_keeps_what_is_asked_for(instance: dg.DagsterInstance, current: Settings) -> None:
    first = run(instance, current, 0, "first")
    sizes = []
    for night in range(14):
        last = run(instance, current, night)
        tidy(current, instance, START + timedelta(days=night, hours=1))
        sizes.append(size(current.dagster_home))
    # the nights of three days, and the run with the latest of what no other run has made
    kept = {each.run_id for each in instance.get_runs()}
    assert {first, last} <= kept
    assert len(kept) == 1 + 3
    runs = {path.stem for path in (current.dagster_home / "history" / "runs").glob("*.db")} - {"index", ""}
    assert runs == kept
    assert {path.name for path in (current.dagster_home / "storage").iterdir()} == kept
    # per night two texts twice, a log, and their frames had come
    assert max(sizes[8:]) - sizes[7] < 100_000 < sizes[2] - sizes[1]
    with closing(sqlite3.connect(current.dagster_home / "history" / "runs.db")) as database:
        assert {run_id for (run_id,) in database.execute("select run_id from run_tags")} == kept
    with closing(sqlite3.connect(current.dagster_home / "history" / "runs" / "index.db")) as database:
        assert database.execute("select count(*) from asset_check_executions").fetchall() == [(len(kept),)]
    made = latest_materialization(instance, dg.AssetKey("once"))
    assert made is not None
    assert made.run_id == first
    held = latest_evaluation(instance, dg.AssetCheckKey(dg.AssetKey("once"), "held"))
    assert held is not None
    assert held.failed
    computed = instance.get_materialized_partitions(dg.AssetKey("days"))
    assert computed == {f"{START + timedelta(days=night):%Y-%m-%d}" for night in range(14)}


def test_runs_on_the_evidence_of_the_latest_decision_stay(instance: dg.DagsterInstance, current: Settings) -> None:
    @dg.asset(key=["retrain_decision", "conversion"])
    def retrain_decision() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"outcome": "retrain", "evidence_id": "e2"})

    assert dg.materialize([retrain_decision], instance=instance).success
    for evidence in ("e1", "e2"):
        run(instance, current, 0, leadline__evidence=evidence)
    run(instance, current, 50)
    tidy(current, instance, START + timedelta(days=50))
    assert [len(runs_on_evidence(instance, "night", each)) for each in ("e1", "e2")] == [0, 1]
    assert EVIDENCE_TAG == "leadline/evidence"


def test_old_reports_and_answers_go_but_not_the_report_that_is_shown(
    instance: dg.DagsterInstance, current: Settings
) -> None:
    def written(path: Path, day: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, times=((START + timedelta(days=day)).timestamp(),) * 2)
        return path

    reports, answers = current.artifacts / "reports" / "conversion", current.artifacts / "answers" / "lead_features"
    shown, old = written(reports / "shown.html", 0), written(reports / "old.html", 1)
    recent = [written(reports / f"{number}.html", 99) for number in range(MOST_REPORTS + 1)]
    answered, new = written(answers / "old.parquet", 1), written(answers / "new.parquet", 99)
    docs = written(current.artifacts / "reports" / "dbt_docs" / "index.html", 0)
    version = written(current.artifacts / "models" / "conversion" / "20260101-abc" / "manifest.json", 0)

    @dg.asset(key=["drift", "conversion"])
    def drift() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"report_file": dg.MetadataValue.path(shown)})

    assert dg.materialize([drift], instance=instance).success
    assert is_due(current, START)
    said = tidy(current, instance, START + timedelta(days=100))
    assert said.startswith("0 runs, 3 reports and answers and ")
    assert not is_due(current, datetime.now(UTC))
    assert is_due(current, datetime.now(UTC) + timedelta(days=1))
    assert not old.exists()
    assert not answered.exists()
    assert [each.exists() for each in recent].count(False) == 1
    assert all(each.exists() for each in (shown, new, docs, version))


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [("marts-1a2b3c4-5d6e7f8", True), ("5d6e7f8", True), ("duckdb", False), ("compiled", False), ("run", False)],
)
def test_folders_of_steps_of_dbt_are_known_by_their_names(name: str, is_ours: bool) -> None:
    assert (DBT_FOLDER.fullmatch(name) is not None) == is_ours
