with source as (

    select * from {{ source('raw', 'changes') }}

),

-- The value of an overwritten column passes with the moment from which it was known, and under a name of its own: the
-- column of the CRM says what is true today.
clocked as (

    select
        change_id,
        lead_id,
        case column_name
            when 'status' then 'lead_status'
            when 'assigned_to' then 'lead_owner'
            else column_name
        end as lead_column,
        value,
        {{ epoch_us('known_at') }} as known_us
    from source

)

select * from clocked
