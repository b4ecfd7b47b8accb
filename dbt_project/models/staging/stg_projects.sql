with source as (

    select * from {{ source('raw', 'projects') }}

),

clocked as (

    select
        project_id,
        lead_id,
        {{ epoch_us('proposed_at') }} as proposed_us,
        {{ epoch_us('closed_at') }} as closed_us,
        -- value, stage and expected close are overwritten: deal_history has them as they were. The amount of today is only
        -- for the health of the source
        value as current_value,
        -- the status is overwritten when the project closes, so it is not known before
        case when closed_at is not null then status end as final_status
    from source

)

select * from clocked
