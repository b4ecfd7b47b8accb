-- All features that the view had when this was written, made from its compiled SQL, in the fastest form known for them:
-- a condition is evaluated once per fact and not once per pair of fact and observation, and three counts of 20 bits
-- share a BIGINT, so that one sum takes the place of three counts.
with facts_flagged as (
    select
        lead_id, known_us, fact_number, case when fact = 'project_proposed' then questions_so_far end as e0,
        case when fact = 'responded' and direction = 'outbound' and interaction_type
            in ('call', 'email', 'sms') then questions_so_far end as e1,
        case when fact = 'responded' and direction = 'outbound' and interaction_type
            in ('call', 'email', 'sms') then occurred_us - interaction_us end as e2,
        case when fact = 'project_proposed' then value end as e3,
        case when fact = 'project_closed' then value end as e4,
        case when fact = 'interaction' and direction in ('inbound', 'outbound') then known_us end as e5,
        case when fact = 'interaction' and direction = 'inbound' then known_us end as e6,
        case when fact = 'interaction' and direction = 'outbound' then known_us end as e7,
        case when fact = 'interaction' and interaction_type = 'call' then known_us end as e8,
        case when fact = 'interaction' and interaction_type = 'email' then known_us end as e9,
        case when fact = 'interaction' and interaction_type = 'note' then known_us end as e10,
        case when fact = 'responded' then known_us end as e11,
        case when fact = 'project_proposed' then known_us end as e12,
        case when fact = 'project_closed' then known_us end as e13,
        case when fact = 'appointment_booked' then known_us end as e14,
        case when fact = 'appointment_ended' then known_us end as e15,
        case when fact = 'interaction' and direction in ('inbound', 'outbound') then occurred_us end as e16,
        case when fact = 'interaction' then fact_number end as e17,
        cast(case when fact is not null then 1 else 0 end + case when fact = 'interaction' then 1048576
            else 0 end + case when fact = 'interaction' and interaction_type = 'call' then 1099511627776
            else 0 end as bigint) as p0,
        cast(case when fact = 'interaction' and interaction_type = 'email' then 1 else 0 end + case
            when fact = 'interaction' and interaction_type = 'sms' then 1048576 else 0 end + case
            when fact = 'interaction' and interaction_type = 'meeting' then 1099511627776 else 0 end as bigint) as p1,
        cast(case when fact = 'interaction' and interaction_type = 'web' then 1 else 0 end + case
            when fact = 'interaction' and interaction_type = 'proposal' then 1048576 else 0 end + case
            when fact = 'interaction' and interaction_type = 'note' then 1099511627776 else 0 end as bigint) as p2,
        cast(case when fact = 'interaction' and direction = 'inbound' then 1 else 0 end + case
            when fact = 'interaction' and direction = 'outbound' then 1048576 else 0 end + case
            when fact = 'interaction' and direction = 'internal' then 1099511627776 else 0 end as bigint) as p3,
        cast(case when fact = 'interaction' and direction = 'outbound' and interaction_type = 'call' then 1
            else 0 end + case when fact = 'interaction' and direction = 'inbound'
            and interaction_type = 'call' then 1048576 else 0 end + case when fact = 'interaction'
            and direction = 'outbound' and interaction_type = 'email' then 1099511627776 else 0 end as bigint) as p4,
        cast(case when fact = 'interaction' and direction = 'inbound' and interaction_type = 'email' then 1
            else 0 end as bigint) as p5,
        cast(case when fact = 'interaction' and direction = 'outbound' and interaction_type
            in ('call', 'email', 'sms') then 1 else 0 end + case when fact = 'responded'
            and direction = 'outbound' and interaction_type in ('call', 'email', 'sms') then 1048576 else 0 end
            + case when fact = 'opened' and direction = 'outbound'
            and interaction_type = 'email' then 1099511627776 else 0 end as bigint) as p6,
        cast(case when fact = 'appointment_booked' then 1 else 0 end + case
            when fact = 'appointment_ended' then 1048576 else 0 end + case when fact = 'appointment_ended'
            and outcome = 'completed' then 1099511627776 else 0 end as bigint) as p7,
        cast(case when fact = 'appointment_ended' and outcome = 'no_show' then 1 else 0 end + case
            when fact = 'appointment_ended' and outcome = 'rescheduled' then 1048576 else 0 end + case
            when fact = 'project_proposed' then 1099511627776 else 0 end as bigint) as p8,
        cast(case when fact = 'project_closed' then 1 else 0 end as bigint) as p9
    from intermediate.timeline
),

