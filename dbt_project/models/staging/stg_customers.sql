with source as (

    select * from {{ source('raw', 'customers') }}

),

-- The plan is overwritten: customer_history has it as it was.
clocked as (

    select
        customer_id,
        lead_id,
        plan as current_plan,
        {{ epoch_us('created_at') }} as known_us,
        {{ epoch_us('closed_at') }} as closed_us
    from source

),

first_transactions as (

    select
        customer_id,
        min(known_us) as known_us
    from {{ ref('stg_transactions') }}
    group by customer_id

),

-- A customer begins with its row or with its first transaction, whichever was known first; it may have no row.
begun as (

    select
        coalesce(clocked.customer_id, first_transactions.customer_id) as customer_id,
        clocked.lead_id,
        clocked.current_plan,
        clocked.known_us as row_us,
        clocked.closed_us as row_closed_us,
        least(
            coalesce(clocked.known_us, first_transactions.known_us), coalesce(first_transactions.known_us, clocked.known_us)
        ) as known_us
    from clocked
    full join first_transactions on clocked.customer_id = first_transactions.customer_id

),

described as (

    select
        customer_id,
        lead_id,
        {{ timestamp_from_us('known_us') }} as created_at,
        current_plan,
        known_us,
        row_us,
        case when row_closed_us is not null then greatest(row_closed_us, row_us) end as closed_us
    from begun

)

select * from described
