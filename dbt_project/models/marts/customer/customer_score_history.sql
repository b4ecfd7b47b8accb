{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        full_refresh=false,
        on_schema_change='append_new_columns'
    )
}}

with scored as (

    -- without customers that no champion has scored
    select
        customer_id,
        as_of,
        scored_at,
        churn_30d_probability,
        churn_60d_probability,
        will_churn,
        churn_30d_score,
        grade,
        risk,
        churn_30d_reasons,
        churn_60d_reasons,
        churn_30d_model_version,
        churn_30d_outside_training,
        churn_60d_model_version,
        churn_60d_outside_training,
        rfm_segment,
        total_spent,
        days_since_last_purchase
    from {{ ref('customer_scores') }}
    where churn_30d_model_version is not null or churn_60d_model_version is not null

),

new_scores as (

    {{ new_scores('customer_id', ['churn_30d_model_version', 'churn_60d_model_version']) }}

)

select * from new_scores
