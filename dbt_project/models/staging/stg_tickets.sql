with source as (

    select * from {{ source('raw', 'tickets') }}

),

clocked as (

    select
        ticket_id,
        customer_id,
        kind,
        {{ epoch_us('opened_at') }} as opened_us,
        {{ epoch_us('resolved_at') }} as resolved_us
    from source

)

select * from clocked
