"""What the benchmark of attributes compares with: the true values at a moment, and planted columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pytest
import yaml

from benchmarks.attributes import true_effects, true_values
from benchmarks.planted_attributes import PLANTED, plant
from simulation import simulate
from simulation.attributes import ATTRIBUTES, GROWTH_WIN

if TYPE_CHECKING:
    from pathlib import Path

COLUMN = "attribute_employees"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planted") / "crm"
    simulate(out, leads=300, attributes=True, progress=False)
    return out


def test_the_truth_of_a_moment_is_what_was_there_before_it(export: Path) -> None:
    changed = duckdb.sql(f"""
        select lead_id, max(since) as at, arg_min(value, since)::double as before,
            arg_max(value, since)::double as after
        from '{export}/truth/attributes.parquet' where name = 'employees'
        group by lead_id having count(*) = 2 order by lead_id limit 20""").df()
    moments = pd.concat([changed["at"], changed["at"] + pd.Timedelta(microseconds=1)], ignore_index=True)
    frame = pd.DataFrame({"lead_id": [*changed["lead_id"]] * 2, "as_of": moments})
    values, effects = true_values(export, frame), true_effects(export, frame)
    assert values[COLUMN].tolist() == [*changed["before"], *changed["after"]]
    gained = effects["attribute_win"].to_numpy()
    assert (abs(gained[20:] - gained[:20] - GROWTH_WIN) < 1e-9).all()
    assert len(values.columns) == len(ATTRIBUTES) + 9


def test_planted_columns_are_in_the_export_and_in_its_mapping(export: Path) -> None:
    plant(export)
    mapped = yaml.safe_load((export / "mapping.yml").read_text(encoding="utf-8"))["tables"]["leads"]["attributes"]
    assert [*mapped] == [each.name for each in (*ATTRIBUTES, *PLANTED)]
    leads = duckdb.sql(f"from '{export}/leads.parquet'")
    assert {each["column"] for each in mapped.values()} < set(leads.columns)
    closed = "status in ('won', 'lost')"
    for each in PLANTED:
        [(distinct, of_closed, of_open)] = duckdb.sql(f"""
            select count(distinct "{each.label}"), count("{each.label}") filter ({closed}),
                count("{each.label}") filter (not {closed}) from leads""").fetchall()
        assert distinct > 1, each.name
        if each.name in (
            "lost_reason",
            "won_amount",
            "contract_number",
            "closing_date",
            "promoter_score",
            "onboarding",
        ):
            assert of_closed > 0, each.name
            assert of_open == 0, each.name
