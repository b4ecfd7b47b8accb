with source as (

    select * from {{ source('raw', 'offers') }}

),

clocked as (

    select
        offer_id,
        customer_id,
        kind,
        cost,
        assigned,
        {{ epoch_us('offered_at') }} as offered_us,
        {{ epoch_us('accepted_at') }} as accepted_us
    from source

)

select * from clocked
