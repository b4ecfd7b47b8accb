{{ config(materialized='table') }}

{#- Called outside of the condition, so that dbt sees the dependency in every build. -#}
{%- set touched_leads = ref('touched_leads') -%}
{#- The closed leads and won deals of the last build: this model runs before they are updated. -#}
{%- set closed_before = adapter.get_relation(
    database=this.database, schema=this.schema, identifier='closed_leads'
) if is_increment() and execute else none -%}
{%- set won_before = adapter.get_relation(
    database=this.database, schema=this.schema, identifier='won_deals'
) if is_increment() and execute else none -%}

with compared as (

    {%- if closed_before is not none %}

    select
        old_closing.closed_us as closed_us_before,
        old_closing.won_us as won_us_before,
        new_closing.closed_us as closed_us_after,
        new_closing.won_us as won_us_after,
        -- a win of a lead that has closed already changes nothing before the win
        old_closing.closed_us = new_closing.closed_us
        and old_closing.lead_source = new_closing.lead_source
        and coalesce(old_closing.rep = new_closing.rep, old_closing.rep is null and new_closing.rep is null)
        and coalesce(old_closing.first_outbound_delay_us, -1) = coalesce(new_closing.first_outbound_delay_us, -1)
            as is_same_closing
    from {{ of_touched_leads(closed_before) }} as old_closing
    full join {{ ref('closed_leads_now') }} as new_closing on old_closing.lead_id = new_closing.lead_id

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

{% if won_before is not none -%}
deals_before as (

    select *
    from {{ of_touched_leads(won_before) }} as last_built

),

deals_after as (

    select *
    from {{ ref('won_deals_now') }}

),

gone as (

    select * from deals_before
    except
    select * from deals_after

),

come as (

    select * from deals_after
    except
    select * from deals_before

),

deals_of_one_alone as (

    select * from gone
    union all
    select * from come

),

{% else -%}
deals_of_one_alone as (

    select *
    from {{ ref('won_deals_now') }}
    where 1 = 0

),

{% endif -%}
changed_from as (

    select
        case
            when not coalesce(is_same_closing, false)
                then least(coalesce(closed_us_before, closed_us_after), coalesce(closed_us_after, closed_us_before))
            when coalesce(won_us_before, -1) <> coalesce(won_us_after, -1)
                then least(coalesce(won_us_before, won_us_after), coalesce(won_us_after, won_us_before))
        end as changed_us
    from compared

    union all

    select won_us as changed_us
    from deals_of_one_alone

)

select cast(min(changed_us) as bigint) as changed_us
from changed_from
