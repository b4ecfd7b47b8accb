{#- Tables of an earlier state lack value_model_version, a part of the key, so it is added first. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        full_refresh=false,
        on_schema_change='append_new_columns',
        pre_hook="{% if is_incremental() %}alter table {{ this }} add column if not exists value_model_version text{% endif %}"
    )
}}

with scored as (

    -- without leads that no champion has scored
    select
        lead_id,
        as_of,
        scored_at,
        lead_created_at,
        lead_source,
        current_assigned_to,
        conversion_probability,
        conversion_score,
        grade,
        conversion_reasons,
        expected_value,
        value,
        value_source,
        next_best_action,
        action_confidence,
        action_reasons,
        probability_call_immediate,
        probability_email_nurture,
        probability_schedule_appointment,
        probability_send_proposal,
        probability_no_action,
        conversion_model,
        conversion_model_version,
        action_model,
        action_model_version,
        conversion_outside_training,
        action_outside_training,
        value_model_version,
        value_outside_training
    from {{ ref('lead_scores') }}
    where conversion_model_version is not null or action_model_version is not null or value_model_version is not null

),

new_scores as (

    {{ new_scores('lead_id', ['conversion_model_version', 'action_model_version', 'value_model_version']) }}

)

select * from new_scores
