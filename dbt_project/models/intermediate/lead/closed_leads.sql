{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

-- depends_on: {{ ref('track_record_changes') }}
with closed as (

    select *
    from {{ ref('closed_leads_now') }}

)

select * from closed
