"""The counts behind the beginning of the outcomes: both engines, the simulated company, and two public exports."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from models.declared.lead import LEAD
from models.training.outcome_history import AGES, OutcomesBegin, outcomes_begin, weeks_of
from simulation import simulate
from store.features.builds import labelled_since, measure_outcomes, variables_of
from store.features.certificates import CompiledSql
from store.features.compiled import Build, write
from store.warehouse.warehouse import Extraction, Warehouse

DATA = Path(__file__).parents[4] / "shared" / "data"
CLOCK = datetime(2024, 12, 2, 12, tzinfo=UTC)
DAY = 86_400.0


def extraction() -> Extraction:
    return Extraction(
        as_of=CLOCK, load_number=1, source="here", mapping="contract",
        closing={"closing_outcomes": ["gone", "it's over"]},
        silence_closes_after_days=None, horizon_days={}, assumptions=[],
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_what_is_counted(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Forty leads a week, each won after ten days, from the twentieth week on; one refused lead is open no longer."""
    warehouse = (
        Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
        if engine == "duckdb"
        else request.getfixturevalue("warehouse")
    )
    with warehouse.connect() as connection:
        connection.execute("create schema if not exists raw")
        connection.execute("create table raw.leads (lead_id text, created_at timestamptz)")
        connection.execute(
            "create table raw.projects (lead_id text, status text, proposed_at timestamptz, closed_at timestamptz)"
        )
        connection.execute(
            "create table raw.interactions "
            "(lead_id text, outcome text, occurred_at timestamptz, recorded_at timestamptz)"
        )
        connection.execute(
            "create table raw.changes (lead_id text, column_name text, value text, known_at timestamptz)"
        )
        connection.execute(
            "insert into raw.leads select 'L' || week || '-' || lead, timestamptz '2024-01-01 08:00:00+00' "
            "+ week * interval '7 day' from generate_series(0, 47) as weeks (week), "
            "generate_series(1, 40) as numbers (lead)"
        )
        connection.execute(
            "insert into raw.projects select lead_id, case when created_at < timestamptz '2024-05-10 00:00:00+00' "
            "then 'open' else 'won' end, created_at + interval '1 day', created_at + interval '10 day' from raw.leads"
        )
        connection.execute(
            "insert into raw.interactions select lead_id, 'it''s over', created_at + interval '3 day', null "
            "from raw.leads where lead_id = 'L30-1'"
        )
        found = measure_outcomes(connection, LEAD, extraction())
    # leads of the week of 6 May are the last whose win is not told; the next ones are won in their second week
    assert found.since == date(2024, 5, 20)
    assert found.reason.startswith("Outcomes are recorded from about 2024-05-20 on: before it 0 came, of ")


