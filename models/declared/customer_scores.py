"""The published table of the scores of customers."""

from __future__ import annotations

from types import MappingProxyType

from models.declared.customer import CUSTOMER
from models.declaring.scored_table import ScoreColumns, ScoredTable

CUSTOMER_SCORES = ScoredTable(
    entity=CUSTOMER,
    name="customer_scores",
    history="customer_score_history",
    models=MappingProxyType(
        {
            name: ScoreColumns(
                score=f"{name}_probability", version=f"{name}_model_version", reason=f"{name}_unscored_reason"
            )
            for name in ("churn_30d", "churn_60d")
        }
    ),
    out_of_scope="inactive",
    counted=MappingProxyType({"risk": "risk"}),
    counted_in_order=MappingProxyType({"grades": "grade"}),
    previewed=("grade", "risk", "churn_30d_probability", "churn_60d_probability", "rfm_segment", "total_spent"),
    first="churn_60d_probability",
)
