"""The feature view of customers."""

from __future__ import annotations

from types import MappingProxyType

from models.declared.customer import CUSTOMER
from models.declaring.feature_view import described_view

CUSTOMER_FEATURES = described_view(
    "customer_features",
    CUSTOMER,
    segments=("rfm_segment", "is_high_value", "plan_as_of"),
    bands=MappingProxyType(
        {
            "days_since_last_purchase": (7, 28, 56, 90),
            "tenure_days": (90, 180, 360, 720),
            "rfm_segment": (),
        }
    ),
    silence="days_since_last_purchase",
    ranges=("tenure_days", "days_since_last_purchase", "total_spent", "total_purchases", "last_channel"),
    attributes=("customers",),
    by_day=("customer_observations_due", "customer_usage_totals", "customer_features"),
)
