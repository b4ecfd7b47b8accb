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

    select predictions.*
    from {{ source('ml', 'ml_predictions') }} as predictions
    inner join {{ source('ml', 'ml_champions') }} as champions
        on predictions.model = champions.model
            and predictions.version = champions.version
    where predictions.as_of = {{ timestamp_from_us(clock_us()) }}

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
        row_number() over (partition by lead_id order by probability desc nulls last, {{ byte_order('outcome') }}) as action_rank
    from champion_predictions
    where model = 'next_best_action'

),

unscored as (

    select
        model,
        unscored_reason
    from {{ source('ml', 'ml_scoring_logs') }}
    where as_of = {{ timestamp_from_us(clock_us()) }}

),

-- Of several open proposals the latest one counts.
open_projects as (

    select
        proposed.lead_id,
        proposed.value,
        row_number() over (partition by proposed.lead_id order by proposed.fact_number desc nulls last) as recency_rank
    from {{ ref('timeline') }} as proposed
    left join {{ ref('timeline') }} as closed
        on proposed.lead_id = closed.lead_id
            and proposed.reference_id = closed.reference_id
            and closed.fact = 'project_closed'
            and closed.known_us < {{ clock_us() }}
    where
        proposed.fact = 'project_proposed'
        and proposed.known_us < {{ clock_us() }}
        and proposed.value is not null
        and closed.reference_id is null

),

won_values as (

    -- the discrete median is a value that was really won, the same on every engine
    select percentile_disc(0.5) within group (order by value) as median_won_value
    from {{ ref('timeline') }}
    where fact = 'project_closed' and outcome = 'won' and known_us < {{ clock_us() }} and value is not null

),

valued as (

    select
        open_leads.lead_id,
        open_leads.as_of,
        cast(coalesce(open_projects.value, leads.property_value, won_values.median_won_value) as decimal(18, 2)) as value,
        case
            when open_projects.value is not null then 'open_project'
            when leads.property_value is not null then 'property_value'
            when won_values.median_won_value is not null then 'median_won_value'
            else 'unknown'
        end as value_source,
        leads.created_at as lead_created_at,
        leads.lead_source,
        leads.current_assigned_to
    from open_leads
    inner join {{ ref('stg_leads') }} as leads on open_leads.lead_id = leads.lead_id
    left join open_projects on open_leads.lead_id = open_projects.lead_id and open_projects.recency_rank = 1
    cross join won_values

),

scored as (

    select
        valued.lead_id,
        valued.as_of,
        greatest(conversion.scored_at, actions.scored_at) as scored_at,
        valued.lead_created_at,
        valued.lead_source,
        valued.current_assigned_to,
        conversion.probability as conversion_probability,
        conversion.score as conversion_score,
        conversion.grade,
        conversion.reasons as conversion_reasons,
        -- engines round halves of doubles differently, and take the same floor
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
        case when conversion.version is null then conversion_unscored.unscored_reason end as conversion_unscored_reason,
        case when actions.version is null then action_unscored.unscored_reason end as action_unscored_reason
    from valued
    left join conversion on valued.lead_id = conversion.lead_id
    left join actions on valued.lead_id = actions.lead_id
    left join best_action on valued.lead_id = best_action.lead_id and best_action.action_rank = 1
    left join unscored as conversion_unscored on conversion_unscored.model = 'conversion'
    left join unscored as action_unscored on action_unscored.model = 'next_best_action'

)

select * from scored
