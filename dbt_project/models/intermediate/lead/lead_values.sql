-- The worth of each lead of a census (that of the clock, and those that are asked for), by the projects and the
-- property value that were known then. Each amount counts from when it became known.
with census as (

    select
        lead_id,
        as_of,
        as_of_us
    from {{ ref('observations') }}
    where observation_kind in ('clock', 'asked')

),

-- The latest of several open proposals counts.
open_projects as (

    select
        census.lead_id,
        census.as_of_us,
        history.value,
        row_number() over (
            partition by census.lead_id, census.as_of_us order by proposed.fact_number desc nulls last
        ) as recency_rank
    from census
    inner join {{ ref('timeline') }} as proposed
        on census.lead_id = proposed.lead_id
            and proposed.known_us < census.as_of_us
    inner join {{ ref('deal_history') }} as history
        on proposed.reference_id = history.project_id
            and history.known_us < census.as_of_us
            and (history.until_us is null or history.until_us >= census.as_of_us)
    where
        proposed.fact = 'project_proposed'
        and history.value is not null
        and (proposed.closed_us is null or proposed.closed_us >= census.as_of_us)

),

clocks as (

    select distinct as_of_us
    from census

),

won_values as (

    select
        clocks.as_of_us,
        -- the discrete median is a value that was really won, the same on every engine
        percentile_disc(0.5) within group (order by history.value) as median_won_value
    from clocks
    inner join {{ ref('timeline') }} as facts on clocks.as_of_us > facts.known_us
    inner join {{ ref('deal_history') }} as history
        on facts.reference_id = history.project_id
            and history.known_us < clocks.as_of_us
            and (history.until_us is null or history.until_us >= clocks.as_of_us)
    where facts.fact = 'project_closed' and facts.outcome = 'won' and history.value is not null
    group by clocks.as_of_us

),

valued as (

    select
        census.lead_id,
        census.as_of,
        cast(
            coalesce(open_projects.value, history.property_value, won_values.median_won_value) as decimal(18, 2)
        ) as value,
        case
            when open_projects.value is not null then 'open_project'
            when history.property_value is not null then 'property_value'
            when won_values.median_won_value is not null then 'median_won_value'
            else 'unknown'
        end as value_source
    from census
    left join open_projects
        on census.lead_id = open_projects.lead_id
            and census.as_of_us = open_projects.as_of_us
            and open_projects.recency_rank = 1
    left join {{ ref('lead_history') }} as history
        on census.lead_id = history.lead_id
            and history.known_us < census.as_of_us
            and (history.until_us is null or history.until_us >= census.as_of_us)
    left join won_values on census.as_of_us = won_values.as_of_us

)

select * from valued
