with source as (

    select * from {{ source('raw', 'leads') }}

),

-- The CRM overwrites some columns: their values of today were not known at a past as_of. Columns that are set once are
-- kept. Of the overwritten columns the marts need three: the owner, with a name that says so, property_value and
-- zip_code. Features take these from lead_history, with their past values.
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
