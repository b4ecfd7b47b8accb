"""The features of each view as the dbt project declares them."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tests.dbt.warehouses import DBT_PROJECT

VIEWS = ("lead_features", "customer_features")


@cache
def columns(view: str) -> list[dict[str, Any]]:
    """Return the entries of the features in the yml of a view, in order."""
    (path,) = (DBT_PROJECT / "models/features").rglob(f"{view}.yml")
    (model,) = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    return [column for column in model["columns"] if "group" in column.get("meta", {})]
