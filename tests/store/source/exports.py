"""A small valid CRM export, in memory and as files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from store.source.report import ExtractionReport

if TYPE_CHECKING:
    from pathlib import Path

PRESENT = datetime(2026, 1, 1, tzinfo=UTC)
Rows = list[dict[str, Any]]
Extract = Callable[..., ExtractionReport]
Query = Callable[[str], list[tuple[Any, ...]]]


def valid_export() -> dict[str, Rows]:
    """Return an export in the contract: two leads, one of them won."""
    return {
        "leads": [
            {"lead_id": "L1", "source": "web", "created_at": "2024-03-01T08:00:00Z", "property_value": "1000.50"},
            {"lead_id": "L2", "source": "ads", "created_at": "2024-03-02T08:00:00Z", "property_value": ""},
        ],
        "interactions": [
            _interaction("I1", "L1", "call", "2024-03-01T09:00:00Z"),
            _interaction("I2", "L1", "email", "2024-03-01T10:00:00Z", opened_at="2024-03-02T10:00:00Z"),
            _interaction("I3", "L2", "web", "2024-03-02T08:00:00.250Z", direction="inbound"),
        ],
        "appointments": [
            {
                "appointment_id": "A1",
                "lead_id": "L1",
                "booked_at": "2024-03-03T08:00:00Z",
                "scheduled_at": "2024-03-05T08:00:00Z",
                "status": "completed",
                "ended_at": "2024-03-05T09:00:00Z",
            }
        ],
        "projects": [
            {
                "project_id": "P1",
                "lead_id": "L1",
                "value": "5000",
                "status": "won",
                "proposed_at": "2024-03-06T08:00:00Z",
                "closed_at": "2024-03-09T08:00:00.500Z",
            }
        ],
    }


def _interaction(key: str, lead: str, kind: str, at: str, **more: str) -> dict[str, Any]:
    return {
        "interaction_id": key,
        "lead_id": lead,
        "type": kind,
        "direction": "outbound",
        "occurred_at": at,
        "outcome": "",
        "opened_at": "",
        "responded_at": "",
        **more,
    }


def write_csv(folder: Path, export: dict[str, Rows]) -> Path:
    """Write each table as CSV into the folder; columns are those of the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in export.items():
        columns: Sequence[str] = list(rows[0])
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return folder
