{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('customer_id in (select customer_id from ' ~ ref('touched_customers') ~ ')') }}"
    )
}}

with closings as (

    select
        customer_id,
        closed_us
    from {{ of_touched_customers(ref('stg_customers')) }} as staged
    where closed_us is not null

)

select * from closings
