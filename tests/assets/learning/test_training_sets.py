"""What training rows carry: the features, the label, and the columns by which they are only told apart."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest import mock

import dagster as dg
import pandas as pd
import pytest

from assets.learning import training_sets
from assets.learning.training_sets import training_set_asset
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.training.training import train
from models.training.training_set import freeze
from models.untrainable import Untrainable, UntrainableError
from models.versions.candidate import evaluate
from store.artifacts import ArtifactStore
from store.features import training_rows
from store.features.certificates import CompiledSql
from store.features.compiled import DAY_US
from store.features.training_rows import matured, require_facts
from store.warehouse.warehouse import Extraction, StaleFeaturesError, Warehouse
from tests.drifting import DECLARED, HORIZON, LAST_DAY, START, fill, world

if TYPE_CHECKING:
    from pathlib import Path

CLOCK = START.to_pydatetime() + timedelta(days=LAST_DAY + HORIZON)
REPS = ["R1", "R2", None]


def extraction(clock: datetime) -> Extraction:
    return Extraction(
        as_of=clock, load_number=1, source="here", mapping="contract", closing={"closing_outcomes": []},
        silence_closes_after_days=None, horizon_days={}, assumptions=[],
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Return every fourth row of the small world."""
    return world().iloc[::4]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, rows: pd.DataFrame) -> Warehouse:
    """Return a warehouse whose leads are assigned in turn to two reps and to nobody; the first lead is not staged."""
    made = Warehouse(address=f"duckdb:{tmp_path_factory.mktemp('training_sets') / 'warehouse.duckdb'}")
    leads = rows["lead_id"].unique()
    staged = pd.DataFrame(
        {"lead_id": leads, "current_assigned_to": [REPS[number % 3] for number in range(len(leads))], "status": "won"}
    )
    with made.connect() as connection:
        fill(connection, rows)
        connection.register("staged", staged.iloc[1:])
        connection.execute("create schema staging; create table staging.stg_leads as from staged")
    return made


def test_training_rows_carry_whom_their_lead_is_assigned_to_today(warehouse: Warehouse, rows: pd.DataFrame) -> None:
    found = matured(warehouse, DECLARED, extraction(CLOCK)).sort_values(["lead_id", "as_of"], ignore_index=True)

    assert len(found) == len(rows), "a lead that is not staged keeps its rows"
    assert set(found.columns) - set(rows.columns) == {"assigned_to"}, "of what the CRM overwrites nothing else comes in"
    leads = rows["lead_id"].unique()
    expected = {lead: REPS[number % 3] for number, lead in enumerate(leads)} | {leads[0]: None}
    by_lead = found.groupby("lead_id")["assigned_to"]
    assert (by_lead.nunique() <= 1).all()
    firsts = found.drop_duplicates("lead_id").set_index("lead_id")["assigned_to"]
    assert {lead: None if pd.isna(rep) else rep for lead, rep in firsts.items()} == expected


