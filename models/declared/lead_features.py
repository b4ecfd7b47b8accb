"""The feature view of leads."""

from __future__ import annotations

from types import MappingProxyType

from models.declared.lead import LEAD
from models.declaring.declaration import RowWeight
from models.declaring.feature_view import described_view

LEAD_FEATURES = described_view(
    "lead_features",
    LEAD,
    segments=("lead_source", "property_value_tier", "assigned_to"),
    segment_notes=("The rep (assigned_to) is the one of today: the CRM overwrites it, and no model learns from it.",),
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
    attributes=("leads", "projects"),
    by_day=("observations_due", "track_records", "open_deals", "lead_features"),
)

SILENCE = RowWeight(column="days_since_last_fact", at_least=7)
"""The weight of a row of a lead: the days for which it stands. A silent lead is next observed after about as many days
as it has been silent. Without this weight the few rows of long silence would hardly count, though most open leads of a
census are silent."""
