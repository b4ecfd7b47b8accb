with source as (

    select * from {{ source('raw', 'source_ids') }}

),

-- The CRM's own keys, which are contact data: only the marts read them.
renamed as (

    select
        lead_id,
        source_id
    from source

)

select * from renamed
