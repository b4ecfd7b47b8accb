{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ forget(is_due('customer_features', epoch_us('customer_features.as_of'), features=true, entity='customer')) }}",
            "{{ attribute_columns('customers') }}"
        ]
    )
}}

{%- set email = "kind = 'email' and direction = 'outbound'" -%}

{#- Counts by window, each with the condition of the facts that it counts. -#}
{%- set counted_in_windows = {
    'purchases': "fact = 'purchase'",
    'tickets': "fact = 'ticket_opened'",
    'emails_sent': "fact = 'interaction' and " ~ email,
    'emails_opened': "fact = 'opened' and " ~ email,
    'contacts': "fact = 'interaction' and direction in ('inbound', 'outbound')",
    'refunds': "fact = 'refund'",
    'offers': "fact = 'offer_made'",
    'payments': "fact = 'payment'",
} -%}

{#- Counts over all history only. -#}
{%- set counted_ever = {
    'offers_accepted': "fact = 'offer_accepted'",
    'chargebacks': "fact = 'chargeback'",
    'tickets_resolved': "fact = 'ticket_resolved'",
    'valued_purchases': "fact = 'purchase' and amount is not null",
    'counted_purchases': "fact = 'purchase' and quantity is not null",
    'purchases_of_products': "of_product_so_far is not null",
    'products': "of_product_so_far = 1",
    'gaps': "fact = 'purchase' and purchase_before_us is not null",
} -%}
{%- set summed = [
    'purchased', 'discounted', 'quantity', 'refunded', 'purchased_at_cost', 'cost_amount', 'resolution_us', 'gap_seconds',
] -%}
{%- set windows = [('30d', 30), ('60d', 60), ('90d', 90), ('180d', 180), ('365d', 365), ('lifetime', none)] -%}

{#- Called outside of the condition, so that dbt sees the dependency whatever attributes there are. -#}
{%- set customer_attributes = ref('customer_attributes') -%}

-- A fact counts from when it was known; when it happened decides how long ago it was, and in which windows it lies. A
-- purchase that a CRM records late, as after a move, is no purchase of that day.
-- Conditions are evaluated once per fact here, and not once for each observation of the fact. Amounts are summed in
-- hundredths, as integers.
with facts as (

    select
        customer_id,
        fact_number,
        known_us,
        occurred_us,
        {%- for pair in counted_in_windows.values() | batch(2) %}
        {{ pack(pair) }} as in_windows_{{ loop.index }},
        {%- endfor %}
        {%- for pair in counted_ever.values() | batch(2) %}
        {{ pack(pair) }} as ever_{{ loop.index }},
        {%- endfor %}
        cast(revenue * 100 as bigint) as revenue,
        case when fact = 'purchase' then cast(amount * 100 as bigint) end as purchased,
        case when fact = 'purchase' then cast(discount * 100 as bigint) end as discounted,
        case when fact = 'purchase' then cast(quantity * 100 as bigint) end as quantity,
        case when fact in ('refund', 'chargeback') then cast(amount * 100 as bigint) end as refunded,
        case when fact = 'purchase' and cost_amount is not null then cast(amount * 100 as bigint) end as purchased_at_cost,
        case when fact = 'purchase' and amount is not null then cast(cost_amount * 100 as bigint) end as cost_amount,
        case when fact = 'purchase' then of_product_so_far end as of_product_so_far,
        case when fact = 'purchase' then occurred_us end as purchase_us,
        case when fact = 'purchase' then fact_number end as purchase_number,
        case when fact = 'purchase' then known_us - purchase_before_us end as gap_us,
        -- squares of whole seconds: their sum is an integer
        case
            when fact = 'purchase' and purchase_before_us is not null
                then {{ whole_seconds('greatest(known_us - purchase_before_us, 0)') }}
        end as gap_seconds,
        case when fact = 'refund' then occurred_us end as refund_us,
        case when fact = 'payment' then occurred_us end as payment_us,
        case when fact = 'opened' and {{ email }} then occurred_us end as email_opened_us,
        case when fact = 'interaction' and direction = 'inbound' then occurred_us end as inbound_us,
        case when fact = 'ticket_opened' then occurred_us end as ticket_us,
        case when fact = 'ticket_resolved' then occurred_us - began_us end as resolution_us,
        case when fact = 'offer_made' then occurred_us end as offer_us
    from {{ ref('customer_timeline') }}

),

aggregated as (

    select
        observations.customer_id,
        observations.as_of_us,
        {%- for suffix, days in windows %}
        {%- for _ in counted_in_windows | batch(2) %}
        {{ sum_in_window('facts.in_windows_' ~ loop.index, days, 'occurred_us') }} as in_windows_{{ loop.index }}_{{ suffix }},
        {%- endfor %}
        coalesce({{ sum_in_window('facts.revenue', days, 'occurred_us') }}, 0) as revenue_{{ suffix }},
        {%- endfor %}
        {%- for _ in counted_ever | batch(2) %}
        {{ sum_in_window('facts.ever_' ~ loop.index) }} as ever_{{ loop.index }},
        {%- endfor %}
        {%- for name in summed %}
        cast(sum(facts.{{ name }}) as bigint) as {{ name }},
        {%- endfor %}
        cast(sum(facts.gap_seconds * facts.gap_seconds) as bigint) as squared_gap_seconds,
        max(facts.purchased) as largest_purchase,
        max(facts.of_product_so_far) as of_top_product,
        min(facts.purchase_us) as first_purchase_us,
        max(facts.purchase_us) as last_purchase_us,
        max(facts.purchase_number) as last_purchase_number,
        max(facts.gap_us) as longest_gap_us,
        max(facts.refund_us) as last_refund_us,
        max(facts.payment_us) as last_payment_us,
        max(facts.email_opened_us) as last_email_opened_us,
        max(facts.inbound_us) as last_inbound_us,
        max(facts.ticket_us) as last_ticket_us,
        max(facts.offer_us) as last_offer_us
    from {{ ref('customer_observations_due') }} as observations
    inner join facts
        on observations.customer_id = facts.customer_id
        -- point-in-time: only facts that were known before as_of
            and facts.known_us < observations.as_of_us
    group by observations.customer_id, observations.as_of_us

),

counted as (

    select
        {%- for suffix, days in windows %}
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
        observations.customer_id,
        observations.as_of,
        observations.observation_kind,
        observations.customer_created_at,
        -- purchases
        counted.purchases_count_30d,
        counted.purchases_count_90d,
        counted.purchases_count_365d,
        counted.purchases_count_lifetime as total_purchases,
        {%- for suffix in ['30d', '90d', '365d'] %}
        {{ in_units('counted.revenue_' ~ suffix) }} as revenue_{{ suffix }},
        {%- endfor %}
        {{ in_units('counted.revenue_lifetime') }} as total_spent,
        {{ share('counted.purchased', 'counted.valued_purchases') }} / 100 as average_purchase_value,
        last_purchases.amount as last_purchase_value,
        {{ in_units('counted.largest_purchase') }} as largest_purchase_value,
        cast(counted.purchases_count_lifetime as double precision) / {{ months_since('customers.known_us') }} as purchase_frequency,
        cast(counted.revenue_lifetime as double precision) / 100 / {{ months_since('customers.known_us') }} as spending_per_month,
        cast(2 * counted.purchases_count_30d - counted.purchases_count_60d as double precision) / 30 as purchases_trend_60d,
        cast(2 * counted.purchases_count_90d - counted.purchases_count_180d as double precision) / 90 as purchases_trend_180d,
        cast(2 * counted.revenue_90d - counted.revenue_180d as double precision) / 9000 as revenue_trend_180d,
        {{ share('counted.quantity', 'counted.counted_purchases') }} / 100 as quantity_per_purchase,
        counted.products as products_owned,
        {{ share('counted.of_top_product', 'counted.purchases_of_products') }} as top_product_share_lifetime,
        -- null only if there was no purchase
        case when counted.last_purchase_number is not null then coalesce(last_purchases.channel, 'unknown') end as last_channel,
        {{ share('coalesce(counted.discounted, 0)', '(counted.purchased + coalesce(counted.discounted, 0))') }} as discount_share_lifetime,
        {{ share('(counted.purchased_at_cost - counted.cost_amount)', 'counted.purchased_at_cost') }} as margin_share_lifetime,
        counted.refunds_count_lifetime,
        {{ share('coalesce(counted.refunded, 0)', 'counted.purchased') }} as refund_share_lifetime,
        {{ days_between('counted.last_refund_us', 'observations.as_of_us') }} as days_since_last_refund,
        counted.chargebacks as chargebacks_count_lifetime,
        counted.payments_count_90d,
        {{ days_between('counted.last_payment_us', 'observations.as_of_us') }} as days_since_last_payment,
        -- time
        {{ days_between('customers.known_us', 'observations.as_of_us') }} as tenure_days,
        {{ days_between('counted.first_purchase_us', 'observations.as_of_us') }} as days_since_first_purchase,
        {{ days_between('counted.last_purchase_us', 'observations.as_of_us') }} as days_since_last_purchase,
        {{ share('(counted.last_purchase_us - counted.first_purchase_us)', 'counted.gaps') }} / {{ day_us() }} as avg_purchase_gap_days,
        -- the numerator is exact, also of a gap of decades; with one gap nothing is divided
        sqrt(
            cast(
                cast(counted.gaps as decimal(19, 0)) * cast(counted.squared_gap_seconds as decimal(19, 0))
                - cast(counted.gap_seconds as decimal(19, 0)) * cast(counted.gap_seconds as decimal(19, 0)) as double precision
            ) / nullif(counted.gaps * (counted.gaps - 1), 0)
        ) / 86400 as sd_purchase_gap_days,
        {{ days_between('last_purchases.purchase_before_us', 'last_purchases.known_us') }} as last_purchase_gap_days,
        {{ days_between('0', 'counted.longest_gap_us') }} as longest_purchase_gap_days,
        cast(observations.as_of_us - counted.last_purchase_us as double precision) * counted.gaps
        / nullif(counted.last_purchase_us - counted.first_purchase_us, 0) as gaps_since_last_purchase,
        -- contacts
        counted.emails_sent_count_90d,
        counted.emails_opened_count_90d,
        {{ share('counted.emails_opened_count_lifetime', 'counted.emails_sent_count_lifetime') }} as email_open_rate,
        cast(
            case when 2 * counted.emails_opened_count_lifetime > counted.emails_sent_count_lifetime then 1 else 0 end as bigint
        ) as is_engaged,
        {{ days_between('counted.last_email_opened_us', 'observations.as_of_us') }} as days_since_last_email_opened,
        counted.contacts_count_90d,
        {{ days_between('counted.last_inbound_us', 'observations.as_of_us') }} as days_since_last_inbound,
        counted.offers_count_90d,
        counted.offers_count_lifetime,
        {{ share('counted.offers_accepted', 'counted.offers_count_lifetime') }} as offer_acceptance_rate,
        {{ days_between('counted.last_offer_us', 'observations.as_of_us') }} as days_since_last_offer,
        -- support
        counted.tickets_count_30d,
        counted.tickets_count_90d,
        counted.tickets_count_lifetime,
        counted.tickets_count_lifetime - counted.tickets_resolved as open_tickets_count,
        {{ share('counted.resolution_us', 'counted.tickets_resolved') }} / {{ hour_us() }} as avg_resolution_hours,
        {{ days_between('counted.last_ticket_us', 'observations.as_of_us') }} as days_since_last_ticket,
        {{ share(
            'counted.tickets_count_lifetime', '(counted.tickets_count_lifetime + counted.purchases_count_lifetime)'
        ) }} as support_interaction_rate,
        -- usage
        {%- for name, days in [('logins', 7), ('logins', 30), ('logins', 90), ('uses', 30), ('uses', 90)] %}
        cast(coalesce(used.{{ name }}_until_0 - used.{{ name }}_until_{{ days }}, 0) as bigint) as {{ name }}_count_{{ days }}d,
        {%- endfor %}
        {{ days_between('used.last_login_us', 'observations.as_of_us') }} as days_since_last_login,
        cast(coalesce(used.logins_until_0, 0) as double precision) / {{ months_since('customers.known_us') }} as login_frequency,
        cast(coalesce(used.logins_until_0 - used.logins_until_7, 0) as double precision) / 7
        - cast(coalesce(used.logins_until_7 - used.logins_until_30, 0) as double precision) / 23 as logins_trend_30d,
        {%- for name, days in [('logins', 30), ('logins', 90), ('uses', 30)] %}
        cast(
            coalesce(
                used.{{ name }}_until_0 - 2 * used.{{ name }}_until_{{ days }} + used.{{ name }}_until_{{ 2 * days }}, 0
            ) as double precision
        ) / {{ days }} as {{ name }}_trend_{{ 2 * days }}d,
        {%- endfor %}
        cast(coalesce(used.quantity_until_0 - used.quantity_until_30, 0) as decimal(18, 2)) as usage_quantity_30d,
        cast(used.uses_until_0 - used.uses_until_30 as double precision) * {{ months_since('used.first_us') }}
        / nullif(used.uses_until_0, 0) as feature_usage_normalized,
        -- what the source says of the customer
        history.plan as plan_as_of,
        coalesce(history.plan_changes_count, 0) as plan_changes_count_lifetime,
        {{ days_between('history.plan_us', 'observations.as_of_us') }} as days_since_last_plan_change,
        {%- for feature in attributes_of('customers') %}
        {{ attribute_at(feature, 'of_customer') | trim }} as {{ feature.column }},
        {%- endfor %}
        -- among all customers
        cast(
            {{ is_active_customer(
                'counted.last_purchase_us', 'customers.row_us', 'closings.closed_us', 'observations.as_of_us'
            ) }} as bigint
        ) as is_active,
        cast(case when counted.revenue_lifetime > 100 * quintiles.high_value then 1 else 0 end as bigint) as is_high_value,
        {{ fifth(
            'counted.last_purchase_us - observations.as_of_us', '- quintiles.as_of_us + quintiles.last_purchase_us_cut_'
        ) }} as recency_score,
        {{ fifth('counted.purchases_count_lifetime', 'quintiles.purchases_cut_') }} as frequency_score,
        {{ fifth('counted.revenue_lifetime', '100 * quintiles.spent_cut_') }} as monetary_score
    from {{ ref('customer_observations_due') }} as observations
    inner join {{ ref('stg_customers') }} as customers on observations.customer_id = customers.customer_id
    inner join counted
        on observations.customer_id = counted.customer_id
            and observations.as_of_us = counted.as_of_us
    left join {{ ref('customer_closings') }} as closings on observations.customer_id = closings.customer_id
    left join {{ ref('customer_usage_totals') }} as used
        on observations.customer_id = used.customer_id
            and observations.as_of_us = used.as_of_us
    left join {{ ref('customer_history') }} as history
        on observations.customer_id = history.customer_id
            and history.known_us < observations.as_of_us
            and (history.until_us is null or history.until_us >= observations.as_of_us)
    left join {{ ref('customer_quintiles') }} as quintiles
        on quintiles.as_of_us = {{ grid_us('observations.as_of_us') }}
    {%- if attributes_of('customers') %}
    left join {{ customer_attributes }} as of_customer
        on observations.customer_id = of_customer.customer_id
            and of_customer.known_us < observations.as_of_us
            and (of_customer.until_us is null or of_customer.until_us >= observations.as_of_us)
    {%- endif %}
    left join {{ ref('customer_timeline') }} as last_purchases
        on counted.customer_id = last_purchases.customer_id
            and counted.last_purchase_number = last_purchases.fact_number

),

segmented as (

    select
        *,
        recency_score * frequency_score as recency_frequency,
        recency_score * monetary_score as recency_monetary,
        frequency_score * monetary_score as frequency_monetary,
        case
            when total_purchases = 0 then 'no_purchase'
            when recency_score is null then 'unranked'
            when recency_score >= 4 and frequency_score >= 4 and monetary_score >= 4 then 'champions'
            when recency_score >= 3 and frequency_score >= 4 then 'loyal'
            when recency_score >= 4 and frequency_score = 1 then 'new'
            when recency_score >= 3 then 'promising'
            when frequency_score >= 4 and monetary_score >= 4 then 'cannot_lose'
            when frequency_score >= 3 or monetary_score >= 3 then 'at_risk'
            else 'hibernating'
        end as rfm_segment
    from named

)

select * from segmented
