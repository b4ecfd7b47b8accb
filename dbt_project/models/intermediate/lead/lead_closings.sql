{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

{%- set closing_outcomes = "'" ~ var('closing_outcomes') | map('replace', "'", "''") | join("', '") ~ "'" -%}
{%- set closing_lead_statuses = "'" ~ var('closing_lead_statuses') | map('replace', "'", "''") | join("', '") ~ "'" -%}
{%- set closing_project_statuses = "'" ~ (['won'] + var('closing_project_statuses')) | join("', '") ~ "'" -%}
{#- Called outside of the condition, so that dbt sees the dependency whatever closes a lead. -#}
{%- set changes = ref('stg_changes') -%}

with closing_facts as (

    select
        lead_id,
        known_us as closed_us
    from {{ of_touched_leads(ref('timeline')) }} as facts
    where
        (fact = 'project_closed' and outcome in ({{ closing_project_statuses }}))
        {%- if var('closing_outcomes') %}
        or (fact = 'interaction' and outcome in ({{ closing_outcomes }}))
        {%- endif %}

    {%- if var('closing_lead_statuses') %}

    union all

    -- a closing status closes the lead when it became known, whatever status came later
    select
        lead_id,
        known_us as closed_us
    from {{ of_touched_leads(changes) }} as staged
    where lead_column = 'lead_status' and value in ({{ closing_lead_statuses }})
    {%- endif %}

    {%- if var('silence_closes_after_days') is not none %}

    union all

    -- a lead closes when a silence has lasted that long, whether or not somebody writes again later
    select
        lead_id,
        known_us + {{ var('silence_closes_after_days') }} * {{ day_us() }} as closed_us
    from {{ of_touched_leads(ref('timeline')) }} as facts
    where next_known_us is null or next_known_us - known_us > {{ var('silence_closes_after_days') }} * {{ day_us() }}
    {%- endif %}

),

first_closing as (

    select
        lead_id,
        min(closed_us) as closed_us
    from closing_facts
    group by lead_id

)

select * from first_closing
