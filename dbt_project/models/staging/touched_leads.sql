{{ config(materialized='table') }}

{%- set built = var('built_load_number') or 0 -%}
{%- set built_us = var('built_us') or 0 -%}
{#- Called outside of the condition, so that dbt sees the dependencies in every build. -#}
{%- set leads, raw_leads = ref('stg_leads'), source('raw', 'leads') -%}
{#- Staged table, raw table, key, first moment of a row, its other moments, and the kinds of its facts. -#}
{%- set rows = [
    (ref('stg_interactions'), source('raw', 'interactions'), 'interaction_id', 'known_us', ['opened_us', 'responded_us'],
        ['interaction', 'opened', 'responded']),
    (ref('stg_appointments'), source('raw', 'appointments'), 'appointment_id', 'booked_us', ['ended_us'],
        ['appointment_booked', 'appointment_ended']),
    (ref('stg_projects'), source('raw', 'projects'), 'project_id', 'proposed_us', ['closed_us'],
        ['project_proposed', 'project_closed']),
    (ref('stg_changes'), source('raw', 'changes'), 'change_id', 'known_us', [], []),
] -%}
{#- Tables of the last build: this model runs before they are updated. -#}
{%- set is_there = is_increment() and execute -%}
{%- set facts_before = adapter.get_relation(
    database=this.database, schema='intermediate', identifier='timeline'
) if is_there else none -%}
{%- set features_before = adapter.get_relation(
    database=this.database, schema='features', identifier='lead_features'
) if is_there else none -%}
{%- set as_described = '0' if features_before is none
    else 'case when described.lead_id is null then 0 else ' ~ built_us ~ ' end' -%}

-- Leads with rows that may differ from the last build, and the moment from which on they may.
with {% if features_before is not none -%}
described_before as (

    select distinct
        features.lead_id,
        features.lead_source,
        features.lead_created_at
    from {{ features_before }} as features
    inner join {{ raw_leads }} as extracted on features.lead_id = extracted.lead_id
    where extracted.load_number > {{ built }}

),

{% endif -%}
changes as (

    {%- if is_increment() %}

    -- features read only the source and the creation of a lead row: if both are unchanged, so are the features
    select
        staged.lead_id,
        {{ as_described }} as changed_us
    from {{ leads }} as staged
    inner join {{ raw_leads }} as extracted on staged.lead_id = extracted.lead_id
    {%- if features_before is not none %}
    left join described_before as described
        on staged.lead_id = described.lead_id
            and staged.lead_source = described.lead_source
            and staged.created_at = described.lead_created_at
    {%- endif %}
    where extracted.load_number > {{ built }}

    union all

    select
        lead_id,
        {{ built_us }} as changed_us
    from {{ leads }}
    where known_us >= {{ built_us }}
    {{- changed_rows('lead', rows, facts_before) }}

    {%- else %}

    -- a whole build computes all leads, so no model reads this table
    select
        lead_id,
        0 as changed_us
    from {{ leads }}
    where 1 = 0

    {%- endif %}

)

select
    lead_id,
    cast(min(changed_us) as bigint) as changed_us
from changes
-- interactions and changes may be of a customer
where lead_id is not null
group by lead_id
