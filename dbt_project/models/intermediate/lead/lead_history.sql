{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

{%- set lead_columns = ['lead_status', 'lead_owner', 'property_value', 'zip_code'] -%}

-- If a column changes several times at one moment, the change with the last key counts, on every engine.
with last_of_moment as (

    select
        lead_id,
        lead_column,
        value,
        known_us
    from (
        select
            *,
            lead(known_us) over (
                partition by lead_id, lead_column order by known_us, {{ byte_order('change_id') }}
            ) as next_known_us
        from {{ of_touched_leads(ref('stg_changes')) }} as staged
        where lead_column in ('{{ lead_columns | join("', '") }}')
    ) as in_order
    where next_known_us is null or next_known_us > known_us

),

compared as (

    select
        *,
        lag(value) over in_order as previous_value,
        lag(price) over in_order as previous_price
    from (
        select
            *,
            case when lead_column = 'property_value' then cast(value as decimal(18, 2)) end as price
        from last_of_moment
    ) as priced
    window in_order as (partition by lead_id, lead_column order by known_us)

),

-- A repeated value is no change, nor is an empty first value.
moments as (

    select
        lead_id,
        known_us,
        {%- for lead_column in lead_columns %}
        max({{ byte_order("case when lead_column = '" ~ lead_column ~ "' then value end") }}) as {{ lead_column }},
        count(case when lead_column = '{{ lead_column }}' then 1 end) as {{ lead_column }}_is_set,
        {%- endfor %}
        count(case when price > previous_price then 1 end) as property_value_rises,
        count(case when price < previous_price then 1 end) as property_value_cuts
    from compared
    where value is distinct from previous_value
    group by lead_id, known_us

),

numbered as (

    select
        *,
        {%- for lead_column in lead_columns %}
        cast(sum({{ lead_column }}_is_set) over so_far as bigint) as {{ lead_column }}_number,
        {%- endfor %}
        cast(sum(property_value_rises) over so_far as bigint) as property_value_rises_count,
        cast(sum(property_value_cuts) over so_far as bigint) as property_value_cuts_count,
        lead(known_us) over (partition by lead_id order by known_us) as until_us
    from moments
    window so_far as (partition by lead_id order by known_us rows unbounded preceding)

),

-- A value holds until the next one: all rows with the same number of a column have the value of the first such row.
held as (

    select
        lead_id,
        known_us,
        until_us,
        {%- for lead_column in lead_columns %}
        max({{ byte_order(lead_column) }}) over (partition by lead_id, {{ lead_column }}_number) as {{ lead_column }},
        {{ lead_column }}_number,
        {%- endfor %}
        min(known_us) over (partition by lead_id, lead_status_number) as lead_status_us,
        min(known_us) over (partition by lead_id, lead_owner_number) as lead_owner_us,
        max({{ byte_order('case when property_value_number = 1 then property_value end') }}) over (
            partition by lead_id
        ) as first_property_value,
        property_value_rises_count,
        property_value_cuts_count
    from numbered

),

-- Number 0 is the time before the first known value, which itself is no change.
described as (

    select
        lead_id,
        known_us,
        until_us,
        lead_status,
        case when lead_status is not null then lead_status_us end as lead_status_us,
        case when lead_status_number > 0 then lead_status_number - 1 end as lead_status_changes_count,
        lead_owner,
        case when lead_owner is not null then lead_owner_us end as lead_owner_us,
        case when lead_owner_number > 0 then lead_owner_number - 1 end as lead_owner_changes_count,
        zip_code,
        cast(property_value as decimal(18, 2)) as property_value,
        case when property_value_number > 0 then cast(first_property_value as decimal(18, 2)) end as first_property_value,
        case when property_value_number > 0 then property_value_rises_count end as property_value_rises_count,
        case when property_value_number > 0 then property_value_cuts_count end as property_value_cuts_count
    from held

)

select * from described
