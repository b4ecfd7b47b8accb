{{ config(meta={'dagster': {'ref': {'name': 'timeline'}}}) }}

-- Point-in-time correctness rests on this: no fact is known before it happened.
select *
from {{ ref('timeline') }}
where known_us < occurred_us
