"""The simulated CRM as plain tables, read by the shipped mapping: what they tell is the same, and the rest is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.store.source.shaped import SAME, compared, differing, export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.source.exports import Extract


def test_plain_tables_tell_what_the_contract_tells(tmp_path: Path, run: Extract) -> None:
    report = run(export(tmp_path, "plain"))
    assert report.mapping_name == "simulated_plain"
    assert {name: table.rows_rejected for name, table in report.tables.items() if table.rows_rejected} == {}
    clock = f"timestamptz '{report.as_of.isoformat()}'"
    with compared(tmp_path, tmp_path / "home" / "warehouse.duckdb") as connection:
        columns = "lead_id, source, created_at, status, assigned_to"
        assert (
            differing(connection, f"select {columns} from made.leads", f"select {columns} from read.raw.leads") == SAME
        )
        # what closes a lead: won projects, and the outcome that the mapping names
        won = "select lead_id, value, closed_at from {}.projects where status = 'won'"
        assert differing(connection, won.format("made"), won.format("read.raw")) == SAME
        ends = "select lead_id, occurred_at from {}.interactions where outcome = 'not_interested'"
        assert differing(connection, ends.format("made"), ends.format("read.raw")) == SAME
        columns = "lead_id, type, direction, occurred_at, outcome, {opened}, {responded}"
        # that an e-mail was opened or answered has no time: it is known from the extraction on
        made = columns.format(opened="opened_at is not null", responded="responded_at is not null")
        read = columns.format(opened=f"opened_at is not distinct from {clock}",
                              responded=f"responded_at is not distinct from {clock}")  # fmt: skip
        assert differing(connection, f"select {made} from made.interactions",
                         f"select {read} from read.raw.interactions") == SAME  # fmt: skip
        # a booking has no time: it counts from the appointment on, or from the extraction, whichever was first
        made = f"lead_id, scheduled_at, status, least(scheduled_at, {clock}), status = 'completed'"
        read = f"lead_id, scheduled_at, status, booked_at, ended_at is not distinct from {clock}"
        assert differing(connection, f"select {made} from made.appointments",
                         f"select {read} from read.raw.appointments") == SAME  # fmt: skip
        # nor has a proposal: it counts from its closing on, or from the extraction
        made = f"lead_id, value, status, closed_at, coalesce(closed_at, {clock})"
        read = "lead_id, value, status, closed_at, proposed_at"
        assert differing(connection, f"select {made} from made.projects",
                         f"select {read} from read.raw.projects") == SAME  # fmt: skip
        # the tables have neither a time of recording, who it was, costs, values, zip codes nor a history of the leads
        unknown = [
            ("leads", "property_value"), ("leads", "zip_code"), ("leads", "updated_at"),
            ("interactions", "recorded_at"), ("interactions", "performed_by"), ("projects", "cost"),
            ("appointments", "rescheduled_from"),
        ]  # fmt: skip
        for table, column in unknown:
            assert connection.execute(f"select count({column}) from read.raw.{table}").fetchall() == [(0,)]
        assert connection.execute("select count(*) from read.raw.changes where origin = 'source'").fetchall() == [(0,)]
