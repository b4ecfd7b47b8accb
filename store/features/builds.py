"""How the feature store is built: as a whole, or as an increment on the last build. A pure decision, and its evidence.

An increment computes the observations since the last build and, of the leads that the extractions since then have
touched, those after the first change, however late that comes. It gives the rows of a whole build.

Evidence as well is where the outcomes of a source begin: open leads and successes by week and age, from ``raw``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.training.outcome_history import AGES, OutcomesBegin, Week, outcomes_begin
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.features.dbt_project import DBT_PROJECT, feature_code, manifest_path, settings_of
from store.source.sql import literals
from store.warehouse.connection import Connection, columns_of, table_exists
from store.warehouse.warehouse import FEATURE_CLOCK, Extraction, Warehouse

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


LABEL = "conversion"
"""The label that rests on the successes that are counted here."""

DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Built:
    """What the feature store was built from.

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
    """What is known before a build.

    Attributes
    ----------
    last : Built or None
        The last build; None where there is none.
    now : Built
        What is to be built.
    missing : tuple of str
        What an increment rests on and is not there: tables to which it would add, the SQL of the last whole build.
    outcomes : OutcomesBegin or None
        From when on observations can be labelled: a setting of the build that the data decide, so that the build is
        whole where it has moved.
    """

    last: Built | None
    now: Built
    missing: tuple[str, ...] = ()
    outcomes: OutcomesBegin | None = None


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
    """Gather what a build is decided on."""
    extraction = warehouse.extraction()
    with warehouse.connect() as connection:
        outcomes = measure_outcomes(connection, extraction)
    now = Built(
        as_of=extraction.as_of,
        load_number=extraction.load_number,
        code=build_code({**settings_of(extraction, horizons), **variable_of(outcomes)}),
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
    # an increment is proved by the SQL of the whole build that it rests on
    if last is not None and not compiled.has(last.as_of):
        missing.append(str(compiled.path))
    return BuildEvidence(last=last, now=now, missing=tuple(missing), outcomes=outcomes)


def forget_build(warehouse: Warehouse) -> None:
    """Forget what the store was built from, so that the next build is whole unless this one comes to its end."""
    with warehouse.connect() as connection:
        if table_exists(connection, *FEATURE_CLOCK):
            connection.execute(f"delete from {'.'.join(FEATURE_CLOCK)}")


def build_code(settings: dict[str, Any]) -> str:
    """Return a hash of the SQL of features and labels, and of the settings that it is built with."""
    views = {declaration.feature_view.name for declaration in DECLARATIONS.values()}
    labels = {declaration.label for declaration in DECLARATIONS.values()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    # the defaults of the variables stand there
    digest.update((DBT_PROJECT / "dbt_project.yml").read_bytes())
    for name in sorted(views | labels):
        digest.update(feature_code(name).encode())
    return digest.hexdigest()


def _last(connection: Connection) -> Built | None:
    # a warehouse of an earlier version has a clock alone
    if not {"as_of", "load_number", "build_code"} <= set(columns_of(connection, *FEATURE_CLOCK)):
        return None
    row = connection.execute("select as_of, load_number, build_code from features.feature_clock").fetchone()
    return None if row is None else Built(as_of=row[0], load_number=row[1], code=row[2])


def measure_outcomes(connection: Connection, extraction: Extraction) -> OutcomesBegin:
    """Decide from when on the source of an extraction tells which leads were won, by what was known at its clock."""
    refusals = [
        "select lead_id, greatest(occurred_at, coalesce(recorded_at, occurred_at)) as refused_at "
        f"from raw.interactions where outcome in ({literals(extraction.closing_outcomes)})"
    ]
    if extraction.closing_project_statuses:
        refusals.append(
            "select lead_id, greatest(closed_at, proposed_at) from raw.projects where closed_at is not null "
            f"and status in ({literals(extraction.closing_project_statuses)})"
        )
    if extraction.closing_lead_statuses:
        refusals.append(
            "select lead_id, known_at from raw.changes where column_name = 'status' "
            f"and value in ({literals(extraction.closing_lead_statuses)})"
        )
    leads = connection.execute(
        "select extract(epoch from leads.created_at) as created, extract(epoch from won.won_at) as won, "
        "extract(epoch from refused.refused_at) as refused from raw.leads as leads "
        "left join (select lead_id, min(greatest(closed_at, proposed_at)) as won_at from raw.projects "
        "where status = 'won' and closed_at is not null group by lead_id) as won on leads.lead_id = won.lead_id "
        f"left join (select lead_id, min(refused_at) as refused_at from ({' union all '.join(refusals)}) as refusals "
        "group by lead_id) as refused "
        "on leads.lead_id = refused.lead_id where leads.created_at < $1",
        [extraction.as_of],
    ).df()
    return outcomes_begin(weeks_of(leads.astype("float64"), extraction.as_of))


def variable_of(outcomes: OutcomesBegin) -> dict[str, Any]:
    """Return the variable of the dbt project that says from when on labels exist."""
    since = outcomes.since
    at = None if since is None else microseconds(datetime(since.year, since.month, since.day, tzinfo=UTC))
    return {f"{LABEL}_since_us": at}


def labelled_since(compiled: CompiledSql, as_of: datetime, label: str) -> datetime | None:
    """Return the moment before which a build has no labels, because the source has no outcomes; None where it has.

    Parameters
    ----------
    compiled : CompiledSql
    as_of : datetime
        The clock of the build.
    label : str
    """
    at = compiled.build(as_of).variables.get(f"{label}_since_us") if compiled.has(as_of) else None
    return None if at is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


def weeks_of(leads: pd.DataFrame, clock: datetime) -> list[Week]:
    """Count open leads and successes by week, from the Monday before the first lead, and by age.

    Parameters
    ----------
    leads : DataFrame
        One row per lead: when it was ``created``, ``won`` and ``refused``, in seconds since 1970, or NaN.
    clock : datetime
    """
    import numpy as np

    if leads.empty:
        return []
    end = clock.timestamp()
    # 1970-01-05 was a Monday
    first = (leads["created"].min() // DAY - 4) // 7 * 7 + 4
    number = int((end / DAY - first) // 7) + 1
    created = leads["created"].to_numpy() / DAY - first
    won = np.maximum(leads["won"].to_numpy() / DAY - first, created)
    until = np.fmin(np.fmin(won, np.maximum(leads["refused"].to_numpy() / DAY - first, created)), end / DAY - first)
    until = np.where(np.isnan(until), end / DAY - first, until)
    is_success = ~np.isnan(won) & (won <= until)
    open_days = np.zeros((number, len(AGES)))
    outcomes = np.zeros((number, len(AGES)), dtype=int)
    edges = np.arange(number + 1) * 7.0
    for band, low in enumerate(AGES):
        high = AGES[band + 1] if band + 1 < len(AGES) else np.inf
        start, stop = created + low, np.fmin(created + high, until)
        there = stop > start
        # days that have passed by an edge, summed over intervals: each is a ramp from its start to its stop
        passed = _ramps(start[there], edges) - _ramps(stop[there], edges)
        open_days[:, band] = np.diff(passed)
        age = won - created
        ended = is_success & (age >= low) & (age < high)
        outcomes[:, band] = np.bincount((won[ended] // 7).astype(int), minlength=number)[:number]
    monday = datetime.fromtimestamp(first * DAY, UTC).date()
    return [
        Week(monday + timedelta(weeks=week), tuple(open_days[week].tolist()), tuple(outcomes[week].tolist()))
        for week in range(number)
    ]


def _ramps(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return for each edge the sum of how far it lies beyond each point, where it does."""
    import numpy as np

    ordered = np.sort(points)
    before = np.searchsorted(ordered, edges)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return before * edges - sums[before]
