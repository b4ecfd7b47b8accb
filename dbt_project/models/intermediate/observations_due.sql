{{ config(materialized='view') }}

with due as (

    select *
    from {{ ref('observations') }}
    where {{ is_due('as_of_us', 'observation_kind', features=true) }}

)

select * from due
