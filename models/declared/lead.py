"""The entity lead."""

from __future__ import annotations

from types import MappingProxyType

from models.declaring.entity import Entity

OUTCOMES = """
with refusals as (
    select lead_id, greatest(occurred_at, coalesce(recorded_at, occurred_at)) as refused_at
    from raw.interactions where outcome in ({closing_outcomes})
    union all
    select lead_id, greatest(closed_at, proposed_at)
    from raw.projects where closed_at is not null and status in ({closing_project_statuses})
    union all
    select lead_id, known_at from raw.changes where column_name = 'status' and value in ({closing_lead_statuses})
),

refused as (select lead_id, min(refused_at) as refused_at from refusals group by lead_id),

won as (
    select lead_id, min(greatest(closed_at, proposed_at)) as won_at
    from raw.projects where status = 'won' and closed_at is not null group by lead_id
)

select
    extract(epoch from leads.created_at) as created,
    extract(epoch from won.won_at) as succeeded,
    extract(epoch from refused.refused_at) as refused
from raw.leads as leads
left join won on leads.lead_id = won.lead_id
left join refused on leads.lead_id = refused.lead_id
where leads.created_at < $1
"""

KINDS_OF_CLOSINGS = """
select lead_id, known_us, outcome || ' project' as kind
from intermediate.timeline where fact = 'project_closed'
union all
select lead_id, known_us, 'interaction ' || outcome
from intermediate.timeline where fact = 'interaction' and outcome in ({closing_outcomes})
union all
select lead_id, known_us, 'status ' || value
from staging.stg_changes where lead_column = 'lead_status' and value in ({closing_lead_statuses})
"""

LEAD = Entity(
    name="lead",
    description="A lead is a possible customer, from the moment at which the CRM has it until it is won or lost.",
    key="lead_id",
    table="staging.stg_leads",
    created="created_at",
    split_by="lead_created_at",
    observations="intermediate.observations",
    closings="intermediate.lead_closings",
    columns=MappingProxyType({"assigned_to": "current_assigned_to"}),
    values="intermediate.lead_values",
    facts="intermediate.timeline",
    settles="fact = 'project_closed' or (fact = 'interaction' and outcome in ({closing_outcomes}))",
    settling_statuses="select lead_id, known_us from staging.stg_changes where lead_column = 'lead_status' "
    "and value in ({closing_lead_statuses})",
    kinds_of_closings=KINDS_OF_CLOSINGS,
    outcomes=OUTCOMES,
)
