with source as (

    select * from {{ source('raw', 'appointments') }}

),

clocked as (

    select
        appointment_id,
        lead_id,
        rescheduled_from,
        {{ epoch_us('booked_at') }} as booked_us,
        {{ epoch_us('ended_at') }} as ended_us,
        -- the status is overwritten when the appointment ends, so it is not known before; scheduled_at is overwritten
        -- when the appointment moves, so it is left out
        case when ended_at is not null then status end as final_status
    from source

)

select * from clocked
