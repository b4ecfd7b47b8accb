"""A plain CRM, as a company builds it in a database of its own: no keys but that of leads, and flags without times."""

from simulation.shapes.shape import Shape

PLAIN = Shape(
    name="plain",
    tables={
        "leads": "select lead_id as id, source, status, created_at, assigned_to from leads order by id",
        "interactions": """
            select
                lead_id,
                type,
                occurred_at as timestamp,
                outcome,
                direction,
                opened_at is not null as opened,
                responded_at is not null as response_received
            from interactions order by occurred_at, interaction_id
        """,
        "appointments": """
            select
                lead_id,
                scheduled_at,
                status = 'completed' as completed,
                case when status <> 'completed' then status end as result
            from appointments order by booked_at, appointment_id
        """,
        "projects": "select lead_id, value, status, closed_at from projects order by proposed_at, project_id",
    },
    mapping="name: simulated_plain\nbased_on: plain\ncloses: {outcomes: [not_interested]}\n",
)
