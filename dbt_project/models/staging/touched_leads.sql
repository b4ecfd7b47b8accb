{{ config(materialized='table') }}

{%- set built = var('built_load_number') or 0 -%}
{%- set built_us = var('built_us') or 0 -%}
{#- Named outside the condition, so that dbt knows of them whatever is built. -#}
{%- set extracted = [
    source('raw', 'leads'), source('raw', 'interactions'), source('raw', 'appointments'), source('raw', 'projects'),
    source('raw', 'lead_changes'),
] -%}
{%- set moments = [
    (ref('stg_leads'), ['known_us']),
    (ref('stg_interactions'), ['known_us', 'opened_us', 'responded_us']),
    (ref('stg_appointments'), ['booked_us', 'ended_us']),
    (ref('stg_projects'), ['proposed_us', 'closed_us']),
    (ref('stg_lead_changes'), ['known_us']),
] -%}

with touched as (

    {%- if is_increment() %}

    -- what the extractions since the last build brought or changed
    {%- for table in extracted %}
    select lead_id
    from {{ table }}
    where load_number > {{ built }}

    union

    {%- endfor %}

    -- and what had been extracted before the last build, but was not yet known at its clock
    {%- for table, columns in moments %}
    select lead_id
    from {{ table }}
    where {{ columns | join(' >= ' ~ built_us ~ ' or ') }} >= {{ built_us }}
    {%- if not loop.last %}

    union
    {% endif %}
    {%- endfor %}

    {%- else %}

    -- everything is built: nobody asks
    select lead_id
    from {{ moments[0][0] }}
    where 1 = 0

    {%- endif %}

)

select * from touched
