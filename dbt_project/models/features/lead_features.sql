{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook="{{ forget(is_due(epoch_us('as_of'), 'observation_kind', features=true)) }}"
    )
}}

{%- set interaction_types = [
    ('calls', 'call'), ('emails', 'email'), ('sms', 'sms'), ('meetings', 'meeting'),
    ('web_visits', 'web'), ('proposal_messages', 'proposal'), ('notes', 'note'),
] -%}
{%- set directions = ['inbound', 'outbound', 'internal'] -%}
{%- set directed_types = [
    ('outbound_calls', 'outbound', 'call'), ('inbound_calls', 'inbound', 'call'),
    ('outbound_emails', 'outbound', 'email'), ('inbound_emails', 'inbound', 'email'),
] -%}
{%- set trends = ['interactions', 'inbound', 'outbound'] -%}
{%- set contact = is_contact() -%}
{%- set question = is_question() -%}
{%- set answer = "fact = 'responded' and " ~ question -%}

with observed_facts as (

    select
        observations.lead_id,
        observations.as_of_us,
        facts.fact,
        facts.fact_number,
        facts.interaction_type,
        facts.direction,
        facts.outcome,
        facts.value,
        facts.questions_so_far,
        facts.interaction_us,
        facts.closed_us,
        facts.previous_contact_us,
        facts.occurred_us,
        facts.known_us
    from {{ ref('observations_due') }} as observations
    inner join {{ ref('timeline') }} as facts
        on observations.lead_id = facts.lead_id
        -- point-in-time: what became known at as_of or later does not exist
            and facts.known_us < observations.as_of_us

),

aggregated as (

    select
        lead_id,
        as_of_us,
        {%- for suffix, days in windows() %}
        {{ count_facts("1 = 1", days) }} as facts_count_{{ suffix }},
        {{ count_facts("fact = 'interaction'", days) }} as interactions_count_{{ suffix }},
        {%- for name, type in interaction_types %}
        {{ count_facts("fact = 'interaction' and interaction_type = '" ~ type ~ "'", days) }} as {{ name }}_count_{{ suffix }},
        {%- endfor %}
        {%- for direction in directions %}
        {{ count_facts("fact = 'interaction' and direction = '" ~ direction ~ "'", days) }} as {{ direction }}_count_{{ suffix }},
        {%- endfor %}
        {%- for name, direction, type in directed_types %}
        {{ count_facts(
            "fact = 'interaction' and direction = '" ~ direction ~ "' and interaction_type = '" ~ type ~ "'", days
        ) }} as {{ name }}_count_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        {{ count_facts("fact = 'interaction' and " ~ question) }} as questions_asked,
        {{ count_facts(answer) }} as questions_answered,
        {{ count_facts(answer ~ " and " ~ hour_of_day('occurred_us') ~ " between 6 and 11") }} as answers_in_the_morning,
        {{ count_facts(answer ~ " and " ~ hour_of_day('occurred_us') ~ " between 18 and 23") }} as answers_in_the_evening,
        {{ count_facts(answer ~ " and " ~ weekday('occurred_us') ~ " >= 5") }} as answers_at_weekends,
        -- the largest is that of the last fact of its kind, because the count never falls
        max(case when fact = 'project_proposed' then questions_so_far end) as questions_until_proposal,
        max(case when {{ answer }} then questions_so_far end) as questions_until_response,
        cast(
            sum(case when {{ answer }} then occurred_us - interaction_us end) as bigint
        ) as response_delays_us,
        {{ count_facts("fact = 'opened' and direction = 'outbound' and interaction_type = 'email'") }} as emails_opened,
        {{ count_facts("fact = 'appointment_booked'") }} as appointments_booked_lifetime,
        {{ count_facts("fact = 'appointment_ended'") }} as appointments_ended,
        {{ count_facts("fact = 'appointment_ended' and outcome = 'completed'") }} as appointments_kept,
        {{ count_facts("fact = 'appointment_ended' and outcome = 'no_show'") }} as appointments_missed,
        {{ count_facts("fact = 'appointment_ended' and outcome = 'rescheduled'") }} as reschedules_count_lifetime,
        {{ count_facts("fact = 'project_proposed'") }} as proposals_count_lifetime,
        {{ count_facts("fact = 'project_closed'") }} as proposals_closed,
        cast(
            coalesce(sum(case when fact = 'project_proposed' then value end), 0)
            - coalesce(sum(case when fact = 'project_closed' then value end), 0) as decimal(18, 2)
        ) as open_proposals_value,
        max(known_us) as last_fact_us,
        max(case when {{ contact }} then known_us end) as last_contact_us,
        max(case when fact = 'interaction' and direction = 'inbound' then known_us end) as last_inbound_us,
        max(case when fact = 'interaction' and direction = 'outbound' then known_us end) as last_outbound_us,
        max(case when fact = 'interaction' and interaction_type = 'call' then known_us end) as last_call_us,
        max(case when fact = 'interaction' and interaction_type = 'email' then known_us end) as last_email_us,
        max(case when fact = 'interaction' and interaction_type = 'note' then known_us end) as last_note_us,
        max(case when fact = 'responded' then known_us end) as last_response_us,
        max(case when {{ answer }} then occurred_us end) as last_answer_us,
        min(case when fact = 'project_proposed' then known_us end) as first_proposal_us,
        min(
            case when fact = 'project_proposed' and (closed_us is null or closed_us >= as_of_us) then known_us end
        ) as oldest_open_proposal_us,
        max(case when fact = 'project_proposed' then known_us end) as last_proposal_us,
        max(case when fact = 'project_closed' then known_us end) as last_proposal_closed_us,
        max(case when fact = 'appointment_booked' then known_us end) as last_booking_us,
        max(case when fact = 'appointment_ended' then known_us end) as last_appointment_end_us,
        min(case when {{ contact }} then occurred_us end) as first_contact_us,
        min(case when fact = 'interaction' and direction = 'outbound' then occurred_us end) as first_outbound_us,
        max(known_us - previous_contact_us) as longest_contact_gap_us,
        -- the contact before the second one is the first, and that before the last the last but one
        min(previous_contact_us) as first_contact_known_us,
        max(previous_contact_us) as last_contact_but_one_us,
        max(case when fact = 'interaction' then fact_number end) as last_interaction_number
    from observed_facts
    group by lead_id, as_of_us

),

