"""Columns of leads that were filled or overwritten after their creation, and controls that were there from the start.

`plant` adds them to the leads of a simulated export, as a CRM shows them on the day of the export.
`benchmarks.attributes` counts how many Leadline takes for known at the creation of the lead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A column to plant.

    Attributes
    ----------
    name : str
        The name of the attribute in the mapping.
    label : str
        The column of the CRM.
    kind : {"category", "number", "flag", "date"}
    value : str
        An expression of DuckDB over a row of `_LEADS`.
    hindsight : bool
        Whether it was filled or overwritten after the creation of the lead.
    """

    name: str
    label: str
    kind: str
    value: str
    hindsight: bool = True


def _draw(name: str) -> str:
    """Return an expression that is uniform on (0, 1), of its own for each name and seed."""
    return f"((cast('0x' || substr(md5(lead_id || '{name}' || seed), 1, 8) as bigint) + 0.5) / 4294967296.0)"


def _one_of(name: str, *words: str) -> str:
    return f"{list(words)}[1 + cast(floor({_draw(name)} * {len(words)}) as integer)]"


_LEADS = """
with facts as (
    select distinct interaction_id, lead_id, type, recorded_at from '{export}/interactions.parquet' where type <> 'fax'
),
activities as (
    select lead_id, count(*) as activities, max(recorded_at) as last_activity_at,
        count(*) filter (type = 'meeting') as meetings
    from facts group by lead_id
),
deals as (
    select lead_id, min(proposed_at) as proposed_at, arg_min(value, closed_at) filter (status = 'won') as won_value,
        min(closed_at) filter (status = 'won') as won_at
    from '{export}/projects.parquet' group by lead_id
),
history as (
    select lead_id, min(changed_at) filter (value = 'qualified') as qualified_at,
        min(changed_at) filter (value = 'lost') as lost_at
    from '{export}/changes.parquet' where column_name = 'status' group by lead_id
),
truth as (select lead_id, intent from '{export}/truth/leads.parquet')
select
    leads.*, '{seed}' as seed, qualified_at, lost_at, won_at, won_value, proposed_at, activities, last_activity_at,
    meetings, intent, coalesce(won_at, lost_at) as closed_at, timestamptz '{end}' as clock,
    date_diff('day', created_at, timestamptz '{end}') as age_days,
    date_diff('day', created_at, coalesce(won_at, lost_at, timestamptz '{end}')) as open_days
from '{export}/leads.parquet' as leads
left join activities using (lead_id)
left join deals using (lead_id)
left join history using (lead_id)
left join truth using (lead_id)
order by lead_id
"""
"""The leads of an export with what has become of them; the names of these columns are given up afterwards."""

_SOLD = f"{_one_of('product', 'Basic', 'Comfort', 'Premium', 'Rental')}"

