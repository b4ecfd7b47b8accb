"""The benchmark of scenarios: how companies are watched, and how what was seen is summed up."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from benchmarks import scenarios
from benchmarks.scenarios import Company, Watch, report
from simulation.scenarios import CUSTOMER_SCENARIOS, SCENARIOS
from store.artifacts import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.compiled import Model


def watch(scenario: str | None, *, conversion: list[int], action: list[int], **seen: object) -> Watch:
    retrained = {"conversion": conversion, "next_best_action": action}
    promoted = {name: [True] * len(days) for name, days in retrained.items()}
    return Watch(**{"seed": 1, "scenario": scenario, "retrained": retrained, "promoted": promoted, **seen})  # type: ignore[arg-type]


QUIET = watch(None, conversion=[], action=[])


@pytest.mark.parametrize(
    ("noisy", "values"),
    [
        (QUIET, [0, 0, 0]),
        (watch(None, conversion=[], action=[], failed={"conversion: features": 3}), [1, 0, 0]),
        (watch(None, conversion=[], action=[], quarantined=4), [0, 1, 0]),
        (watch(None, conversion=[], action=[], without_champion=("conversion",)), [0, 0, 1]),
    ],
)
def test_alarms_without_cause_are_counted(noisy: Watch, values: list[int]) -> None:
    found = report([QUIET, noisy])
    assert [figure.value for figure in found.figures] == values
    assert [figure.verdict for figure in found.figures] == ["MISSED" if value else "met" for value in values]
    assert any("false alarm" in line for line in found.details) == bool(values[0])


@pytest.mark.parametrize(
    ("scenario", "conversion", "action", "kept"),
    [
        ("price_shock", [20], [], 1),
        ("price_shock", [20], [31], 1),
        ("price_shock", [], [], 0),
        ("price_shock", [20, 90], [], 0),
        ("concept_change", [20], [25, 100], 0),
        ("broken_feed", [], [], 1),
        ("broken_feed", [], [12], 0),
        ("null_spike", [12], [], 0),
    ],
)
def test_a_changed_world_is_worth_one_training_and_a_broken_source_none(
    scenario: str, conversion: list[int], action: list[int], kept: int
) -> None:
    figure = report([watch(scenario, conversion=conversion, action=action)]).figures[-1]
    expected = "one retraining" if scenario in ("price_shock", "concept_change") else "no retraining"
    assert figure.name == f"{scenario}: seeds of 1 with {expected}"
    assert (figure.value, figure.verdict) == (kept, "met" if kept else "MISSED")


def test_what_was_seen_is_shown_by_scenario() -> None:
    seen = [
        watch("price_shock", conversion=[20], action=[], failed={"conversion: features": 10, "source: volume": 4}),
        watch("price_shock", conversion=[30], action=[], failed={"conversion: features": 16}, quarantined=7,
              looks=9, alarms=4),
    ]  # fmt: skip
    seen[1].promoted["conversion"] = [False]
    lines = [" ".join(line.split()) for line in report([QUIET, *seen]).details]
    assert "price_shock, 2 seeds" in lines
    assert "conversion: features 13 (10 to 16) 2" in lines
    assert "source: volume 4 (4 to 4) 1" in lines
    assert "conversion: retrained 25 (20 to 30) 2" in lines
    assert "quarantined 7 (7 to 7) 1" in lines
    assert "looks at which a check failed: 4 of 9" in lines
    assert "trainings that were not promoted: 1" in lines
    assert "conversion: trainings by seed 1 in 2" in lines
    assert "next_best_action: trainings by seed 0 in 2" in lines


def test_looks_are_dense_after_the_change_and_reach_the_end() -> None:
    days, last = scenarios.days_of_looks(), (scenarios.END - scenarios.CHANGED).days
    apart = [later - day for day, later in pairwise(days)]
    assert days[0] == apart[0] == 3
    assert min(apart) > 0
    assert apart == sorted(apart)
    assert last - apart[-1] < days[-1] <= last
    assert set(scenarios.ASKS_FOR_TRAINING) < {*SCENARIOS, *CUSTOMER_SCENARIOS}


@pytest.fixture
def company(tmp_path: Path, models: list[Model], monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    monkeypatch.setitem(scenarios.LEADS, "lead", 1_000)
    made = Company(
        tmp_path / "quiet",
        ArtifactStore(root=str(tmp_path), reports_address=""),
        models,
        1,
        None,
        scenarios.watched("lead"),
    )
    yield made
    made.close()


def test_a_look_measures_the_source_as_of_its_clock_and_keeps_the_first_day_of_a_failure(company: Company) -> None:
    seen = company.unseen(None)
    company.look(scenarios.TRAINED, 0, seen)
    assert "source: data_age" not in seen.failed
    # the export ends at END: days later its feeds are stale
    company.look(scenarios.END + timedelta(days=5), 5, seen)
    assert seen.failed["source: data_age"] == 5
    company.look(scenarios.END + timedelta(days=6), 6, seen)
    assert seen.failed["source: data_age"] == 5
    assert all(name.startswith("source: ") for name in seen.failed), "there is no champion whose drift were measured"
    looks = company.connection.execute("select count(distinct run_id) from ml.ml_source_health").fetchall()
    assert looks == [(3,)]
    assert seen.retrained == {name: [] for name in ("conversion", "next_best_action")}


def test_a_scenario_begins_with_what_is_known_of_the_quiet_days(
    company: Company, models: list[Model], tmp_path: Path
) -> None:
    company.look(scenarios.TRAINED, 0, company.unseen(None))
    company.close()
    changed = Company(tmp_path / "price_shock", company.artifacts, models, 1, "price_shock", company.names)
    changed.remember(company)
    remembered = changed.connection.execute("select distinct run_id from ml.ml_source_health").fetchall()
    assert remembered == [(f"look {scenarios.TRAINED.isoformat()}",)]
    differing = changed.connection.execute(
        "select count(*), min(created_at) from (select lead_id, property_value, created_at from raw.leads "
        "except select lead_id, property_value, created_at from read_parquet(?))",
        [str(company.folder / "crm" / "leads.parquet")],
    ).fetchall()
    changed.close()
    assert differing[0][0] > 0
    assert differing[0][1] >= scenarios.CHANGED, "until the change they are one company"
    changed.remove()
    assert not changed.folder.exists()
