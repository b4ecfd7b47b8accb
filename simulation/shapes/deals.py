"""A plain table of deals, as a small company exports it: a deal is the lead, dates have no time of day."""

from simulation.shapes.shape import Shape

# The amount is entered when a deal is won: until then it is missing, and a lost deal has 0.
_DEALS = """
with won as (
    select lead_id, arg_min(value, closed_at) as amount, min(closed_at) as closed_at
    from projects where status = 'won' group by lead_id
),

lost as (
    select lead_id, min(changed_at) as closed_at
    from changes where column_name = 'status' and value = 'lost' group by lead_id
)

select
    leads.lead_id as deal_id,
    cast(leads.created_at as date) as created_date,
    leads.source,
    leads.assigned_to as owner,
    case leads.status when 'won' then 'Won' when 'lost' then 'Lost' else leads.status end as stage,
    cast(case leads.status when 'won' then won.closed_at when 'lost' then lost.closed_at end as date) as close_date,
    case leads.status when 'won' then won.amount when 'lost' then 0 end as amount
from leads
left join won using (lead_id)
left join lost using (lead_id)
order by leads.lead_id
"""

DEALS = Shape(name="deals", tables={"deals": _DEALS}, file_format="csv")