PLANTED: tuple[Planted, ...] = (
    # -- filled when the lead ends
    Planted(
        name="lost_reason", label="Lost Reason", kind="category",
        value=f"case when lost_at is not null then {_one_of('reason', 'price', 'timing', 'competitor', 'no need')} end",
    ),
    Planted(name="won_amount", label="Won Amount", kind="number", value="cast(won_value as double)"),
    Planted(name="is_customer", label="Customer", kind="flag", value="won_at is not null"),
    Planted(
        name="contract_number", label="Contract No.", kind="category",
        value="case when won_at is not null then 'C-' || substr(md5(lead_id), 1, 6) end",
    ),
    Planted(name="closing_date", label="Closed on", kind="date", value="cast(closed_at as date)"),
    Planted(
        name="promoter_score", label="NPS (0-10)", kind="number",
        value=f"case when won_at < clock - interval 10 day and {_draw('asked')} < 0.5 "
        f"then 6 + cast(floor({_draw('nps')} * 5) as integer) end",
    ),
    Planted(
        name="unsubscribed", label="Unsubscribed", kind="flag", value=f"lost_at is not null and {_draw('out')} < 0.7"
    ),
    Planted(
        name="onboarding", label="Onboarding Contact", kind="category",
        value=f"case when won_at is not null then {_one_of('onboard', 'team A', 'team B')} end",
    ),
    # -- overwritten or emptied when the lead ends
    Planted(
        name="source_detail", label="Source Detail", kind="category",
        value=f"case when closed_at is not null and {_draw('over')} < 0.3 then 'closed 2026' else "
        f"{_one_of('detail', 'newsletter', 'search', 'social', 'event')} end",
    ),
    Planted(
        name="region", label="Region", kind="category",
        value=f"case when lost_at is null or {_draw('gone')} > 0.8 then {_one_of('region', 'N', 'E', 'S', 'W')} end",
    ),
    Planted(
        name="next_step", label="Next Step", kind="category",
        value=f"case when closed_at is null then {_one_of('next', 'call', 'write', 'visit')} end",
    ),
    # -- grows with the time that a lead has been worked on
    Planted(name="activities", label="Number of Activities", kind="number", value="activities"),
    Planted(name="meetings", label="Meetings held", kind="number", value="coalesce(meetings, 0)"),
    Planted(name="last_activity", label="Last Activity Date", kind="date", value="cast(last_activity_at as date)"),
    Planted(name="days_open", label="Days open", kind="number", value="open_days"),
    Planted(
        name="lifecycle", label="Lifecycle Stage", kind="category",
        value="case when won_at is not null then 'customer' when lost_at is not null then 'disqualified' "
        "when proposed_at is not null then 'opportunity' when qualified_at is not null then 'qualified' "
        "else 'lead' end",
    ),
    Planted(
        name="rating", label="Rating", kind="category",
        value=f"case when open_days > 14 + 30 * {_draw('rated')} then "
        f"case when (won_at is not null or proposed_at is not null) = ({_draw('right')} < 0.8) then 'hot' "
        "else 'cold' end end",
    ),
    Planted(
        name="segment", label="Segment", kind="category",
        value=f"case when qualified_at is null then 'not assigned' else {_one_of('segment', 'A', 'B', 'C')} end",
    ),
    Planted(
        name="offer_type", label="Offer Type", kind="category",
        value=f"case when proposed_at is not null then {_SOLD} end",
    ),
    # -- filled for all, some time after the creation
    Planted(
        name="credit_class", label="Credit Class", kind="category",
        value=f"case when age_days > 20 and {_draw('found')} < 0.85 then {_one_of('class', 'A', 'B', 'C')} end",
    ),
    # -- controls
    Planted(name="territory", label="Gebiet", kind="category", hindsight=False, value="substr(zip_code, 1, 1)"),
    Planted(
        name="quiz", label="Quiz Points", kind="number", hindsight=False,
        value=f"round(10 * (intent + 0.3 * {_draw('quiz')}), 1)",
    ),
    Planted(
        name="consent", label="Consent", kind="flag", hindsight=False,
        value=f"case when {_draw('asked for it')} < 0.6 then {_draw('consent')} < 0.3 + 0.5 * intent end",
    ),
    Planted(
        name="app_version", label="App Version", kind="category", hindsight=False,
        value=f"'v' || cast(floor(date_diff('day', timestamptz '2025-01-01', created_at) / 50 + {_draw('app')}) "
        "as integer)",
    ),
    Planted(
        name="shop", label="Nächste Filiale", kind="category", hindsight=False,
        value=f"case when {_draw('shop')} < 0.9 then {_one_of('which', 'Köln', 'Bonn', 'Aachen')} end",
    ),
    Planted(
        name="budget_hint", label="Budget (ca.)", kind="number", hindsight=False,
        value=f"case when {_draw('hint')} < intent then round(cast(property_value as double) * "
        f"(0.5 + {_draw('share')}), -3) end",
    ),
)  # fmt: skip
"""The columns by when they are filled."""


def plant(export: Path) -> None:
    """Add all columns to the leads of a simulated export of Parquet files, and to its mapping.

    Parameters
    ----------
    export : Path
        An export in the shape of the contract, with attributes.
    """
    setting = json.loads((export / "truth" / "simulation.json").read_text(encoding="utf-8"))
    query = _LEADS.format(export=export, seed=setting["seed"], end=f"{setting['end']} 00:00:00+00")
    target = export / "leads.parquet"
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        kept = ", ".join(f'"{name}"' for name in connection.from_parquet(str(target)).columns)
        columns = ", ".join(f'{each.value} as "{each.label}"' for each in PLANTED)
        connection.execute(f"create table planted as select {kept}, {columns} from ({query}) order by lead_id")
        connection.table("planted").write_parquet(str(target))
    lines = [f'      {each.name}: {{column: "{each.label}", type: {each.kind}}}\n' for each in PLANTED]
    with (export / "mapping.yml").open("a", encoding="utf-8") as mapping:
        mapping.writelines(lines)
