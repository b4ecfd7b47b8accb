{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook="{{ forget(epoch_us('matures_at') ~ ' > ' ~ (var('built_us') or 0) ~ ' or lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

-- Before the source records outcomes there are no wins, and so no labels.
with matured as (

    {{ matured_leads(var('deal_value_horizon_days')) }}

),

won as (

    select
        matured.lead_id,
        matured.as_of,
        matured.matures_us,
        facts.reference_id as project_id,
        row_number() over (partition by matured.lead_id, matured.as_of_us order by facts.fact_number) as win_rank
    from matured
    inner join {{ ref('timeline') }} as facts
        on matured.lead_id = facts.lead_id
            and facts.fact = 'project_closed'
            and facts.outcome = 'won'
            -- it happened after as_of and was known before the label matured, so no later fact can change the label
            and facts.occurred_us >= matured.as_of_us
            and facts.known_us < matured.matures_us

),

labelled as (

    select
        won.lead_id,
        won.as_of,
        {{ timestamp_from_us('won.matures_us') }} as matures_at,
        history.value as deal_value
    from won
    -- the amount as it was known when the label matured: many are entered or corrected after the win
    inner join {{ ref('deal_history') }} as history
        on won.project_id = history.project_id
            and history.known_us < won.matures_us
            and (history.until_us is null or history.until_us >= won.matures_us)
    -- an amount that nobody has entered is null, or 0
    where won.win_rank = 1 and history.value > 0

)

select * from labelled
