{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

-- depends_on: {{ ref('track_record_changes') }}
with deals as (

    select *
    from {{ ref('won_deals_now') }}

)

select * from deals
