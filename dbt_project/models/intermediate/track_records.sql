{%- set prior = var('track_record_prior_leads') -%}
{%- set groups = ['rep', 'source', 'global'] -%}

with rep_facts as (

    select
        observations.lead_id,
        observations.as_of_us,
        max(facts.fact_number) as fact_number
    from {{ ref('observations') }} as observations
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
    from {{ ref('observations') }} as observations
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
        -- what happens at as_of itself is not yet known: at a tie the observation comes first
        1 as tie_rank,
        cast(null as integer) as closed,
        cast(null as integer) as won,
        cast(null as bigint) as first_outbound_delay_us
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
        first_outbound_delay_us
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
        null as first_outbound_delay_us
    from {{ ref('closed_leads') }}
    where won_us is not null

),

running as (

    select
        lead_id,
        as_of_us,
        rep,
        {%- for group in groups %}
        count(closed) over (by_{{ group }} rows unbounded preceding) as {{ group }}_closed,
        count(won) over (by_{{ group }} rows unbounded preceding) as {{ group }}_won,
        count(first_outbound_delay_us) over (by_{{ group }} rows unbounded preceding) as {{ group }}_contacted,
        coalesce(
            sum(first_outbound_delay_us) over (by_{{ group }} rows unbounded preceding), 0
        ) as {{ group }}_delays_us{{ '' if loop.last else ',' }}
        {%- endfor %}
    from moments
    window
        by_rep as (partition by rep order by moment_us, tie_rank),
        by_source as (partition by lead_source order by moment_us, tie_rank),
        by_global as (order by moment_us, tie_rank)

),

-- Of a lead without a rep there is no record, and a lead that has itself closed before as_of is not one of the others.
others as (

    select
        running.lead_id,
        running.as_of_us,
        {%- for group in groups %}
        {%- set counts = 'running.rep is not null' if group == 'rep' else '1 = 1' %}
        {%- set own = 'own.rep = running.rep' if group == 'rep' else 'own.lead_id is not null' %}
        case when {{ counts }} then running.{{ group }}_closed else 0 end
        - case when {{ own }} then 1 else 0 end as {{ group }}_closed,
        case when {{ counts }} then running.{{ group }}_won else 0 end
        - case when {{ own }} and own.won_us < running.as_of_us then 1 else 0 end as {{ group }}_won,
        case when {{ counts }} then running.{{ group }}_contacted else 0 end
        - case when {{ own }} and own.first_outbound_delay_us is not null then 1 else 0 end as {{ group }}_contacted,
        cast(
            case when {{ counts }} then running.{{ group }}_delays_us else 0 end
            - case when {{ own }} then coalesce(own.first_outbound_delay_us, 0) else 0 end as double precision
        ) / {{ hour_us() }} as {{ group }}_hours{{ '' if loop.last else ',' }}
        {%- endfor %}
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

-- A thin record says little: it is as if so many leads more had gone as they go everywhere.
shrunk as (

    select
        lead_id,
        as_of_us,
        {%- for group in ['rep', 'source'] %}
        cast({{ group }}_closed as bigint) as {{ group }}_closed_leads_count_lifetime,
        ({{ group }}_won + {{ prior }} * global_win_rate)
        / nullif({{ group }}_closed + {{ prior }}, 0) as {{ group }}_win_rate_lifetime,
        ({{ group }}_hours + {{ prior }} * global_first_outbound_hours)
        / nullif({{ group }}_contacted + {{ prior }}, 0) as {{ group }}_first_outbound_hours_lifetime{{ '' if loop.last else ',' }}
        {%- endfor %}
    from rates

)

select * from shrunk
