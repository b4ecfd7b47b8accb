{{ config(materialized='table' if is_increment() else 'view') }}

with closings as (

    select
        closings.lead_id,
        leads.lead_source,
        leads.known_us as created_us,
        -- a fact may be known before its lead, whose source is known only with the lead
        greatest(closings.closed_us, leads.known_us) as closed_us
    from {{ of_touched_leads(ref('lead_closings')) }} as closings
    inner join {{ ref('stg_leads') }} as leads on closings.lead_id = leads.lead_id

),

aggregated as (

    select
        closings.lead_id,
        min(case when facts.fact = 'project_closed' and facts.outcome = 'won' then facts.known_us end) as won_us,
        max(
            case when facts.known_us <= closings.closed_us and {{ names_rep('facts') }} then facts.fact_number end
        ) as rep_fact_number,
        min(
            case
                when
                    facts.known_us <= closings.closed_us and facts.fact = 'interaction' and facts.direction = 'outbound'
                    then facts.occurred_us
            end
        ) as first_outbound_us
    from closings
    inner join {{ ref('timeline') }} as facts on closings.lead_id = facts.lead_id
    group by closings.lead_id

),

closed as (

    select
        closings.lead_id,
        closings.lead_source,
        rep_facts.performed_by as rep,
        closings.closed_us,
        -- a lead that another fact has closed may still be won: until then it counts as closed and not won
        case
            when aggregated.won_us is not null then greatest(aggregated.won_us, closings.closed_us)
        end as won_us,
        {{ delay_us('closings.created_us', 'aggregated.first_outbound_us') }} as first_outbound_delay_us
    from closings
    inner join aggregated on closings.lead_id = aggregated.lead_id
    left join {{ ref('timeline') }} as rep_facts
        on aggregated.lead_id = rep_facts.lead_id
            and aggregated.rep_fact_number = rep_facts.fact_number

)

select * from closed
