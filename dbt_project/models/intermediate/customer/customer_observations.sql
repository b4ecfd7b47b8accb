{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget(is_due('customer_observations', 'customer_observations.as_of_us', entity='customer')) }}"
    )
}}

-- All customers are observed at the same moments, bought they or not: so the rows of a moment are distributed as those
-- that are scored at a clock.
with moments as (

    select
        customers.customer_id,
        grid.as_of_us,
        1 as kind_rank
    from {{ ref('stg_customers') }} as customers
    inner join {{ ref('customer_grid') }} as grid on customers.known_us < grid.as_of_us

    union all

    select
        customer_id,
        {{ clock_us() }} as as_of_us,
        0 as kind_rank
    from {{ ref('stg_customers') }}
    where known_us < {{ clock_us() }}

),

-- Facts of as_of itself are not yet known, so a customer that closes at as_of is open.
open_moments as (

    select
        moments.customer_id,
        moments.as_of_us,
        min(moments.kind_rank) as kind_rank
    from moments
    left join {{ ref('customer_closings') }} as closings on moments.customer_id = closings.customer_id
    where closings.closed_us is null or moments.as_of_us <= closings.closed_us
    group by moments.customer_id, moments.as_of_us

),

described as (

    select
        open_moments.customer_id,
        {{ timestamp_from_us('open_moments.as_of_us') }} as as_of,
        cast(open_moments.as_of_us as bigint) as as_of_us,
        case open_moments.kind_rank when 0 then 'clock' else 'grid' end as observation_kind,
        customers.created_at as customer_created_at
    from open_moments
    inner join {{ ref('stg_customers') }} as customers on open_moments.customer_id = customers.customer_id

),

due as (

    select *
    from described
    where {{ is_due('described', 'described.as_of_us', entity='customer') }}

)

select * from due
