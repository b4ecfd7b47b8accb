-- Every second Monday, and the clock.
with segments as (

    select
        customer_id,
        as_of,
        is_active,
        rfm_segment,
        recency_score,
        frequency_score,
        monetary_score,
        is_high_value,
        total_purchases,
        total_spent
    from {{ ref('customer_features') }}

)

select * from segments
