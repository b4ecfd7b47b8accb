"""How the feature store is built: whole wherever an increment might give other rows, and never in part."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from models.declaring.declaration import Horizons
from models.training.outcome_history import OutcomesBegin
from store.features import builds
from store.features.builds import (
    BuildEvidence,
    Built,
    forget_build,
    gather_build_evidence,
    plan_build,
    require_present_code,
)
from store.features.certificates import CompiledSql
from store.warehouse.warehouse import StaleFeaturesError, Warehouse

if TYPE_CHECKING:
    from tests.homes import Home

LAST = Built(as_of=datetime(2026, 6, 1, tzinfo=UTC), load_number=7, code="abc")
NEXT = replace(LAST, as_of=LAST.as_of + timedelta(days=1), load_number=8)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (BuildEvidence(last=None, now=NEXT), "there is no build to add to"),
        (BuildEvidence(last=LAST, now=NEXT, missing=("features.lead_features",)), "features.lead_features of the last"),
        (BuildEvidence(last=LAST, now=replace(NEXT, code="abd")), "SQL or the settings have changed"),
        (BuildEvidence(last=NEXT, now=LAST), "the clock has gone back"),
    ],
)
def test_whole_where_there_is_nothing_right_to_add_to(evidence: BuildEvidence, reason: str) -> None:
    plan = plan_build(evidence)
    assert plan.since is None
    assert plan.reason.startswith("Whole: ")
    assert reason in plan.reason


@pytest.mark.parametrize("now", [NEXT, LAST])
def test_an_increment_on_the_last_build_otherwise(now: Built) -> None:
    plan = plan_build(BuildEvidence(last=LAST, now=now))
    assert plan.since == LAST
    assert LAST.as_of.isoformat() in plan.reason


def test_what_a_run_built_can_be_added_to_until_another_build_has_begun(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(address=f"duckdb:{own.warehouse}")
    settings = Horizons(overrides={"conversion": 30}), CompiledSql(root=str(own.path / "compiled"))
    before = gather_build_evidence(warehouse, *settings)
    assert before.missing == ()
    # the simulated company records how its leads end from its first week on
    assert before.outcomes == {"conversion": OutcomesBegin(None, "Outcomes are recorded from the beginning.")}
    assert before.last is not None
    assert before.last.as_of == before.now.as_of == warehouse.built_extraction().as_of
    assert plan_build(replace(before, now=before.last)).since == before.last

    with monkeypatch.context() as patched:
        # where the beginning of the outcomes has moved, labels vanish or appear
        patched.setattr(builds, "measure_outcomes", lambda *_: OutcomesBegin(date(2025, 3, 3), ""))
        moved = plan_build(gather_build_evidence(warehouse, *settings))
        with pytest.raises(StaleFeaturesError, match="the SQL, a declared horizon or a setting has changed"):
            require_present_code(warehouse, *settings)
    require_present_code(warehouse, *settings)
    assert moved.reason == "Whole: the SQL or the settings have changed since the last build."

    forget_build(warehouse)

    assert plan_build(gather_build_evidence(warehouse, *settings)).reason == "Whole: there is no build to add to."
    with pytest.raises(StaleFeaturesError, match="Materialize features and labels again"):
        warehouse.built_extraction()
