{{ config(materialized='table') }}

-- depends_on: {{ ref('customer_quintile_changes') }}
with quintiles as (

    select *
    from {{ ref('customer_quintiles_now') }}

)

select * from quintiles
