{#- A build is whole, or an increment on the last one: then only what may differ from it is computed. Leadline passes the
    extraction and the clock that the last build was made from; without them everything is built. -#}
{% macro is_increment() -%} {{ return(var('built_load_number') is not none) }} {%- endmacro %}

{#- In an increment the rows of touched leads, else all. -#}
{% macro of_touched_leads(relation) -%}
    {%- set touched_leads = ref('touched_leads') -%}
    {%- if is_increment() -%}
        (select * from {{ relation }} where lead_id in (select lead_id from {{ touched_leads }}))
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{#- Whether an observation of a relation may differ from the last build: it is of its clock or later, after a change of
    its lead, or part of a census, which the next census replaces. Its features may differ as well where a closing has
    come late or has changed, which is in the track records of all observations after it. Of a given range of days
    nothing else counts. -#}
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

{#- Before an increment adds its rows: delete those that they replace, in the same transaction. -#}
{% macro forget(condition) -%}
    {%- if is_increment() or var('range_from_us') is not none -%}
        delete from {{ this }} where {{ condition }}
    {%- endif -%}
{%- endmacro %}

{#- The observations of leads whose label has matured: unmatured ones have none. In an increment those whose label may
    differ from the last build. -#}
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
