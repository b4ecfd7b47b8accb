with source as (

    select * from {{ source('raw', 'changes') }}

),

-- Each value of an overwritten column has the moment from which it was known. The columns get other names, because those
-- of the CRM hold the values of today. A change is of a column of its lead, of one of its project, or of a customer.
clocked as (

    select
        change_id,
        lead_id,
        project_id,
        customer_id,
        case
            when project_id is not null or customer_id is not null then null
            when column_name = 'status' then 'lead_status'
            when column_name = 'assigned_to' then 'lead_owner'
            else column_name
        end as lead_column,
        case when project_id is not null then column_name end as project_column,
        case when customer_id is not null then column_name end as customer_column,
        value,
        {{ epoch_us('known_at') }} as known_us
    from source

)

select * from clocked
