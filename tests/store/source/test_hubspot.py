"""HubSpot: a CRM that is simulated in its shape and read by its shipped mapping has the facts of the contract's shape.

A pair of queries compares the simulated tables with what was extracted. What differs stands in the first query, with
the reason beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from models.declared.registry import DECLARATIONS
from simulation import simulate
from store.source.opening import check_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.store.source.exports import Extract

Pairs = dict[str, tuple[str, str]]

LEADS = 300

PAGE = Path(__file__).parents[3] / "docs" / "connectors" / "hubspot.md"

BOTH: Pairs = {
    "leads": (
        """select lead_id, told(created_at), case source when 'web' then 'organic_search' when 'ads' then 'paid_search'
        when 'referral' then 'referrals' when 'phone' then 'direct_traffic' when 'partner' then 'other_campaigns'
        when 'fair' then 'offline' end, rep(assigned_to), zip_code, status_of(status) from leads""",
        "select lead(lead_id), created_at, source, assigned_to, zip_code, lower(status) from raw.leads",
    ),
    # HubSpot stores custom outcomes of calls as keys, and exports them as labels
    "calls": (
        """select lead_id, direction, told(occurred_at), told(recorded_at), rep(performed_by), case outcome
        when 'reached' then 'connected' when 'voicemail' then 'left_voicemail' else outcome end
        from interactions where type = 'call'""",
        """select lead(lead_id), direction, occurred_at, recorded_at, performed_by, case outcome
        when '5b1f0c9e-2f0e-4b5c-9a31-6a0a5f1f7c01' then 'later'
        when '5b1f0c9e-2f0e-4b5c-9a31-6a0a5f1f7c02' then 'callback'
        when '5b1f0c9e-2f0e-4b5c-9a31-6a0a5f1f7c03' then 'not_interested'
        else replace(lower(outcome), ' ', '_') end from raw.interactions where type = 'call'""",
    ),
    # a note may be a completed task
    "notes": (
        "select lead_id, 'internal', told(occurred_at), rep(performed_by) from interactions where type = 'note'",
        "select lead(lead_id), direction, occurred_at, performed_by from raw.interactions where type = 'note'",
    ),
    # a meeting counts from its end, which is planned (one without an appointment is two minutes long), or from when
    # somebody wrote down how it went, if that was before
    "meetings": (
        """select interactions.lead_id, 'inbound', coalesce(
            least(told(scheduled_at + interval 1 hour), told(ended_at)),
            least(told(occurred_at + interval 2 minute), told(recorded_at))
        ) from interactions left join appointments on appointments.lead_id = interactions.lead_id
        and scheduled_at = occurred_at where type = 'meeting'""",
        "select lead(lead_id), direction, occurred_at from raw.interactions where type = 'meeting'",
    ),
    # nor does HubSpot keep which appointment another one replaces
    "appointments": (
        """select lead_id, told(booked_at), told(scheduled_at), status,
        if(status = 'scheduled', null, least(told(scheduled_at + interval 1 hour), told(ended_at)))
        from appointments""",
        "select lead(lead_id), booked_at, scheduled_at, status, ended_at from raw.appointments",
    ),
    # a plan does not move the clock
    "clock": ("select date_trunc('minute', max(updated_at)) from leads", "select date_trunc('minute', clock())"),
}

FIVETRAN: Pairs = {
    # the history has the zip codes as well; they are as old as the contacts
    "history": (
        """select lead_id, if(column_name = 'status', status_of(value), rep(value)), changed_at from changes
        union all select lead_id, zip_code, created_at from leads where zip_code is not null""",
        "select lead(lead_id), value, known_at from raw.changes where origin = 'source' and project_id is null",
    ),
    # HubSpot has no cancelled deals. Amount, stage and close date are those of today
    "projects": (
        """select lead_id, value + if(status = 'won' and number % 4 = 0, 10000, 0),
        if(status = 'cancelled', 'lost', status), proposed_at, closed_at,
        coalesce(closed_at - to_days(if(number % 8 = 3, 3, 0)), expected_close_at), stage_of(stage, number, '88102')
        from numbered_projects""",
        "select lead(lead_id), value, status, proposed_at, closed_at, expected_close_at, stage from raw.projects",
    ),
    # Their histories. An amount that is entered when the deal is won is known from then on, and so is a raised one; the
    # close date is set when the deal is closed. The history is whole, so no extraction has to add to it.
    "deals": (
        """with told as (
            select lead_id, number, status, closed_at, column_name, histories.value, changed_at,
                status = 'won' and number % 9 = 4 as is_late
            from histories inner join numbered_projects using (project_id, lead_id)
        )
        select lead_id, 'stage', stage_of(value, number, '88102'), changed_at from told where column_name = 'stage'
        union all
        select lead_id, column_name, plain(column_name, value), changed_at from told
        where column_name = 'expected_close_at' or (column_name = 'value' and not is_late)
        union all
        select lead_id, 'value', plain('value', value), closed_at from numbered_projects
        where status = 'won' and number % 9 = 4
        union all
        select lead_id, 'value', plain('value', value + 10000), closed_at + interval 1 minute from numbered_projects
        where status = 'won' and number % 4 = 0
        union all
        select lead_id, 'expected_close_at', plain('expected_close_at', closed_at - to_days(if(number % 8 = 3, 3, 0))),
            closed_at
        from numbered_projects where closed_at is not null""",
        """select lead(lead_id), column_name, plain(column_name, value), known_at from raw.changes
        where project_id is not null""",
    ),
    # an offer is an e-mail; one of the marketing has nobody who performed it
    "e-mails": (
        "select lead_id, direction, occurred_at from interactions where type in ('email', 'proposal')",
        "select lead(lead_id), direction, occurred_at from raw.interactions where type = 'email'",
    ),
    # only e-mails of the marketing have a time at which they were opened
    "opens": (
        """select lead_id, occurred_at, opened_at from interactions
        semi join (select lead(lead_id) as lead_id, occurred_at from raw.interactions where performed_by = 'marketing')
        using (lead_id, occurred_at)""",
        "select lead(lead_id), occurred_at, opened_at from raw.interactions where performed_by = 'marketing'",
    ),
    # HubSpot does not tell who wrote
    "text messages": (
        "select lead_id, 'internal', occurred_at from interactions where type = 'sms'",
        "select lead(lead_id), direction, occurred_at from raw.interactions where type = 'sms'",
    ),
    # a form that a lead filled in, but no pages that it looked at
    "web": (
        "select lead_id, occurred_at from interactions semi join leads on leads.lead_id = interactions.lead_id "
        "and created_at = occurred_at where type = 'web'",
        "select lead(lead_id), occurred_at from raw.interactions where type = 'web'",
    ),
    # a lead that wants nothing more is unqualified at once, even if nobody has written down yet what it said
    "closings": (
        """select lead_id, min(closed_at) from (
            select lead_id, closed_at from projects where status = 'won'
            union all select lead_id, occurred_at from interactions where outcome = 'not_interested'
            union all select lead_id, changed_at from changes where value = 'lost'
        ) group by lead_id""",
        """select lead(lead_id), min(closed_at) from (
            select lead_id, closed_at from raw.projects where status = 'won'
            union all select lead_id, known_at from raw.changes where column_name = 'status' and value = 'unqualified'
        ) group by lead_id""",
    ),
}

CSV: Pairs = {
    # an export has no history: what is overwritten counts from the extraction on (a status that closes a lead from just
    # before), and zip codes from the creation
    "history": (
        """select lead_id, status_of(status), clock() - to_microseconds(cast(status = 'lost' as bigint)) from leads
        union all select lead_id, rep(assigned_to), clock() from leads
        union all select lead_id, zip_code, told(created_at) from leads where zip_code is not null""",
        """select lead(lead_id), if(column_name = 'status', lower(value), value), known_at from raw.changes
        where project_id is null""",
    ),
    # the amount is that of today
    "projects": (
        """select lead_id, value + if(status = 'won' and number % 4 = 0, 10000, 0),
        if(status = 'cancelled', 'lost', status), told(proposed_at), told(closed_at),
        if(closed_at is null, told(expected_close_at), null), stage_of(stage, number, 'No order')
        from numbered_projects""",
        "select lead(lead_id), value, status, proposed_at, closed_at, expected_close_at, stage from raw.projects",
    ),
    # e-mails of the marketing are no activities, and are not exported
    "e-mails": (
        """select lead_id, direction, told(occurred_at) from interactions
        where type = 'proposal' or type = 'email' and (direction = 'inbound' or engagement % 2 = 1)""",
        "select lead(lead_id), direction, occurred_at from raw.interactions where type = 'email'",
    ),
    # neither are text messages and forms
    "other": (
        "select null where false",
        "select type from raw.interactions where type not in ('call', 'email', 'meeting', 'note')",
    ),
}


SIMULATED = """
    set TimeZone = 'UTC';
    -- rows of one key with different contents are set aside
    delete from interactions
    where interaction_id in (select interaction_id from interactions group by all having count(*) > 1);
    create or replace temp table interactions as
    select *, row_number() over (order by interaction_id) as engagement from interactions;
    create temp table histories as select * from changes where project_id is not null;
    delete from changes where project_id is not null;
    create temp macro stage_of(word, number, gone) as case
        when word = 'offer sent' then ['Won in principle', 'Offer', 'Contract Sent'][1 + least(number % 5, 2)]
        when word = 'won' then ['Signed', 'Order', 'Closed Won'][1 + least(number % 5, 2)]
        when word = 'lost' then ['Rejected', gone, 'Closed Lost'][1 + least(number % 5, 2)]
        else array_to_string([upper(part[1]) || part[2:] for part in string_split(word, ' ')], ' ') end;
    create temp macro plain(column_name, value) as case
        when column_name = 'expected_close_at'
            then cast(epoch_us(cast(cast(value as varchar) as timestamptz)) as varchar)
        when column_name = 'value' then cast(cast(cast(value as varchar) as double) as varchar)
        else cast(value as varchar) end;
    create temp table numbered_projects as select *, row_number() over (order by project_id) as number from projects;
    create temp macro lead(id) as 'L' || lpad(cast((cast(id as bigint) - 900) // 3 as varchar), 7, '0');
    create temp macro rep(name) as replace(name, 'rep-', 'Rep ');
    create temp macro status_of(word) as case word when 'contacted' then 'attempted_to_contact'
    when 'qualified' then 'connected' when 'proposal' then 'open_deal' when 'won' then 'customer'
    when 'lost' then 'unqualified' else word end
"""


@pytest.mark.parametrize(
    ("shape", "pairs", "told"), [("hubspot_fivetran", FIVETRAN, "t"), ("hubspot_csv", CSV, "date_trunc('minute', t)")]
)
def test_the_facts_are_those_of_the_contract(
    shape: str, pairs: Mapping[str, tuple[str, str]], told: str, tmp_path: Path, run: Extract
) -> None:
    """`told` is a time as the shape tells it."""
    simulate(tmp_path / "contract", LEADS, months=8, deals=True, progress=False)
    simulate(tmp_path / "crm", LEADS, months=8, deals=True, progress=False, shape=shape)
    report = run(tmp_path / "crm")
    assert report.mapping_name == shape
    # only the CSV names no zone
    assert any("time_zone" in each for each in report.assumptions) == (shape == "hubspot_csv")
    assert {reason for table in report.tables.values() for reason in table.rejects_by_reason} == set()
    # the engagements of contacts that were deleted
    left_out = [each for each in report.assumptions if each.startswith(("interactions: ", "appointments: "))]
    assert ["contact._fivetran_deleted" in each for each in left_out].count(True) == 2 * (shape == "hubspot_fivetran")
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb"), read_only=True) as connection:
        for path in (tmp_path / "contract").glob("*.parquet"):
            connection.execute(f"create temp table {path.stem} as select distinct * from '{path}'")
        connection.execute(SIMULATED)
        connection.execute(f"create temp macro told(t) as {told}")
        connection.execute(f"create temp macro clock() as timestamptz '{report.as_of}'")
        different = {
            name: rows
            for name, (ours, theirs) in (BOTH | dict(pairs)).items()
            if (
                rows := connection.execute(
                    f"(select 'simulated', * from (({ours}) except all ({theirs}))) union all "
                    f"(select 'extracted', * from (({theirs}) except all ({ours}))) order by all limit 4"
                ).fetchall()
            )
        }
    assert different == {}


def test_what_the_documentation_adapts(tmp_path: Path) -> None:
    """Each mapping of the page, and each of its lines, fits the shape that it is for."""
    for shape in ("hubspot_fivetran", "hubspot_csv"):
        simulate(tmp_path / shape, 20, progress=False, shape=shape)
    page = PAGE.read_text(encoding="utf-8")
    mappings = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    lines = [re.findall(r"`([^`]+)`", row.split("|")[2]) for row in page.split("\n|---|---|\n")[1].splitlines()]
    for line in lines:
        body = "\n".join(each if each.startswith("closes") else f"tables: {{{each}}}" for each in line)
        mappings.append(f"name: our_hubspot\nbased_on: hubspot_fivetran\n{body}\n")
    assert len(mappings) == 8
    for mapping in mappings:
        (shape,) = re.findall("based_on: (.*)", mapping)
        (tmp_path / shape / "mapping.yml").write_text(mapping, encoding="utf-8")
        check_source(str(tmp_path / shape), None, DECLARATIONS)
    # the tables that must be there
    (tmp_path / "hubspot_fivetran" / "mapping.yml").unlink()
    for path in (tmp_path / "hubspot_fivetran").glob("*.parquet"):
        if path.stem not in ("contact", "deal", "deal_contact", "engagement_contact", "engagement_meeting"):
            path.unlink()
    check_source(str(tmp_path / "hubspot_fivetran"), None, DECLARATIONS)
