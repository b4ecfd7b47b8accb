{#- The features that follow from attributes of a source table: leads, projects or customers. -#}
{% macro attributes_of(entity) -%}
    {{ return(var('attribute_features') | selectattr('entity', 'equalto', entity) | list) }}
{%- endmacro %}

{#- Adds the features that follow from attributes of some source tables to the columns of the model: the contract of the
    view has to know them, and no yml file can, because each source has others. -#}
{% macro attribute_columns() -%}
    {%- for feature in var('attribute_features') | selectattr('entity', 'in', varargs) -%}
        {%- do model.columns.update({
            feature.column: {'name': feature.column, 'data_type': feature.data_type, 'constraints': []}
        }) -%}
    {%- endfor -%}
{%- endmacro %}

{#- Name of the column that holds a feature between moments: of a date its time, from which the days to as_of follow. No
    feature begins with us_. -#}
{% macro held_as(feature) -%}
    {{ return('us_' ~ feature.column if feature.form == 'days' else feature.column) }}
{%- endmacro %}

{#- The value of a feature at as_of, from the table that holds it between moments. -#}
{% macro attribute_at(feature, held) -%}
    {%- if feature.form == 'days' -%}
        {{ days_between(held ~ '.' ~ held_as(feature), 'observations.as_of_us') }}
    {%- else -%}
        {{ held }}.{{ feature.column }}
    {%- endif -%}
{%- endmacro %}

{#- A feature, typed, from the stored text of its attribute. -#}
{% macro typed(feature, value) -%}
    {%- set option = feature.option | replace("'", "''") -%}
    {%- if feature.form == 'text' -%} {{ value }}
    {%- elif feature.form == 'number' -%} cast({{ value }} as double precision)
    {%- elif feature.form == 'flag' -%} cast(case {{ value }} when 'true' then 1 when 'false' then 0 end as bigint)
    {%- elif feature.form == 'days' -%} {{ told_us(value) }}
    {%- elif feature.form == 'count' -%}
        cast(length({{ value }}) - length(replace({{ value }}, '; ', ';')) + 1 as bigint)
    {%- else -%}
        cast(case when position('; {{ option }}; ' in '; ' || {{ value }} || '; ') > 0 then 1 when {{ value }} is not null then 0 end as bigint)
    {%- endif -%}
{%- endmacro %}

{#- Two steps of a query. They make one row per entity and moment at which one of its attributes changed, with the values
    until the next such moment, from `told`: a row per change, with its attribute_name.

    A value is packed behind its moment into one text, which is the larger, the later the moment: so a running maximum
    holds it until the next one, and all attributes share one order of the rows.
    key: the columns that identify the entity. -#}
{% macro attributes_by_moment(features, key) -%}
    {%- set attributes = (features | map(attribute='stored') | unique | list) or [''] -%}
-- If an attribute changes several times at one moment, the change with the last key counts, on every engine.
last_of_moment as (

    select
        {{ key }},
        number,
        known_us,
        -- 17 digits up to the year 4821
        cast(known_us + 10000000000000000 as text) || case when value is not null then '=' || value else '' end as packed
    from (
        select
            told.*,
            attributes.number,
            lead(told.known_us) over (
                partition by {{ key }}, attributes.number order by told.known_us, {{ byte_order('told.change_id') }}
            ) as next_known_us
        from told
        inner join (
            values
            {%- for stored in attributes %}
            ('{{ stored }}', {{ loop.index }}){{ ',' if not loop.last }}
            {%- endfor %}
        ) as attributes (attribute_name, number) on told.attribute_name = attributes.attribute_name
    ) as in_order
    where next_known_us is null or next_known_us > known_us

),

moments as (

    select
        {{ key }},
        {%- for _ in attributes %}
        max({{ byte_order('case when number = ' ~ loop.index ~ ' then packed end') }}) as packed_{{ loop.index }},
        {%- endfor %}
        known_us
    from last_of_moment
    group by {{ key }}, known_us

),

held as (

    select
        {{ key }},
        {%- for _ in attributes %}
        max({{ byte_order('packed_' ~ loop.index) }}) over so_far as packed_{{ loop.index }},
        {%- endfor %}
        known_us,
        lead(known_us) over (partition by {{ key }} order by known_us) as until_us
    from moments
    window so_far as (partition by {{ key }} order by known_us rows unbounded preceding)

),

unpacked as (

    select
        {{ key }},
        {%- for _ in attributes %}
        case when length(packed_{{ loop.index }}) > 17 then substr(packed_{{ loop.index }}, 19) end as value_{{ loop.index }},
        {%- endfor %}
        known_us,
        until_us
    from held

),

attributes_held as (

    select
        {{ key }},
        known_us,
        until_us
        {%- for stored in attributes %}
        {%- set value = 'value_' ~ loop.index %}
        {%- for feature in features if feature.stored == stored %},
        {{ typed(feature, value) | trim }} as {{ held_as(feature) }}
        {%- endfor %}
        {%- endfor %}
    from unpacked

)
{%- endmacro %}
