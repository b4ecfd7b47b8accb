"""Pipedrive as Airbyte loads it (source-pipedrive 3 and later). A deal is the lead.

Pipedrive has neither web visits nor messages that a CRM sends by itself, and it keeps no direction of a call. A rep
enters a call when it is over. A meeting that is moved or called off is changed or deleted, and leaves no row.
"""

from simulation.shapes.shape import Shape

STAGES = ("new", "contacted", "qualified", "proposal")
"""The stages of the pipeline in their order; the number of a stage is its place, from 1."""

DUPLICATES = 900_000_000
"""What is added to the number of a deal for that of its duplicate, which a rep deletes or archives after an hour."""


def _deal(lead_id: str) -> str:
    return f"cast(substr({lead_id}, 2) as bigint)"


def _user(rep: str) -> str:
    return f"try_cast(substr({rep}, 5) as bigint)"


def _stage(status: str) -> str:
    return f"list_position({list(STAGES)}, {status})"


def _second(time: str) -> str:
    return f"date_trunc('second', {time})"


def _clock_text(time: str) -> str:
    return f"strftime({time}, '%Y-%m-%d %H:%M:%S')"


_USERS = f"""
select {_user("rep")} as id, rep as name, concat(rep, '@example.com') as email, true as active_flag, false as is_deleted
from (
    select assigned_to as rep from leads
    union
    select value from changes where column_name = 'assigned_to'
)
order by id
"""

_STAGES = f"""
select place as id, {list(STAGES)}[place] as name, 1 as pipeline_id, place as order_nr, false as is_deleted
from range(1, {len(STAGES) + 1}) as places (place)
"""

_PERSONS = f"""
select
    {_deal("lead_id")} as id,
    name,
    to_json([{{'value': email, 'primary': true, 'label': 'work'}}]) as emails,
    to_json([{{'value': phone, 'primary': true, 'label': 'work'}}]) as phones,
    to_json({{'postal_code': zip_code}}) as postal_address,
    {_second("created_at")} as add_time,
    false as is_deleted
from leads order by id
"""

_ALL_DEALS = f"""
with stages as (
    select lead_id, max({_stage("value")}) as stage_id
    from changes where column_name = 'status' group by lead_id
),

won as (
    select lead_id, arg_min(value, closed_at) as value, min(closed_at) as closed_at
    from projects where status = 'won' group by lead_id
),

lost as (
    select lead_id, min(changed_at) as closed_at
    from changes where column_name = 'status' and value = 'lost' group by lead_id
),

made as (
    select
        {_deal("leads.lead_id")} as id,
        concat('Deal of ', leads.name) as title,
        {_user("leads.assigned_to")} as owner_id,
        {_deal("leads.lead_id")} as person_id,
        1 as pipeline_id,
        stages.stage_id,
        coalesce(won.value, leads.property_value, 0) as value,
        'EUR' as currency,
        {_second("leads.created_at")} as add_time,
        {_second("leads.updated_at")} as update_time,
        false as is_deleted,
        -- what is lost is archived at once, by some
        leads.status = 'lost' and {_deal("leads.lead_id")} % 7 = 0 as is_archived,
        case when is_archived then {_second("lost.closed_at")} end as archive_time,
        case when leads.status in ('won', 'lost') then leads.status else 'open' end as status,
        {_second("won.closed_at")} as won_time,
        {_second("lost.closed_at")} as lost_time,
        leads.source as origin
    from leads
    left join stages using (lead_id)
    left join won using (lead_id)
    left join lost using (lead_id)
)

select * from made
union all
select * replace (
    id + {DUPLICATES} as id,
    1 as stage_id,
    'open' as status,
    null as won_time,
    null as lost_time,
    add_time + interval 1 hour as update_time,
    id % 50 = 0 as is_deleted,
    id % 50 > 0 as is_archived,
    case when id % 50 > 0 then add_time + interval 1 hour end as archive_time
)
from made where id % 25 = 0
order by id
"""

# What Pipedrive logs of a deal, first of all its creation; the amount changes when the deal is won.
_DEAL_FLOW = f"""
with logged as (
    select {_deal("lead_id")} as item_id, created_at as logged_at, 'add_time' as field_key, null as old_value,
        {_clock_text("created_at")} as new_value
    from leads

    union all

    select {_deal("lead_id")}, changed_at, 'stage_id',
        cast(lag({_stage("value")}) over in_order as varchar), cast({_stage("value")} as varchar)
    from changes where column_name = 'status' and {_stage("value")} > 0
    window in_order as (partition by lead_id order by changed_at, change_id)

    union all

    select {_deal("lead_id")}, changed_at, 'status', 'open', value
    from changes where column_name = 'status' and value in ('won', 'lost')

    union all

    select {_deal("lead_id")}, changed_at, 'user_id',
        cast(lag({_user("value")}) over in_order as varchar), cast({_user("value")} as varchar)
    from changes where column_name = 'assigned_to'
    window in_order as (partition by lead_id order by changed_at, change_id)

    union all

    select {_deal("projects.lead_id")}, projects.closed_at, 'value',
        cast(coalesce(leads.property_value, 0) as varchar), cast(projects.value as varchar)
    from projects inner join leads using (lead_id) where projects.status = 'won'
)

select
    row_number() over (order by logged_at, item_id, field_key) as id,
    item_id,
    field_key,
    old_value,
    new_value,
    {_clock_text("logged_at")} as log_time,
    'app' as change_source
from logged where field_key = 'add_time' or old_value is not null
order by id
"""

_ACTIVITIES = f"""
with entered as (
    -- a call or an e-mail is entered when it is over: due is when it was
    select {_deal("lead_id")} as deal_id, type, {_user("performed_by")} as owner_id, recorded_at as add_time,
        occurred_at as due, true as done, recorded_at as marked_as_done_time, interaction_id as original
    from interactions
    where (type = 'call' or (type = 'email' and direction = 'outbound')) and {_user("performed_by")} is not null

    union all

    select {_deal("appointments.lead_id")}, 'meeting', {_user("leads.assigned_to")}, appointments.booked_at,
        appointments.scheduled_at, appointments.status = 'completed',
        case appointments.status when 'completed' then appointments.ended_at end, appointments.appointment_id
    from appointments inner join leads using (lead_id)
    where appointments.status not in ('cancelled', 'rescheduled')
)

select
    row_number() over (order by add_time, original) as id,
    deal_id,
    deal_id as person_id,
    owner_id,
    type,
    original as subject,
    cast(due as date) as due_date,
    strftime(due, '%H:%M') as due_time,
    done,
    {_second("add_time")} as add_time,
    {_second("marked_as_done_time")} as marked_as_done_time,
    false as is_deleted
from entered order by id
"""

_NOTES = f"""
select
    row_number() over (order by recorded_at, interaction_id) as id,
    {_deal("lead_id")} as deal_id,
    {_user("performed_by")} as user_id,
    interaction_id as content,
    {_second("recorded_at")} as add_time,
    true as active_flag
from interactions where type = 'note' order by id
"""

PIPEDRIVE = Shape(
    name="pipedrive",
    tables={
        "users": _USERS,
        "stages": _STAGES,
        "persons": _PERSONS,
        "deals": f"from ({_ALL_DEALS}) where not is_archived",
        "deals_archived": f"from ({_ALL_DEALS}) where is_archived",
        "deal_flow": _DEAL_FLOW,
        "activities": _ACTIVITIES,
        "notes": _NOTES,
    },
)
