with source as (

    select * from {{ source('raw', 'transactions') }}

),

-- Refunds and chargebacks come with either sign. A payment settles a purchase, and is no revenue of its own.
clocked as (

    select
        transaction_id,
        customer_id,
        kind,
        product,
        channel,
        abs(amount) as amount,
        case
            when kind = 'purchase' then abs(amount)
            when kind in ('refund', 'chargeback') then -abs(amount)
            else 0
        end as revenue,
        cost,
        discount,
        quantity,
        {{ epoch_us('occurred_at') }} as occurred_us,
        {{ epoch_us('greatest(occurred_at, coalesce(recorded_at, occurred_at))') }} as known_us
    from source

)

select * from clocked
