{{ config(materialized='table') }}

{%- set built = var('built_load_number') or 0 -%}
{%- set built_us = var('built_us') or 0 -%}
{#- Named outside the condition, so that dbt knows of them whatever is built. -#}
{%- set extracted = [
    source('raw', 'leads'), source('raw', 'interactions'), source('raw', 'appointments'), source('raw', 'projects'),
    source('raw', 'lead_changes'),
] -%}
{#- Which facts a row makes, by the key under which the timeline has them. -#}
{%- set facts = [
    (source('raw', 'interactions'), 'interaction_id', ['interaction', 'opened', 'responded']),
    (source('raw', 'appointments'), 'appointment_id', ['appointment_booked', 'appointment_ended']),
    (source('raw', 'projects'), 'project_id', ['project_proposed', 'project_closed']),
] -%}
{#- The facts of the last build: this model runs before they are brought up to date. -#}
{%- set before = adapter.get_relation(
    database=this.database, schema='intermediate', identifier='timeline'
) if is_increment() and execute else none -%}
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

    {%- if before is not none %}
    -- the leads that rows of these extractions belonged to before they moved to another one
    {%- for table, key, kinds in facts %}
    select lead_id
    from {{ before }}
    where
        fact in ('{{ kinds | join("', '") }}')
        and reference_id in (
            select moved.{{ key }}
            from {{ table }} as moved
            where moved.load_number > {{ built }}
        )

    union

    {%- endfor %}
    {%- endif %}

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
