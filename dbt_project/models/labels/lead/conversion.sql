{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook="{{ forget(epoch_us('matures_at') ~ ' > ' ~ (var('built_us') or 0) ~ ' or lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

-- No labels before the source records outcomes: a lead that is won would look like one that is not.
with matured as (

    {{ matured_leads(var('conversion_horizon_days'), var('conversion_since_us')) }}

),

won as (

    select
        matured.lead_id,
        matured.as_of_us,
        min(facts.known_us) as first_won_us
    from matured
    inner join {{ ref('timeline') }} as facts
        on matured.lead_id = facts.lead_id
            and facts.fact = 'project_closed'
            and facts.outcome = 'won'
            -- it happened after as_of and was known before the label matured, so no later fact can change the label
            and facts.occurred_us >= matured.as_of_us
            and facts.known_us < matured.matures_us
    group by matured.lead_id, matured.as_of_us

),

labelled as (

    select
        matured.lead_id,
        matured.as_of,
        {{ timestamp_from_us('matured.matures_us') }} as matures_at,
        cast(case when won.first_won_us is not null then 1 else 0 end as bigint) as converted
    from matured
    left join won
        on matured.lead_id = won.lead_id
            and matured.as_of_us = won.as_of_us

)

select * from labelled
