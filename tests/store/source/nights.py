"""The exports of a simulated CRM, night after night, with what honest people do to it in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from store.sql import literal

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

TABLES = ("leads", "interactions", "appointments", "projects", "changes")


def chance(key: str, what: str, per_thousand: int, night: datetime) -> str:
    """Return SQL that is true for a share of the rows, from a night on that is drawn for each."""
    drawn = f"hash({key} || {literal(what)})"
    # drawn from the 60 nights before the last of them, so that some fall between two exports
    return f"({drawn} % 1000 < {per_thousand} and {drawn} // 1000 % 60 < date_diff('day', first, {_time(night)}))"


def _time(moment: datetime) -> str:
    return f"timestamptz '{moment.isoformat()}'"


def export(simulated: Path, folder: Path, night: datetime, first: datetime) -> Path:
    """Write what the CRM shows on a night, as Parquet.

    A row is there once it is recorded, and what comes later to a row is empty until then. In the sixty days from
    ``first`` on, of a thousand, 10 leads and interactions are deleted, 20 outcomes emptied, 20 deals reopened, 10 leads
    valued anew, 10 appointments moved and 5 times corrected; and a rep leaves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = _time(night)
    selects = {
        "leads": f"""
            select * exclude (first, told) replace (
                coalesce(told, status) as status,
                least(updated_at, {now}) as updated_at,
                case when {chance("lead_id", "valued", 10, night)} then property_value * 2 else property_value end
                    as property_value,
                case when assigned_to <> 'rep-01' or {now} < first + interval 40 days then assigned_to end
                    as assigned_to
            ) from (select leads.*, changes.status as told, {_time(first)} as first from leads
            left join (select lead_id, max_by(value, changed_at) as status from changes
                where column_name = 'status' and changed_at <= {now} group by lead_id) changes using (lead_id)) leads
            where created_at <= {now} and not {chance("lead_id", "deleted", 10, night)}""",
        "interactions": f"""
            select * exclude (first) replace (
                case when {chance("interaction_id", "corrected", 20, night)} then null else outcome end as outcome,
                case when {chance("interaction_id", "moved", 5, night)} then occurred_at - interval 1 hour
                    else occurred_at end as occurred_at,
                case when opened_at <= {now} then opened_at end as opened_at,
                case when responded_at <= {now} then responded_at end as responded_at
            ) from (select *, {_time(first)} as first from interactions)
            where coalesce(recorded_at, occurred_at) <= {now}
            and not {chance("interaction_id", "deleted", 10, night)}""",
        "appointments": f"""
            select * exclude (first) replace (
                case when ended_at <= {now} then status else 'scheduled' end as status,
                case when {chance("appointment_id", "moved", 10, night)} then scheduled_at + interval 7 days
                    else scheduled_at end as scheduled_at,
                case when ended_at <= {now} then ended_at end as ended_at
            ) from (select *, {_time(first)} as first from appointments) where booked_at <= {now}""",
        "projects": f"""
            select * exclude (first) replace (
                case when closed_at <= {now} and not {chance("project_id", "reopened", 20, night)} then status
                    else 'open' end as status,
                case when closed_at <= {now} and not {chance("project_id", "reopened", 20, night)} then closed_at end
                    as closed_at
            ) from (select *, {_time(first)} as first from projects) where proposed_at <= {now}""",
        "changes": f"select * from changes where changed_at <= {now}",
    }
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table in TABLES:
            connection.execute(f"create view {table} as from read_parquet('{simulated / table}.parquet')")
        for table, select in selects.items():
            connection.execute(f"copy ({select}) to '{folder / table}.parquet' (format parquet)")
    return folder
