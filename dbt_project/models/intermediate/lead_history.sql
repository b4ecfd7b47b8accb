{%- set attributes = ['lead_status', 'lead_owner', 'property_value', 'zip_code'] -%}

-- Of several changes at one moment the last by its key counts, the same on every engine.
with last_of_moment as (

    select
        lead_id,
        attribute,
        value,
        known_us
    from (
        select
            *,
            lead(known_us) over (
                partition by lead_id, attribute order by known_us, {{ byte_order('change_id') }}
            ) as next_known_us
        from {{ ref('stg_lead_changes') }}
    ) as in_order
    where next_known_us is null or next_known_us > known_us

),

compared as (

    select
        *,
        lag(value) over (partition by lead_id, attribute order by known_us) as previous_value
    from last_of_moment

),

-- What is told again is no change, and an attribute that was always empty has none.
moments as (

    select
        lead_id,
        known_us,
        {%- for attribute in attributes %}
        max(case when attribute = '{{ attribute }}' then value end) as {{ attribute }},
        count(case when attribute = '{{ attribute }}' then 1 end) as {{ attribute }}_is_set,
        {%- endfor %}
        count(
            case when attribute = 'property_value' then case
                when cast(value as decimal(18, 2)) > cast(previous_value as decimal(18, 2)) then 1
            end end
        ) as property_value_rises,
        count(
            case when attribute = 'property_value' then case
                when cast(value as decimal(18, 2)) < cast(previous_value as decimal(18, 2)) then 1
            end end
        ) as property_value_cuts
    from compared
    where value is distinct from previous_value
    group by lead_id, known_us

),

numbered as (

    select
        *,
        {%- for attribute in attributes %}
        cast(sum({{ attribute }}_is_set) over so_far as bigint) as {{ attribute }}_number,
        {%- endfor %}
        cast(sum(property_value_rises) over so_far as bigint) as property_value_rises_count,
        cast(sum(property_value_cuts) over so_far as bigint) as property_value_cuts_count,
        lead(known_us) over (partition by lead_id order by known_us) as until_us
    from moments
    window so_far as (partition by lead_id order by known_us rows unbounded preceding)

),

-- A value holds until the next one: all rows with one number of an attribute share the value of the first of them.
held as (

    select
        lead_id,
        known_us,
        until_us,
        {%- for attribute in attributes %}
        max({{ attribute }}) over (partition by lead_id, {{ attribute }}_number) as {{ attribute }},
        {{ attribute }}_number,
        {%- endfor %}
        min(known_us) over (partition by lead_id, lead_status_number) as lead_status_us,
        min(known_us) over (partition by lead_id, lead_owner_number) as lead_owner_us,
        max(case when property_value_number = 1 then property_value end) over (
            partition by lead_id
        ) as first_property_value,
        property_value_rises_count,
        property_value_cuts_count
    from numbered

),

-- Number 0 is the time before the first known value, and of the changes the first is none.
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
