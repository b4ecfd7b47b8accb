"""Queries of Dagster's event log on checks, materializations and runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

# Private names of Dagster's event log are used in this module only.
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

REASON_TAG = "leadline/reason"
"""The run tag with the reason of a training."""

EVIDENCE_TAG = "leadline/evidence"
"""The run tag with the identifier of the evidence on which a training was requested."""

MODEL_TAG = "leadline/model"
"""The run tag with the model that is trained."""

PARTITION_ROWS = "dagster/partition_row_count"
"""The metadata of a partition's materialization with the number of its rows."""


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

    A run that goes on or was canceled is not returned.
    """
    planned = instance.event_log_storage.get_latest_planned_materialization_info(key)
    run = None if planned is None else instance.get_run_by_id(planned.run_id)
    if run is None or run.status != dg.DagsterRunStatus.FAILURE or run.job_name == but:
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
