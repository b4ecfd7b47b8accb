"""The Dagster instance of a home: its defaults, and the reconciliation of runs whose process is gone.

A killed run stays "started" for ever and keeps its place in the pool, so that the next run would wait for it without
end. Reconciliation marks such runs failed and frees what they hold.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil

from models.artifacts import make_folder, replace_file, set_aside
from orchestration.commands.faults import SUSPECTED
from store.places import SettingError
from store.settings import Settings

PROCESS_TAG = "leadline/process_id"
"""Run tag with the process that executes the run, from its first moment on."""

DATABASE_STORAGE = """
storage:
  postgres:
    postgres_url: {env: LEADLINE_DAGSTER_URL}
"""

SMALL_BYTES = 2**25
"""Size up to which a database is looked at as a whole at every start: a fifth of a second."""

NEW_SECONDS = 2
"""How long a database may have no tables: so long may a process take that begins one."""

SQLITE_SECONDS = 10
"""How long a database is waited for that another process writes."""

IN_PROGRESS = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What is known of a run in progress.

    Attributes
    ----------
    run_id : str
    updated_at : datetime
        When the run last changed its status, UTC.
    process_ids : frozenset of int
        Processes that reported to execute it; empty while none has.
    """

    run_id: str
    updated_at: datetime
    process_ids: frozenset[int]


def open_instance(chosen: Settings) -> dg.DagsterInstance:
    """Return the instance of a home, with the project's defaults written into it.

    Databases that are damaged are set aside, and begun anew: they hold what has run, and nothing that is published.
    """
    make_folder(chosen.dagster_home)
    if chosen.dagster_storage is None:
        suspected = chosen.dagster_home / SUSPECTED
        for path in _databases(chosen.dagster_home):
            _set_damaged_aside(path, whole=suspected.exists())
        suspected.unlink(missing_ok=True)
    defaults = Path(__file__).with_name("dagster.yaml").read_text(encoding="utf-8")
    # the address may hold a password, and stays in the environment
    storage = "" if chosen.dagster_storage is None else DATABASE_STORAGE
    replace_file(chosen.dagster_home / "dagster.yaml", defaults + storage)
    return dg.DagsterInstance.from_config(str(chosen.dagster_home))


def _databases(dagster_home: Path) -> list[Path]:
    """Return the databases that every run opens; each run has one of its own beside them."""
    for folder in ("history", "history/runs", "schedules", "storage"):
        make_folder(dagster_home / folder)
    return [
        dagster_home / "history" / "runs.db",
        dagster_home / "history" / "runs" / "index.db",
        dagster_home / "schedules" / "schedules.db",
    ]


def _set_damaged_aside(path: Path, *, whole: bool) -> None:
    """Set a SQLite database aside, with what lies beside it, where it is damaged.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether all of it is looked at, however large it is.
    """
    if not os.path.lexists(path):
        return
    problem = _problem(path, whole=whole)
    if problem is None:
        return
    sys.stderr.write(
        f"  {path}: expected a database of Dagster, found that it is damaged ({problem}): it is now {set_aside(path)}, "
        "and the history that it held begins anew\n"
    )
    for beside in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if beside.exists():
            set_aside(beside)


def _set_damaged_logs_aside(instance: dg.DagsterInstance) -> None:
    """Set the damaged logs of runs in progress aside: to mark such a run failed is to write into its log."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(IN_PROGRESS))):
        _set_damaged_aside(
            Path(instance.root_directory) / "history" / "runs" / f"{record.dagster_run.run_id}.db", whole=True
        )


def _problem(path: Path, *, whole: bool) -> str | None:
    """Return what is wrong with a SQLite database; None where nothing is, or it cannot be told now.

    Raises
    ------
    SettingError
        If this user may not use it.
    """
    if not path.is_file():
        return "a folder" if path.is_dir() else "a link that leads nowhere, a pipe or a device"
    if not os.access(path, os.R_OK | os.W_OK):
        raise SettingError(
            f"{path}: expected a database of Dagster that this user can read and write, found one that it cannot. Give "
            f"the user that runs Leadline access to it (`chmod u+rw {path}`, or `chown`); or move it away, and the "
            "history that it holds begins anew."
        )
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=SQLITE_SECONDS)) as connection:
            if whole or path.stat().st_size <= SMALL_BYTES:
                found = connection.execute("pragma quick_check(1)").fetchall()
            else:
                found = [("ok",)]
            if not connection.execute("select 1 from sqlite_schema limit 1").fetchall() and not _is_being_made(path):
                return "it has no tables"
    except sqlite3.OperationalError:
        # locked, not readable, on a disk that is full: the damage is not in the file
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == [("ok",)] else " ".join(str(found[0][0]).split())


def _is_being_made(path: Path) -> bool:
    """Say whether another process has just begun a database, which has no tables for a moment."""
    return time.time() - path.stat().st_mtime < NEW_SECONDS


def reconcile(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs failed whose process is gone, and free their places in pools.

    Returns
    -------
    list of str
        The identifiers of those runs.
    """
    _set_damaged_logs_aside(instance)
    dead = dead_runs(_evidence(instance), _running_since())
    for run_id in dead:
        run = instance.get_run_by_id(run_id)
        if run is not None:
            instance.report_run_failed(
                run, message="The process of this run is gone: it was killed. Found when the next run was started."
            )
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return dead


def dead_runs(evidence: Iterable[RunEvidence], running_since: dict[int, datetime]) -> list[str]:
    """Return the runs none of whose processes is running.

    A process that began after the run was last heard of has only the same number. A run that has named no process
    yet is being started by its launcher, whose timeout deals with it.

    Parameters
    ----------
    evidence : iterable of RunEvidence
    running_since : dict of int to datetime
        Start times of the running processes, UTC.
    """
    return [
        run.run_id
        for run in evidence
        if run.process_ids
        and not any(pid in running_since and running_since[pid] <= run.updated_at for pid in run.process_ids)
    ]


def _evidence(instance: dg.DagsterInstance) -> list[RunEvidence]:
    return [
        RunEvidence(
            run_id=record.dagster_run.run_id,
            updated_at=record.update_timestamp.replace(tzinfo=UTC),
            process_ids=_process_ids(instance, record.dagster_run),
        )
        for record in instance.get_run_records(dg.RunsFilter(statuses=list(IN_PROGRESS)))
    ]


def _process_ids(instance: dg.DagsterInstance, run: dg.DagsterRun) -> frozenset[int]:
    found = {int(run.tags[PROCESS_TAG])} if PROCESS_TAG in run.tags else set()
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event is not None else {}
        if "pid" in metadata:
            found.add(int(str(metadata["pid"].value)))
    return frozenset(found)


def _running_since() -> dict[int, datetime]:
    running = {}
    for process in psutil.process_iter(["pid", "create_time", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            running[process.info["pid"]] = datetime.fromtimestamp(process.info["create_time"], UTC)
    return running
