"""The published table of the scores of leads."""

from __future__ import annotations

from types import MappingProxyType

from models.declared.lead import LEAD
from models.declaring.scored_table import ScoreColumns, ScoredTable

LEAD_SCORES = ScoredTable(
    entity=LEAD,
    name="lead_scores",
    history="lead_score_history",
    models=MappingProxyType(
        {
            "conversion": ScoreColumns(
                score="conversion_probability",
                version="conversion_model_version",
                reason="conversion_unscored_reason",
            ),
            "next_best_action": ScoreColumns(
                score="action_confidence", version="action_model_version", reason="action_unscored_reason"
            ),
        }
    ),
    further_versions=MappingProxyType({"deal_value": "value_model_version"}),
    total="expected_value",
    total_words="expected value",
    counted=MappingProxyType({"actions": "next_best_action"}),
    counted_in_order=MappingProxyType({"grades": "grade"}),
    previewed=("grade", "conversion_probability", "expected_value", "next_best_action", "current_assigned_to"),
)
