with source as (

    select * from {{ source('raw', 'usage') }}

),

clocked as (

    select
        usage_id,
        customer_id,
        metric,
        quantity,
        {{ epoch_us('occurred_at') }} as known_us
    from source

)

select * from clocked
