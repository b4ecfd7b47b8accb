{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

with facts as (

    select
        lead_id,
        'lead_created' as fact,
        lead_id as reference_id,
        cast(null as text) as interaction_type,
        cast(null as text) as direction,
        cast(null as text) as performed_by,
        cast(null as text) as outcome,
        cast(null as bigint) as interaction_us,
        cast(null as bigint) as closed_us,
        known_us as occurred_us,
        known_us
    from {{ of_touched_leads(ref('stg_leads')) }} as staged

    union all

    -- an interaction may be with a customer alone
    select
        lead_id,
        'interaction' as fact,
        interaction_id as reference_id,
        interaction_type,
        direction,
        performed_by,
        outcome,
        null as interaction_us,
        null as closed_us,
        occurred_us,
        known_us
    from {{ of_touched_leads(ref('stg_interactions')) }} as staged
    where lead_id is not null

    union all

    -- an e-mail is sent at one time and opened at another: each is a fact of its own
    select
        lead_id,
        'opened' as fact,
        interaction_id as reference_id,
        interaction_type,
        direction,
        null as performed_by,
        null as outcome,
        occurred_us as interaction_us,
        null as closed_us,
        opened_us as occurred_us,
        greatest(opened_us, known_us) as known_us
    from {{ of_touched_leads(ref('stg_interactions')) }} as staged
    where lead_id is not null and opened_us is not null

    union all

    select
        lead_id,
        'responded' as fact,
        interaction_id as reference_id,
        interaction_type,
        direction,
        null as performed_by,
        null as outcome,
        occurred_us as interaction_us,
        null as closed_us,
        responded_us as occurred_us,
        greatest(responded_us, known_us) as known_us
    from {{ of_touched_leads(ref('stg_interactions')) }} as staged
    where lead_id is not null and responded_us is not null

    union all

    select
        lead_id,
        'appointment_booked' as fact,
        appointment_id as reference_id,
        null as interaction_type,
        null as direction,
        null as performed_by,
        null as outcome,
        null as interaction_us,
        null as closed_us,
        booked_us as occurred_us,
        booked_us as known_us
    from {{ of_touched_leads(ref('stg_appointments')) }} as staged

    union all

    select
        lead_id,
        'appointment_ended' as fact,
        appointment_id as reference_id,
        null as interaction_type,
        null as direction,
        null as performed_by,
        final_status as outcome,
        null as interaction_us,
        null as closed_us,
        ended_us as occurred_us,
        greatest(ended_us, booked_us) as known_us
    from {{ of_touched_leads(ref('stg_appointments')) }} as staged
    where ended_us is not null

    union all

    select
        lead_id,
        'project_proposed' as fact,
        project_id as reference_id,
        null as interaction_type,
        null as direction,
        null as performed_by,
        null as outcome,
        null as interaction_us,
        -- lies after the fact: compare it with as_of before any use
        case when closed_us is not null then greatest(closed_us, proposed_us) end as closed_us,
        proposed_us as occurred_us,
        proposed_us as known_us
    from {{ of_touched_leads(ref('stg_projects')) }} as staged

    union all

    select
        lead_id,
        'project_closed' as fact,
        project_id as reference_id,
        null as interaction_type,
        null as direction,
        null as performed_by,
        final_status as outcome,
        null as interaction_us,
        null as closed_us,
        closed_us as occurred_us,
        greatest(closed_us, proposed_us) as known_us
    from {{ of_touched_leads(ref('stg_projects')) }} as staged
    where closed_us is not null

),

-- A total order of a lead's facts: "the last fact" is the same row on every engine, even if times tie.
numbered as (

    select
        *,
        row_number() over in_order as fact_number,
        -- counted once here: the number of questions since some fact is the difference of two of these counts
        count(case when fact = 'interaction' and {{ is_question() }} then 1 end) over (
            in_order rows unbounded preceding
        ) as questions_so_far,
        case
            when {{ is_contact() }} then max(case when {{ is_contact() }} then known_us end) over (
                    in_order rows between unbounded preceding and 1 preceding
                )
        end as previous_contact_us,
        -- lies after the fact: compare it with as_of before any use
        lead(known_us) over in_order as next_known_us
    from facts
    window in_order as (
        partition by lead_id
        order by known_us, occurred_us, {{ byte_order('fact') }}, {{ byte_order('reference_id') }}
    )

)

select * from numbered
