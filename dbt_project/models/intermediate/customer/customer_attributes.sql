{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('customer_id in (select customer_id from ' ~ ref('touched_customers') ~ ')') }}"
    )
}}

with told as (

    select
        customer_id,
        customer_column as attribute_name,
        change_id,
        value,
        known_us
    from {{ of_touched_customers(ref('stg_changes')) }} as staged

),

{{ attributes_by_moment(attributes_of('customers'), 'customer_id') }}

select * from attributes_held
