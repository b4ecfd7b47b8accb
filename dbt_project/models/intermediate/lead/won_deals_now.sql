{{ config(materialized='table' if is_increment() else 'view') }}

with won as (

    select
        closed.lead_id,
        closed.reference_id as project_id,
        closed.known_us as won_us,
        closed.known_us - proposed.known_us as age_us
    from {{ of_touched_leads(ref('timeline')) }} as closed
    inner join {{ ref('timeline') }} as proposed
        on closed.lead_id = proposed.lead_id
            and closed.reference_id = proposed.reference_id
    where closed.fact = 'project_closed' and closed.outcome = 'won' and proposed.fact = 'project_proposed'

),

-- What changed when the deal was won, or later, is no part of its way there.
until_won as (

    select
        won.lead_id,
        won.project_id,
        won.won_us,
        history.known_us,
        history.until_us,
        history.stage,
        history.steps_forward_count,
        history.steps_back_count,
        history.close_pushes_count,
        history.close_pushed_us,
        history.value,
        history.first_value
    from won
    inner join {{ ref('deal_history') }} as history
        on won.project_id = history.project_id
            and history.known_us < won.won_us

),

whole as (

    select
        won.lead_id,
        won.project_id,
        cast(null as text) as stage,
        won.won_us,
        cast(null as bigint) as stage_us,
        won.age_us,
        at_last.steps_forward_count,
        at_last.steps_back_count,
        at_last.close_pushes_count,
        at_last.close_pushed_us,
        at_last.value,
        at_last.value - at_last.first_value as value_change,
        case when at_last.value is not null then greatest(at_last.value, at_last.first_value) end as larger_value
    from won
    left join until_won as at_last
        on won.project_id = at_last.project_id
            and (at_last.until_us is null or at_last.until_us >= won.won_us)

),

by_stage as (

    select
        lead_id,
        project_id,
        stage,
        won_us,
        cast(sum(least(coalesce(until_us, won_us), won_us) - known_us) as bigint) as stage_us
    from until_won
    where stage is not null
    group by lead_id, project_id, stage, won_us

),

deals as (

    select * from whole
    union all
    select
        lead_id,
        project_id,
        stage,
        won_us,
        stage_us,
        null as age_us,
        null as steps_forward_count,
        null as steps_back_count,
        null as close_pushes_count,
        null as close_pushed_us,
        null as value,
        null as value_change,
        null as larger_value
    from by_stage

)

select * from deals
