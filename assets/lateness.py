"""How late facts come: when the CRM recorded them, and when an extraction brought them, measured from the data.

It says how far back a day's extraction can still change what was known: features of days that lie further back need no
second look. SQL here is what both engines understand, and only figures leave the warehouse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.markdown import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets.warehouse import Connection

__all__ = ["Lateness", "markdown", "measure"]

LATE_DAYS = (1, 7, 30)
QUANTILES = (0.5, 0.9, 0.99)

RECORDING = (
    "select 'recording' as measure, 'interactions' as table_name, type, recorded_at - occurred_at as late "
    "from raw.interactions where recorded_at is not null"
)
"""From when it happened until the CRM stored it; only interactions have both times."""

EXTRACTION = """
    select 'extraction' as measure, 'leads' as table_name, '' as type, extracted_at, created_at as known_at
    from (select lead_id, min(extracted_at) as extracted_at from raw.changes group by lead_id) as first_seen
    inner join (select lead_id, created_at from raw.leads) as leads using (lead_id)
    union all
    select 'extraction', 'interactions', type, extracted_at, greatest(occurred_at, recorded_at, opened_at, responded_at)
    from raw.interactions
    union all
    select 'extraction', 'appointments', '', extracted_at, greatest(booked_at, ended_at) from raw.appointments
    union all
    select 'extraction', 'projects', '', extracted_at, greatest(proposed_at, closed_at) from raw.projects
    union all
    select 'extraction', 'changes', '', extracted_at, known_at from raw.changes where origin = 'source'
"""
"""From when a fact counts as known until the extraction that brought it. Of a row that changes later it is its last
fact, and a row whose content changed without a time of its own counts as late: features saw its earlier content."""


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """How late the facts of one kind come; a row of ``ml.ml_lateness``.

    Attributes
    ----------
    measure : {"recording", "extraction"}
        Until the CRM had recorded it, or until an extraction after the first one brought it.
    table_name : str
        Table of schema ``raw``.
    type : str
        Type of the interactions; empty for other tables.
    rows : int
        Rows measured.
    median_days, p90_days, p99_days, max_days : float
        Quantiles of the lateness.
    share_over_1d, share_over_7d, share_over_30d : float
        Shares of the rows that come later than so many days.
    """

    measure: str
    table_name: str
    type: str
    rows: int
    median_days: float
    p90_days: float
    p99_days: float
    max_days: float
    share_over_1d: float
    share_over_7d: float
    share_over_30d: float


def measure(connection: Connection) -> list[Lateness]:
    """Measure the lateness of what schema ``raw`` holds, by table and type of interaction.

    What has no row is left out: a source without ``recorded_at``, or a warehouse that was filled by one extraction.
    """
    quantiles = ", ".join(f"percentile_disc({share}) within group (order by days)" for share in QUANTILES)
    shares = ", ".join(f"avg(case when days > {days} then 1.0 else 0.0 end)" for days in LATE_DAYS)
    first = " union all ".join(
        f"select min(extracted_at) as extracted_at from raw.{name}"
        for name in ("leads", "interactions", "appointments", "projects", "changes")
    )
    found = connection.execute(
        f"with moments as ({EXTRACTION}), "
        f"lags as ({RECORDING} union all select measure, table_name, type, extracted_at - known_at as late "
        f"from moments where extracted_at > (select min(extracted_at) from ({first}) as clocks)), "
        # a clock that was asked for can lie before the facts, and clocks of machines differ
        "in_days as (select measure, table_name, type, "
        "greatest(cast(extract(epoch from late) as double precision) / 86400, 0) as days from lags) "
        f"select measure, table_name, type, count(*), {quantiles}, max(days), {shares} "
        "from in_days group by measure, table_name, type order by measure desc, table_name, type"
    ).fetchall()
    return [
        Lateness(
            measure=row[0], table_name=row[1], type=row[2], rows=row[3],
            median_days=row[4], p90_days=row[5], p99_days=row[6], max_days=row[7],
            share_over_1d=float(row[8]), share_over_7d=float(row[9]), share_over_30d=float(row[10]),
        )
        for row in found
    ]  # fmt: skip


def markdown(figures: Iterable[Lateness]) -> str:
    """Return figures as a table in Markdown, in days and per cent; ``not measured`` where there is none."""
    rows = [
        (
            each.measure, each.type or each.table_name, f"{each.rows:,}", f"{each.median_days:.2f}",
            f"{each.p90_days:.2f}", f"{each.p99_days:.2f}", f"{each.max_days:.2f}", f"{each.share_over_1d:.1%}",
            f"{each.share_over_7d:.1%}", f"{each.share_over_30d:.1%}",
        )
        for each in figures
    ]  # fmt: skip
    if not rows:
        return "not measured"
    head = ("until", "of", "rows", "median, days", "90 %", "99 %", "latest", "over 1 d", "over 7 d", "over 30 d")
    return markdown_table(head, rows)
