{#- The distances from as_of, in days, at which usage is counted. -#}
{%- set distances = [0, 7, 30, 60, 90, 180] -%}
{%- set counted = ['logins', 'uses', 'quantity'] -%}

-- What had been used until each observation and some days before: a window is the difference of two of these totals. So
-- the cost does not grow with observations times usage.
with users as (

    select distinct customer_id
    from {{ ref('customer_usage') }}

),

moments as (

    select
        observations.customer_id,
        observations.as_of_us,
        distances.distance,
        observations.as_of_us - distances.distance * {{ day_us() }} as moment_us,
        -- facts at a moment itself are not yet known: at a tie the observation comes first
        1 as tie_rank,
        cast(null as integer) as is_login,
        cast(null as decimal(18, 2)) as quantity,
        cast(null as bigint) as known_us
    from {{ ref('customer_observations_due') }} as observations
    inner join users on observations.customer_id = users.customer_id
    cross join (
        values {% for days in distances %}
        ({{ days }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as distances (distance)

    union all

    select
        customer_id,
        null as as_of_us,
        null as distance,
        known_us as moment_us,
        2 as tie_rank,
        is_login,
        quantity,
        known_us
    from {{ ref('customer_usage') }}

),

running as (

    select
        customer_id,
        as_of_us,
        distance,
        cast(sum(is_login) over so_far as bigint) as logins,
        cast(sum(1 - is_login) over so_far as bigint) as uses,
        cast(sum(quantity) over so_far as decimal(18, 2)) as quantity,
        max(case when is_login = 1 then known_us end) over so_far as last_login_us,
        min(known_us) over so_far as first_us
    from moments
    window so_far as (partition by customer_id order by moment_us, tie_rank rows unbounded preceding)

),

totals as (

    select
        customer_id,
        as_of_us,
        {%- for days in distances %}
        {%- for name in counted %}
        coalesce(max(case when distance = {{ days }} then {{ name }} end), 0) as {{ name }}_until_{{ days }},
        {%- endfor %}
        {%- endfor %}
        max(last_login_us) as last_login_us,
        max(first_us) as first_us
    from running
    where as_of_us is not null
    group by customer_id, as_of_us

)

select * from totals
