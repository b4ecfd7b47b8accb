{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

with told as (

    select
        lead_id,
        lead_column as attribute_name,
        change_id,
        value,
        known_us
    from {{ of_touched_leads(ref('stg_changes')) }} as staged

),

{{ attributes_by_moment(attributes_of('leads'), 'lead_id') }}

select * from attributes_held
