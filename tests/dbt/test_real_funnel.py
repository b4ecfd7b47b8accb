"""The real funnel fits without a reject, and its decision points and labels equal the reference beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from models.declared.registry import DECLARATIONS
from store.source.extract import extract
from store.warehouse.warehouse import Warehouse
from tests.dbt.warehouses import ROOT, DuckDB

if TYPE_CHECKING:
    from pathlib import Path

DATA = ROOT.parent / "shared" / "data"
PRESENT = datetime(2026, 1, 1, tzinfo=UTC)

LABELS = (("conversion", "converted", "won_30d"), ("next_action", "next_action", "next_action_7d"))


@pytest.mark.skipif(
    not (DATA / "bpi2012_crm").is_dir(), reason="the real funnel is not there (../shared/data/bpi2012_crm)"
)
def test_the_real_funnel_equals_its_reference(tmp_path: Path, scratch: Path) -> None:
    """All 41,479 decision points with their kind, and both labels where the reference has one.

    Every row is taken, by the mapping with the folder's name, and the clock is the log's end. The reference has no
    observations of silent leads.
    """
    warehouse = DuckDB(tmp_path)
    address = f"duckdb:{warehouse.path}"
    report = extract(
        source=str(DATA / "bpi2012_crm"),
        warehouse=address,
        state_dir=tmp_path / "dlt",
        as_of=None,
        present=PRESENT,
        models=DECLARATIONS,
    )
    assert {name: table.rows_total for name, table in report.tables.items() if table.rows_total} == {
        "leads": 13_087,
        "interactions": 135_851,
        "appointments": 5_023,
        "projects": 7_030,
        # of each lead its owner, status and property value, of each project its value
        "changes": 3 * 13_087 + 7_030,
    }
    assert sum(table.rows_rejected + table.duplicates_collapsed for table in report.tables.values()) == 0
    assert report.as_of == datetime(2012, 3, 14, 15, 4, 55, tzinfo=UTC)
    extraction = Warehouse(address=address).extraction()
    assert (extraction.mapping, dict(extraction.horizon_days)) == ("bpi2012_crm", {"conversion": 30})
    assert extraction.closing["closing_outcomes"] == ["A_APPROVED", "A_DECLINED", "A_CANCELLED"]
    variables = {
        "as_of": extraction.as_of.isoformat(),
        **extraction.closing,
        "conversion_horizon_days": extraction.horizon_days["conversion"],
    }
    warehouse.dbt("run", scratch, variables, "--select", "+lead_features +conversion +next_action")
    warehouse.execute(
        "create table reference as select lead_id, cast(as_of as timestamptz) as as_of, kind, "
        "cast(won_30d as bigint) as won_30d, next_action_7d "
        f"from read_csv('{DATA / 'bpi2012_reference.csv'}', header = true, all_varchar = true)"
    )

    found = (
        "select lead_id, as_of, observation_kind from features.lead_features "
        "where observation_kind in ('activity', 'heartbeat')"
    )
    reference = "select lead_id, as_of, kind from reference"
    assert warehouse.rows(f"({found}) except ({reference})") == []
    assert warehouse.rows(f"({reference}) except ({found})") == []
    assert warehouse.rows(f"select count(*) from ({found})") == [(41479,)]
    for label, column, reference_column in LABELS:
        different = warehouse.rows(
            f"select lead_id, as_of, labels.{column}, reference.{reference_column} "
            f"from reference left join labels.{label} as labels using (lead_id, as_of) "
            f"where labels.{column} is distinct from reference.{reference_column}"
        )
        assert different == [], f"labels.{label}: {len(different)} rows differ"
        assert warehouse.rows(f"select count({reference_column}) > 30000 from reference") == [(True,)]
