{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('customer_id in (select customer_id from ' ~ ref('touched_customers') ~ ')') }}"
    )
}}

with facts as (

    select
        customer_id,
        'customer_created' as fact,
        customer_id as reference_id,
        cast(null as text) as kind,
        cast(null as text) as direction,
        cast(null as text) as product,
        cast(null as text) as channel,
        cast(null as decimal(18, 2)) as amount,
        cast(null as decimal(18, 2)) as revenue,
        cast(null as decimal(18, 2)) as cost_amount,
        cast(null as decimal(18, 2)) as discount,
        cast(null as decimal(18, 2)) as quantity,
        cast(null as bigint) as began_us,
        row_us as occurred_us,
        row_us as known_us
    from {{ of_touched_customers(ref('stg_customers')) }} as staged
    where row_us is not null

    union all

    select
        customer_id,
        'customer_closed' as fact,
        customer_id as reference_id,
        null as kind,
        null as direction,
        null as product,
        null as channel,
        null as amount,
        null as revenue,
        null as cost_amount,
        null as discount,
        null as quantity,
        null as began_us,
        closed_us as occurred_us,
        closed_us as known_us
    from {{ of_touched_customers(ref('stg_customers')) }} as staged
    where closed_us is not null

    union all

    select
        customer_id,
        kind as fact,
        transaction_id as reference_id,
        null as kind,
        null as direction,
        product,
        channel,
        amount,
        revenue,
        cost as cost_amount,
        discount,
        quantity,
        null as began_us,
        occurred_us,
        known_us
    from {{ of_touched_customers(ref('stg_transactions')) }} as staged
    {%- for fact, time, began in [
        ('interaction', 'occurred_us', 'cast(null as bigint)'), ('opened', 'opened_us', 'occurred_us'),
        ('responded', 'responded_us', 'occurred_us'),
    ] %}

    union all

    -- an e-mail is sent at one time and opened at another: each is a fact of its own
    select
        customer_id,
        '{{ fact }}' as fact,
        interaction_id as reference_id,
        interaction_type as kind,
        direction,
        null as product,
        null as channel,
        null as amount,
        null as revenue,
        null as cost_amount,
        null as discount,
        null as quantity,
        {{ began }} as began_us,
        {{ time }} as occurred_us,
        greatest({{ time }}, known_us) as known_us
    from {{ of_touched_customers(ref('stg_interactions')) }} as staged
    -- an interaction may be with a lead alone
    where customer_id is not null and {{ time }} is not null
    {%- endfor %}
    {%- for fact, table, key, time, began, began_us in [
        ('ticket_opened', ref('stg_tickets'), 'ticket_id', 'opened_us', 'opened_us', 'cast(null as bigint)'),
        ('ticket_resolved', ref('stg_tickets'), 'ticket_id', 'resolved_us', 'opened_us', 'opened_us'),
        ('offer_made', ref('stg_offers'), 'offer_id', 'offered_us', 'offered_us', 'cast(null as bigint)'),
        ('offer_accepted', ref('stg_offers'), 'offer_id', 'accepted_us', 'offered_us', 'offered_us'),
    ] %}

    union all

    select
        customer_id,
        '{{ fact }}' as fact,
        {{ key }} as reference_id,
        kind,
        null as direction,
        null as product,
        null as channel,
        null as amount,
        null as revenue,
        {{ 'cost' if key == 'offer_id' else 'null' }} as cost_amount,
        null as discount,
        null as quantity,
        {{ began_us }} as began_us,
        {{ time }} as occurred_us,
        greatest({{ time }}, {{ began }}) as known_us
    from {{ of_touched_customers(table) }} as staged
    where {{ time }} is not null
    {%- endfor %}

),

-- A total order of a customer's facts: "the last fact" is the same row on every engine, even if times tie.
numbered as (

    select
        *,
        row_number() over in_order as fact_number,
        max(case when fact = 'purchase' then known_us end) over (
            in_order rows between unbounded preceding and 1 preceding
        ) as purchase_before_us,
        -- counted once here: the number of purchases of the product up to this one
        case
            when fact = 'purchase' and product is not null then row_number() over (
                    partition by customer_id, fact, product
                    order by known_us, occurred_us, {{ byte_order('reference_id') }}
                )
        end as of_product_so_far
    from facts
    window in_order as (
        partition by customer_id
        order by known_us, occurred_us, {{ byte_order('fact') }}, {{ byte_order('reference_id') }}
    )

)

select * from numbered
