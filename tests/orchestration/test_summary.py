"""What the summary says of a home, where no other test runs into it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from assets.environment import settings
from assets.warehouse import Extraction
from orchestration.summary import overridden

EXTRACTION = Extraction(
    as_of=datetime(2026, 1, 1, tzinfo=UTC), load_number=1, source="crm", mapping="mine", closing_outcomes=[],
    silence_closes_after_days=None, horizon_days={"conversion": 30}, assumptions=[],
)  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"LEADLINE_CONVERSION_HORIZON_DAYS": "90"},
         ["note       HORIZON=90 replaces the horizon of 30 days that mapping mine has for conversion."]),
        ({"LEADLINE_CONVERSION_HORIZON_DAYS": "30"}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_a_setting_that_replaces_the_mappings_horizon_is_said(setting: dict[str, str], said: list[str]) -> None:
    """A mapping's entry that has no effect is never silent."""
    assert overridden(settings(setting), EXTRACTION) == said
    assert overridden(settings(setting), replace(EXTRACTION, horizon_days={})) == []
