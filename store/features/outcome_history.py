"""The evidence on where the outcomes of a source begin: open leads and successes by week and age, from `raw`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from models.training.outcome_history import AGES, OutcomesBegin, Week, outcomes_begin
from store.features.compiled import microseconds
from store.features.kept import CompiledSql
from store.source.sql import literals
from store.warehouse.extraction import Extraction
from store.warehouse.tables import Connection

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LABEL = "conversion"
"""The label that rests on the successes that are counted here."""

DAY = 86_400.0


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
