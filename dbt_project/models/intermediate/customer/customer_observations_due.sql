{#- A table if it is a part of the observations, so that the several models that read it are planned by its size. -#}
{{ config(materialized='table' if is_increment() or var('range_from_us') is not none else 'view') }}

with due as (

    select *
    from {{ ref('customer_observations') }} as observations
    where {{ is_due('observations', 'observations.as_of_us', features=true, entity='customer') }}

)

select * from due
