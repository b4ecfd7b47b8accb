{{ config(materialized='table') }}

{%- set touched_leads = ref('touched_leads') -%}
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
        after.closed_us as closed_us_after,
        after.won_us as won_us_after,
        -- a later win of a lead that had closed already changes nothing before it
        before.closed_us = after.closed_us
        and before.lead_source = after.lead_source
        and before.rep is not distinct from after.rep
        and before.first_outbound_delay_us is not distinct from after.first_outbound_delay_us as is_same_closing
    from (select * from {{ before }} where lead_id in (select lead_id from {{ touched_leads }})) as before
    full join {{ ref('closed_leads_now') }} as after on before.lead_id = after.lead_id

    {%- else %}

    select
        closed_us as closed_us_before,
        won_us as won_us_before,
        closed_us as closed_us_after,
        won_us as won_us_after,
        true as is_same_closing
    from {{ ref('closed_leads_now') }}
    where 1 = 0

    {%- endif %}

),

changed_from as (

    select
        case
            when not coalesce(is_same_closing, false) then
                least(coalesce(closed_us_before, closed_us_after), coalesce(closed_us_after, closed_us_before))
            when won_us_before is distinct from won_us_after then
                least(coalesce(won_us_before, won_us_after), coalesce(won_us_after, won_us_before))
        end as changed_us
    from compared

)

select cast(min(changed_us) as bigint) as changed_us
from changed_from
