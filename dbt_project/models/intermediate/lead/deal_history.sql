{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

{%- set deal_columns = ['stage', 'value', 'expected_close'] -%}

-- A project may move to another lead, and its changes with it.
with changes as (

    select
        projects.lead_id,
        projects.project_id,
        case staged.project_column when 'expected_close_at' then 'expected_close' else staged.project_column end as deal_column,
        staged.change_id,
        staged.value,
        staged.known_us
    from {{ ref('stg_changes') }} as staged
    inner join {{ of_touched_leads(ref('stg_projects')) }} as projects on staged.project_id = projects.project_id
    where staged.project_column in ('stage', 'value', 'expected_close_at')

),

-- If a column changes several times at one moment, the change with the last key counts, on every engine.
last_of_moment as (

    select *
    from (
        select
            *,
            lead(known_us) over (
                partition by project_id, deal_column order by known_us, {{ byte_order('change_id') }}
            ) as next_known_us
        from changes
    ) as in_order
    where next_known_us is null or next_known_us > known_us

),

typed as (

    select
        *,
        case when deal_column = 'value' then cast(value as decimal(18, 2)) end as amount,
        case when deal_column = 'expected_close' then {{ told_us('value') }} end as expected_us
    from last_of_moment

),

compared as (

    select
        *,
        lag(value) over in_order as previous_value,
        lag(amount) over in_order as previous_amount,
        lag(expected_us) over in_order as previous_expected_us,
        row_number() over (partition by project_id, deal_column, value order by known_us) as occurrence
    from typed
    window in_order as (partition by project_id, deal_column order by known_us)

),

-- A repeated value is no change, nor is an empty first value.
moments as (

    select
        lead_id,
        project_id,
        known_us,
        {%- for deal_column in deal_columns %}
        max({{ byte_order("case when deal_column = '" ~ deal_column ~ "' then value end") }}) as {{ deal_column }},
        count(case when deal_column = '{{ deal_column }}' then 1 end) as {{ deal_column }}_is_set,
        {%- endfor %}
        count(case when deal_column = 'stage' and value is not null and occurrence = 1 then 1 end) as stages_reached,
        count(case when deal_column = 'stage' and value is not null and occurrence > 1 then 1 end) as steps_back,
        count(case when expected_us > previous_expected_us then 1 end) as pushes,
        sum(case when expected_us > previous_expected_us then expected_us - previous_expected_us end) as pushed_us,
        count(case when amount > previous_amount then 1 end) as rises,
        count(case when amount < previous_amount then 1 end) as cuts
    from compared
    where value is distinct from previous_value
    group by lead_id, project_id, known_us

),

numbered as (

    select
        *,
        {%- for deal_column in deal_columns %}
        cast(sum({{ deal_column }}_is_set) over so_far as bigint) as {{ deal_column }}_number,
        {%- endfor %}
        cast(sum(stages_reached) over so_far as bigint) as stages_count,
        cast(sum(steps_back) over so_far as bigint) as steps_back_count,
        cast(sum(pushes) over so_far as bigint) as pushes_count,
        cast(coalesce(sum(pushed_us) over so_far, 0) as bigint) as pushed_us_so_far,
        cast(sum(rises) over so_far as bigint) as rises_count,
        cast(sum(cuts) over so_far as bigint) as cuts_count,
        lead(known_us) over (partition by project_id order by known_us) as until_us
    from moments
    window so_far as (partition by project_id order by known_us rows unbounded preceding)

),

-- A value holds until the next one: all rows with the same number of a column have the value of the first such row.
held as (

    select
        *,
        {%- for deal_column in deal_columns %}
        max({{ byte_order(deal_column) }}) over (partition by project_id, {{ deal_column }}_number) as {{ deal_column }}_held,
        {%- endfor %}
        min(known_us) over (partition by project_id, stage_number) as stage_us,
        max({{ byte_order('case when value_number = 1 then value end') }}) over (partition by project_id) as first_value_held
    from numbered

),

-- Number 0 is the time before the first known value, which itself is no change.
described as (

    select
        lead_id,
        project_id,
        known_us,
        until_us,
        stage_held as stage,
        case when stage_held is not null then stage_us end as stage_us,
        case when stages_count > 0 then stages_count - 1 end as steps_forward_count,
        case when stages_count > 0 then steps_back_count end as steps_back_count,
        {{ told_us('expected_close_held') }} as expected_close_us,
        case when expected_close_number > 0 then pushes_count end as close_pushes_count,
        case when expected_close_number > 0 then pushed_us_so_far end as close_pushed_us,
        cast(value_held as decimal(18, 2)) as value,
        case when value_number > 0 then cast(first_value_held as decimal(18, 2)) end as first_value,
        case when value_number > 0 then rises_count end as value_rises_count,
        case when value_number > 0 then cuts_count end as value_cuts_count
    from held

)

select * from described
