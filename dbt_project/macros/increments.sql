{#- A build is a whole build, or an increment, which computes only the rows that may differ from the last build. For an
    increment Leadline passes the extraction and the clock of the last build. -#}
{% macro is_increment() -%} {{ return(var('built_load_number') is not none) }} {%- endmacro %}

{#- The rows of touched entities in an increment, else all rows. -#}
{% macro of_touched(entity, relation) -%}
    {%- set touched = ref('touched_' ~ entity ~ 's') -%}
    {%- if is_increment() -%}
        (select * from {{ relation }} where {{ entity }}_id in (select {{ entity }}_id from {{ touched }}))
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}
{% macro of_touched_leads(relation) -%} {{ of_touched('lead', relation) }} {%- endmacro %}
{% macro of_touched_customers(relation) -%} {{ of_touched('customer', relation) }} {%- endmacro %}

{#- Whether an observation of a relation may differ from the last build: it lies at the clock of that build or later,
    after a change of its entity, or in a census, which the next census replaces. Features may also differ after what
    changes them for all: a late or changed closing enters the track records of all later observations of leads, a late
    purchase the quintiles of all customers. If a range of days is given, only the range counts. -#}
{% macro is_due(relation, as_of_us, features=false, entity='lead') -%}
    {%- set touched = ref('touched_' ~ entity ~ 's') -%}
    {%- set for_all = ref(
        'customer_quintile_changes' if entity == 'customer' else 'track_record_changes'
    ) if features else none -%}
    {%- if var('range_from_us') is not none -%}
        ({{ as_of_us }} >= {{ var('range_from_us') }} and {{ as_of_us }} < {{ var('range_until_us') }})
    {%- elif is_increment() -%}
        ({{ as_of_us }} >= {{ var('built_us') }} or {{ relation }}.observation_kind = 'clock'
        or {{ as_of_us }} > (
            select touched.changed_us from {{ touched }} as touched where touched.{{ entity }}_id = {{ relation }}.{{ entity }}_id
        )
        {%- if features %}
        or {{ as_of_us }} > (select changes.changed_us from {{ for_all }} as changes)
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
{% macro matured(entity, observations, horizon_days, since_us=0) -%}
    {%- set matures_us = 'as_of_us + ' ~ horizon_days ~ ' * ' ~ day_us() -%}
    select
        {{ entity }}_id,
        as_of,
        as_of_us,
        {{ matures_us }} as matures_us
    from {{ observations }}
    where {{ matures_us }} <= {{ clock_us() }}
    {%- if since_us %}
    and as_of_us >= {{ since_us }}
    {%- endif %}
    {%- if is_increment() %}
    and (
        {{ matures_us }} > {{ var('built_us') }}
        or {{ entity }}_id in (select touched.{{ entity }}_id from {{ ref('touched_' ~ entity ~ 's') }} as touched)
    )
    {%- endif %}
{%- endmacro %}
{% macro matured_leads(horizon_days, since_us=0) -%}
    {{ matured('lead', ref('observations'), horizon_days, since_us) }}
{%- endmacro %}
{% macro matured_customers(horizon_days) -%}
    {{ matured('customer', ref('customer_observations'), horizon_days) }}
{%- endmacro %}

{#- The changes of rows of an entity since the last build, each with the moment from which on it counts.
    rows: of each source table the staged table, the raw table, the key, the first moment of a row, its other moments,
    and the kinds of its facts. facts_before: the facts of the last build; none: there are none. -#}
{% macro changed_rows(entity, rows, facts_before) -%}
    {%- set built, built_us = var('built_load_number') or 0, var('built_us') or 0 -%}
    {%- for staged, extracted, key, first, later, kinds in rows %}

    union all

    -- rows that extractions since the last build added or changed
    select
        staged.{{ entity }}_id,
        staged.{{ first }} as changed_us
    from {{ staged }} as staged
    inner join {{ extracted }} as extracted on staged.{{ key }} = extracted.{{ key }}
    where extracted.load_number > {{ built }}

    union all

    -- rows that were extracted before the last build, but not yet known at its clock
    select
        {{ entity }}_id,
        {{ built_us }} as changed_us
    from {{ staged }}
    where {{ ([first] + later) | join(' >= ' ~ built_us ~ ' or ') }} >= {{ built_us }}
    {%- if facts_before is not none and kinds %}

    union all

    -- facts of the earlier content of changed rows, perhaps of another {{ entity }}
    select
        facts.{{ entity }}_id,
        facts.known_us as changed_us
    from {{ facts_before }} as facts
    inner join {{ extracted }} as extracted on facts.reference_id = extracted.{{ key }}
    where
        facts.fact in ('{{ kinds | join("', '") }}')
        and extracted.load_number > {{ built }}
    {%- endif %}
    {%- endfor %}
{%- endmacro %}
