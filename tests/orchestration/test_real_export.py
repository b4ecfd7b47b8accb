"""The real funnel (BPI Challenge 2012), from its export to scored leads, and its reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import once
from tests.homes import REPOSITORY, Home, reading

if TYPE_CHECKING:
    from pathlib import Path

DATA = REPOSITORY.parent / "shared" / "data"
EXPORT = DATA / "bpi2012_crm"
LABELS = (("conversion", "converted", "won_30d"), ("next_action", "next_action", "next_action_7d"))

pytestmark = pytest.mark.skipif(
    not EXPORT.is_dir(), reason="the export of the real funnel (../shared/data/bpi2012_crm) is not here"
)


@pytest.fixture(scope="session")
def real(shared_folder: Path) -> Home:
    """Return a home that one run has filled from the real funnel, by the mapping with the folder's name."""
    return once(shared_folder / "real", lambda path: Home(path, {"LEADLINE_SOURCE": str(EXPORT)}))


@pytest.mark.slow(150)
def test_the_real_funnel_is_scored_as_of_its_last_fact(real: Home) -> None:
    said = real.path.with_name("real.out").read_text()
    assert "scored     399 of 399 open leads, as of 2012-03-14T15:04:55+00:00" in said
    champions = real.ask(
        "select model, horizon_days, missed_gates from ml.ml_champions join ml.ml_models using (model, version) "
        "order by model"
    )
    (converted, converted_days, converted_missed), (action, action_days, action_missed) = champions
    assert (converted, converted_days, converted_missed) == ("conversion", 30, "[]")
    # what this company does next is harder to tell than the gate asks for, which stops no first scores
    assert (action, action_days) == ("next_best_action", 7)
    assert "accuracy is 0.6" in action_missed
    scored = real.ask("select count(*), count(conversion_probability), count(next_best_action) from marts.lead_scores")
    assert scored == [(399, 399, 399)]


def test_the_real_funnel_fits_without_a_reject(real: Home) -> None:
    """Every row is taken."""
    assert "rejects    none" in real.path.with_name("real.out").read_text()
    assert real.ask("select count(*) from raw.rejects") == [(0,)]
    tables = ("leads", "interactions", "appointments", "projects", "changes")
    assert [real.ask(f"select count(*) from raw.{table}")[0][0] for table in tables] == [
        13_087,
        135_851,
        5_023,
        7_030,
        # of each lead its owner, status and property value
        3 * 13_087,
    ]
    ((mapping, horizons, outcomes),) = real.ask("select mapping, horizon_days, closing_outcomes from raw.extraction")
    assert (mapping, json.loads(horizons)) == ("bpi2012_crm", {"conversion": 30})
    assert json.loads(outcomes) == ["A_APPROVED", "A_DECLINED", "A_CANCELLED"]


def test_the_real_funnel_equals_its_reference(real: Home) -> None:
    """All 41,479 decision points with their kind, and both labels where the reference has one.

    The reference has no observations of silent leads.
    """
    found = (
        "select lead_id, as_of, observation_kind from features.lead_features "
        "where observation_kind in ('activity', 'heartbeat')"
    )
    reference = "select lead_id, as_of, kind from reference"
    with reading(real.warehouse) as store:
        store.execute(
            "create temp table reference as select lead_id, cast(as_of as timestamptz) as as_of, kind, "
            "cast(won_30d as bigint) as won_30d, next_action_7d "
            f"from read_csv('{DATA / 'bpi2012_reference.csv'}', header = true, all_varchar = true)"
        )
        assert store.execute(f"({found}) except ({reference})").fetchall() == []
        assert store.execute(f"({reference}) except ({found})").fetchall() == []
        assert store.execute(f"select count(*) from ({found})").fetchall() == [(41479,)]
        for label, column, reference_column in LABELS:
            different = store.execute(
                f"select lead_id, as_of, labels.{column}, reference.{reference_column} "
                f"from reference left join labels.{label} as labels using (lead_id, as_of) "
                f"where labels.{column} is distinct from reference.{reference_column}"
            ).fetchall()
            assert different == [], f"labels.{label}: {len(different)} rows differ"
            there = f"select count({reference_column}) > 30000 from reference"
            assert store.execute(there).fetchall() == [(True,)]
