{{ config(materialized='table') }}

{#- The closed leads of the last build: this model runs before they are brought up to date. -#}
{%- set before = none -%}
{%- if is_increment() and execute -%}
    {%- set before = adapter.get_relation(database=this.database, schema=this.schema, identifier='closed_leads') -%}
{%- endif -%}

with compared as (

    {%- if before is not none %}

    select
        before.closed_us as closed_us_before,
        before.won_us as won_us_before,
        now.closed_us as closed_us_now,
        now.won_us as won_us_now,
        -- a later win of a lead that had closed already changes nothing before it
        before.closed_us = now.closed_us
        and before.lead_source = now.lead_source
        and before.rep is not distinct from now.rep
        and before.first_outbound_delay_us is not distinct from now.first_outbound_delay_us as is_same_closing
    from (select * from {{ before }} where lead_id in (select lead_id from {{ ref('touched_leads') }})) as before
    full join {{ ref('closed_leads_now') }} as now on before.lead_id = now.lead_id

    {%- else %}

    select
        closed_us as closed_us_before,
        won_us as won_us_before,
        closed_us as closed_us_now,
        won_us as won_us_now,
        true as is_same_closing
    from {{ ref('closed_leads_now') }}
    where 1 = 0

    {%- endif %}

),

changed_from as (

    select
        case
            when not coalesce(is_same_closing, false) then
                least(coalesce(closed_us_before, closed_us_now), coalesce(closed_us_now, closed_us_before))
            when won_us_before is distinct from won_us_now then
                least(coalesce(won_us_before, won_us_now), coalesce(won_us_now, won_us_before))
        end as changed_us
    from compared

)

select cast(min(changed_us) as bigint) as changed_us
from changed_from
