{{ config(meta={'dagster': {'ref': {'name': 'lead_scores'}}}) }}

-- Rows out = rows in: lead_scores has exactly the leads that are open at the clock.
with open_leads as (
    select lead_id
    from {{ ref('observations') }}
    where as_of_us = {{ clock_us() }}
),

counts as (
    select
        (select count(*) from open_leads) as expected,
        (select count(*) from {{ ref('lead_scores') }}) as found,
        (
            select count(*)
            from {{ ref('lead_scores') }} as scores
            inner join open_leads on scores.lead_id = open_leads.lead_id
        ) as matched
)

select *
from counts
where found <> expected or matched <> expected
