"""Days of feature history: builds report them, and the command of the documentation computes some of them anew."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg
import duckdb
import pytest

from assets.features.feature_history import DaysError, first_and_last
from tests.homes import PATIENCE, REPOSITORY, documentation

if TYPE_CHECKING:
    from tests.homes import Home

ROWS = "select * exclude (interactions_count_7d) from features.lead_features order by lead_id, as_of"
COUNTS = "select lead_id, as_of, interactions_count_7d from features.lead_features where as_of {} order by all"
INSIDE = ">= '2026-03-01' and as_of < '2026-03-08'"


BY_DAY = """
    select cast(cast(as_of as date) as varchar), count(*) from features.lead_features where observation_kind <> 'clock'
    group by all
"""


def test_a_range_of_days_is_computed_anew_in_one_run(own: Home) -> None:
    rows, counts = own.ask(ROWS), own.ask(COUNTS.format(INSIDE))
    assert len(counts) > 100
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("update features.lead_features set interactions_count_7d = -1")
    reported = _reported(own)
    with dg.DagsterInstance.from_config(str(own.path / "dagster")) as instance:
        # as a person may do in the UI; builds take it away
        instance.add_dynamic_partitions("lead_features_days", ["2026-13-01"])
    assert {day: number for day, (number, _) in reported.items()} == dict(own.ask(BY_DAY))
    (days,) = set(re.findall(r"make recompute DAYS=(\S+\.\.\.\S+?)`?(?=[\s`,;])", documentation()))
    recomputed = subprocess.run(
        [sys.executable, "-m", "orchestration", "recompute", days],
        cwd=REPOSITORY, env=own.environment(), text=True, capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert recomputed.returncode == 0, recomputed.stderr[-3000:]
    assert own.ask(COUNTS.format(INSIDE)) == counts
    assert own.ask(ROWS) == rows
    assert own.ask(f"select distinct interactions_count_7d from features.lead_features where not (as_of {INSIDE})") == [
        (-1,)
    ]
    again = _reported(own)
    assert {day: number for day, (number, _) in again.items()} == {day: number for day, (number, _) in reported.items()}
    assert {day for day in again if again[day] != reported[day]} == {f"2026-03-0{day}" for day in range(1, 8)}


CLOCK = datetime(2026, 6, 30, 23, 50, tzinfo=UTC)


@pytest.mark.parametrize("days", ["yesterday", "2026-03-07...2026-03-01", "2026-03-01..2026-03-07", "", "2026-07-01"])
def test_days_that_cannot_be_read_or_lie_after_the_clock_are_refused(days: str) -> None:
    with pytest.raises(DaysError, match=re.escape(repr(days))):
        first_and_last(days, CLOCK)
    assert first_and_last("2026-03-01", CLOCK) == (date(2026, 3, 1), date(2026, 3, 1))
    assert first_and_last("2026-03-01...9999-12-31", CLOCK) == (date(2026, 3, 1), date(2026, 6, 30))


def _reported(home: Home) -> dict[str, tuple[int, str]]:
    """Return the rows of each day of the features as they were last reported, and the run that did."""
    key = dg.AssetKey(["features", "lead_features_by_day"])
    with dg.DagsterInstance.from_config(str(home.path / "dagster")) as instance:
        days = instance.get_dynamic_partitions("lead_features_days")
        assert set(days) == instance.get_materialized_partitions(key)
        found = {}
        for record in instance.fetch_materializations(key, limit=10_000, ascending=True).records:
            assert record.asset_materialization is not None
            rows = record.asset_materialization.metadata["dagster/partition_row_count"].value
            found[str(record.partition_key)] = (rows, record.run_id)
    return found
