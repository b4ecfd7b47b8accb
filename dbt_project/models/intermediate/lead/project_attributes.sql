{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget('lead_id in (select lead_id from ' ~ ref('touched_leads') ~ ')') }}"
    )
}}

-- A project may move to another lead, and its changes with it.
with told as (

    select
        projects.lead_id,
        projects.project_id,
        staged.project_column as attribute_name,
        staged.change_id,
        staged.value,
        staged.known_us
    from {{ ref('stg_changes') }} as staged
    inner join {{ of_touched_leads(ref('stg_projects')) }} as projects on staged.project_id = projects.project_id

),

{{ attributes_by_moment(attributes_of('projects'), 'lead_id, project_id') }}

select * from attributes_held
