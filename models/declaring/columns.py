"""Names of the columns that every observation and every label has, and the kinds of features."""

from __future__ import annotations

from typing import Literal

AS_OF = "as_of"

SUCCEEDED_AT = "succeeded_at"

VALUE = "value"
"""Column of `Entity.values`: what an entity was worth at ``as_of``, as far as was known then."""

LABEL_MODEL_COLUMNS = (SUCCEEDED_AT, "matures_at", "horizon_days")
"""Columns that a label model may carry beside its outcome. They tell the future, so none of them is ever a feature."""

Kind = Literal["number", "text"]
