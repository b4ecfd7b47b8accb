"""Queries of Dagster's event log on checks, materializations and runs."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

# Private names of Dagster's event log are used in this module only.
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunTagsTable
from sqlalchemy import func, select

from models.decisions.retention import EndedRun

if TYPE_CHECKING:
    from dagster._core.storage.event_log import SqlEventLogStorage
    from dagster._core.storage.runs import SqlRunStorage

REASON_TAG = "leadline/reason"
"""The run tag with the reason of a training."""

EVIDENCE_TAG = "leadline/evidence"
"""The run tag with the identifier of the evidence on which a training was requested."""

MODEL_TAG = "leadline/model"
"""The run tag with the model that is trained."""

PARTITION_ROWS = "dagster/partition_row_count"
"""The metadata of a partition's materialization with the number of its rows."""

MAX_RETRIES_TAG = "dagster/max_retries"
"""Run tag: how often the daemon starts a run again whose process was killed."""

RETRY_STRATEGY_TAG = "dagster/retry_strategy"
"""Run tag: which of its steps such a run begins with."""

MAX_RUNTIME_TAG = "dagster/max_runtime"
"""Run tag: after how many seconds the daemon ends a run; 0 for never."""


@dataclass(frozen=True, kw_only=True)
class CheckEvaluation:
    """A finished evaluation of a check: whether it failed, and the run that made it."""

    failed: bool
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Materialization:
    """The latest materialization of an asset: its plain metadata values, and the run that made it."""

    metadata: Mapping[str, Any]
    run_id: str


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A failed run and its first failed step; the step is None if the run failed outside of its steps."""

    run_id: str
    step: str | None


def latest_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> CheckEvaluation | None:
    """Return the latest *finished* evaluation of a check, or None if there is none.

    The latest record of a check may be unfinished: its run goes on, was killed, or the check raised an error. Such a
    record has no result, so it is skipped.
    """
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    )
    if not records:
        return None
    (record,) = records
    return CheckEvaluation(failed=record.status == AssetCheckExecutionRecordStatus.FAILED, run_id=record.run_id)


def latest_materialization(instance: dg.DagsterInstance, key: dg.AssetKey) -> Materialization | None:
    """Return the latest materialization of an asset, or None if there is none."""
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    return Materialization(
        metadata={name: entry.value for name, entry in event.asset_materialization.metadata.items()},
        run_id=event.run_id,
    )


def reported_rows(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, int]:
    """Return the last reported number of rows of each partition of an asset."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(key, kind)
    if not latest:
        return {}
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, storage_ids=list(latest.values())), limit=len(latest)
    )
    return {
        str(each.partition_key): int(str(each.asset_materialization.metadata[PARTITION_ROWS].value))
        for each in found.records
        if each.asset_materialization is not None and PARTITION_ROWS in each.asset_materialization.metadata
    }


def failed_before(instance: dg.DagsterInstance, key: dg.AssetKey, *, but: str) -> FailedRun | None:
    """Return the last run that planned to materialize an asset, if it failed before that and is not of the job `but`.

    A run that goes on, was canceled, or was killed and waits to be started again is not returned.
    """
    planned = instance.event_log_storage.get_latest_planned_materialization_info(key)
    run = None if planned is None else instance.get_run_by_id(planned.run_id)
    if run is None or run.status != dg.DagsterRunStatus.FAILURE or run.job_name == but:
        return None
    if run.is_complete_and_waiting_to_retry:
        return None
    latest = latest_materialization(instance, key)
    if latest is not None and latest.run_id == run.run_id:
        return None
    failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return FailedRun(run_id=run.run_id, step=failures[0].step_key if failures else None)


def runs_in_flight(
    instance: dg.DagsterInstance, jobs: Collection[str], asset: dg.AssetKey, *, but: str | None = None
) -> list[str]:
    """Return the unfinished runs of the jobs, or with the asset selected by hand, without the run `but`."""
    return [
        run.run_id
        for run in instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
        if run.run_id != but and (run.job_name in jobs or asset in (run.asset_selection or ()))
    ]


def runs_on_evidence(instance: dg.DagsterInstance, job: str, evidence: str) -> list[dg.DagsterRunStatus]:
    """Return the statuses of a job's runs that were requested on a piece of evidence, the latest first."""
    found = instance.get_runs(dg.RunsFilter(job_name=job, tags={EVIDENCE_TAG: evidence}))
    return [run.status for run in found]


def ended_runs(instance: dg.DagsterInstance) -> list[EndedRun]:
    """Return the runs that have ended, the longest ago first."""
    records = instance.get_run_records(dg.RunsFilter(statuses=list(FINISHED_STATUSES)), ascending=True)
    return [
        EndedRun(
            run_id=record.dagster_run.run_id,
            ended_at=record.update_timestamp.replace(tzinfo=UTC),
            evidence=record.dagster_run.tags.get(EVIDENCE_TAG),
        )
        for record in records
    ]


def runs_with_the_latest(instance: dg.DagsterInstance) -> frozenset[str]:
    """Return the runs to which the latest event of some asset belongs, or the latest evaluation of some check."""
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    of_assets = (
        select(func.max(events.id))
        .where(events.asset_key.is_not(None))
        .group_by(events.asset_key, events.dagster_event_type)
    )
    # the latest of a check may only be planned, and hides the last one with a verdict
    of_checks = select(func.max(checks.id)).group_by(checks.asset_key, checks.check_name, checks.execution_status)
    with cast("SqlEventLogStorage", instance.event_log_storage).index_connection() as connection:
        found = [
            *connection.execute(select(events.run_id).where(events.id.in_(of_assets))),
            *connection.execute(select(checks.run_id).where(checks.id.in_(of_checks))),
        ]
    return frozenset(run_id for (run_id,) in found)


def forget_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run with its events, its evaluations of checks and its logs; which days are computed is still known."""
    events, checks, tags = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c, AssetEventTagsTable.c
    # Dagster's own `delete_run` would take the days along, and leaves evaluations, tags and the file of the events
    of_days = (
        select(func.max(events.id))
        .where(events.partition.is_not(None))
        .group_by(events.asset_key, events.partition, events.dagster_event_type)
    )
    gone = select(events.id).where(events.run_id == run_id, events.id.not_in(of_days))
    with cast("SqlEventLogStorage", instance.event_log_storage).index_connection() as connection:
        ids = [each for (each,) in connection.execute(gone)]
        connection.execute(AssetEventTagsTable.delete().where(tags.event_id.in_(ids)))
        connection.execute(SqlEventLogStorageTable.delete().where(events.id.in_(ids)))
        connection.execute(AssetCheckExecutionsTable.delete().where(checks.run_id == run_id))
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    with cast("SqlRunStorage", instance.run_storage).connect() as connection:
        connection.execute(RunTagsTable.delete().where(RunTagsTable.c.run_id == run_id))
    instance.run_storage.delete_run(run_id)
    home = Path(instance.root_directory)
    for log in (home / "history" / "runs").glob(f"{run_id}.db*"):
        log.unlink()
    shutil.rmtree(home / "storage" / run_id, ignore_errors=True)
