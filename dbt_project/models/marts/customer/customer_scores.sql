{%- set high, medium = var('churn_risk_bounds') -%}
{#- The models, with the outcome that each predicts. -#}
{%- set models = [('churn_30d', 'churned_30d'), ('churn_60d', 'churned_60d')] -%}

with open_customers as (

    select
        customer_id,
        as_of,
        customer_created_at,
        cast(null as timestamp with time zone) as closed_at,
        is_active,
        is_high_value,
        total_purchases,
        total_spent,
        days_since_last_purchase,
        plan_as_of,
        rfm_segment
    from {{ ref('customer_features') }}
    where as_of = {{ timestamp_from_us(clock_us()) }}

),

-- A closed customer has no features: no model is about it.
closed_customers as (

    select
        customers.customer_id,
        {{ timestamp_from_us(clock_us()) }} as as_of,
        customers.created_at as customer_created_at,
        {{ timestamp_from_us('customers.closed_us') }} as closed_at,
        cast(0 as bigint) as is_active,
        cast(null as bigint) as is_high_value,
        count(case when facts.fact = 'purchase' then 1 end) as total_purchases,
        cast(coalesce(sum(facts.revenue), 0) as decimal(18, 2)) as total_spent,
        {{ days_between("max(case when facts.fact = 'purchase' then facts.known_us end)", clock_us()) }} as days_since_last_purchase,
        cast(null as text) as plan_as_of,
        'closed' as rfm_segment
    from {{ ref('stg_customers') }} as customers
    left join {{ ref('customer_timeline') }} as facts
        on customers.customer_id = facts.customer_id
            and facts.known_us < {{ clock_us() }}
    where customers.closed_us < {{ clock_us() }}
    group by customers.customer_id, customers.created_at, customers.closed_us

),

customers as (

    select * from open_customers
    union all
    select * from closed_customers

),

champion_predictions as (

    {{ champion_predictions('customer') }}

),
{%- for model, outcome in models %}

{{ model }} as (

    select *
    from champion_predictions
    where model = '{{ model }}' and outcome = '{{ outcome }}'

),
{%- endfor %}

unscored as (

    {{ unscored_reasons() }}

),

scored as (

    select
        customers.customer_id,
        customers.as_of,
        greatest(churn_30d.scored_at, churn_60d.scored_at) as scored_at,
        customers.customer_created_at,
        customers.closed_at,
        customers.is_active,
        churn_30d.probability as churn_30d_probability,
        churn_60d.probability as churn_60d_probability,
        -- by the costs of errors of the model; without costs where it is more probable than not
        coalesce(churn_30d.chosen, churn_30d.probability >= 0.5) as will_churn,
        churn_30d.score as churn_30d_score,
        churn_30d.grade,
        case
            when churn_60d.probability >= {{ high }} then 'high'
            when churn_60d.probability >= {{ medium }} then 'medium'
            when churn_60d.probability is not null then 'low'
        end as risk,
        churn_30d.reasons as churn_30d_reasons,
        churn_60d.reasons as churn_60d_reasons,
        {%- for model, _ in models %}
        {{ model }}.version as {{ model }}_model_version,
        {{ model }}.outside_training as {{ model }}_outside_training,
        case
            when {{ model }}.version is not null then null
            when customers.is_active = 0 then 'inactive'
            else {{ model }}_unscored.unscored_reason
        end as {{ model }}_unscored_reason,
        {%- endfor %}
        customers.rfm_segment,
        customers.is_high_value,
        customers.total_purchases,
        customers.total_spent,
        customers.days_since_last_purchase,
        customers.plan_as_of,
        -- no variable of dbt_project.yml: features are built anew when that file changes
        cast(nullif('{{ var('value_currency', '') }}', '') as text) as value_currency
    from customers
    left join churn_30d on customers.customer_id = churn_30d.customer_id
    left join churn_60d on customers.customer_id = churn_60d.customer_id
    left join unscored as churn_30d_unscored on churn_30d_unscored.model = 'churn_30d'
    left join unscored as churn_60d_unscored on churn_60d_unscored.model = 'churn_60d'

)

select * from scored
