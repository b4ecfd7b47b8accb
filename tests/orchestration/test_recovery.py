"""What was lost or left behind between runs: the next run mends it, or says what is to be done."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pytest

from store.features.features_at import features_at
from store.warehouse.warehouse import StaleFeaturesError, Warehouse
from tests.homes import ask, contents, without

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Home


@pytest.mark.slow(130)
def test_a_lost_warehouse_and_lost_models_are_said_and_made_anew_with_the_history_that_readers_have(own: Home) -> None:
    before, swapped = contents(own.published, "marts"), own.published.stat().st_mtime_ns
    leads, history = len(before["marts.lead_scores"]), before["marts.lead_score_history"]
    scores = without(own.published, "marts.lead_scores", "scored_at")
    models = own.path / "artifacts/models"
    trained = vouched_for(models)
    shutil.rmtree(models)
    own.warehouse.unlink()

    score = own.run("score_leads")

    assert score.code == 1, score.err[-3000:]
    assert f"has published {leads} leads as of " in score.err
    assert f"and {len(history)} rows of history, found one in which no model was ever trained" in score.err
    assert "run the job whole_loop (`make run`), which fills it from the source and trains anew" in score.err
    assert "… feature_store" not in score.err
    assert (contents(own.published, "marts"), own.published.stat().st_mtime_ns) == (before, swapped)

    anew = own.run()

    assert anew.code == 0, anew.err[-3000:]
    assert vouched_for(models) == trained
    assert f"marts.lead_score_history: {len(history)} rows that {own.warehouse} did not have" in anew.err
    # as they were published, and not as they were scored again
    assert own.ask("from marts.lead_score_history order by all") == history
    after = contents(own.published, "marts")
    assert after["marts.lead_score_history"] == history
    assert without(own.published, "marts.lead_scores", "scored_at") == scores
    never_null = "select column_name from duckdb_columns() where table_name = 'lead_score_history' and not is_nullable"
    assert ("scored_at",) in own.ask(never_null)
    assert ("grade",) not in own.ask(never_null)


@pytest.mark.slow(110)
def test_history_that_was_removed_leaves_readers_when_a_person_says_that_it_is_meant(own: Home) -> None:
    total, lead = own.ask("select count(*), min(lead_id) from marts.lead_score_history")[0]
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("delete from marts.lead_score_history where lead_id = $1", [lead])
    later = {"LEADLINE_AS_OF": "2026-07-08"}
    published = contents(own.published, "marts")

    refused = own.run("score_leads", **later)

    assert refused.code == 1, refused.err[-3000:]
    lost = f"{total} rows are published, 1 of them would be lost, and {2 * total - 1} rows would be there"
    assert f"- marts.lead_score_history: {lost}.\n" in refused.err
    assert contents(own.published, "marts") == published
    accepted = dict(re.findall(r"(LEADLINE_ACCEPT_PUBLICATION|LEADLINE_AS_OF)=([^\s`]+)", refused.err))

    run = own.run("score_leads", **accepted)

    assert run.code == 0, run.err[-3000:]
    assert f"\nlost       marts.lead_score_history: {lost}; a person accepted it\n" in run.out
    rows = "select count(*), count(*) filter (lead_id = $1) from marts.lead_score_history"
    assert ask(own.published, rows, lead) == [(2 * total - 1, 1)]


def vouched_for(models: Path) -> dict[Path, bytes]:
    """Return the files of which the manifests vouch, and these: what training cost depends on the machine."""
    return {
        path.relative_to(models): path.read_bytes()
        for path in models.rglob("*")
        if path.is_file() and path.name not in ("card.md", "cost.json")
    }


def test_features_of_another_clock_are_neither_scored_nor_published(own: Home) -> None:
    published = contents(own.published, "marts")
    warehouse = Warehouse(address=f"duckdb:{own.warehouse}")
    assert warehouse.built_extraction() == warehouse.extraction()
    with warehouse.connect() as connection:
        connection.execute("update raw.extraction set as_of = as_of + interval 1 day")

    with pytest.raises(StaleFeaturesError, match="Materialize features and labels again"):
        warehouse.built_extraction()
    assert contents(own.published, "marts") == published

    with warehouse.connect() as connection:
        connection.execute("drop table features.feature_clock")
    with pytest.raises(StaleFeaturesError, match="found none"):
        warehouse.built_extraction()


def test_features_are_not_asked_while_raw_holds_more_than_they_were_built_from(own: Home) -> None:
    warehouse = Warehouse(address=f"duckdb:{own.warehouse}")
    (lead, created), *_ = own.ask("select lead_id, created_at from raw.leads order by created_at limit 1")
    question = pd.DataFrame({"lead_id": [lead], "as_of": [pd.Timestamp(created) + pd.Timedelta(days=1)]})

    def ask() -> pd.DataFrame:
        return features_at(question, warehouse=warehouse, compiled=own.path / "compiled" / "feature_store.json")

    assert ask()["entity_state"].tolist() == ["open"]
    # as an extraction leaves it that was killed before it said what it had brought
    with warehouse.connect() as connection:
        connection.execute("update raw.leads set load_number = load_number + 1 where lead_id = $1", [lead])
    with pytest.raises(StaleFeaturesError, match=r"found rows of a later one in raw\.leads: it is under way"):
        ask()
    # and one that ended, at the same clock
    with warehouse.connect() as connection:
        connection.execute("update raw.extraction set load_number = load_number + 1")
    with pytest.raises(StaleFeaturesError, match=r"number 2 as of .*found those of number 1 .*Materialize features"):
        ask()
