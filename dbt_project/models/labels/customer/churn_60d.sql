{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook="{{ forget(epoch_us('matures_at') ~ ' > ' ~ (var('built_us') or 0) ~ ' or customer_id in (select customer_id from ' ~ ref('touched_customers') ~ ')') }}"
    )
}}

{{ churn(var('churn_60d_horizon_days'), 'churned_60d') }}