observed_facts as (
    select
        observations.lead_id, observations.as_of_us, facts.known_us, facts.fact_number, facts.e0, facts.e1, facts.e2,
        facts.e3, facts.e4, facts.e5, facts.e6, facts.e7, facts.e8, facts.e9, facts.e10, facts.e11, facts.e12,
        facts.e13, facts.e14, facts.e15, facts.e16, facts.e17, facts.p0, facts.p1, facts.p2, facts.p3, facts.p4,
        facts.p5, facts.p6, facts.p7, facts.p8, facts.p9
    from intermediate.observations as observations
    inner join facts_flagged as facts on observations.lead_id=facts.lead_id
        and facts.known_us < observations.as_of_us
),

sums as (
    select
        lead_id, as_of_us, max(e0) as questions_until_proposal, max(e1) as questions_until_response,
        cast( sum(e2) as bigint ) as response_delays_us,
        cast( coalesce(sum(e3), 0) - coalesce(sum(e4), 0) as decimal(18, 2) ) as open_proposals_value,
        max(known_us) as last_fact_us, max(e5) as last_contact_us, max(e6) as last_inbound_us,
        max(e7) as last_outbound_us, max(e8) as last_call_us, max(e9) as last_email_us, max(e10) as last_note_us,
        max(e11) as last_response_us, min(e12) as first_proposal_us, max(e12) as last_proposal_us,
        max(e13) as last_proposal_closed_us, max(e14) as last_booking_us, max(e15) as last_appointment_end_us,
        min(e16) as first_contact_us, max(e17) as last_interaction_number,
        cast(sum(case when known_us >= as_of_us - 604800000000 then p0 end) as bigint) as s0_7,
        cast(sum(case when known_us >= as_of_us - 2592000000000 then p0 end) as bigint) as s0_30,
        cast(sum(case when known_us >= as_of_us - 7776000000000 then p0 end) as bigint) as s0_90,
        cast(sum(p0) as bigint) as s0_l,
        cast(sum(case when known_us >= as_of_us - 604800000000 then p1 end) as bigint) as s1_7,
        cast(sum(case when known_us >= as_of_us - 2592000000000 then p1 end) as bigint) as s1_30,
        cast(sum(case when known_us >= as_of_us - 7776000000000 then p1 end) as bigint) as s1_90,
        cast(sum(p1) as bigint) as s1_l,
        cast(sum(case when known_us >= as_of_us - 604800000000 then p2 end) as bigint) as s2_7,
        cast(sum(case when known_us >= as_of_us - 2592000000000 then p2 end) as bigint) as s2_30,
        cast(sum(case when known_us >= as_of_us - 7776000000000 then p2 end) as bigint) as s2_90,
        cast(sum(p2) as bigint) as s2_l,
        cast(sum(case when known_us >= as_of_us - 604800000000 then p3 end) as bigint) as s3_7,
        cast(sum(case when known_us >= as_of_us - 2592000000000 then p3 end) as bigint) as s3_30,
        cast(sum(case when known_us >= as_of_us - 7776000000000 then p3 end) as bigint) as s3_90,
        cast(sum(p3) as bigint) as s3_l,
        cast(sum(case when known_us >= as_of_us - 604800000000 then p4 end) as bigint) as s4_7,
        cast(sum(case when known_us >= as_of_us - 2592000000000 then p4 end) as bigint) as s4_30,
        cast(sum(case when known_us >= as_of_us - 7776000000000 then p4 end) as bigint) as s4_90,
        cast(sum(p4) as bigint) as s4_l,
        cast(sum(case when known_us >= as_of_us - 604800000000 then p5 end) as bigint) as s5_7,
        cast(sum(case when known_us >= as_of_us - 2592000000000 then p5 end) as bigint) as s5_30,
        cast(sum(case when known_us >= as_of_us - 7776000000000 then p5 end) as bigint) as s5_90,
        cast(sum(p5) as bigint) as s5_l, cast(sum(p6) as bigint) as s6_l, cast(sum(p7) as bigint) as s7_l,
        cast(sum(p8) as bigint) as s8_l, cast(sum(p9) as bigint) as s9_l
    from observed_facts
    group by lead_id, as_of_us
),

