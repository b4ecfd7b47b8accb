"""What was lost or left behind between runs: the next run mends it, or says what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pytest

from store.features.features_at import features_at
from store.publishing.publications import digest
from store.warehouse.warehouse import StaleFeaturesError, Warehouse
from tests.homes import ask, contents

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Home


@pytest.mark.slow(40)
def test_history_that_was_removed_leaves_readers_when_a_person_says_that_it_is_meant(
    undisturbed: Home, tmp_path: Path
) -> None:
    home = undisturbed.copy(tmp_path / "home")
    total, lead = home.ask("select count(*), min(lead_id) from marts.lead_score_history")[0]
    of_first = "lead_id = $1 and as_of = (select min(as_of) from marts.lead_score_history)"
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute(f"delete from marts.lead_score_history where {of_first}", [lead])
    lost = f"{total} rows are published, 1 of them would be lost, and {total - 1} rows would be there"
    accepted = digest([f"marts.lead_score_history: {lost}"])[:12]

    # the shortest of the jobs that publish; without the setting it is refused, as test_publications.py says
    run = home.run("retrain_next_best_action", LEADLINE_ACCEPT_PUBLICATION=accepted)

    assert run.code == 0, run.err[-3000:]
    assert f"\nlost       marts.lead_score_history: {lost}; a person accepted it\n" in run.out
    rows = f"select count(*), count(*) filter ({of_first}) from marts.lead_score_history"
    assert ask(home.published, rows, lead) == [(total - 1, 0)]


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
