{{ config(meta={'dagster': {'ref': {'name': 'lead_scores'}}}) }}

-- lead_scores has exactly the leads that are open at the clock.
with expected_rows as (
    select lead_id
    from {{ ref('observations') }}
    where as_of_us = {{ clock_us() }}
),

{{ rows_differ(ref('lead_scores'), 'lead_id') }}
