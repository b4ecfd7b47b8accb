{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget(is_due('observations', 'observations.as_of_us')) }}"
    )
}}

with activity as (

    select
        lead_id,
        {{ next_midnight_us('known_us') }} as as_of_us,
        1 as kind_rank
    from {{ ref('timeline') }}
    {%- if is_increment() %}
    where
        known_us >= {{ var('built_us') }} - {{ day_us() }}
        or lead_id in (select touched.lead_id from {{ ref('touched_leads') }} as touched)
    {%- endif %}

),

weekly_grid as (

    select
        leads.lead_id,
        {{ next_midnight_us('leads.known_us') }} + weeks.week * 7 * {{ day_us() }} as as_of_us,
        2 as kind_rank
    from {{ ref('stg_leads') }} as leads
    cross join (values (1), (2), (3), (4), (5), (6), (7), (8)) as weeks (week)

),

-- Facts after which nothing more became known for a week or longer, perhaps until the clock.
silences as (

    select
        lead_id,
        {{ next_midnight_us('known_us') }} as since_us,
        coalesce(next_known_us, {{ clock_us() }}) as until_us
    from {{ ref('timeline') }}
    where coalesce(next_known_us, {{ clock_us() }}) - known_us > 7 * {{ day_us() }}

),

silence_moments as (

    select
        silences.lead_id,
        silences.since_us + lengths.days * {{ day_us() }} as as_of_us,
        silences.until_us
    from silences
    -- each length is twice the one before; the last is longer than the time since 1970, where the contract begins
    cross join (
        values (7), (14), (28), (56), (112), (224), (448), (896), (1792), (3584), (7168), (14336), (28672)
    ) as lengths (days)

),

silence_grid as (

    select
        lead_id,
        as_of_us,
        3 as kind_rank
    from silence_moments
    where as_of_us <= until_us
    {%- if is_increment() %}
    -- earlier midnights of untouched leads are there already
    and (
        as_of_us >= {{ var('built_us') }}
        or lead_id in (select touched.lead_id from {{ ref('touched_leads') }} as touched)
    )
    {%- endif %}

),

clock as (

    select
        lead_id,
        {{ clock_us() }} as as_of_us,
        0 as kind_rank
    from {{ ref('stg_leads') }}

),

moments as (

    select * from activity
    union all
    select * from weekly_grid
    union all
    select * from silence_grid
    union all
    select * from clock

),

-- All kinds end when the lead closes. Facts of as_of itself are not yet known, so a lead that closes at as_of is open.
open_moments as (

    select
        moments.lead_id,
        moments.as_of_us,
        min(moments.kind_rank) as kind_rank
    from moments
    left join {{ ref('lead_closings') }} as closings on moments.lead_id = closings.lead_id
    where
        moments.as_of_us <= {{ clock_us() }}
        and (closings.closed_us is null or moments.as_of_us <= closings.closed_us)
    group by moments.lead_id, moments.as_of_us

),

described as (

    select
        open_moments.lead_id,
        {{ timestamp_from_us('open_moments.as_of_us') }} as as_of,
        cast(open_moments.as_of_us as bigint) as as_of_us,
        case open_moments.kind_rank
            when 0 then 'clock' when 1 then 'activity' when 2 then 'heartbeat' else 'silence'
        end as observation_kind,
        leads.created_at as lead_created_at
    from open_moments
    inner join {{ ref('stg_leads') }} as leads on open_moments.lead_id = leads.lead_id
    -- a lead has observations only after its creation
    where leads.known_us < open_moments.as_of_us

),

due as (

    select *
    from described
    where {{ is_due('described', 'described.as_of_us') }}

)

select * from due
