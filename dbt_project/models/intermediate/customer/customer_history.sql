{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('customer_id in (select customer_id from ' ~ ref('touched_customers') ~ ')') }}"
    )
}}

-- If the plan changes several times at one moment, the change with the last key counts, on every engine.
with last_of_moment as (

    select
        customer_id,
        value,
        known_us
    from (
        select
            *,
            lead(known_us) over (
                partition by customer_id order by known_us, {{ byte_order('change_id') }}
            ) as next_known_us
        from {{ of_touched_customers(ref('stg_changes')) }} as staged
        where customer_column = 'plan'
    ) as in_order
    where next_known_us is null or next_known_us > known_us

),

compared as (

    select
        *,
        lag(value) over (partition by customer_id order by known_us) as previous_value
    from last_of_moment

),

-- A repeated value is no change, nor is an empty first value; the first value is no change either.
described as (

    select
        customer_id,
        known_us,
        lead(known_us) over in_order as until_us,
        value as plan,
        case when value is not null then known_us end as plan_us,
        row_number() over in_order - 1 as plan_changes_count
    from compared
    where value is distinct from previous_value
    window in_order as (partition by customer_id order by known_us)

)

select * from described
