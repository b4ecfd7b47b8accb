{{ config(materialized='table') }}

{%- set built = var('built_load_number') or 0 -%}
{%- set built_us = var('built_us') or 0 -%}
{#- Called outside of the condition, so that dbt sees the dependencies in every build. -#}
{%- set customers, raw_customers = ref('stg_customers'), source('raw', 'customers') -%}
{#- Staged table, raw table, key, first moment of a row, its other moments, and the kinds of its facts. -#}
{%- set rows = [
    (ref('stg_transactions'), source('raw', 'transactions'), 'transaction_id', 'known_us', [],
        ['purchase', 'refund', 'payment', 'chargeback']),
    (ref('stg_interactions'), source('raw', 'interactions'), 'interaction_id', 'known_us', ['opened_us', 'responded_us'],
        ['interaction', 'opened', 'responded']),
    (ref('stg_tickets'), source('raw', 'tickets'), 'ticket_id', 'opened_us', ['resolved_us'],
        ['ticket_opened', 'ticket_resolved']),
    (ref('stg_offers'), source('raw', 'offers'), 'offer_id', 'offered_us', ['accepted_us'],
        ['offer_made', 'offer_accepted']),
    (ref('stg_changes'), source('raw', 'changes'), 'change_id', 'known_us', [], []),
] -%}
{%- set usage_rows = [
    (ref('stg_usage'), source('raw', 'usage'), 'usage_id', 'known_us', [], ['usage']),
] -%}
{#- Tables of the last build: this model runs before they are updated. -#}
{%- set is_there = is_increment() and execute -%}
{%- set facts_before = adapter.get_relation(
    database=this.database, schema='intermediate', identifier='customer_timeline'
) if is_there else none -%}
{%- set usage_before = adapter.get_relation(
    database=this.database, schema='intermediate', identifier='customer_usage'
) if is_there else none -%}
{%- set as_described = '0' if facts_before is none
    else 'case when described.customer_id is null then 0 else ' ~ built_us ~ ' end' -%}

-- Customers with rows that may differ from the last build, and the moment from which on they may.
with {% if facts_before is not none -%}
described_before as (

    select
        customer_id,
        max(case when fact = 'customer_created' then known_us end) as row_us,
        max(case when fact = 'customer_closed' then known_us end) as closed_us
    from {{ facts_before }}
    where fact in ('customer_created', 'customer_closed')
    group by customer_id

),

{% endif -%}
changes as (

    {%- if is_increment() %}

    -- features read only these of a customer row: if they are unchanged, so are the features
    select
        staged.customer_id,
        {{ as_described }} as changed_us
    from {{ customers }} as staged
    inner join {{ raw_customers }} as extracted on staged.customer_id = extracted.customer_id
    {%- if facts_before is not none %}
    left join described_before as described
        on staged.customer_id = described.customer_id
            and staged.row_us = described.row_us
            and staged.closed_us is not distinct from described.closed_us
    {%- endif %}
    where extracted.load_number > {{ built }}

    union all

    select
        customer_id,
        {{ built_us }} as changed_us
    from {{ customers }}
    where known_us >= {{ built_us }} or closed_us >= {{ built_us }}
    {{- changed_rows('customer', rows, facts_before) }}
    {{- changed_rows('customer', usage_rows, usage_before) }}

    {%- else %}

    -- a whole build computes all customers, so no model reads this table
    select
        customer_id,
        0 as changed_us
    from {{ customers }}
    where 1 = 0

    {%- endif %}

)

select
    customer_id,
    cast(min(changed_us) as bigint) as changed_us
from changes
-- interactions and changes may be of a lead
where customer_id is not null
group by customer_id
