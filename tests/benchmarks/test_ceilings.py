"""Ceilings: what the truth of a simulation allows on the very rows on which a candidate was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import ceilings
from benchmarks.ceilings import ceiling
from models.declared.registry import DECLARATIONS
from models.versions.candidate import HELD_OUT, Candidate
from tests.simulated import LEADS, observations, simulated

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("ceilings"))


@pytest.fixture(scope="module")
def rows(export: Path) -> pd.DataFrame:
    return observations(export)


def measured(folder: Path, rows: pd.DataFrame, label_column: str, horizon_days: int) -> Candidate:
    """Return a version that was measured on these rows; of its files a ceiling needs the held-out rows alone."""
    held_out = rows[["lead_id", "as_of"]].assign(truth=rows[label_column].astype(str))
    held_out.to_parquet(folder / HELD_OUT, index=False)
    manifest = {"key": "lead_id", "horizon_days": horizon_days}
    return Candidate(model="any", version="any", directory=folder, manifest=manifest)


def test_the_next_action_has_a_ceiling_for_each_of_its_gates(export: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    found = ceiling(str(export), "next_action", measured(tmp_path, rows, "next_action", 7))

    assert found.keys() == {"accuracy", "weighted_f1", *(f"recall_{name}" for name in rows["next_action"].unique())}
    assert DECLARATIONS["next_best_action"].gates.keys() & {"accuracy", "weighted_f1"} <= found.keys()
    # the playbook is left in one decision of ten
    assert 0.85 < found["accuracy"] < 0.98
    assert 0.85 < found["weighted_f1"] < 0.98
    counts = rows["next_action"].value_counts(normalize=True)
    assert found["accuracy"] == pytest.approx(sum(found[f"recall_{name}"] * share for name, share in counts.items()))


def test_labels_that_have_nothing_to_do_with_the_plans_are_not_foreseen(
    export: Path, rows: pd.DataFrame, tmp_path: Path
) -> None:
    shuffled = rows.assign(next_action=np.random.default_rng(2).permutation(rows["next_action"]))
    found = ceiling(str(export), "next_action", measured(tmp_path, shuffled, "next_action", 7))
    assert found["accuracy"] < 0.6


def test_the_horizon_is_the_candidates(export: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    over_seven = ceiling(str(export), "next_action", measured(tmp_path, rows, "next_action", 7))
    over_one = ceiling(str(export), "next_action", measured(tmp_path, rows, "next_action", 1))
    assert over_one["accuracy"] < over_seven["accuracy"] - 0.1


def test_the_true_probability_of_conversion_ranks_better_than_chance(
    export: Path, rows: pd.DataFrame, tmp_path: Path
) -> None:
    candidate = measured(tmp_path, rows, "converted", 30)
    found = ceiling(str(export), "conversion", candidate)
    assert found.keys() == {"auc"}
    # it knows more than the one figure that the records have of the lead
    assert found["auc"] > max(0.65, roc_auc_score(rows["converted"], -rows["property_value"].fillna(0)))
    assert ceiling(str(export), "conversion", candidate) == found


def test_conversion_is_played_out_on_a_sample(
    export: Path, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = measured(tmp_path, rows, "converted", 30)
    every = ceiling(str(export), "conversion", candidate)
    monkeypatch.setattr(ceilings, "SAMPLE", LEADS)
    sampled = ceiling(str(export), "conversion", candidate)
    assert sampled != every
    assert sampled["auc"] == pytest.approx(every["auc"], abs=0.1)


@pytest.mark.parametrize("source", ["postgresql://somewhere/crm", "no/such/folder"])
def test_of_another_source_nothing_is_known(rows: pd.DataFrame, tmp_path: Path, source: str) -> None:
    assert ceiling(source, "conversion", measured(tmp_path, rows, "converted", 30)) == {}
    assert ceiling(source, "next_action", measured(tmp_path, rows, "next_action", 7)) == {}


def test_of_a_folder_without_a_truth_and_of_another_label_nothing_is_known(
    export: Path, rows: pd.DataFrame, tmp_path: Path
) -> None:
    candidate = measured(tmp_path, rows, "converted", 30)
    assert ceiling(str(tmp_path), "conversion", candidate) == {}
    assert ceiling(str(export), "churn", candidate) == {}
