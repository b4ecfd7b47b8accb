{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('customer_id in (select customer_id from ' ~ ref('touched_customers') ~ ')') }}"
    )
}}

-- Usage is no part of the timeline: it has many times as many rows.
with usage_facts as (

    select
        customer_id,
        'usage' as fact,
        usage_id as reference_id,
        case when metric = 'login' then 1 else 0 end as is_login,
        case when metric <> 'login' then quantity end as quantity,
        known_us
    from {{ of_touched_customers(ref('stg_usage')) }} as staged

)

select * from usage_facts