def test_of_too_many_rows_those_of_a_part_of_the_leads_are_drawn(
    warehouse: Warehouse, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_rows, "MOST_ROWS", len(rows) // 4)
    share = training_rows.drawn_share(warehouse, DECLARED)
    assert share == pytest.approx(0.25, abs=0.01)
    found = matured(warehouse, DECLARED, extraction(CLOCK), share)
    of_lead, whole = found["lead_id"].value_counts(), rows["lead_id"].value_counts()
    assert of_lead.equals(whole.loc[of_lead.index]), "all rows of a lead or none"
    assert len(of_lead) == pytest.approx(len(whole) / 4, rel=0.25)
    frozen = freeze(found, DECLARED, tmp_path / "sets", pd.Timestamp(CLOCK), share=share)
    assert frozen.manifest["share"] == round(share, 4)


def test_it_is_never_a_feature_and_the_held_out_rows_are_measured_by_it(warehouse: Warehouse, tmp_path: Path) -> None:
    frozen = freeze(matured(warehouse, DECLARED, extraction(CLOCK)), DECLARED, tmp_path / "sets", pd.Timestamp(CLOCK))
    assert "assigned_to" in frozen.frame().columns
    assert "assigned_to" not in frozen.features

    trained = train(DECLARED, frozen, tmp_path / "versions")

    assert "assigned_to" not in trained.features
    assert "assigned_to" not in trained.pipeline.feature_names_in_
    segments = {each.value: each for each in evaluate(trained).segments if each.column == "assigned_to"}
    assert {"R1", "R2"} <= segments.keys()
    held_out = trained.held_out().merge(frozen.frame(), on=["lead_id", "as_of"], validate="one_to_one")
    assert segments["R1"].rows == (held_out["assigned_to"] == "R1").sum()
    assert segments["R1"].primary is not None
    assert 0.5 < segments["R1"].primary.value < 1


def test_who_is_assigned_changes_what_is_learnt_from_no_row(warehouse: Warehouse, tmp_path: Path) -> None:
    found = matured(warehouse, DECLARED, extraction(CLOCK)).head(900)
    other = found.assign(assigned_to="R9")
    frozen = [freeze(each, DECLARED, tmp_path, pd.Timestamp(CLOCK)) for each in (found, other)]
    assert frozen[0].id != frozen[1].id, "segments are part of what was measured"
    assert frozen[0].features == frozen[1].features


@pytest.mark.parametrize(
    ("declared", "clock"),
    [
        pytest.param(DECLARED.with_horizon(HORIZON + 1), CLOCK, id="another horizon"),
        pytest.param(DECLARED, CLOCK - timedelta(days=2), id="an earlier clock"),
    ],
)
def test_labels_of_other_settings_are_refused(warehouse: Warehouse, declared: object, clock: datetime) -> None:
    with pytest.raises(StaleFeaturesError, match=r"found [\d,]+ others\. The settings have changed") as refused:
        matured(warehouse, declared, extraction(clock))
    assert clock.astimezone(UTC).isoformat() in str(refused.value)


def frozen(tmp_path: Path, rows: pd.DataFrame) -> dg.ExecuteInProcessResult:
    """Materialize the training set of some rows with matured labels, whose source has a win."""
    warehouse = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
    with warehouse.connect() as connection:
        fill(connection, rows)
        connection.execute("create schema staging; create schema intermediate; create schema raw")
        connection.execute("create table staging.stg_leads as select 'L' as lead_id, 'R1' as current_assigned_to")
        connection.execute(
            "create table intermediate.timeline as "
            "select 'L' as lead_id, 'project_closed' as fact, 'won' as outcome, cast(0 as bigint) as known_us"
        )
        connection.execute(
            "create table raw.extraction as select cast($1 as timestamptz) as as_of, 'here' as source, "
            "'contract' as mapping, '[]' as closing_outcomes, cast(null as bigint) as silence_closes_after_days, "
            "'{\"conversion\": 10}' as horizon_days, '[]' as assumptions",
            [CLOCK],
        )
        connection.execute("create table features.feature_clock as select as_of from raw.extraction")
    # no SQL has built these rows
    with mock.patch.object(training_sets, "require_present_code"):
        return dg.materialize(
            [training_set_asset(DECLARED)],
            resources={
                "warehouse": warehouse,
                "artifacts": ArtifactStore(root=str(tmp_path), reports_address=""),
                "compiled": CompiledSql(root=str(tmp_path / "compiled")),
                "horizons": Horizons(overrides={}),
            },
        )


def test_where_no_label_has_matured_the_model_cannot_be_trained_and_nothing_fails(
    tmp_path: Path, rows: pd.DataFrame
) -> None:
    result = frozen(tmp_path, rows.head(0))
    found = result.output_for_node("training_set__conversion")
    assert isinstance(found, Untrainable)
    assert found.reason.startswith("There are no rows to learn from: no label over 10 days has matured")


@pytest.mark.parametrize(
    ("days", "refused"),
    [
        ([71, 72, 94], ""),
        ([50, 62, 80], ""),
        ([71, 72, 80], "is known from 1970-03-22, long before the clock \\(1970-04-11\\)"),
        ([], "No purchase"),
    ],
)
def test_a_feed_that_has_ended_is_no_proof_that_nothing_happened(days: list[int], refused: str, tmp_path: Path) -> None:
    """A week of silence, twice as long as any before, ends a feed: then everybody would seem to have left."""
    made = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
    # other facts go on until the clock
    facts = [("opened", 99), *(("purchase", day) for day in days)]
    values = ", ".join(f"('{fact}', {day * DAY_US})" for fact, day in facts)
    with made.connect() as connection:
        connection.execute("create schema intermediate")
        connection.execute(
            f"create table intermediate.customer_timeline as from (values {values}) as facts (fact, known_us)"
        )
    asked = (made, DECLARATIONS["churn_30d"], extraction(datetime(1970, 4, 11, tzinfo=UTC)))
    with pytest.raises(UntrainableError, match=refused) if refused else nullcontext():
        require_facts(*asked)
