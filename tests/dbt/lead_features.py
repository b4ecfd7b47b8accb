"""The features of leads as the dbt project declares them."""

from __future__ import annotations

from typing import Any

import yaml

from tests.dbt.warehouses import DBT_PROJECT

NOT_FEATURES = {"lead_id", "as_of", "observation_kind", "lead_created_at"}


def columns() -> list[dict[str, Any]]:
    """Return the entries of the features in ``lead_features.yml``, in order."""
    declared = yaml.safe_load((DBT_PROJECT / "models/features/lead/lead_features.yml").read_text(encoding="utf-8"))
    (model,) = declared["models"]
    return [column for column in model["columns"] if column["name"] not in NOT_FEATURES]
