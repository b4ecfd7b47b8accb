"""Which texts of a source become segments."""

from __future__ import annotations

import pandas as pd

from models.declared.registry import DECLARATIONS
from models.declaring.attribute import Attribute
from models.training.segments import telling


def test_filled_texts_with_few_frequent_values_become_segments() -> None:
    rows = 1000
    frame = pd.DataFrame(
        {
            "few": [f"v{row % 12}" for row in range(rows)],
            "few and rare": [f"v{row % 3}" if row % 10 else f"rare {row}" for row in range(rows)],
            "many": [f"v{row % 13}" for row in range(rows)],
            "one": "v",
            "rare": [f"v{row}" for row in range(rows)],
            "mostly rare": [f"v{row % 2}" if row % 2 else f"rare {row}" for row in range(rows)],
            "half": [f"v{row % 2}" if row < 500 else None for row in range(rows)],
            "emptier": [f"v{row % 2}" if row < 499 else None for row in range(rows)],
        }
    )
    assert telling(frame, [*frame.columns, "not there"]) == ["few", "few and rare", "half"]


def test_a_declaration_takes_the_attributes_of_a_source() -> None:
    declaration = DECLARATIONS["conversion"]
    attributes = [
        Attribute(entity="leads", name="industry", label="Industry", kind="category", known="creation"),
        Attribute(
            entity="projects", name="product", label="Product", kind="category", known="extraction", prefix="project"
        ),
        Attribute(entity="leads", name="size", label="Size", kind="number", known="history"),
        Attribute(entity="leads", name="founded", label="Founded", kind="date", known="creation"),
    ]
    found = declaration.with_attributes(attributes)
    assert found.feature_view.further_segments == ("attribute_industry", "project_product")
    shown = declaration.drift.shown_only
    assert found.drift.shown_only == (*shown, "project_product", "attribute_founded_days")
    assert declaration.with_attributes([]) == declaration
