{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ forget(is_due('lead_features', epoch_us('lead_features.as_of'), features=true)) }}",
            "{{ attribute_columns('leads', 'projects') }}"
        ]
    )
}}

{%- set interaction = "fact = 'interaction'" -%}
{%- set contact = is_contact() -%}
{%- set question = interaction ~ " and " ~ is_question() -%}
{%- set answer = "fact = 'responded' and " ~ is_question() -%}
{%- set inbound = interaction ~ " and direction = 'inbound'" -%}
{%- set outbound = interaction ~ " and direction = 'outbound'" -%}

{#- Counts by window, each with the condition of the facts that it counts. -#}
{%- set counted_in_windows = {
    'facts': "1 = 1",
    'interactions': interaction,
    'calls': interaction ~ " and interaction_type = 'call'",
    'emails': interaction ~ " and interaction_type = 'email'",
    'sms': interaction ~ " and interaction_type = 'sms'",
    'meetings': interaction ~ " and interaction_type = 'meeting'",
    'web_visits': interaction ~ " and interaction_type = 'web'",
    'proposal_messages': interaction ~ " and interaction_type = 'proposal'",
    'notes': interaction ~ " and interaction_type = 'note'",
    'inbound': inbound,
    'outbound': outbound,
    'internal': interaction ~ " and direction = 'internal'",
    'outbound_calls': outbound ~ " and interaction_type = 'call'",
    'inbound_calls': inbound ~ " and interaction_type = 'call'",
    'outbound_emails': outbound ~ " and interaction_type = 'email'",
    'inbound_emails': inbound ~ " and interaction_type = 'email'",
} -%}

{#- Counts over all history only. -#}
{%- set counted_ever = {
    'questions_asked': question,
    'questions_answered': answer,
    'answers_in_the_morning': answer ~ " and " ~ hour_of_day('occurred_us') ~ " between 6 and 11",
    'answers_in_the_evening': answer ~ " and " ~ hour_of_day('occurred_us') ~ " between 18 and 23",
    'answers_at_weekends': answer ~ " and " ~ weekday('occurred_us') ~ " >= 5",
    'emails_opened': "fact = 'opened' and direction = 'outbound' and interaction_type = 'email'",
    'appointments_booked_lifetime': "fact = 'appointment_booked'",
    'appointments_ended': "fact = 'appointment_ended'",
    'appointments_kept': "fact = 'appointment_ended' and outcome = 'completed'",
    'appointments_missed': "fact = 'appointment_ended' and outcome = 'no_show'",
    'reschedules_count_lifetime': "fact = 'appointment_ended' and outcome = 'rescheduled'",
    'proposals_count_lifetime': "fact = 'project_proposed'",
    'proposals_closed': "fact = 'project_closed'",
} -%}
{%- set trends = ['interactions', 'inbound', 'outbound'] -%}
{%- set of_deals = [
    'deal_stage_as_of', 'days_since_last_deal_stage_change', 'days_since_last_deal_stage_change_vs_won',
    'deal_age_days_vs_won',
    'deal_steps_forward_count_lifetime', 'deal_steps_forward_count_vs_won',
    'deal_steps_back_count_lifetime', 'deal_steps_back_count_vs_won',
    'deal_expected_close_days',
    'deal_close_pushes_count_lifetime', 'deal_close_pushes_count_vs_won',
    'deal_close_pushed_days', 'deal_close_pushed_days_vs_won',
    'deal_value_vs_won',
    'deal_value_rises_count_lifetime', 'deal_value_cuts_count_lifetime',
    'deal_value_change_rate', 'deal_value_change_rate_vs_won',
] -%}

{#- Called outside of the conditions, so that dbt sees the dependencies whatever attributes there are. -#}
{%- set lead_attributes, project_attributes = ref('lead_attributes'), ref('project_attributes') -%}

-- Conditions are evaluated once per fact here, and not once for each observation of the fact.
with facts as (

    select
        lead_id,
        fact_number,
        known_us,
        closed_us,
        previous_contact_us,
        known_us - previous_contact_us as contact_gap_us,
        {%- for pair in counted_in_windows.values() | batch(2) %}
        {{ pack(pair) }} as in_windows_{{ loop.index }},
        {%- endfor %}
        {%- for pair in counted_ever.values() | batch(2) %}
        {{ pack(pair) }} as ever_{{ loop.index }},
        {%- endfor %}
        case when fact = 'project_proposed' then questions_so_far end as questions_at_proposal,
        case when {{ answer }} then questions_so_far end as questions_at_response,
        case when {{ answer }} then occurred_us - interaction_us end as response_delay_us,
        case when {{ contact }} then known_us end as contact_us,
        case when {{ inbound }} then known_us end as inbound_us,
        case when {{ outbound }} then known_us end as outbound_us,
        case when {{ interaction }} and interaction_type = 'call' then known_us end as call_us,
        case when {{ interaction }} and interaction_type = 'email' then known_us end as email_us,
        case when {{ interaction }} and interaction_type = 'note' then known_us end as note_us,
        case when fact = 'responded' then known_us end as response_us,
        case when fact = 'project_proposed' then known_us end as proposal_us,
        case when fact = 'project_closed' then known_us end as proposal_closed_us,
        case when fact = 'appointment_booked' then known_us end as booking_us,
        case when fact = 'appointment_ended' then known_us end as appointment_end_us,
        case when {{ answer }} then occurred_us end as answer_occurred_us,
        case when {{ contact }} then occurred_us end as contact_occurred_us,
        case when {{ outbound }} then occurred_us end as outbound_occurred_us,
        case when {{ interaction }} then fact_number end as interaction_number
    from {{ ref('timeline') }}

),

aggregated as (

    select
        observations.lead_id,
        observations.as_of_us,
        {%- for suffix, days in windows() %}
        {%- for _ in counted_in_windows | batch(2) %}
        {{ sum_in_window('facts.in_windows_' ~ loop.index, days) }} as in_windows_{{ loop.index }}_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        {%- for _ in counted_ever | batch(2) %}
        {{ sum_in_window('facts.ever_' ~ loop.index) }} as ever_{{ loop.index }},
        {%- endfor %}
        -- the largest count is that of the last fact of its kind, because counts never fall
        max(facts.questions_at_proposal) as questions_until_proposal,
        max(facts.questions_at_response) as questions_until_response,
        cast(sum(facts.response_delay_us) as bigint) as response_delays_us,
        max(facts.known_us) as last_fact_us,
        max(facts.contact_us) as last_contact_us,
        max(facts.inbound_us) as last_inbound_us,
        max(facts.outbound_us) as last_outbound_us,
        max(facts.call_us) as last_call_us,
        max(facts.email_us) as last_email_us,
        max(facts.note_us) as last_note_us,
        max(facts.response_us) as last_response_us,
        max(facts.answer_occurred_us) as last_answer_us,
        min(facts.proposal_us) as first_proposal_us,
        min(
            case when facts.closed_us is null or facts.closed_us >= observations.as_of_us then facts.proposal_us end
        ) as oldest_open_proposal_us,
        max(facts.proposal_us) as last_proposal_us,
        max(facts.proposal_closed_us) as last_proposal_closed_us,
        max(facts.booking_us) as last_booking_us,
        max(facts.appointment_end_us) as last_appointment_end_us,
        min(facts.contact_occurred_us) as first_contact_us,
        min(facts.outbound_occurred_us) as first_outbound_us,
        max(facts.contact_gap_us) as longest_contact_gap_us,
        -- the contact before the second is the first one, and the contact before the last is the second last
        min(facts.previous_contact_us) as first_contact_known_us,
        max(facts.previous_contact_us) as last_contact_but_one_us,
        max(facts.interaction_number) as last_interaction_number
    from {{ ref('observations_due') }} as observations
    inner join facts
        on observations.lead_id = facts.lead_id
        -- point-in-time: only facts that were known before as_of
            and facts.known_us < observations.as_of_us
    group by observations.lead_id, observations.as_of_us

),

counted as (

    select
        {%- for suffix, days in windows() %}
        {%- for pair in counted_in_windows | batch(2) %}
        {%- set pack_number = loop.index %}
        {%- for name in pair %}
        {{ unpack('in_windows_' ~ pack_number ~ '_' ~ suffix, loop.index0) }} as {{ name }}_count_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        {%- endfor %}
        {%- for pair in counted_ever | batch(2) %}
        {%- set pack_number = loop.index %}
        {%- for name in pair %}
        {{ unpack('ever_' ~ pack_number, loop.index0) }} as {{ name }},
        {%- endfor %}
        {%- endfor %}
        *
    from aggregated

),

named as (

    select
        observations.lead_id,
        observations.as_of,
        observations.observation_kind,
        observations.lead_created_at,
        {%- for suffix, days in windows() %}
        {%- for name in counted_in_windows %}
        counted.{{ name }}_count_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        {%- for name in trends %}
        cast(counted.{{ name }}_count_7d as double precision) / 7
        - cast(counted.{{ name }}_count_30d - counted.{{ name }}_count_7d as double precision) / 23 as {{ name }}_trend_30d,
        {%- endfor %}
        {{ days_between('leads.known_us', 'observations.as_of_us') }} as lead_age_days,
        {{ days_between('counted.last_fact_us', 'observations.as_of_us') }} as days_since_last_fact,
        {{ days_between('counted.last_contact_us', 'observations.as_of_us') }} as days_since_last_contact,
        {{ days_between('counted.last_inbound_us', 'observations.as_of_us') }} as days_since_last_inbound,
        {{ days_between('counted.last_outbound_us', 'observations.as_of_us') }} as days_since_last_outbound,
        {{ days_between('counted.last_call_us', 'observations.as_of_us') }} as days_since_last_call,
        {{ days_between('counted.last_email_us', 'observations.as_of_us') }} as days_since_last_email,
        {{ days_between('counted.last_note_us', 'observations.as_of_us') }} as days_since_last_note,
        {{ days_between('counted.last_response_us', 'observations.as_of_us') }} as days_since_last_response,
        {{ days_between('counted.first_proposal_us', 'observations.as_of_us') }} as days_since_first_proposal,
        {{ days_between('counted.oldest_open_proposal_us', 'observations.as_of_us') }} as days_since_oldest_open_proposal,
        {{ days_between('counted.last_proposal_us', 'observations.as_of_us') }} as days_since_last_proposal,
        {{ days_between('counted.last_proposal_closed_us', 'observations.as_of_us') }} as days_since_last_proposal_closed,
        {{ days_between('counted.last_booking_us', 'observations.as_of_us') }} as days_since_last_booking,
        {{ days_between('counted.last_appointment_end_us', 'observations.as_of_us') }} as days_since_last_appointment_end,
        {{ days_between('0', 'counted.longest_contact_gap_us') }} as longest_contact_gap_days,
        {{ share(
            '(counted.last_contact_us - counted.first_contact_known_us)',
            '(counted.inbound_count_lifetime + counted.outbound_count_lifetime - 1)'
        ) }} / {{ day_us() }} as avg_contact_gap_days,
        {{ days_between('counted.last_contact_but_one_us', 'counted.last_contact_us') }} as last_contact_gap_days,
        cast({{ delay_us('leads.known_us', 'counted.first_outbound_us') }} as double precision)
        / {{ hour_us() }} as first_outbound_hours,
        {{ share('counted.questions_answered', 'counted.questions_asked') }} as response_rate,
        counted.questions_asked - counted.questions_until_proposal as questions_count_since_last_proposal,
        counted.questions_asked - coalesce(counted.questions_until_response, 0) as questions_count_since_last_response,
        {{ share(
            'counted.outbound_calls_count_lifetime',
            '(counted.outbound_calls_count_lifetime + counted.outbound_emails_count_lifetime)'
        ) }} as outbound_call_share_lifetime,
        {{ share('counted.response_delays_us', 'counted.questions_answered') }} / {{ hour_us() }} as avg_response_hours,
        {{ share('counted.answers_in_the_morning', 'counted.questions_answered') }} as morning_response_share_lifetime,
        {{ share('counted.answers_in_the_evening', 'counted.questions_answered') }} as evening_response_share_lifetime,
        {{ share('counted.answers_at_weekends', 'counted.questions_answered') }} as weekend_response_share_lifetime,
        {{ hour_of_day('counted.last_answer_us') }} as hour_of_last_response,
        cast({{ weekday('counted.last_answer_us') }} as bigint) as weekday_of_last_response,
        {{ share('counted.emails_opened', 'counted.outbound_emails_count_lifetime') }} as email_open_rate,
        {{ share(
            'counted.appointments_kept', '(counted.appointments_kept + counted.appointments_missed)'
        ) }} as appointment_show_rate,
        counted.appointments_booked_lifetime,
        counted.reschedules_count_lifetime,
        counted.appointments_booked_lifetime - counted.appointments_ended as open_appointments_count,
        counted.proposals_count_lifetime,
        counted.proposals_count_lifetime - counted.proposals_closed as open_proposals_count,
        cast(coalesce(deals.open_proposals_value, 0) as decimal(18, 2)) as open_proposals_value,
        {{ hour_of_day('counted.first_contact_us') }} as hour_of_first_contact,
        cast({{ weekday('observations.as_of_us') }} as bigint) as as_of_weekday,
        cast({{ weekday('observations.as_of_us') }} >= 5 as boolean) as is_weekend,
        last_interactions.interaction_type as last_interaction_type,
        last_interactions.direction as last_interaction_direction,
        -- null only if there was no interaction
        case
            when counted.last_interaction_number is not null then coalesce(last_interactions.outcome, 'unknown')
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
        {{ change_rate('history.property_value', 'history.first_property_value') }} as property_value_change_rate,
        -- the history of the last project that is open at as_of
        {%- for name in of_deals %}
        deals.{{ name }},
        {%- endfor %}
        {%- for feature in attributes_of('leads') %}
        {{ attribute_at(feature, 'of_lead') | trim }} as {{ feature.column }},
        {%- endfor %}
        {%- for feature in attributes_of('projects') %}
        {{ attribute_at(feature, 'of_project') | trim }} as {{ feature.column }},
        {%- endfor %}
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
    inner join counted
        on observations.lead_id = counted.lead_id
            and observations.as_of_us = counted.as_of_us
    left join {{ ref('lead_history') }} as history
        on observations.lead_id = history.lead_id
            and history.known_us < observations.as_of_us
            and (history.until_us is null or history.until_us >= observations.as_of_us)
    left join {{ ref('track_records') }} as track_records
        on observations.lead_id = track_records.lead_id
            and observations.as_of_us = track_records.as_of_us
    left join {{ ref('open_deals') }} as deals
        on observations.lead_id = deals.lead_id
            and observations.as_of_us = deals.as_of_us
    {%- if attributes_of('leads') %}
    left join {{ lead_attributes }} as of_lead
        on observations.lead_id = of_lead.lead_id
            and of_lead.known_us < observations.as_of_us
            and (of_lead.until_us is null or of_lead.until_us >= observations.as_of_us)
    {%- endif %}
    {%- if attributes_of('projects') %}
    -- those of the last project that was proposed before as_of
    left join {{ project_attributes }} as of_project
        on deals.last_project_id = of_project.project_id
            and of_project.known_us < observations.as_of_us
            and (of_project.until_us is null or of_project.until_us >= observations.as_of_us)
    {%- endif %}
    left join {{ ref('timeline') }} as last_interactions
        on counted.lead_id = last_interactions.lead_id
            and counted.last_interaction_number = last_interactions.fact_number

),

scored as (

    select
        *,
        -- no term is below 0, so only the upper bound is needed
        least(
            cast(3 * interactions_count_lifetime as double precision) / 10
            + 20 * coalesce(email_open_rate, 0)
            + 30 * coalesce(response_rate, 0)
            + 20 * coalesce(appointment_show_rate, 0),
            100
        ) as engagement_score,
        -- PostgreSQL refuses an exp() too small for a double, and a contact so long ago scores 0 in any case
        case
            when days_since_last_contact > 1000 then 0
            else 100 * exp(-days_since_last_contact / 7)
        end as urgency_score
    from named

)

select * from scored
