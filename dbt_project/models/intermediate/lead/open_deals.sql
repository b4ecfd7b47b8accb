{#- What is summed over won deals, and what each sum is divided by. -#}
{%- set counted = [
    'age_us', 'steps_forward_count', 'steps_back_count', 'close_pushes_count', 'close_pushed_us', 'value', 'stage_us',
] -%}
{%- set summed = counted + ['value_change', 'larger_value'] -%}

-- The projects of each observation that were proposed before as_of, with what the CRM showed of them at as_of.
with proposed as (

    select
        observations.lead_id,
        observations.as_of_us,
        facts.reference_id as project_id,
        facts.known_us as proposed_us,
        facts.fact_number,
        case when facts.closed_us is null or facts.closed_us >= observations.as_of_us then facts.fact_number end as open_number
    from {{ ref('observations_due') }} as observations
    inner join {{ ref('timeline') }} as facts
        on observations.lead_id = facts.lead_id
            -- point-in-time: only projects that were proposed before as_of
            and facts.known_us < observations.as_of_us
    where facts.fact = 'project_proposed'

),

totals as (

    select
        proposed.lead_id,
        proposed.as_of_us,
        max(proposed.fact_number) as last_number,
        max(proposed.open_number) as last_open_number,
        cast(coalesce(sum(case when proposed.open_number is not null then history.value end), 0) as decimal(18, 2))
            as open_proposals_value
    from proposed
    left join {{ ref('deal_history') }} as history
        on proposed.project_id = history.project_id
            and history.known_us < proposed.as_of_us
            and (history.until_us is null or history.until_us >= proposed.as_of_us)
    group by proposed.lead_id, proposed.as_of_us

),

deals as (

    select
        totals.lead_id,
        totals.as_of_us,
        totals.open_proposals_value,
        last_proposed.project_id as last_project_id,
        totals.as_of_us - last_open.proposed_us as age_us,
        totals.as_of_us - history.stage_us as in_stage_us,
        history.stage,
        history.steps_forward_count,
        history.steps_back_count,
        history.close_pushes_count,
        history.close_pushed_us,
        history.expected_close_us,
        history.value_cuts_count,
        history.value_rises_count,
        history.value,
        history.first_value
    from totals
    inner join proposed as last_proposed
        on totals.lead_id = last_proposed.lead_id
            and totals.as_of_us = last_proposed.as_of_us
            and totals.last_number = last_proposed.fact_number
    left join proposed as last_open
        on totals.lead_id = last_open.lead_id
            and totals.as_of_us = last_open.as_of_us
            and totals.last_open_number = last_open.fact_number
    left join {{ ref('deal_history') }} as history
        on last_open.project_id = history.project_id
            and history.known_us < totals.as_of_us
            and (history.until_us is null or history.until_us >= totals.as_of_us)

),

moments as (

    select
        lead_id,
        as_of_us,
        stage,
        as_of_us as moment_us,
        -- deals that are won at as_of itself are not yet known: at a tie the observation comes first
        1 as tie_rank,
        {%- for name in counted %}
        cast(null as {{ 'decimal(18, 2)' if name == 'value' else 'bigint' }}) as {{ name }},
        {%- endfor %}
        cast(null as decimal(18, 2)) as value_change,
        cast(null as decimal(18, 2)) as larger_value
    from deals
    where age_us is not null

    union all

    select
        lead_id,
        null as as_of_us,
        stage,
        won_us as moment_us,
        2 as tie_rank,
        {{ summed | join(',\n        ') }}
    from {{ ref('won_deals') }}

),

-- The deals of the lead itself do not count.
running as (

    select
        lead_id,
        as_of_us,
        {%- for name in counted %}
        {%- set of_stage = '_in_stage' if name == 'stage_us' else '' %}
        count({{ name }}) over all_deals{{ of_stage }} - count({{ name }}) over own_deals{{ of_stage }} as {{ name }}_deals,
        {%- endfor %}
        {%- for name in summed %}
        {%- set of_stage = '_in_stage' if name == 'stage_us' else '' %}
        coalesce(sum({{ name }}) over all_deals{{ of_stage }}, 0)
        - coalesce(sum({{ name }}) over own_deals{{ of_stage }}, 0) as {{ name }}_sum,
        {%- endfor %}
        moment_us
    from moments
    window
        all_deals as (order by moment_us, tie_rank rows unbounded preceding),
        own_deals as (partition by lead_id order by moment_us, tie_rank rows unbounded preceding),
        all_deals_in_stage as (partition by stage order by moment_us, tie_rank rows unbounded preceding),
        own_deals_in_stage as (partition by lead_id, stage order by moment_us, tie_rank rows unbounded preceding)

),

typical as (

    select
        lead_id,
        as_of_us,
        {%- for name in counted %}
        {{ share(name ~ '_sum', name ~ '_deals') }} as {{ name }},
        {%- endfor %}
        {{ share('value_change_sum', 'cast(larger_value_sum as double precision)') }} as value_change_rate
    from running
    where as_of_us is not null

),

described as (

    select
        deals.lead_id,
        deals.as_of_us,
        deals.last_project_id,
        deals.open_proposals_value,
        deals.stage as deal_stage_as_of,
        {{ days_between('0', 'deals.in_stage_us') }} as days_since_last_deal_stage_change,
        deals.steps_forward_count as deal_steps_forward_count_lifetime,
        deals.steps_back_count as deal_steps_back_count_lifetime,
        deals.close_pushes_count as deal_close_pushes_count_lifetime,
        {{ days_between('0', 'deals.close_pushed_us') }} as deal_close_pushed_days,
        {{ days_between('deals.as_of_us', 'deals.expected_close_us') }} as deal_expected_close_days,
        deals.value_cuts_count as deal_value_cuts_count_lifetime,
        deals.value_rises_count as deal_value_rises_count_lifetime,
        {{ change_rate('deals.value', 'deals.first_value') }} as deal_value_change_rate,
        deals.age_us,
        deals.in_stage_us,
        deals.close_pushed_us,
        deals.value
    from deals

),

compared as (

    select
        described.*,
        (described.in_stage_us - typical.stage_us) / {{ day_us() }} as days_since_last_deal_stage_change_vs_won,
        (described.age_us - typical.age_us) / {{ day_us() }} as deal_age_days_vs_won,
        described.deal_steps_forward_count_lifetime - typical.steps_forward_count as deal_steps_forward_count_vs_won,
        described.deal_steps_back_count_lifetime - typical.steps_back_count as deal_steps_back_count_vs_won,
        described.deal_close_pushes_count_lifetime - typical.close_pushes_count as deal_close_pushes_count_vs_won,
        (described.close_pushed_us - typical.close_pushed_us) / {{ day_us() }} as deal_close_pushed_days_vs_won,
        described.deal_value_change_rate - typical.value_change_rate as deal_value_change_rate_vs_won,
        cast(described.value as double precision) - typical.value as deal_value_vs_won
    from described
    left join typical
        on described.lead_id = typical.lead_id
            and described.as_of_us = typical.as_of_us

)

select * from compared