named as (

    select
        observations.lead_id,
        observations.as_of,
        observations.observation_kind,
        observations.lead_created_at,
        {%- for suffix, days in windows() %}
        aggregated.facts_count_{{ suffix }},
        aggregated.interactions_count_{{ suffix }},
        {%- for name, type in interaction_types %}
        aggregated.{{ name }}_count_{{ suffix }},
        {%- endfor %}
        {%- for direction in directions %}
        aggregated.{{ direction }}_count_{{ suffix }},
        {%- endfor %}
        {%- for name, direction, type in directed_types %}
        aggregated.{{ name }}_count_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        {%- for name in trends %}
        cast(aggregated.{{ name }}_count_7d as double precision) / 7
        - cast(aggregated.{{ name }}_count_30d - aggregated.{{ name }}_count_7d as double precision) / 23 as {{ name }}_trend_30d,
        {%- endfor %}
        {{ days_between('leads.known_us', 'observations.as_of_us') }} as lead_age_days,
        {{ days_between('aggregated.last_fact_us', 'observations.as_of_us') }} as days_since_last_fact,
        {{ days_between('aggregated.last_contact_us', 'observations.as_of_us') }} as days_since_last_contact,
        {{ days_between('aggregated.last_inbound_us', 'observations.as_of_us') }} as days_since_last_inbound,
        {{ days_between('aggregated.last_outbound_us', 'observations.as_of_us') }} as days_since_last_outbound,
        {{ days_between('aggregated.last_call_us', 'observations.as_of_us') }} as days_since_last_call,
        {{ days_between('aggregated.last_email_us', 'observations.as_of_us') }} as days_since_last_email,
        {{ days_between('aggregated.last_note_us', 'observations.as_of_us') }} as days_since_last_note,
        {{ days_between('aggregated.last_response_us', 'observations.as_of_us') }} as days_since_last_response,
        {{ days_between('aggregated.first_proposal_us', 'observations.as_of_us') }} as days_since_first_proposal,
        {{ days_between('aggregated.oldest_open_proposal_us', 'observations.as_of_us') }} as days_since_oldest_open_proposal,
        {{ days_between('aggregated.last_proposal_us', 'observations.as_of_us') }} as days_since_last_proposal,
        {{ days_between('aggregated.last_proposal_closed_us', 'observations.as_of_us') }} as days_since_last_proposal_closed,
        {{ days_between('aggregated.last_booking_us', 'observations.as_of_us') }} as days_since_last_booking,
        {{ days_between('aggregated.last_appointment_end_us', 'observations.as_of_us') }} as days_since_last_appointment_end,
        {{ days_between('0', 'aggregated.longest_contact_gap_us') }} as longest_contact_gap_days,
        {{ share(
            '(aggregated.last_contact_us - aggregated.first_contact_known_us)',
            '(aggregated.inbound_count_lifetime + aggregated.outbound_count_lifetime - 1)'
        ) }} / {{ day_us() }} as avg_contact_gap_days,
        {{ days_between('aggregated.last_contact_but_one_us', 'aggregated.last_contact_us') }} as last_contact_gap_days,
        cast({{ delay_us('leads.known_us', 'aggregated.first_outbound_us') }} as double precision)
        / {{ hour_us() }} as first_outbound_hours,
        {{ share('aggregated.questions_answered', 'aggregated.questions_asked') }} as response_rate,
        aggregated.questions_asked - aggregated.questions_until_proposal as questions_count_since_last_proposal,
        aggregated.questions_asked - coalesce(aggregated.questions_until_response, 0) as questions_count_since_last_response,
        {{ share(
            'aggregated.outbound_calls_count_lifetime',
            '(aggregated.outbound_calls_count_lifetime + aggregated.outbound_emails_count_lifetime)'
        ) }} as outbound_call_share_lifetime,
        {{ share('aggregated.response_delays_us', 'aggregated.questions_answered') }} / {{ hour_us() }} as avg_response_hours,
        {{ share('aggregated.answers_in_the_morning', 'aggregated.questions_answered') }} as morning_response_share_lifetime,
        {{ share('aggregated.answers_in_the_evening', 'aggregated.questions_answered') }} as evening_response_share_lifetime,
        {{ share('aggregated.answers_at_weekends', 'aggregated.questions_answered') }} as weekend_response_share_lifetime,
        {{ hour_of_day('aggregated.last_answer_us') }} as hour_of_last_response,
        cast({{ weekday('aggregated.last_answer_us') }} as bigint) as weekday_of_last_response,
        {{ share('aggregated.emails_opened', 'aggregated.outbound_emails_count_lifetime') }} as email_open_rate,
        {{ share(
            'aggregated.appointments_kept', '(aggregated.appointments_kept + aggregated.appointments_missed)'
        ) }} as appointment_show_rate,
        aggregated.appointments_booked_lifetime,
        aggregated.reschedules_count_lifetime,
        aggregated.appointments_booked_lifetime - aggregated.appointments_ended as open_appointments_count,
        aggregated.proposals_count_lifetime,
        aggregated.proposals_count_lifetime - aggregated.proposals_closed as open_proposals_count,
        aggregated.open_proposals_value,
        {{ hour_of_day('aggregated.first_contact_us') }} as hour_of_first_contact,
        cast({{ weekday('observations.as_of_us') }} as bigint) as as_of_weekday,
        cast({{ weekday('observations.as_of_us') }} >= 5 as boolean) as is_weekend,
        last_interactions.interaction_type as last_interaction_type,
        last_interactions.direction as last_interaction_direction,
        -- null says that there was no interaction, and nothing else
        case
            when aggregated.last_interaction_number is not null then coalesce(last_interactions.outcome, 'unknown')
        end as last_interaction_outcome,
        track_records.rep_closed_leads_count_lifetime,
        track_records.rep_win_rate_lifetime,
        track_records.rep_first_outbound_hours_lifetime,
        track_records.source_closed_leads_count_lifetime,
        track_records.source_win_rate_lifetime,
        track_records.source_first_outbound_hours_lifetime,
        -- the history of overwritten columns: what the CRM showed at as_of
        history.lead_status as status_as_of,
        {{ days_between('history.lead_status_us', 'observations.as_of_us') }} as days_since_last_status_change,
        history.lead_status_changes_count as status_changes_count_lifetime,
        {{ days_between('history.lead_owner_us', 'observations.as_of_us') }} as days_since_last_owner_change,
        history.lead_owner_changes_count as owner_changes_count_lifetime,
        history.property_value_rises_count as property_value_rises_count_lifetime,
        history.property_value_cuts_count as property_value_cuts_count_lifetime,
        case
            when history.property_value = 0 and history.first_property_value = 0 then 0
            else cast(history.property_value - history.first_property_value as double precision)
                / cast(greatest(history.property_value, history.first_property_value) as double precision)
        end as property_value_change_rate,
        leads.lead_source,
        history.property_value,
        case
            when history.property_value is null then 'unknown'
            {%- for bound in var('property_value_tier_bounds') | sort(reverse=true) %}
            when history.property_value >= {{ bound }} then 'from_{{ bound }}'
            {%- endfor %}
            else 'below_{{ var('property_value_tier_bounds') | min }}'
        end as property_value_tier,
        coalesce(substr(history.zip_code, 1, 2), 'unknown') as zip_prefix
    from {{ ref('observations_due') }} as observations
    inner join {{ ref('stg_leads') }} as leads on observations.lead_id = leads.lead_id
    inner join aggregated
        on observations.lead_id = aggregated.lead_id
            and observations.as_of_us = aggregated.as_of_us
    left join {{ ref('lead_history') }} as history
        on observations.lead_id = history.lead_id
            and history.known_us < observations.as_of_us
            and (history.until_us is null or history.until_us >= observations.as_of_us)
    left join {{ ref('track_records') }} as track_records
        on observations.lead_id = track_records.lead_id
            and observations.as_of_us = track_records.as_of_us
    left join {{ ref('timeline') }} as last_interactions
        on aggregated.lead_id = last_interactions.lead_id
            and aggregated.last_interaction_number = last_interactions.fact_number

),

scored as (

    select
        *,
        -- no term is below 0, so that only the upper bound needs to be held
        least(
            cast(3 * interactions_count_lifetime as double precision) / 10
            + 20 * coalesce(email_open_rate, 0)
            + 30 * coalesce(response_rate, 0)
            + 20 * coalesce(appointment_show_rate, 0),
            100
        ) as engagement_score,
        -- PostgreSQL refuses an exp() too small for a double, and what lies so long ago is 0 to any reader
        case
            when days_since_last_contact > 1000 then 0
            else 100 * exp(-days_since_last_contact / 7)
        end as urgency_score
    from named

)

select * from scored
