"""The simulated CRM in Pipedrive, read by the shipped mapping: what Pipedrive keeps is the same, the rest is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.shapes.pipedrive import DUPLICATES
from tests.store.source.shaped import LEADS, SAME, compared, differing, export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.source.exports import Extract

NUMBER = "substr(lead_id, 2)::bigint::varchar"
"""A deal has the number of the lead."""

SECOND = "date_trunc('second', {})"
"""Pipedrive keeps times to the second."""


def test_pipedrive_tells_what_the_contract_tells(tmp_path: Path, run: Extract) -> None:
    report = run(export(tmp_path, "pipedrive"))
    assert report.mapping_name == "pipedrive"
    assert {name: table.rows_rejected for name, table in report.tables.items() if table.rows_rejected} == {}
    # the history says what the deals have: only the duplicates, which have none, changed in the eyes of the extraction
    duplicates = report.tables["leads"].rows_read - LEADS
    assert {"status": duplicates, "assigned_to": duplicates, "property_value": 0}.items() <= report.changes_seen.items()
    with compared(tmp_path, tmp_path / "home" / "warehouse.duckdb") as connection:

        def same(made: str, read: str) -> None:
            assert differing(connection, made, read) == SAME

        deals = f"where lead_id::bigint < {DUPLICATES}"
        same(
            f"select {NUMBER}, source, {SECOND.format('created_at')}, status, assigned_to, zip_code from made.leads",
            f"select lead_id, source, created_at, status, assigned_to, zip_code from read.raw.leads {deals}",
        )
        # a deal has one amount: that of today is that of the win
        same(
            f"select {NUMBER}, coalesce(won.value, property_value) from made.leads "
            "left join (select lead_id, value from made.projects where status = 'won') as won using (lead_id)",
            f"select lead_id, property_value from read.raw.leads {deals}",
        )
        # a deal is a project only when it is closed, so that its last amount is not known before
        same(
            f"select {NUMBER}, 'won', value, {SECOND.format('closed_at')} from made.projects where status = 'won' "
            f"union all select {NUMBER}, 'lost', coalesce(property_value, 0), {SECOND.format('changed_at')} "
            "from made.changes inner join made.leads using (lead_id) where column_name = 'status' and value = 'lost'",
            f"select lead_id, status, value, closed_at from read.raw.projects {deals}",
        )
        early = "select count(*) from read.raw.projects where proposed_at is distinct from closed_at"
        assert connection.execute(early).fetchall() == [(0,)]
        # a deal that a rep deleted, or archived while it was open, is a lead that ended without a win, then
        same(
            f"select {NUMBER}::bigint + {DUPLICATES}, {SECOND.format('created_at')} + interval 1 hour from made.leads "
            f"where {NUMBER}::bigint % 25 = 0",
            "select lead_id::bigint, closed_at from read.raw.projects where status = 'cancelled'",
        )
        # the history: stages, owners, and the amount that was entered first
        history = "select {}, column_name, value, {} from {} where column_name in ('status', 'assigned_to')"
        same(
            history.format(NUMBER, SECOND.format("changed_at"), "made.changes"),
            history.format("lead_id", "known_at", "read.raw.changes") + " and origin = 'source'",
        )
        same(
            f"select {NUMBER}, property_value, {SECOND.format('created_at')} from made.leads",
            "select lead_id, value::decimal(18, 2), known_at from read.raw.changes "
            "where column_name = 'property_value' and origin = 'source' "
            "qualify row_number() over (partition by lead_id order by known_at) = 1",
        )
        # what a rep enters counts from when it was entered. Pipedrive keeps no direction and no outcome of a call: what
        # reps enter counts as done by them. It has no web visits, answers, messages of the CRM, and no proposals
        entered = "(type = 'call' or type = 'email' and direction = 'outbound') and performed_by like 'rep-%'"
        same(
            f"select {NUMBER}, type, 'outbound', {SECOND.format('recorded_at')}, performed_by from made.interactions "
            f"where {entered} union all select {NUMBER}, type, 'internal', {SECOND.format('recorded_at')}, "
            "performed_by from made.interactions where type = 'note'",
            "select lead_id, type, direction, occurred_at, performed_by from read.raw.interactions",
        )
        # an appointment that was moved or called off has left no row, and one that nobody kept is not done; its time is
        # kept to the minute
        same(
            f"select {NUMBER}, {SECOND.format('booked_at')}, date_trunc('minute', scheduled_at), "
            "if(status = 'completed', status, 'scheduled'), "
            f"if(status = 'completed', {SECOND.format('ended_at')}, null) from made.appointments "
            "where status not in ('cancelled', 'rescheduled')",
            "select lead_id, booked_at, scheduled_at, status, ended_at from read.raw.appointments",
        )
