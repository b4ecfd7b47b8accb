"""Tables in the metadata of assets and checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import dagster as dg

from models.markdown import printable

MOST_CHARACTERS = 1_000
"""The length at which a text is cut. No sentence of Leadline's own is longer; a text from the source may be."""


def metadata_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.TableMetadataValue:
    """Return a table as the UI shows it.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence
        Their values are shown as text: numbers with decimals rounded, moments to the minute, None as nothing.
    """
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(columns, map(_shown, row), strict=True))) for row in rows],
        dg.TableSchema([dg.TableColumn(name) for name in columns]),
    )


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    text = printable(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
