"""The entity lead."""

from __future__ import annotations

from types import MappingProxyType

from models.declaring.entity import Entity

LEAD = Entity(
    name="lead",
    key="lead_id",
    table="staging.stg_leads",
    columns=MappingProxyType({"assigned_to": "current_assigned_to"}),
    split_by="lead_created_at",
    values="intermediate.lead_values",
    facts="intermediate.timeline",
    settles="fact = 'project_closed' or (fact = 'interaction' and outcome in ({closing_outcomes}))",
    settling_statuses="select lead_id, known_us from staging.stg_changes where lead_column = 'lead_status' "
    "and value in ({closing_lead_statuses})",
)
