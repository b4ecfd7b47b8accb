"""Decide whether the feature store is built whole or as an increment on the last build, and gather the evidence.

An increment computes the observations since the last build, and those that follow a changed or late fact of their
entity. It gives the same rows as a whole build.

The evidence includes the moment from which the source has outcomes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.declaring.entity import Entity
from models.training.outcome_history import OutcomesBegin, outcomes_begin, weeks_of
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.features.dbt_project import DBT_PROJECT, feature_code, manifest_path, settings_of
from store.warehouse.connection import Connection, columns_of, table_exists
from store.warehouse.warehouse import FEATURE_CLOCK, Extraction, StaleFeaturesError, Warehouse


@dataclass(frozen=True, kw_only=True)
class Built:
    """The clock, extraction and code of a build of the feature store.

    Attributes
    ----------
    as_of : datetime
        The clock, UTC.
    load_number : int
        The extraction.
    code : str
        Hash of the SQL and the settings.
    """

    as_of: datetime
    load_number: int
    code: str


@dataclass(frozen=True, kw_only=True)
class BuildEvidence:
    """The evidence for the plan of a build.

    Attributes
    ----------
    last : Built or None
        The last build, if there is one.
    now : Built
        The build that is planned.
    missing : tuple of str
        What an increment needs and does not find: tables to which it would add, the SQL of the last whole build.
    outcomes : mapping of str to OutcomesBegin
        The moment from which observations can be labelled, by label. The data decide it; where it has moved, the
        build is whole.
    """

    last: Built | None
    now: Built
    missing: tuple[str, ...] = ()
    outcomes: Mapping[str, OutcomesBegin] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """A decision with its reason.

    Attributes
    ----------
    since : Built or None
        The build on which the increment rests; None for a whole build.
    reason : str
    """

    since: Built | None
    reason: str


def plan_build(evidence: BuildEvidence) -> BuildPlan:
    """Decide whether a build is whole or an increment: whole wherever an increment might give other rows."""
    last, now = evidence.last, evidence.now
    if last is None:
        return BuildPlan(since=None, reason="Whole: there is no build to add to.")
    if evidence.missing:
        return BuildPlan(since=None, reason=f"Whole: {', '.join(evidence.missing)} of the last build is missing.")
    if last.code != now.code:
        return BuildPlan(since=None, reason="Whole: the SQL or the settings have changed since the last build.")
    if now.as_of < last.as_of:
        return BuildPlan(
            since=None,
            reason=f"Whole: the clock has gone back, from {last.as_of.isoformat()} to {now.as_of.isoformat()}.",
        )
    return BuildPlan(
        since=last,
        reason=f"Increment on the build of {last.as_of.isoformat()}.",
    )


def gather_build_evidence(warehouse: Warehouse, horizons: Horizons, compiled: CompiledSql) -> BuildEvidence:
    """Gather the evidence for the plan of a build."""
    extraction = warehouse.extraction()
    with warehouse.connect() as connection:
        outcomes = outcomes_by_label(connection, extraction)
    now = Built(
        as_of=extraction.as_of,
        load_number=extraction.load_number,
        # the rows of an entity that the source has only now are no increment
        code=build_code(
            {**settings_of(extraction, horizons), **variables_of(outcomes), "entities": list(extraction.entities)}
        ),
    )
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    added_to = [
        (node["config"]["schema"], node["name"])
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and node["config"]["materialized"] == "incremental"
        and node["config"]["schema"] != "marts"
    ]
    with warehouse.connect() as connection:
        last = _last(connection)
        missing = [
            f"{schema}.{name}" for schema, name in sorted(added_to) if not table_exists(connection, schema, name)
        ]
    # the proof of an increment runs the SQL of the whole build before it
    if last is not None and not compiled.has(last.as_of):
        missing.append(str(compiled.path))
    return BuildEvidence(last=last, now=now, missing=tuple(missing), outcomes=outcomes)


def require_present_code(warehouse: Warehouse, horizons: Horizons, compiled: CompiledSql) -> None:
    """Refuse features and labels that were built from other SQL or settings than the present ones.

    Raises
    ------
    StaleFeaturesError
        If they were.
    """
    evidence = gather_build_evidence(warehouse, horizons, compiled)
    if evidence.last is None or evidence.last.code != evidence.now.code:
        raise StaleFeaturesError(
            f"{warehouse.shown}: expected features and labels built from the present SQL and settings, found older "
            "ones: the SQL, a declared horizon or a setting has changed since they were built. Run "
            "`make run` or the job score_leads, which build them again."
        )


def forget_build(warehouse: Warehouse) -> None:
    """Forget what the store was built from: if this build does not finish, the next one is whole."""
    with warehouse.connect() as connection:
        if table_exists(connection, *FEATURE_CLOCK):
            connection.execute(f"delete from {'.'.join(FEATURE_CLOCK)}")


def build_code(settings: dict[str, Any]) -> str:
    """Return a hash of the SQL of features and labels, and of the settings of their build."""
    views = {declaration.feature_view.name for declaration in DECLARATIONS.values()}
    labels = {declaration.label for declaration in DECLARATIONS.values()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    # this file holds the defaults of the variables
    digest.update((DBT_PROJECT / "dbt_project.yml").read_bytes())
    for name in sorted(views | labels):
        digest.update(feature_code(name).encode())
    return digest.hexdigest()


def _last(connection: Connection) -> Built | None:
    # a warehouse of an earlier release has only the clock
    if not {"as_of", "load_number", "build_code"} <= set(columns_of(connection, *FEATURE_CLOCK)):
        return None
    row = connection.execute("select as_of, load_number, build_code from features.feature_clock").fetchone()
    return None if row is None else Built(as_of=row[0], load_number=row[1], code=row[2])


def outcomes_by_label(connection: Connection, extraction: Extraction) -> dict[str, OutcomesBegin]:
    """Decide from when on the labels exist that need recorded outcomes."""
    return {
        each.label: measure_outcomes(connection, each.feature_view.entity, extraction)
        for each in DECLARATIONS.values()
        if each.since_outcomes and not extraction.lacks(each.feature_view.entity)
    }


def measure_outcomes(connection: Connection, entity: Entity, extraction: Extraction) -> OutcomesBegin:
    """Decide from when on a source has outcomes of an entity, by the facts known at the clock of the extraction."""
    ends = connection.execute(extraction.with_closing(entity.outcomes), [extraction.as_of]).df()
    return outcomes_begin(weeks_of(ends.astype("float64"), extraction.as_of), entity)


def variables_of(outcomes: Mapping[str, OutcomesBegin]) -> dict[str, Any]:
    """Return the variables of the dbt project that hold the moment from which labels exist."""
    days = {label: each.since for label, each in outcomes.items()}
    return {
        f"{label}_since_us": None if day is None else microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
        for label, day in days.items()
    }


def labelled_since(compiled: CompiledSql, as_of: datetime, label: str) -> datetime | None:
    """Return the moment before which the source has no outcomes, and so a build no labels; None if none is known.

    Parameters
    ----------
    compiled : CompiledSql
    as_of : datetime
        The clock of the build.
    label : str
    """
    at = compiled.build(as_of).variables.get(f"{label}_since_us") if compiled.has(as_of) else None
    return None if at is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
