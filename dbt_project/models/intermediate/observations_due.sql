{{ config(materialized='view') }}

with due as (

    select *
    from {{ ref('observations') }} as observations
    where {{ is_due('observations', 'observations.as_of_us', features=true) }}

)

select * from due
