"""Names in the ledgers of earlier releases, in which every entity was a lead."""

from __future__ import annotations

ENTITY = "lead"

COLUMNS = {
    "ml_predictions": {"lead_id": "entity_id", "outcome": "target", "probability": "value"},
    "ml_scoring_logs": {"open_leads": "open_entities"},
}
"""By table: the present name of each column by its earlier name."""
