"""The scope of a model: of all other observations none is learnt from, measured on, watched or scored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from assets.publishing.scores import scores_asset
from models.declared.conversion import CONVERSION
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.features.training_rows import census, matured
from store.ledger.champions import load_champion
from store.measuring.drift import matured_labels, measure_drift, reference
from store.measuring.hindsight import recent_rows
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from models.declaring.declaration import ModelDeclaration
    from tests.homes import Home

WHOLE = CONVERSION.with_horizon(30)
SCOPED = replace(WHOLE, scope="open_proposals_count > 0 or lead_source = 'web'")


def inside(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are in scope."""
    kept = (frame["open_proposals_count"] > 0) | (frame["lead_source"] == "web")
    assert 0 < kept.sum() < len(frame)
    return frame[kept].reset_index(drop=True)


@pytest.fixture
def warehouse(own: Home) -> Warehouse:
    return Warehouse(address=f"duckdb:{own.warehouse}")


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["lead_id", "as_of"], ignore_index=True)


def test_nothing_else_is_learnt_from_or_measured_on(own: Home, warehouse: Warehouse) -> None:
    extraction = warehouse.extraction()
    build = CompiledSql(root=str(own.path / "compiled")).build(extraction.as_of)
    last = pd.Timestamp(extraction.as_of - timedelta(days=30)).floor("D")
    clocks = [last - pd.Timedelta(days=100), last]

    learnt = [in_order(matured(warehouse, each, extraction)) for each in (WHOLE, SCOPED)]
    open_then = [in_order(census(warehouse, build, each, clocks)) for each in (WHOLE, SCOPED)]
    with warehouse.connect() as connection:
        recent = [recent_rows(connection, each, extraction) for each in (WHOLE, SCOPED)]

    assert recent[0] is not None
    assert recent[1] is not None
    for whole, scoped in (learnt, open_then, [in_order(each) for each in recent if each is not None]):
        # which column is null somewhere decides how pandas holds its integers
        assert_frame_equal(scoped, inside(whole), check_dtype=False)


def test_nothing_else_is_watched(own: Home, warehouse: Warehouse) -> None:
    clock = warehouse.extraction().as_of
    artifacts = ArtifactStore(root=str(own.path / "artifacts"), reports_address="")
    counted = []
    with warehouse.connect() as connection:
        champion = load_champion(connection, artifacts, "conversion")
    assert champion is not None
    compared = reference(WHOLE, champion)
    for declaration in (WHOLE, SCOPED):
        with warehouse.connect() as connection:
            found = measure_drift(connection, declaration, champion, clock=clock, reference=compared)
            labels = matured_labels(connection, declaration, champion, since=clock - timedelta(days=100), clock=clock)
            ((rows,),) = connection.execute("select count(*) from drift_rows").fetchall()
            counted.append((found.rows_current, labels, rows))
    whole, scoped = counted
    assert all(0 < after < before for before, after in zip(whole, scoped, strict=True))
    of_scope = "(open_proposals_count > 0 or lead_source = 'web')"
    window = own.ask(
        f"select count(*) from features.lead_features where {of_scope} and observation_kind <> 'clock' "
        "and as_of <= ? and as_of > ?",
        clock,
        clock - timedelta(days=WHOLE.drift.window_days),
    )
    assert window == [(scoped[0],)]


def test_nothing_else_is_scored(own: Home) -> None:
    """What the model that ships with a scope writes about its leads is counted by its scope."""
    in_scope = own.ask(
        "select count(*) from features.lead_features where observation_kind = 'clock' and open_proposals_count > 0"
    )
    logged = own.ask("select open_entities from ml.ml_scoring_logs where model = 'deal_value'")
    assert logged == in_scope
    assert own.ask("select count(*) from marts.lead_scores")[0] > in_scope[0]
    assert own.ask("select open_entities from ml.ml_scoring_logs where model = 'conversion'") == own.ask(
        "select count(*) from marts.lead_scores"
    )


def described(declaration: ModelDeclaration) -> str:
    asset = scores_asset(declaration)
    return next(iter(asset.descriptions_by_key.values()))


def test_the_asset_says_which() -> None:
    assert "for every open lead with open_proposals_count > 0 at the clock" in described(
        replace(WHOLE, scope="open_proposals_count > 0")
    )
    assert "for every open lead at the clock" in described(WHOLE)
