{{ config(meta={'dagster': {'ref': {'name': 'customer_scores'}}}) }}

-- Rows out = rows in: customer_scores has exactly the customers that are known at the clock.
with known_customers as (
    select customer_id
    from {{ ref('stg_customers') }}
    where known_us < {{ clock_us() }}
),

counts as (
    select
        (select count(*) from known_customers) as expected,
        (select count(*) from {{ ref('customer_scores') }}) as found,
        (
            select count(*)
            from {{ ref('customer_scores') }} as scores
            inner join known_customers on scores.customer_id = known_customers.customer_id
        ) as matched
)

select *
from counts
where found <> expected or matched <> expected
