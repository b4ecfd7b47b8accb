"""Days of feature history, computed anew as the UI does it, by partitions of an asset, with the README's command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from tests.homes import PATIENCE, REPOSITORY

if TYPE_CHECKING:
    from tests.homes import Home

README = (REPOSITORY / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
ROWS = "select * exclude (interactions_count_7d) from features.lead_features order by lead_id, as_of"
COUNTS = "select lead_id, as_of, interactions_count_7d from features.lead_features where as_of {} order by all"
INSIDE = ">= '2026-03-01' and as_of < '2026-03-08'"


def test_a_range_of_days_is_computed_anew_in_one_run(own: Home) -> None:
    rows, counts = own.ask(ROWS), own.ask(COUNTS.format(INSIDE))
    assert len(counts) > 100
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("update features.lead_features set interactions_count_7d = -1")
    (line,) = re.findall(r"^DAGSTER_HOME=\$PWD/\.leadline/dagster \.venv/bin/dagster (.*)$", README, re.MULTILINE)
    backfill = subprocess.run(
        [Path(sys.executable).with_name("dagster"), *shlex.split(line)],
        cwd=REPOSITORY, env=own.environment(DAGSTER_HOME=str(own.path / "dagster")), text=True, capture_output=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert backfill.returncode == 0, backfill.stderr[-3000:]
    assert own.ask(COUNTS.format(INSIDE)) == counts
    assert own.ask(ROWS) == rows
    assert own.ask(f"select distinct interactions_count_7d from features.lead_features where not (as_of {INSIDE})") == [
        (-1,)
    ]
