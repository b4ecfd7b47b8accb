"""The simulated CRM as a table of deals, read by the shipped mapping: the same leads and closings, by the day."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from store.source.contract import SourceContractError
from tests.homes import REPOSITORY
from tests.store.source.shaped import SAME, compared, differing, export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.source.exports import Extract, Query

MAVEN = REPOSITORY.parent / "shared" / "data" / "maven_crm"

DAY_ENDS = "date_trunc('day', {}) + interval 1 day - interval 1 microsecond"
"""A date without a time of day counts from the end of the day."""


def test_a_table_of_deals_tells_the_leads_and_the_closings_of_the_contract(tmp_path: Path, run: Extract) -> None:
    report = run(export(tmp_path, "deals"))
    assert report.mapping_name == "deals"
    assert {name: table.rows_rejected for name, table in report.tables.items() if table.rows_rejected} == {}
    # the words that count as open
    assert any("they have 'qualified' (" in each for each in report.assumptions)
    # what one table does not read of the deals, another one does
    assert {name: table.columns_ignored for name, table in report.tables.items() if table.columns_ignored} == {}
    with compared(tmp_path, tmp_path / "home" / "warehouse.duckdb") as connection:
        # the table has dates
        made = f"select lead_id, source, {DAY_ENDS.format('created_at')}, status, assigned_to from made.leads"
        read = "select lead_id, source, created_at, status, assigned_to from read.raw.leads"
        assert differing(connection, made, read) == SAME
        # a deal is a project only when it is closed, so that its amount is not known before
        made = (
            f"select lead_id, 'won', value, {DAY_ENDS.format('closed_at')} from made.projects where status = 'won' "
            f"union all select lead_id, 'lost', 0, {DAY_ENDS.format('changed_at')} from made.changes "
            "where column_name = 'status' and value = 'lost'"
        )
        read = "select lead_id, status, value, closed_at from read.raw.projects"
        assert differing(connection, made, read) == SAME
        early = "select count(*) from read.raw.projects where proposed_at is distinct from closed_at"
        assert connection.execute(early).fetchall() == [(0,)]
        # a lead that was lost is closed, as the outcome of its last conversation says in the contract
        ends = "select distinct lead_id from made.interactions where outcome = 'not_interested'"
        assert differing(connection, ends, "select lead_id from read.raw.projects where status = 'lost'") == SAME
        # the table has neither conversations nor appointments, and no amount of an open deal
        for unknown in ("interactions", "appointments", "leads where property_value is not null"):
            assert connection.execute(f"select count(*) from read.raw.{unknown}").fetchall() == [(0,)]


@pytest.mark.skipif(not MAVEN.is_dir(), reason="the public list of deals (shared/data/maven_crm) is not here")
def test_the_mapping_of_the_page_reads_a_public_list_of_deals(tmp_path: Path, run: Extract, query: Query) -> None:
    """Whoever is not engaged yet is set aside, and nothing knows an amount before the closing."""
    folder = shutil.copytree(MAVEN, tmp_path / "crm", copy_function=shutil.copyfile)
    page = (REPOSITORY / "docs" / "connectors" / "deals.md").read_text(encoding="utf-8")
    folder.chmod(0o755)
    (folder / "mapping.yml").write_text(re.findall("```yaml\n(.*?)```", page, re.DOTALL)[0], encoding="utf-8")
    report = run(folder)
    assert report.tables["leads"].rejects_by_reason == {"missing_required": 500}
    assert query("select status, count(*) from raw.projects group by all order by all") == [
        ("lost", 2473),
        ("won", 4238),
    ]
    early = "select count(*) from raw.projects where proposed_at is distinct from closed_at"
    assert query(f"{early} union all select count(property_value) from raw.leads") == [(0,), (0,)]


def _deals(folder: Path, word: str, rows: int, day: str, plans: str = "") -> Path:
    """Write 20 won deals, `rows` with a word and a close date, and 20 that go on."""
    lines = [f"W{n},2025-01-01,Won,2025-02-{n + 1:02d}" for n in range(20)]
    lines += [f"O{n},2025-01-01,{word},{day}" for n in range(rows)]
    lines += [f"N{n},2025-01-01,Negotiation,{plans}" for n in range(20)]
    folder.mkdir()
    (folder / "deals.csv").write_text(
        "\n".join(["deal_id,created_date,stage,close_date", *lines, ""]), encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize(
    ("word", "rows", "day", "plans", "found"),
    [
        ("Won - renewal", 1, "", "", "1 in 'Won - renewal', which has the word 'won'"),
        ("Erneuert", 10, "2025-02-03", "", "10 in 'Erneuert', of which 10 have a close_date no later"),
        # plans of open deals are no ends
        ("Proposal", 10, "2025-12-03", "2025-02-03", "20 in 'Negotiation', of which 20"),
        ("Erneuert", 9, "2025-02-03", "2025-12-03", None),
        ("not yet won", 10, "2025-12-03", "", None),
    ],
)
def test_a_deal_that_has_ended_does_not_count_as_open(
    word: str, rows: int, day: str, plans: str, found: str | None, tmp_path: Path, run: Extract, query: Query
) -> None:
    folder = _deals(tmp_path / "crm", word, rows, day, plans)
    if found is not None:
        with pytest.raises(SourceContractError, match=found):
            run(folder)
        if not plans:
            return
        # a person says that these go on
        own = "name: own\nbased_on: deals\ntables: {leads: {values: {status: {Negotiation: negotiation}}}}"
        (folder / "mapping.yml").write_text(own, encoding="utf-8")
    run(folder)
    assert query("select count(*), count(distinct status) from raw.projects") == [(20, 1)]