aggregated as (
    select
        lead_id, as_of_us, questions_until_proposal, questions_until_response, response_delays_us,
        open_proposals_value, last_fact_us, last_contact_us, last_inbound_us, last_outbound_us, last_call_us,
        last_email_us, last_note_us, last_response_us, first_proposal_us, last_proposal_us, last_proposal_closed_us,
        last_booking_us, last_appointment_end_us, first_contact_us, last_interaction_number,
        coalesce((s0_7 >> 0) & 1048575, 0) as facts_count_7d,
        coalesce((s0_7 >> 20) & 1048575, 0) as interactions_count_7d,
        coalesce((s0_7 >> 40) & 1048575, 0) as calls_count_7d, coalesce((s1_7 >> 0) & 1048575, 0) as emails_count_7d,
        coalesce((s1_7 >> 20) & 1048575, 0) as sms_count_7d, coalesce((s1_7 >> 40) & 1048575, 0) as meetings_count_7d,
        coalesce((s2_7 >> 0) & 1048575, 0) as web_visits_count_7d,
        coalesce((s2_7 >> 20) & 1048575, 0) as proposal_messages_count_7d,
        coalesce((s2_7 >> 40) & 1048575, 0) as notes_count_7d, coalesce((s3_7 >> 0) & 1048575, 0) as inbound_count_7d,
        coalesce((s3_7 >> 20) & 1048575, 0) as outbound_count_7d,
        coalesce((s3_7 >> 40) & 1048575, 0) as internal_count_7d,
        coalesce((s4_7 >> 0) & 1048575, 0) as outbound_calls_count_7d,
        coalesce((s4_7 >> 20) & 1048575, 0) as inbound_calls_count_7d,
        coalesce((s4_7 >> 40) & 1048575, 0) as outbound_emails_count_7d,
        coalesce((s5_7 >> 0) & 1048575, 0) as inbound_emails_count_7d,
        coalesce((s0_30 >> 0) & 1048575, 0) as facts_count_30d,
        coalesce((s0_30 >> 20) & 1048575, 0) as interactions_count_30d,
        coalesce((s0_30 >> 40) & 1048575, 0) as calls_count_30d,
        coalesce((s1_30 >> 0) & 1048575, 0) as emails_count_30d,
        coalesce((s1_30 >> 20) & 1048575, 0) as sms_count_30d,
        coalesce((s1_30 >> 40) & 1048575, 0) as meetings_count_30d,
        coalesce((s2_30 >> 0) & 1048575, 0) as web_visits_count_30d,
        coalesce((s2_30 >> 20) & 1048575, 0) as proposal_messages_count_30d,
        coalesce((s2_30 >> 40) & 1048575, 0) as notes_count_30d,
        coalesce((s3_30 >> 0) & 1048575, 0) as inbound_count_30d,
        coalesce((s3_30 >> 20) & 1048575, 0) as outbound_count_30d,
        coalesce((s3_30 >> 40) & 1048575, 0) as internal_count_30d,
        coalesce((s4_30 >> 0) & 1048575, 0) as outbound_calls_count_30d,
        coalesce((s4_30 >> 20) & 1048575, 0) as inbound_calls_count_30d,
        coalesce((s4_30 >> 40) & 1048575, 0) as outbound_emails_count_30d,
        coalesce((s5_30 >> 0) & 1048575, 0) as inbound_emails_count_30d,
        coalesce((s0_90 >> 0) & 1048575, 0) as facts_count_90d,
        coalesce((s0_90 >> 20) & 1048575, 0) as interactions_count_90d,
        coalesce((s0_90 >> 40) & 1048575, 0) as calls_count_90d,
        coalesce((s1_90 >> 0) & 1048575, 0) as emails_count_90d,
        coalesce((s1_90 >> 20) & 1048575, 0) as sms_count_90d,
        coalesce((s1_90 >> 40) & 1048575, 0) as meetings_count_90d,
        coalesce((s2_90 >> 0) & 1048575, 0) as web_visits_count_90d,
        coalesce((s2_90 >> 20) & 1048575, 0) as proposal_messages_count_90d,
        coalesce((s2_90 >> 40) & 1048575, 0) as notes_count_90d,
        coalesce((s3_90 >> 0) & 1048575, 0) as inbound_count_90d,
        coalesce((s3_90 >> 20) & 1048575, 0) as outbound_count_90d,
        coalesce((s3_90 >> 40) & 1048575, 0) as internal_count_90d,
        coalesce((s4_90 >> 0) & 1048575, 0) as outbound_calls_count_90d,
        coalesce((s4_90 >> 20) & 1048575, 0) as inbound_calls_count_90d,
        coalesce((s4_90 >> 40) & 1048575, 0) as outbound_emails_count_90d,
        coalesce((s5_90 >> 0) & 1048575, 0) as inbound_emails_count_90d,
        coalesce((s0_l >> 0) & 1048575, 0) as facts_count_lifetime,
        coalesce((s0_l >> 20) & 1048575, 0) as interactions_count_lifetime,
        coalesce((s0_l >> 40) & 1048575, 0) as calls_count_lifetime,
        coalesce((s1_l >> 0) & 1048575, 0) as emails_count_lifetime,
        coalesce((s1_l >> 20) & 1048575, 0) as sms_count_lifetime,
        coalesce((s1_l >> 40) & 1048575, 0) as meetings_count_lifetime,
        coalesce((s2_l >> 0) & 1048575, 0) as web_visits_count_lifetime,
        coalesce((s2_l >> 20) & 1048575, 0) as proposal_messages_count_lifetime,
        coalesce((s2_l >> 40) & 1048575, 0) as notes_count_lifetime,
        coalesce((s3_l >> 0) & 1048575, 0) as inbound_count_lifetime,
        coalesce((s3_l >> 20) & 1048575, 0) as outbound_count_lifetime,
        coalesce((s3_l >> 40) & 1048575, 0) as internal_count_lifetime,
        coalesce((s4_l >> 0) & 1048575, 0) as outbound_calls_count_lifetime,
        coalesce((s4_l >> 20) & 1048575, 0) as inbound_calls_count_lifetime,
        coalesce((s4_l >> 40) & 1048575, 0) as outbound_emails_count_lifetime,
        coalesce((s5_l >> 0) & 1048575, 0) as inbound_emails_count_lifetime,
        coalesce((s6_l >> 0) & 1048575, 0) as questions_asked,
        coalesce((s6_l >> 20) & 1048575, 0) as questions_answered,
        coalesce((s6_l >> 40) & 1048575, 0) as emails_opened,
        coalesce((s7_l >> 0) & 1048575, 0) as appointments_booked_lifetime,
        coalesce((s7_l >> 20) & 1048575, 0) as appointments_ended,
        coalesce((s7_l >> 40) & 1048575, 0) as appointments_kept,
        coalesce((s8_l >> 0) & 1048575, 0) as appointments_missed,
        coalesce((s8_l >> 20) & 1048575, 0) as reschedules_count_lifetime,
        coalesce((s8_l >> 40) & 1048575, 0) as proposals_count_lifetime,
        coalesce((s9_l >> 0) & 1048575, 0) as proposals_closed
    from sums
),

