{#- A build is a whole build, or an increment, which computes only the rows that may differ from the last build. For an
    increment Leadline passes the extraction and the clock of the last build. -#}
{% macro is_increment() -%} {{ return(var('built_load_number') is not none) }} {%- endmacro %}

{#- The rows of touched leads in an increment, else all rows. -#}
{% macro of_touched_leads(relation) -%}
    {%- set touched_leads = ref('touched_leads') -%}
    {%- if is_increment() -%}
        (select * from {{ relation }} where lead_id in (select lead_id from {{ touched_leads }}))
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{#- Whether an observation of a relation may differ from the last build: it lies at the clock of that build or later,
    after a change of its lead, or in a census, which the next census replaces. Features may also differ after a late or
    changed closing, which enters the track records of all later observations. If a range of days is given, only the
    range counts. -#}
{% macro is_due(relation, as_of_us, features=false) -%}
    {%- set touched_leads = ref('touched_leads') -%}
    {%- set track_record_changes = ref('track_record_changes') if features else none -%}
    {%- if var('range_from_us') is not none -%}
        ({{ as_of_us }} >= {{ var('range_from_us') }} and {{ as_of_us }} < {{ var('range_until_us') }})
    {%- elif is_increment() -%}
        ({{ as_of_us }} >= {{ var('built_us') }} or {{ relation }}.observation_kind = 'clock'
        or {{ as_of_us }} > (
            select touched.changed_us from {{ touched_leads }} as touched where touched.lead_id = {{ relation }}.lead_id
        )
        {%- if features %}
        or {{ as_of_us }} > (select changes.changed_us from {{ track_record_changes }} as changes)
        {%- endif %})
    {%- else -%}
        1 = 1
    {%- endif -%}
{%- endmacro %}

{#- Deletes the rows that an increment replaces, in the transaction in which it adds its own. -#}
{% macro forget(condition) -%}
    {%- if is_increment() or var('range_from_us') is not none -%}
        delete from {{ this }} where {{ condition }}
    {%- endif -%}
{%- endmacro %}

{#- The observations whose label has matured by the clock; in an increment, those whose label may differ from the last
    build. -#}
{% macro matured_leads(horizon_days, since_us=0) -%}
    {%- set matures_us = 'as_of_us + ' ~ horizon_days ~ ' * ' ~ day_us() -%}
    select
        lead_id,
        as_of,
        as_of_us,
        {{ matures_us }} as matures_us
    from {{ ref('observations') }}
    where {{ matures_us }} <= {{ clock_us() }}
    {%- if since_us %}
    and as_of_us >= {{ since_us }}
    {%- endif %}
    {%- if is_increment() %}
    and (
        {{ matures_us }} > {{ var('built_us') }}
        or lead_id in (select touched.lead_id from {{ ref('touched_leads') }} as touched)
    )
    {%- endif %}
{%- endmacro %}
