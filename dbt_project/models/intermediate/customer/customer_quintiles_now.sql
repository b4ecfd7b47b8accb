{{ config(materialized='table' if is_increment() else 'view') }}

{#- What is ranked, and the shares of the active customers at which the cuts lie. -#}
{%- set ranked = [('last_purchase_us', 'bigint'), ('purchases', 'bigint'), ('spent', 'decimal(18, 2)')] -%}
{%- set shares = ['0.2', '0.4', '0.6', '0.8'] -%}

-- A purchase is known from the next moment of the grid on.
with purchases as (

    select
        customer_id,
        {{ grid_us('known_us') }} + 14 * {{ day_us() }} as as_of_us,
        count(case when fact = 'purchase' then 1 end) as purchases,
        coalesce(sum(revenue), 0) as spent,
        max(case when fact = 'purchase' then occurred_us end) as last_purchase_us
    from {{ ref('customer_timeline') }}
    where fact in ('purchase', 'refund', 'chargeback')
    group by customer_id, {{ grid_us('known_us') }}

),

at_moments as (

    select
        customers.customer_id,
        customers.row_us,
        grid.as_of_us,
        closings.closed_us,
        cast(sum(purchases.purchases) over so_far as bigint) as purchases,
        cast(coalesce(sum(purchases.spent) over so_far, 0) as decimal(18, 2)) as spent,
        max(purchases.last_purchase_us) over so_far as last_purchase_us
    from {{ ref('stg_customers') }} as customers
    inner join {{ ref('customer_grid') }} as grid on customers.known_us < grid.as_of_us
    left join {{ ref('customer_closings') }} as closings on customers.customer_id = closings.customer_id
    left join purchases
        on customers.customer_id = purchases.customer_id
            and grid.as_of_us = purchases.as_of_us
    window so_far as (partition by customers.customer_id order by grid.as_of_us rows unbounded preceding)

),

marked as (

    select
        *,
        {{ is_active_customer('last_purchase_us', 'row_us', 'closed_us', 'as_of_us') }} as is_active
    from at_moments

),

of_active as (

    select
        as_of_us,
        {%- for name, _ in ranked %}
        case when is_active = 1 and purchases > 0 then {{ name }} end as active_{{ name }},
        {%- endfor %}
        spent
    from marked

),

-- The discrete quantile is a value that occurs, the same on every engine.
cuts as (

    select
        as_of_us,
        {%- for name, kind in ranked %}
        {%- for share in shares %}
        cast(
            percentile_disc({{ share }}) within group (order by active_{{ name }}) as {{ kind }}
        ) as {{ name }}_cut_{{ loop.index }},
        {%- endfor %}
        {%- endfor %}
        cast(percentile_disc(0.75) within group (order by spent) as decimal(18, 2)) as high_value
    from of_active
    group by as_of_us

)

select * from cuts
