{{ config(meta={'dagster': {'ref': {'name': 'lead_scores'}}}) }}

-- The probabilities of the actions of a scored lead are a distribution.
with totals as (
    select
        lead_id,
        probability_call_immediate + probability_email_nurture + probability_schedule_appointment
        + probability_send_proposal + probability_no_action as total
    from {{ ref('lead_scores') }}
)

select *
from totals
where abs(total - 1) > 0.000001
