{{ config(materialized='view') }}

-- Every second Monday, midnight UTC, from 1970 on and up to the clock, since the first customer was known.
with digits as (

    select listed.digit
    from (values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) as listed (digit)

),

numbers as (

    select thousands.digit * 1000 + hundreds.digit * 100 + tens.digit * 10 + ones.digit as number
    from digits as thousands
    cross join digits as hundreds
    cross join digits as tens
    cross join digits as ones

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
