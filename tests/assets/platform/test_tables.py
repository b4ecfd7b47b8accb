"""Tables among metadata: what a person reads in a cell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from assets.platform.tables import MOST_CHARACTERS, metadata_table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (7, "7"),
        (True, "True"),
        (0.123456, "0.123"),
        (Decimal("12345.67"), "12,346"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02 03:04 UTC"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02 01:04 UTC"),
        # the UI shows text as text: nothing of it is read as markup
        ("<b>[a](b)</b>\nc\u202e", "<b>[a](b)</b> c\ufffd"),
        ("x" * 5_000, "x" * MOST_CHARACTERS + "…"),
    ],
)
def test_a_value_is_shown_as_a_person_reads_it(value: object, shown: str) -> None:
    (record,) = metadata_table(["name"], [[value]]).records
    assert record.data == {"name": shown}
