{%- set prior = var('track_record_prior_leads') -%}
{#- Group, the condition of the closed leads that count in it, and the column that all leads of one group share. -#}
{%- set groups = [
    ('rep', 'rep is not null', 'rep'), ('source', '1 = 1', 'lead_source'), ('global', '1 = 1', 'lead_id'),
] -%}

with rep_facts as (

    select
        observations.lead_id,
        observations.as_of_us,
        max(facts.fact_number) as fact_number
    from {{ ref('observations_due') }} as observations
    inner join {{ ref('timeline') }} as facts
        on observations.lead_id = facts.lead_id
            and facts.known_us < observations.as_of_us
    where {{ names_rep('facts') }}
    group by observations.lead_id, observations.as_of_us

),

observed as (

    select
        observations.lead_id,
        observations.as_of_us,
        facts.performed_by as rep,
        leads.lead_source
    from {{ ref('observations_due') }} as observations
    inner join {{ ref('stg_leads') }} as leads on observations.lead_id = leads.lead_id
    left join rep_facts
        on observations.lead_id = rep_facts.lead_id
            and observations.as_of_us = rep_facts.as_of_us
    left join {{ ref('timeline') }} as facts
        on rep_facts.lead_id = facts.lead_id
            and rep_facts.fact_number = facts.fact_number

),

moments as (

    select
        lead_id,
        as_of_us,
        rep,
        lead_source,
        as_of_us as moment_us,
        -- events at as_of itself are not yet known: at a tie the observation comes first
        1 as tie_rank,
        cast(null as integer) as closed,
        cast(null as integer) as won,
        cast(null as bigint) as delay_us
    from observed

    union all

    select
        null as lead_id,
        null as as_of_us,
        rep,
        lead_source,
        closed_us as moment_us,
        2 as tie_rank,
        1 as closed,
        null as won,
        first_outbound_delay_us as delay_us
    from {{ ref('closed_leads') }}

    union all

    select
        null as lead_id,
        null as as_of_us,
        rep,
        lead_source,
        won_us as moment_us,
        2 as tie_rank,
        null as closed,
        1 as won,
        null as delay_us
    from {{ ref('closed_leads') }}
    where won_us is not null

),

running as (

    select
        lead_id,
        as_of_us,
        rep,
        lead_source,
        {%- for group, condition, _ in groups %}
        count(case when {{ condition }} then closed end) over (by_{{ group }} rows unbounded preceding) as {{ group }}_closed,
        count(case when {{ condition }} then won end) over (by_{{ group }} rows unbounded preceding) as {{ group }}_won,
        count(case when {{ condition }} then delay_us end) over (by_{{ group }} rows unbounded preceding) as {{ group }}_contacted,
        sum(case when {{ condition }} then delay_us end) over (by_{{ group }} rows unbounded preceding) as {{ group }}_delays_us,
        {%- endfor %}
        moment_us
    from moments
    window
        by_rep as (partition by rep order by moment_us, tie_rank),
        by_source as (partition by lead_source order by moment_us, tie_rank),
        by_global as (order by moment_us, tie_rank)

),

-- The lead itself does not count, where it has closed before as_of.
others as (

    select
        running.lead_id,
        running.as_of_us,
        {%- for group, _, key in groups %}
        running.{{ group }}_closed - case when own.{{ key }} = running.{{ key }} then 1 else 0 end as {{ group }}_closed,
        running.{{ group }}_won
        - case when own.{{ key }} = running.{{ key }} and own.won_us < running.as_of_us then 1 else 0 end as {{ group }}_won,
        running.{{ group }}_contacted
        - case
            when own.{{ key }} = running.{{ key }} and own.first_outbound_delay_us is not null then 1 else 0
        end as {{ group }}_contacted,
        cast(
            coalesce(running.{{ group }}_delays_us, 0)
            - coalesce(case when own.{{ key }} = running.{{ key }} then own.first_outbound_delay_us end, 0) as double precision
        ) / {{ hour_us() }} as {{ group }}_hours,
        {%- endfor %}
        own.closed_us
    from running
    left join {{ ref('closed_leads') }} as own
        on running.lead_id = own.lead_id
            and own.closed_us < running.as_of_us
    where running.lead_id is not null

),

rates as (

    select
        *,
        {{ share('global_won', 'global_closed') }} as global_win_rate,
        {{ share('global_hours', 'global_contacted') }} as global_first_outbound_hours
    from others

),

-- A record of few leads says little, so leads with the average of all others are added to each.
shrunk as (

    select
        lead_id,
        as_of_us,
        rep_closed as rep_closed_leads_count_lifetime,
        (rep_won + {{ prior }} * global_win_rate) / nullif(rep_closed + {{ prior }}, 0) as rep_win_rate_lifetime,
        (rep_hours + {{ prior }} * global_first_outbound_hours)
        / nullif(rep_contacted + {{ prior }}, 0) as rep_first_outbound_hours_lifetime,
        source_closed as source_closed_leads_count_lifetime,
        (source_won + {{ prior }} * global_win_rate) / nullif(source_closed + {{ prior }}, 0) as source_win_rate_lifetime,
        (source_hours + {{ prior }} * global_first_outbound_hours)
        / nullif(source_contacted + {{ prior }}, 0) as source_first_outbound_hours_lifetime
    from rates

)

select * from shrunk
