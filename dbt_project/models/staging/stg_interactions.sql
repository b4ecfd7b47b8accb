with source as (

    select * from {{ source('raw', 'interactions') }}

),

clocked as (

    select
        interaction_id,
        lead_id,
        customer_id,
        type as interaction_type,
        direction,
        performed_by,
        outcome,
        {{ epoch_us('occurred_at') }} as occurred_us,
        {{ epoch_us('greatest(occurred_at, coalesce(recorded_at, occurred_at))') }} as known_us,
        {{ epoch_us('opened_at') }} as opened_us,
        {{ epoch_us('responded_at') }} as responded_us
    from source

)

select * from clocked