def test_leads_are_counted_by_week_and_age() -> None:
    """Against a count by the hour."""
    draws = np.random.default_rng(3)
    start = datetime(2024, 1, 3, 5, tzinfo=UTC).timestamp()
    created = start + draws.integers(0, 300 * 24, 60) * 3600.0
    won = np.where(draws.random(60) < 0.5, created + draws.integers(-48, 24 * 260, 60) * 3600.0, np.nan)
    refused = np.where(draws.random(60) < 0.4, created + draws.integers(0, 24 * 200, 60) * 3600.0, np.nan)
    created[0] = start
    leads = pd.DataFrame({"created": created, "succeeded": won, "refused": refused})
    weeks = weeks_of(leads, CLOCK)
    assert weeks[0].start == date(2024, 1, 1)
    assert weeks[-1].start == date(2024, 12, 2)
    monday = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    open_hours = np.zeros((len(weeks), len(AGES)))
    outcomes = np.zeros((len(weeks), len(AGES)), dtype=int)
    for begun, success, end in leads.itertuples(index=False):
        success = max(success, begun) if success == success else np.inf
        last = min(success, end if end == end else np.inf, CLOCK.timestamp())
        for hour in np.arange(begun, last, 3600.0):
            open_hours[int((hour - monday) // (7 * DAY)), np.searchsorted(AGES, (hour - begun) / DAY, "right") - 1] += 1
        if success <= last:
            week, band = (
                int((success - monday) // (7 * DAY)),
                np.searchsorted(AGES, (success - begun) / DAY, "right") - 1,
            )
            outcomes[week, band] += 1
    assert np.allclose([each.open_days for each in weeks], open_hours / 24)
    assert np.array_equal([each.outcomes for each in weeks], outcomes)
    assert outcomes.sum() > 10


def of_export(folder: Path, ending: str, closing: str, won_from: str = "2000-01-01") -> OutcomesBegin:
    """Return the verdict on an export in the contract, of which wins before a day are left out."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        leads = connection.execute(
            f"select epoch(leads.created_at) as created, epoch(won.t) as succeeded, epoch(refused.t) as refused "
            f"from '{folder}/leads.{ending}' as leads left join (select lead_id, min(closed_at) as t from "
            f"'{folder}/projects.{ending}' where status = 'won' and closed_at >= '{won_from}' group by all) as won "
            f"using (lead_id) left join (select lead_id, min(occurred_at) as t from '{folder}/interactions.{ending}' "
            f"where outcome in ({closing}) group by all) as refused using (lead_id)"
        ).df()
        ((end,),) = connection.execute(f"select max(occurred_at) from '{folder}/interactions.{ending}'").fetchall()
    return outcomes_begin(weeks_of(leads.astype("float64"), end), LEAD)


def test_the_simulated_company(tmp_path: Path) -> None:
    """It keeps all labels, also in its first weeks; with the wins of its first half year taken out it does not."""
    simulate(tmp_path / "crm", leads=2000, seed=5, progress=False)
    assert of_export(tmp_path / "crm", "parquet", "'not_interested'").since is None
    found = of_export(tmp_path / "crm", "parquet", "'not_interested'", won_from="2025-07-07").since
    assert found is not None
    assert abs(found - date(2025, 7, 7)) <= timedelta(weeks=1)


@pytest.mark.skipif(not DATA.is_dir(), reason="the public exports are not at ../shared/data")
def test_public_exports() -> None:
    """A list of deals whose first closing came 131 days after its first deal, and a funnel whose log is whole."""
    outcomes = "'A_APPROVED', 'A_DECLINED', 'A_CANCELLED'"
    assert of_export(DATA / "bpi2012_crm", "csv", outcomes).since is None
    deals = pd.read_csv(DATA / "maven_crm" / "sales_pipeline.csv", parse_dates=["engage_date", "close_date"])
    deals = deals[deals["engage_date"].notna()]
    closed = (deals["close_date"] - pd.Timestamp("1970-01-01")).dt.total_seconds() + DAY - 1e-6
    leads = pd.DataFrame({
        "created": (deals["engage_date"] - pd.Timestamp("1970-01-01")).dt.total_seconds() + DAY - 1e-6,
        "succeeded": closed.where(deals["deal_stage"] == "Won"),
        "refused": np.nan,
    })  # fmt: skip
    found = outcomes_begin(weeks_of(leads, datetime(2018, 1, 1, tzinfo=UTC)), LEAD)
    # the week of the first closing, 2017-03-01
    assert found.since == date(2017, 2, 27)
    assert "before it 0 came" in found.reason


def test_the_variable_says_the_moment(tmp_path: Path) -> None:
    given = variables_of({"conversion": OutcomesBegin(date(2024, 5, 20), "")})
    assert given == {"conversion_since_us": 1_716_163_200_000_000}
    assert variables_of({"conversion": OutcomesBegin(None, "")}) == {"conversion_since_us": None}
    compiled = CompiledSql(root=str(tmp_path))
    assert labelled_since(compiled, CLOCK, "conversion") is None
    write(compiled.path, Build(variables={"as_of": CLOCK.isoformat(), **given}, models=()))
    assert labelled_since(compiled, CLOCK, "conversion") == datetime(2024, 5, 20, tzinfo=UTC)
    assert labelled_since(compiled, CLOCK, "next_action") is None