named as (
    select
        observations.lead_id, observations.as_of, observations.observation_kind, observations.lead_created_at,
        aggregated.facts_count_7d, aggregated.interactions_count_7d, aggregated.calls_count_7d,
        aggregated.emails_count_7d, aggregated.sms_count_7d, aggregated.meetings_count_7d,
        aggregated.web_visits_count_7d, aggregated.proposal_messages_count_7d, aggregated.notes_count_7d,
        aggregated.inbound_count_7d, aggregated.outbound_count_7d, aggregated.internal_count_7d,
        aggregated.outbound_calls_count_7d, aggregated.inbound_calls_count_7d, aggregated.outbound_emails_count_7d,
        aggregated.inbound_emails_count_7d, aggregated.facts_count_30d, aggregated.interactions_count_30d,
        aggregated.calls_count_30d, aggregated.emails_count_30d, aggregated.sms_count_30d,
        aggregated.meetings_count_30d, aggregated.web_visits_count_30d, aggregated.proposal_messages_count_30d,
        aggregated.notes_count_30d, aggregated.inbound_count_30d, aggregated.outbound_count_30d,
        aggregated.internal_count_30d, aggregated.outbound_calls_count_30d, aggregated.inbound_calls_count_30d,
        aggregated.outbound_emails_count_30d, aggregated.inbound_emails_count_30d, aggregated.facts_count_90d,
        aggregated.interactions_count_90d, aggregated.calls_count_90d, aggregated.emails_count_90d,
        aggregated.sms_count_90d, aggregated.meetings_count_90d, aggregated.web_visits_count_90d,
        aggregated.proposal_messages_count_90d, aggregated.notes_count_90d, aggregated.inbound_count_90d,
        aggregated.outbound_count_90d, aggregated.internal_count_90d, aggregated.outbound_calls_count_90d,
        aggregated.inbound_calls_count_90d, aggregated.outbound_emails_count_90d, aggregated.inbound_emails_count_90d,
        aggregated.facts_count_lifetime, aggregated.interactions_count_lifetime, aggregated.calls_count_lifetime,
        aggregated.emails_count_lifetime, aggregated.sms_count_lifetime, aggregated.meetings_count_lifetime,
        aggregated.web_visits_count_lifetime, aggregated.proposal_messages_count_lifetime,
        aggregated.notes_count_lifetime, aggregated.inbound_count_lifetime, aggregated.outbound_count_lifetime,
        aggregated.internal_count_lifetime, aggregated.outbound_calls_count_lifetime,
        aggregated.inbound_calls_count_lifetime, aggregated.outbound_emails_count_lifetime,
        aggregated.inbound_emails_count_lifetime,
        (cast(observations.as_of_us - leads.known_us as double precision) / 86400000000) as lead_age_days,
        (cast(observations.as_of_us - aggregated.last_fact_us as double precision) / 86400000000)
            as days_since_last_fact,
        (cast(observations.as_of_us - aggregated.last_contact_us as double precision) / 86400000000)
            as days_since_last_contact,
        (cast(observations.as_of_us - aggregated.last_inbound_us as double precision) / 86400000000)
            as days_since_last_inbound,
        (cast(observations.as_of_us - aggregated.last_outbound_us as double precision) / 86400000000)
            as days_since_last_outbound,
        (cast(observations.as_of_us - aggregated.last_call_us as double precision) / 86400000000)
            as days_since_last_call,
        (cast(observations.as_of_us - aggregated.last_email_us as double precision) / 86400000000)
            as days_since_last_email,
        (cast(observations.as_of_us - aggregated.last_note_us as double precision) / 86400000000)
            as days_since_last_note,
        (cast(observations.as_of_us - aggregated.last_response_us as double precision) / 86400000000)
            as days_since_last_response,
        (cast(observations.as_of_us - aggregated.first_proposal_us as double precision) / 86400000000)
            as days_since_first_proposal,
        (cast(observations.as_of_us - aggregated.last_proposal_us as double precision) / 86400000000)
            as days_since_last_proposal,
        (cast(observations.as_of_us - aggregated.last_proposal_closed_us as double precision) / 86400000000)
            as days_since_last_proposal_closed,
        (cast(observations.as_of_us - aggregated.last_booking_us as double precision) / 86400000000)
            as days_since_last_booking,
        (cast(observations.as_of_us - aggregated.last_appointment_end_us as double precision) / 86400000000)
            as days_since_last_appointment_end,
        (cast(aggregated.questions_answered as double precision) / nullif(aggregated.questions_asked, 0))
            as response_rate,
        aggregated.questions_asked - aggregated.questions_until_proposal as questions_count_since_last_proposal,
        aggregated.questions_asked - coalesce(aggregated.questions_until_response, 0)
            as questions_count_since_last_response,
        (cast(aggregated.outbound_calls_count_lifetime as double precision)
            / nullif((aggregated.outbound_calls_count_lifetime
            + aggregated.outbound_emails_count_lifetime), 0)) as outbound_call_share_lifetime,
        (cast(aggregated.response_delays_us as double precision) / nullif(aggregated.questions_answered, 0))
            / 3600000000 as avg_response_hours,
        (cast(aggregated.emails_opened as double precision)
            / nullif(aggregated.outbound_emails_count_lifetime, 0)) as email_open_rate,
        (cast(aggregated.appointments_kept as double precision) / nullif((aggregated.appointments_kept
            + aggregated.appointments_missed), 0)) as appointment_show_rate,
        aggregated.appointments_booked_lifetime, aggregated.reschedules_count_lifetime,
        aggregated.appointments_booked_lifetime - aggregated.appointments_ended as open_appointments_count,
        aggregated.proposals_count_lifetime,
        aggregated.proposals_count_lifetime - aggregated.proposals_closed as open_proposals_count,
        aggregated.open_proposals_value,
        cast( (mod(aggregated.first_contact_us, 86400000000) - mod(aggregated.first_contact_us, 3600000000))
            / 3600000000 as bigint ) as hour_of_first_contact,
        cast(mod((observations.as_of_us - mod(observations.as_of_us, 86400000000)) / 86400000000 + 3, 7)
            as bigint) as as_of_weekday,
        cast(mod((observations.as_of_us - mod(observations.as_of_us, 86400000000)) / 86400000000 + 3, 7) >= 5
            as boolean) as is_weekend,
        last_interactions.interaction_type as last_interaction_type,
        last_interactions.direction as last_interaction_direction,
        case when last_interactions.fact is not null then coalesce(last_interactions.outcome, 'unknown') end
            as last_interaction_outcome, leads.lead_source, leads.property_value,
        case when leads.property_value is null then 'unknown'
            when leads.property_value >= 1000000 then 'from_1000000'
            when leads.property_value >= 250000 then 'from_250000'
            when leads.property_value >= 50000 then 'from_50000'
            when leads.property_value >= 10000 then 'from_10000' else 'below_10000' end as property_value_tier,
        coalesce(substr(leads.zip_code, 1, 2), 'unknown') as zip_prefix
    from intermediate.observations as observations
    inner join staging.stg_leads as leads on observations.lead_id = leads.lead_id
    inner join aggregated on observations.lead_id = aggregated.lead_id
        and observations.as_of_us = aggregated.as_of_us
    left join intermediate.timeline as last_interactions on aggregated.lead_id = last_interactions.lead_id
        and aggregated.last_interaction_number = last_interactions.fact_number
),

scored as (
    select
        *,
        least( cast(3 * interactions_count_lifetime as double precision) / 10
            + 20 * coalesce(email_open_rate, 0) + 30 * coalesce(response_rate, 0)
            + 20 * coalesce(appointment_show_rate, 0), 100 ) as engagement_score,
        case when days_since_last_contact > 1000 then 0 else 100 * exp(-days_since_last_contact / 7) end
            as urgency_score
    from named
)

select * from scored
