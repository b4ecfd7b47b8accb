with source as (

    select * from {{ source('raw', 'leads') }}

),

-- status, assigned_to and updated_at are overwritten by the CRM: today's value is not what was known at a past as_of.
-- Columns that are set once pass. Of the others the owner does, under a name that says so, and property_value and
-- zip_code do, for the marts alone: features take them from lead_history, as they were.
renamed as (

    select
        lead_id,
        source as lead_source,
        created_at,
        property_value,
        zip_code,
        assigned_to as current_assigned_to,
        {{ epoch_us('created_at') }} as known_us
    from source

)

select * from renamed
