"""The Dagster instance of a home: its defaults, and the reconciliation of runs whose process is gone.

A killed run stays "started" for ever and keeps its place in the pool, so that the next run would wait for it without
end. Reconciliation marks such runs failed and frees what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets.environment import Settings

PROCESS_TAG = "leadline/process_id"
"""Run tag with the process that executes the run, from its first moment on."""

DATABASE_STORAGE = """
storage:
  postgres:
    postgres_url: {env: LEADLINE_DAGSTER_URL}
"""

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
    """Return the instance of a home, with the project's defaults written into it."""
    chosen.dagster_home.mkdir(parents=True, exist_ok=True)
    defaults = Path(__file__).with_name("dagster.yaml").read_text(encoding="utf-8")
    # the address may hold a password, and stays in the environment
    storage = "" if chosen.dagster_storage is None else DATABASE_STORAGE
    (chosen.dagster_home / "dagster.yaml").write_text(defaults + storage, encoding="utf-8")
    return dg.DagsterInstance.from_config(str(chosen.dagster_home))


def reconcile(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs failed whose process is gone, and free their places in pools.

    Returns
    -------
    list of str
        The identifiers of those runs.
    """
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
