{{ config(meta={'dagster': {'ref': {'name': 'customer_scores'}}}) }}

-- customer_scores has exactly the customers that are known at the clock.
with expected_rows as (
    select customer_id
    from {{ ref('stg_customers') }}
    where known_us < {{ clock_us() }}
),

{{ rows_differ(ref('customer_scores'), 'customer_id') }}
