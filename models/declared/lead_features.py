"""The feature view of leads."""

from __future__ import annotations

from types import MappingProxyType

from models.declaring.columns import AS_OF
from models.declaring.declaration import RowWeight
from models.declaring.feature_view import FeatureView

LEAD_FEATURES = FeatureView(
    name="lead_features",
    schema="features",
    entity="lead",
    key="lead_id",
    created="lead_created_at",
    not_features=("lead_id", AS_OF, "observation_kind", "lead_created_at", "assigned_to"),
    dropped=(
        "facts_count_7d",
        "internal_count_7d",
        "outbound_calls_count_7d",
        "facts_count_30d",
        "web_visits_count_30d",
        "internal_count_30d",
        "facts_count_90d",
        "sms_count_90d",
        "meetings_count_90d",
        "web_visits_count_90d",
        "proposal_messages_count_90d",
        "internal_count_90d",
        "outbound_calls_count_90d",
        "inbound_calls_count_90d",
        "inbound_emails_count_90d",
        "facts_count_lifetime",
        "sms_count_lifetime",
        "web_visits_count_lifetime",
        "internal_count_lifetime",
        "outbound_calls_count_lifetime",
        "days_since_oldest_open_proposal",
        "proposals_count_lifetime",
        "open_proposals_count",
        "days_since_last_status_change",
        "days_since_last_owner_change",
        "rep_closed_leads_count_lifetime",
        "rep_win_rate_lifetime",
        "rep_first_outbound_hours_lifetime",
        "source_closed_leads_count_lifetime",
        "source_win_rate_lifetime",
        "source_first_outbound_hours_lifetime",
        "urgency_score",
    ),
    segments=("lead_source", "property_value_tier", "assigned_to"),
    segment_notes=("The rep (assigned_to) is the one of today: the CRM overwrites it, and no model learns from it.",),
    entity_table="staging.stg_leads",
    entity_columns=MappingProxyType({"assigned_to": "current_assigned_to"}),
    bands=MappingProxyType(
        {
            "days_since_last_fact": (7, 28, 56, 112),
            "lead_age_days": (28, 90, 180, 360),
            "lead_source": (),
        }
    ),
    silence="days_since_last_fact",
    ranges=(
        "lead_age_days",
        "days_since_last_fact",
        "property_value",
        "lead_source",
        "property_value_tier",
        "zip_prefix",
    ),
    value_table="intermediate.lead_values",
    facts="intermediate.timeline",
    settles="fact = 'project_closed' or (fact = 'interaction' and outcome in ({closing_outcomes}))",
    settling_statuses="select lead_id, known_us from staging.stg_changes where lead_column = 'lead_status' "
    "and value in ({closing_lead_statuses})",
)

SILENCE = RowWeight(column="days_since_last_fact", at_least=7)
"""Weighs a row of leads by how long it stands for: the next midnight at which a silent lead is observed lies about as
many days ahead as it has been silent. Without it the rows of long silence, which are few, hardly count, though most
open leads of a census are silent."""

SEASONAL = ("lead_age_days", "as_of_weekday", "is_weekend", "hour_of_first_contact")
"""Features of leads that move with the calendar and with how many leads came when."""

OWN_HISTORY = (
    "status_as_of",
    "days_since_last_status_change",
    "status_changes_count_lifetime",
    "days_since_last_owner_change",
    "owner_changes_count_lifetime",
    "property_value_rises_count_lifetime",
    "property_value_cuts_count_lifetime",
    "property_value_change_rate",
)
"""Features of leads that fill up from the first extraction on, where the CRM keeps no history of what it overwrites."""
