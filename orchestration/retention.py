"""Removes from a home what is old: runs with their events and logs, drift reports, answers, and what dbt left behind.

`models.decisions.retention` decides. `tidy` runs once a day at most: after a run of `make run`, and while the UI runs.
"""

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets.platform import keys
from assets.platform.event_log import ended_runs, forget_run, latest_materialization, runs_with_the_latest
from models.decisions.retention import MOST_REPORTS, files_to_remove, runs_to_forget
from models.declared.registry import DECLARATIONS, FEATURE_VIEWS
from store.artifacts import ArtifactStore
from store.features.dbt_project import DBT_PROJECT
from store.settings import Settings

STAMP = "tidied"
"""The file, beside the databases of Dagster, whose time says when `tidy` ran last."""

EVERY = timedelta(days=1)

DBT_FOLDER = re.compile(r"(\w+-[0-9a-f]{7}-)?[0-9a-f]{7}")
"""Folders of dbt's steps, as dagster-dbt names them; steps that succeed remove theirs."""


def is_due(current: Settings, now: datetime) -> bool:
    """Say whether a day has passed since `tidy` ran last."""
    stamp = current.dagster_home / STAMP
    return not stamp.exists() or now - _written_at(stamp) >= EVERY


def tidy(current: Settings, instance: dg.DagsterInstance, now: datetime) -> str:
    """Remove from a home what is old; returns what was removed, as a sentence."""
    (current.dagster_home / STAMP).touch()
    artifacts = ArtifactStore(root=str(current.artifacts), reports_address=current.reports_address)
    drift = {model: latest_materialization(instance, keys.drift(model)) for model in DECLARATIONS}
    decisions = [latest_materialization(instance, keys.retrain_decision(model)) for model in DECLARATIONS]
    runs = runs_to_forget(
        ended_runs(instance),
        now=now,
        keep_days=current.keep_days,
        needed=runs_with_the_latest(instance),
        evidence=[str(each.metadata.get("evidence_id")) for each in decisions if each is not None],
    )
    for run_id in runs:
        forget_run(instance, run_id)
    # by file name, as the home may have moved
    shown = {
        artifacts.reports(model) / Path(str(each.metadata["report_file"])).name
        for model, each in drift.items()
        if each is not None and "report_file" in each.metadata
    }
    reports = [
        path
        for model in DECLARATIONS
        for path in files_to_remove(
            _written(artifacts.reports(model).glob("*.html")),
            now=now,
            keep_days=current.keep_days,
            needed=shown,
            most=MOST_REPORTS,
        )
    ]
    # earlier releases named the folders by model
    answers = [path for name in (*FEATURE_VIEWS, *DECLARATIONS) for path in artifacts.answers(name).glob("*.parquet")]
    files = [*reports, *files_to_remove(_written(answers), now=now, keep_days=current.keep_days)]
    for path in files:
        path.unlink(missing_ok=True)
    left = [path for path in (DBT_PROJECT / "target").glob("*") if DBT_FOLDER.fullmatch(path.name)]
    folders = files_to_remove(_written(left), now=now, keep_days=current.keep_days)
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    return f"{len(runs)} runs, {len(files)} reports and answers and {len(folders)} folders of dbt removed"


def _written(paths: Iterable[Path]) -> dict[Path, datetime]:
    found: dict[Path, datetime] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found[path] = _written_at(path)
    return found


def _written_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
