"""A small simulated CRM, and observations of its leads with labels read from its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

LEADS = 400


def simulated(folder: Path) -> Path:
    """Write the export to ``<folder>/crm`` and return its path."""
    simulate(folder / "crm", leads=LEADS, progress=False)
    return folder / "crm"


def observations(export: Path) -> pd.DataFrame:
    """Return each lead two days and nine days after its creation, with its outcomes after that."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(f"""
            with leads as (
                select lead_id, min(created_at) as lead_created_at, min(source) as lead_source,
                    min(assigned_to) as assigned_to, cast(min(property_value) as double) as property_value
                from '{export}/leads.parquet' group by lead_id
            ),
            observed as (
                select leads.*, date_trunc('day', lead_created_at) + to_days(days) as as_of,
                    'activity' as observation_kind
                from leads, (values (2), (9)) as moments (days)
            )
            select observed.*,
                exists (
                    from '{export}/projects.parquet' as p where p.lead_id = observed.lead_id and status = 'won'
                    and closed_at >= as_of and closed_at < as_of + interval 30 day
                )::int as converted,
                coalesce((
                    select min_by(action, decided_at) from '{export}/truth/decisions.parquet' as d
                    where d.lead_id = observed.lead_id and decided_at >= as_of and decided_at < as_of + interval 7 day
                    and action <> 'no_action'
                ), 'no_action') as next_action,
                (select count(*) from '{export}/interactions.parquet' as i
                    where i.lead_id = observed.lead_id and recorded_at < as_of) as interactions_lifetime
            from observed order by lead_id, as_of
        """).df()
