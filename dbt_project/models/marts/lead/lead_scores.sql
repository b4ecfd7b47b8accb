{%- set actions = ['call_immediate', 'email_nurture', 'schedule_appointment', 'send_proposal', 'no_action'] -%}

with open_leads as (

    select
        lead_id,
        as_of,
        as_of_us
    from {{ ref('observations') }}
    where as_of_us = {{ clock_us() }}

),

champion_predictions as (

    {{ champion_predictions('lead') }}

),

conversion as (

    select
        lead_id,
        model,
        version,
        probability,
        score,
        grade,
        reasons,
        outside_training,
        scored_at
    from champion_predictions
    where model = 'conversion' and outcome = 'converted'

),

actions as (

    select
        lead_id,
        model,
        version,
        {%- for action in actions %}
        max(case when outcome = '{{ action }}' then probability end) as probability_{{ action }},
        {%- endfor %}
        max(scored_at) as scored_at
    from champion_predictions
    where model = 'next_best_action'
    group by lead_id, model, version

),

best_action as (

    select
        lead_id,
        outcome,
        probability,
        reasons,
        -- equal for all outcomes
        outside_training,
        row_number() over (
            partition by lead_id
            -- the outcome that costs of errors choose, if the model has costs, else the most probable one
            order by case when chosen then 0 else 1 end, probability desc nulls last, {{ byte_order('outcome') }}
        ) as action_rank
    from champion_predictions
    where model = 'next_best_action'

),

deal_value as (

    select
        lead_id,
        version,
        -- no amount is negative; engines round halves of doubles differently, and their floor() is equal
        cast(cast(floor(greatest(probability, 0) * 100 + 0.5) as bigint) * 0.01 as decimal(18, 2)) as value,
        outside_training,
        scored_at
    from champion_predictions
    where model = 'deal_value' and outcome = 'deal_value'

),

unscored as (

    {{ unscored_reasons() }}

),

valued as (

    select
        open_leads.lead_id,
        open_leads.as_of,
        -- the value of the model, where it has scored the lead, else that of the rule
        coalesce(deal_value.value, worth.value) as value,
        case when deal_value.value is not null then 'deal_value' else worth.value_source end as value_source,
        deal_value.version as value_model_version,
        deal_value.outside_training as value_outside_training,
        deal_value.scored_at as value_scored_at,
        leads.created_at as lead_created_at,
        leads.lead_source,
        leads.current_assigned_to,
        -- a pseudonym has twelve digits; the CRM's own key of such a lead is kept only if a setting says so
        case when open_leads.lead_id like 'pseudonym-____________' then own.source_id else open_leads.lead_id end as source_id
    from open_leads
    inner join {{ ref('stg_leads') }} as leads on open_leads.lead_id = leads.lead_id
    inner join {{ ref('lead_values') }} as worth on open_leads.lead_id = worth.lead_id
    left join deal_value on open_leads.lead_id = deal_value.lead_id
    left join {{ ref('stg_source_ids') }} as own on open_leads.lead_id = own.lead_id

),

scored as (

    select
        valued.lead_id,
        valued.as_of,
        greatest(conversion.scored_at, actions.scored_at, valued.value_scored_at) as scored_at,
        valued.lead_created_at,
        valued.lead_source,
        valued.current_assigned_to,
        conversion.probability as conversion_probability,
        conversion.score as conversion_score,
        conversion.grade,
        conversion.reasons as conversion_reasons,
        -- engines round halves of doubles differently, and their floor() is equal
        cast(
            cast(cast(floor(conversion.probability * 1000000000 + 0.5) as bigint) * 0.000000001 as decimal(18, 9))
            * valued.value as decimal(18, 2)
        ) as expected_value,
        valued.value,
        valued.value_source,
        best_action.outcome as next_best_action,
        best_action.probability as action_confidence,
        best_action.reasons as action_reasons,
        {%- for action in actions %}
        actions.probability_{{ action }},
        {%- endfor %}
        conversion.model as conversion_model,
        conversion.version as conversion_model_version,
        actions.model as action_model,
        actions.version as action_model_version,
        conversion.outside_training as conversion_outside_training,
        best_action.outside_training as action_outside_training,
        case when conversion.version is null then conversion_unscored.unscored_reason end as conversion_unscored_reason,
        case when actions.version is null then action_unscored.unscored_reason end as action_unscored_reason,
        valued.value_model_version,
        valued.value_outside_training,
        case when valued.value_model_version is null then value_unscored.unscored_reason end as value_unscored_reason,
        -- no variable of dbt_project.yml: features are built anew when that file changes
        cast(nullif('{{ var('value_currency', '') }}', '') as text) as value_currency,
        valued.source_id
    from valued
    left join conversion on valued.lead_id = conversion.lead_id
    left join actions on valued.lead_id = actions.lead_id
    left join best_action on valued.lead_id = best_action.lead_id and best_action.action_rank = 1
    left join unscored as conversion_unscored on conversion_unscored.model = 'conversion'
    left join unscored as action_unscored on action_unscored.model = 'next_best_action'
    left join unscored as value_unscored on value_unscored.model = 'deal_value'

)

select * from scored
