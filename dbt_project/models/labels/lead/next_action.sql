{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook="{{ forget(epoch_us('matures_at') ~ ' > ' ~ (var('built_us') or 0) ~ ' or lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

{#- In the order that decides between actions of the same time: the action that moves the lead furthest comes first. -#}
{%- set actions = ['send_proposal', 'schedule_appointment', 'call_immediate', 'email_nurture'] -%}

with matured as (

    {{ matured_leads(var('next_action_horizon_days')) }}

),

outbound_actions as (

    select
        lead_id,
        occurred_us,
        known_us,
        case
            -- a project that became known only when it closed does not tell of a proposal that was sent
            when fact = 'project_proposed' then case when closed_us is null or closed_us > known_us then 1 end
            when fact = 'appointment_booked' then 2
            when fact = 'interaction' and direction = 'outbound' then
                case interaction_type
                    when 'proposal' then 1
                    when 'meeting' then 2
                    when 'call' then 3
                    when 'email' then 4
                    when 'sms' then 4
                end
        end as action_rank
    from {{ ref('timeline') }}

),

-- The first action by time, then by rank, as one integer: rank is its last digit.
first_actions as (

    select
        matured.lead_id,
        matured.as_of_us,
        min(actions.occurred_us * 10 + actions.action_rank) as time_and_rank
    from matured
    inner join outbound_actions as actions
        on matured.lead_id = actions.lead_id
            and actions.action_rank is not null
            and actions.occurred_us >= matured.as_of_us
            and actions.known_us < matured.matures_us
    group by matured.lead_id, matured.as_of_us

),

-- The first success after as_of, whenever it came: training gives more weight to rows of leads that succeeded, if the
-- success was known at its cut.
successes as (

    select
        matured.lead_id,
        matured.as_of_us,
        min(facts.known_us) as succeeded_us
    from matured
    inner join {{ ref('timeline') }} as facts
        on matured.lead_id = facts.lead_id
            and facts.fact = 'project_closed'
            and facts.outcome = 'won'
            and facts.occurred_us >= matured.as_of_us
            and facts.known_us < {{ clock_us() }}
    group by matured.lead_id, matured.as_of_us

),

labelled as (

    select
        matured.lead_id,
        matured.as_of,
        {{ timestamp_from_us('matured.matures_us') }} as matures_at,
        case mod(first_actions.time_and_rank, 10)
            {%- for action in actions %}
            when {{ loop.index }} then '{{ action }}'
            {%- endfor %}
            else 'no_action'
        end as next_action,
        {{ timestamp_from_us('successes.succeeded_us') }} as succeeded_at
    from matured
    left join first_actions
        on matured.lead_id = first_actions.lead_id
            and matured.as_of_us = first_actions.as_of_us
    left join successes
        on matured.lead_id = successes.lead_id
            and matured.as_of_us = successes.as_of_us

)

select * from labelled
