"""Synthetic observations whose outcomes follow known rules, and the models that are trained on them once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from models.declared.registry import DECLARATIONS
from models.training.training import train
from models.training.training_set import TrainingSet, freeze

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.declaring.declaration import ModelDeclaration
    from models.versions.candidate import Candidate

CLOCK = pd.Timestamp("2025-12-31", tz="UTC")


def observations(leads: int = 500, per_lead: int = 3, seed: int = 1) -> pd.DataFrame:
    """Return observations over one year: calls raise the odds of conversion, the channel decides the next action."""
    rng = np.random.default_rng(seed)
    created = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.sort(rng.uniform(0, 200, leads)), unit="D")
    lead = np.repeat(np.arange(leads), per_lead)
    rows = len(lead)
    calls = rng.poisson(2, rows)
    channel = rng.choice(["web", "referral", "event"], rows)
    won = rng.random(rows) < 1 / (1 + np.exp(3 - 1.5 * calls))
    as_of = (created[lead] + pd.to_timedelta(np.tile(np.arange(1, per_lead + 1), leads), unit="D")).normalize()
    action = pd.Series(channel).map({"web": "call_immediate", "referral": "send_proposal", "event": "no_action"})
    noisy = rng.random(rows) < 0.2
    return pd.DataFrame(
        {
            "lead_id": [f"L{number:04d}" for number in lead],
            "as_of": as_of,
            "observation_kind": "activity",
            "lead_created_at": created[lead],
            "days_since_last_fact": 1.0 + np.arange(rows) % 5,
            "calls_count_7d": calls,
            "noise_days": rng.normal(size=rows),
            "source_channel": channel,
            "always_missing": np.nan,
            "always_one": 1,
            "converted": won.astype(int),
            "next_action": action.where(~noisy, "call_immediate"),
            "succeeded_at": pd.Series(as_of + pd.Timedelta(days=20)).where(won),
        }
    )


def open_at(clocks: Sequence[pd.Timestamp], leads: int = 300, seed: int = 5) -> pd.DataFrame:
    """Return a census: the same leads at each of some clocks, with a value, and outcomes by the same rules."""
    rows = observations(leads=leads, per_lead=len(clocks), seed=seed).drop(columns="succeeded_at")
    return rows.assign(
        as_of=list(clocks) * leads,
        observation_kind="asked",
        value=np.repeat(np.linspace(1_000, 9_000, leads), len(clocks)),
    )


CENSUS_CLOCKS = [pd.Timestamp(day, tz="UTC") for day in ("2025-08-01", "2025-09-15", "2025-11-01")]
"""After every lead of the observations has come, and 30 days or more before the clock."""


@pytest.fixture
def frame() -> pd.DataFrame:
    """Return observations with both labels."""
    return observations()


@pytest.fixture
def new_leads() -> pd.DataFrame:
    """Return observations of leads that no model has seen."""
    return observations(leads=50, seed=99)


@pytest.fixture(scope="session")
def conversion() -> ModelDeclaration:
    """Return the declared conversion model over 30 days, with leaves that fit a small frame."""
    return replace(DECLARATIONS["conversion"].with_horizon(30), estimator=small_trees)


@pytest.fixture(scope="session")
def next_action() -> ModelDeclaration:
    """Return the declared next-best-action model."""
    return replace(DECLARATIONS["next_best_action"], estimator=small_trees)


def small_trees() -> object:
    """Return an estimator that trains in a moment."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=5, max_features=0.5, early_stopping=False)


@pytest.fixture(scope="session")
def conversion_set(conversion: ModelDeclaration, tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Return a frozen training set of the conversion model."""
    rows = observations().drop(columns="next_action")
    census = open_at(CENSUS_CLOCKS).drop(columns="next_action")
    return freeze(rows, conversion, tmp_path_factory.mktemp("training_sets"), CLOCK, census)


@pytest.fixture(scope="session")
def converter(
    conversion: ModelDeclaration, conversion_set: TrainingSet, tmp_path_factory: pytest.TempPathFactory
) -> Candidate:
    """Return a trained conversion model; do not change its files."""
    return train(conversion, conversion_set, tmp_path_factory.mktemp("conversion"))


@pytest.fixture(scope="session")
def recommender(next_action: ModelDeclaration, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """Return a trained next-best-action model that saw three of its five outcomes."""
    directory = tmp_path_factory.mktemp("next_action")
    census = open_at(CENSUS_CLOCKS).drop(columns="converted")
    frozen = freeze(observations().drop(columns="converted"), next_action, directory / "sets", CLOCK, census)
    return train(next_action, frozen, directory / "models")
