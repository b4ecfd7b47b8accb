{#- Whether each observed customer has left within the horizon: with contracts it has closed, else it has bought nothing. -#}
{% macro churn(horizon_days, column) -%}
with matured as (

    {{ matured_customers(horizon_days) }}

),

told as (

    select distinct
        matured.customer_id,
        matured.as_of_us
    from matured
    inner join {{ ref('customer_timeline') }} as facts
        on matured.customer_id = facts.customer_id
            and facts.fact = '{{ 'customer_closed' if var('customers_close') else 'purchase' }}'
            -- it happened after as_of and was known before the label matured, so no later fact can change the label
            and facts.occurred_us >= matured.as_of_us
            and facts.known_us < matured.matures_us

),

{% if var('customers_close') -%}
-- Only its row tells that a customer has closed: of one without a row nobody knows it.
described as (

    select
        customer_id,
        min(known_us) as row_us
    from {{ ref('customer_timeline') }}
    where fact = 'customer_created'
    group by customer_id

),

{% endif -%}
labelled as (

    select
        matured.customer_id,
        matured.as_of,
        {{ timestamp_from_us('matured.matures_us') }} as matures_at,
        cast(case when told.customer_id is {{ 'not ' if var('customers_close') }}null then 1 else 0 end as bigint) as {{ column }}
    from matured
    {%- if var('customers_close') %}
    inner join described
        on matured.customer_id = described.customer_id
            and matured.matures_us > described.row_us
    {%- endif %}
    left join told
        on matured.customer_id = told.customer_id
            and matured.as_of_us = told.as_of_us

)

select * from labelled
{%- endmacro %}
