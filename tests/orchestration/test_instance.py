"""Reconciliation: which runs are dead, and what becomes of them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.events import DagsterEvent, EngineEventData

from assets.platform.resources import WAREHOUSE_POOL
from orchestration.commands.faults import told
from orchestration.commands.runs import (
    OF_A_TERMINAL,
    PROCESS_TAG,
    RunEvidence,
    create_run,
    dead_runs,
    open_instance,
    reconcile,
)
from orchestration.jobs import STARTED_AGAIN
from store.places import SettingError
from store.settings import settings
from tests.homes import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _run(*process_ids: int) -> RunEvidence:
    return RunEvidence(run_id="run", updated_at=NOW, process_ids=frozenset(process_ids))


@pytest.mark.parametrize(
    ("run", "running_since", "dead"),
    [
        pytest.param(_run(7), {7: NOW - timedelta(minutes=1)}, False, id="its process runs"),
        pytest.param(_run(7), {7: NOW}, False, id="its process began at the same moment"),
        pytest.param(_run(7), {8: NOW - timedelta(minutes=1)}, True, id="its process is gone"),
        pytest.param(_run(7), {7: NOW + timedelta(seconds=1)}, True, id="another process has its number"),
        pytest.param(_run(7, 8), {8: NOW - timedelta(days=1)}, False, id="one of its processes runs"),
        pytest.param(_run(), {}, False, id="no process has named itself"),
    ],
)
def test_a_run_is_dead_when_none_of_its_processes_runs(
    run: RunEvidence, running_since: dict[int, datetime], dead: bool
) -> None:
    assert dead_runs([run], running_since) == (["run"] if dead else [])


def test_runs_are_judged_one_by_one() -> None:
    runs = [RunEvidence(run_id=str(pid), updated_at=NOW, process_ids=frozenset({pid})) for pid in (1, 2, 3)]
    assert dead_runs(runs, {2: NOW}) == ["1", "3"]


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def idle() -> None:
    """Do nothing."""
    nothing()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings({"LEADLINE_HOME": str(tmp_path)})) as opened:
        yield opened


@pytest.fixture
def alive() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def dead() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def _started(instance: dg.DagsterInstance, process_id: int, tags: Mapping[str, str] | None = None) -> dg.DagsterRun:
    run = instance.create_run_for_job(idle, tags=tags)
    instance.report_dagster_event(
        DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_START.value, job_name=idle.name), run.run_id
    )
    instance.report_engine_event(
        f"Executing steps in process (pid: {process_id})",
        run,
        engine_event_data=EngineEventData.in_process(process_id, ["nothing"]),
    )
    return run


def _claim(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    instance.event_log_storage.initialize_concurrency_limit_to_default(WAREHOUSE_POOL)
    claimed = instance.event_log_storage.claim_concurrency_slot(WAREHOUSE_POOL, run.run_id, "nothing")
    return claimed.is_claimed


def test_a_killed_run_is_marked_failed_and_its_place_in_the_pool_freed(instance: dg.DagsterInstance, dead: int) -> None:
    killed, waiting = _started(instance, dead), instance.create_run_for_job(idle)
    assert _claim(instance, killed)
    assert not _claim(instance, waiting)

    assert reconcile(instance) == [killed.run_id]

    found = instance.get_run_by_id(killed.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.FAILURE
    assert _claim(instance, waiting)
    assert reconcile(instance) == []


def test_a_run_whose_process_lives_is_left_alone(instance: dg.DagsterInstance, alive: int) -> None:
    running, waiting = _started(instance, alive), instance.create_run_for_job(idle)
    assert _claim(instance, running)

    assert reconcile(instance) == []

    found = instance.get_run_by_id(running.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.STARTED
    assert not _claim(instance, waiting)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("history/runs.db", "garbage"),
        ("history/runs/index.db", "cut"),
        ("schedules/schedules.db", "a folder"),
        ("history/runs.db", "empty"),
        ("history/runs/index.db", "a link that points nowhere"),
    ],
)
def test_a_damaged_database_is_set_aside_and_begun_anew(
    name: str,
    how: str,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert idle.execute_in_process(instance=instance).success
    # one that is too large to be looked at as a whole is, once a run has found that it is damaged; what is no database
    # at all is found without that, also where it was written just now
    monkeypatch.setattr("orchestration.commands.runs.SMALL_BYTES", 0)
    if how != "garbage":
        told(sqlite3.DatabaseError("database disk image is malformed"), tmp_path)
    path = tmp_path / "dagster" / name
    content = path.read_bytes()
    if how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a link that points nowhere":
        path.unlink()
        path.symlink_to(tmp_path / "nowhere" / "at all")
    elif how == "empty":
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    else:
        path.write_bytes(Random(1).randbytes(len(content)) if how == "garbage" else content[: len(content) // 2])

    with open_instance(settings({"LEADLINE_HOME": str(tmp_path)})) as again:
        assert reconcile(again) == []
        assert idle.execute_in_process(instance=again).success

    (said,) = (line for line in capsys.readouterr().err.splitlines() if "expected" in line)
    aside = path.with_name(f"{path.name}.damaged-1")
    assert said.startswith(f"  {path}: expected a database of Dagster, found that it is damaged (")
    assert said.endswith(f"): it is now {aside}, and the history that it held begins anew")
    assert os.path.lexists(aside)


def test_a_database_that_this_user_may_not_use_is_named(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dagster" / "history" / "runs.db"
    monkeypatch.setattr(os, "access", lambda asked, _: asked != path)
    with pytest.raises(SettingError) as caught, open_instance(settings({"LEADLINE_HOME": str(tmp_path)})):
        pass
    assert str(caught.value).startswith(f"{path}: expected a database of Dagster that this user can read and write, ")
    assert path.is_file()


def test_a_database_that_another_process_writes_is_not_damaged(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.commands.runs.SQLITE_SECONDS", 0)
    path = tmp_path / "dagster" / "history" / "runs.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin exclusive")
        with suppress(Exception), open_instance(settings({"LEADLINE_HOME": str(tmp_path)})):
            pass
    assert [each.name for each in path.parent.glob("*damaged*")] == []


def test_a_killed_run_whose_log_is_damaged_is_marked_failed_all_the_same(
    instance: dg.DagsterInstance, tmp_path: Path, dead: int
) -> None:
    killed = _started(instance, dead)
    instance.add_run_tags(killed.run_id, {PROCESS_TAG: str(dead)})
    log = tmp_path / "dagster" / "history" / "runs" / f"{killed.run_id}.db"
    log.write_bytes(Random(1).randbytes(log.stat().st_size))

    with open_instance(settings({"LEADLINE_HOME": str(tmp_path)})) as again:
        assert reconcile(again) == [killed.run_id]
        found = again.get_run_by_id(killed.run_id)

    assert found is not None
    assert found.status == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(("go_on", "will_retry"), [(True, "true"), (False, "false")])
def test_a_killed_run_of_a_job_that_asks_for_it_is_started_again_unless_another_takes_up_its_work(
    instance: dg.DagsterInstance, dead: int, go_on: bool, will_retry: str
) -> None:
    of_night, of_terminal = _started(instance, dead, STARTED_AGAIN), _started(instance, dead, OF_A_TERMINAL)
    plain = _started(instance, dead)
    assert set(reconcile(instance, go_on=go_on)) == {each.run_id for each in (of_night, of_terminal, plain)}
    # by this tag Dagster's daemon knows what it starts again
    found = {run.run_id: run.tags["dagster/will_retry"] for run in instance.get_runs()}
    assert found == {of_night.run_id: will_retry, of_terminal.run_id: "false", plain.run_id: "false"}


def test_a_run_with_a_step_that_failed_is_not_started_again(instance: dg.DagsterInstance) -> None:
    @dg.op
    def broken() -> None:
        raise RuntimeError

    @dg.job(tags=STARTED_AGAIN)
    def night() -> None:
        broken()

    run_id = night.execute_in_process(instance=instance, raise_on_error=False).run_id
    found = instance.get_run_by_id(run_id)
    assert found is not None
    assert found.tags["dagster/will_retry"] == "false"


def test_a_run_that_is_executed_again_is_not_judged_by_the_process_of_the_first(
    instance: dg.DagsterInstance, dead: int, alive: int
) -> None:
    tags = {PROCESS_TAG: str(dead)}
    first = instance.create_run_for_job(idle, tags=tags, status=dg.DagsterRunStatus.FAILURE)
    again = instance.create_run_for_job(
        idle, tags=tags, parent_run_id=first.run_id, root_run_id=first.run_id, status=dg.DagsterRunStatus.STARTING
    )
    assert reconcile(instance) == []
    found = instance.get_run_by_id(again.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.STARTING


def test_a_run_of_a_terminal_is_one_of_the_code_location(instance: dg.DagsterInstance) -> None:
    run = create_run(instance, ReconstructableJob.for_file(__file__, "idle"))
    (location,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    # by this tag the UI finds the runs of a job, and of its time line
    of_location = {".dagster/repository": f"__repository__@{location['python_module']['location_name']}"}
    (found,) = instance.get_runs(dg.RunsFilter(job_name="idle", tags=of_location))
    assert found.run_id == run.run_id
    assert found.tags[PROCESS_TAG] == str(os.getpid())
    # what somebody waits for is neither ended nor started again by the daemon
    assert (found.tags["dagster/max_runtime"], found.tags["dagster/max_retries"]) == ("0", "0")


def test_the_instance_has_the_defaults_of_the_project(instance: dg.DagsterInstance) -> None:
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    assert instance.global_op_concurrency_default_limit == 1
    assert instance.run_monitoring_enabled
    assert 3600 * 12 <= instance.run_monitoring_max_runtime_seconds < 3600 * 24
    assert instance.run_retries_enabled
    assert (instance.run_retries_max_retries, instance.run_retries_retry_on_asset_or_op_failure) == (0, False)
    # the web server judges it, also while the daemon hangs
    assert not instance.freshness_enabled
    for kind in ("schedule", "sensor"):
        assert set(instance.get_settings("retention")[kind]["purge_after_days"]) == {
            "skipped", "success", "failure", "started"
        }  # fmt: skip
