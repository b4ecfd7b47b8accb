"""Measure how late facts come: the time until the CRM recorded them, and until an extraction brought them.

The lateness shows how many past days an extraction can still change. Both engines understand the SQL here.
"""

from store.ledger.measurements import Lateness
from store.source.contract import TABLES
from store.source.record import Table
from store.warehouse.connection import Connection

LATE_DAYS = (1, 7, 30)

QUANTILES = (0.5, 0.9, 0.99)


def measure_lateness(connection: Connection) -> list[Lateness]:
    """Measure the lateness of the facts in schema ``raw``, by table and type of interaction.

    A measure without rows is left out: of ``recorded_at`` if the source lacks it, of extractions after a single one.
    """
    quantiles = ", ".join(f"percentile_disc({share}) within group (order by days)" for share in QUANTILES)
    shares = ", ".join(f"avg(case when days > {days} then 1.0 else 0.0 end)" for days in LATE_DAYS)
    first = " union all ".join(f"select min(extracted_at) as extracted_at from raw.{name}" for name in TABLES)
    recording = " union all ".join(_recording(table) for table in TABLES.values() if table.recorded)
    extraction = " union all ".join(map(_extraction, TABLES.values()))
    found = connection.execute(
        f"with moments as ({extraction}), "
        f"lags as ({recording} union all select measure, table_name, type, extracted_at - known_at as late "
        f"from moments where extracted_at > (select min(extracted_at) from ({first}) as clocks)), "
        # negative lateness counts as 0: a clock can be set before the facts, and clocks of machines differ
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


def _recording(table: Table) -> str:
    """Return the query for the time from a fact's occurrence until the CRM recorded it."""
    return (
        f"select 'recording' as measure, '{table.name}' as table_name, {table.type} as type, "
        f"{table.recorded} - {table.occurred} as late from raw.{table.name} where {table.recorded} is not null"
    )


def _extraction(table: Table) -> str:
    """Return the query for the time at which facts count as known, and the time at which an extraction brought them.

    A row that changed later counts with its last fact. A row whose content changed without a new time counts as late,
    because features used its earlier content.
    """
    times = [each for each in (table.occurred, table.recorded, *(part.time for part in table.parts)) if each]
    rows = f"raw.{table.name}"
    if table.history is not None:
        rows = (
            f"(select {table.key}, min(extracted_at) as extracted_at from raw.{table.history} group by {table.key}) "
            f"as first_seen inner join (select {table.key}, {', '.join(times)} from {rows}) as stored "
            f"using ({table.key})"
        )
    return (
        f"select 'extraction' as measure, '{table.name}' as table_name, {table.type} as type, extracted_at, "
        f"greatest({', '.join(times)}) as known_at from {rows}"
        + (f" where {table.from_source}" if table.from_source else "")
    )
