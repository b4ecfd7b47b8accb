{{ config(materialized='view') }}

-- Every second Monday, midnight UTC, from 1970 on and up to the clock, since the first customer was known.
with numbers as (

    select high.digit * 256 + middle.digit * 16 + low.digit as number
    from {% for place in ['high', 'middle', 'low'] -%}
    (values {% for digit in range(16) %}({{ digit }}){{ ', ' if not loop.last }}{% endfor %}) as {{ place }} (digit)
    {%- if not loop.last %}
    cross join {% endif %}
    {%- endfor %}

),

first_known as (

    select min(known_us) as known_us
    from {{ ref('stg_customers') }}

),

moments as (

    -- 1970-01-05 was a Monday
    select cast(4 + number * 14 as bigint) * {{ day_us() }} as as_of_us
    from numbers

),

grid as (

    select moments.as_of_us
    from moments
    inner join first_known on moments.as_of_us > first_known.known_us
    where moments.as_of_us <= {{ clock_us() }}

)

select * from grid
