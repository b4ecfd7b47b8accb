with source as (

    select * from {{ source('raw', 'changes') }}

),

-- Each value of an overwritten column has the moment from which it was known. The columns get other names, because those
-- of the CRM hold the values of today.
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
