"""A small warehouse whose data change on a given day, and a model that is trained before that day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.declared.registry import DECLARATIONS
from models.training.training import train
from models.training.training_set import freeze

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from models.versions.candidate import Candidate

START = pd.Timestamp("2026-01-01", tz="UTC")
TRAINED_DAY, LAST_DAY, HORIZON = 120, 240, 10
TRAINED_AT = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=TRAINED_DAY)


def trees() -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=4, early_stopping=False)


DECLARED = replace(DECLARATIONS["conversion"].with_horizon(HORIZON), estimator=trees)


def world(**changes: int) -> pd.DataFrame:
    """Return 60 observations a day, of leads that are new every two days; each change begins on a given day.

    ``values`` makes values rise, ``channels`` makes the channel ``ads`` frequent, and ``concept`` reverses the effect
    of calls on conversion.
    """
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(LAST_DAY), 60)
    rows = len(day)
    after = {name: day >= changes.get(name, LAST_DAY) for name in ("values", "channels", "concept")}
    calls = rng.poisson(2, rows)
    channel = np.where(
        after["channels"] & (rng.random(rows) < 0.5), "ads", rng.choice(["web", "ads", "fair"], rows, p=[0.5, 0.2, 0.3])
    )
    odds = np.where(after["concept"], 1.5 - 1.2 * calls, 1.2 * calls - 3.5)
    lead = (day // 2) * 60 + np.tile(np.arange(60), LAST_DAY)
    return pd.DataFrame(
        {
            "lead_id": [f"L{number:05d}" for number in lead],
            "as_of": START + pd.to_timedelta(day, unit="D"),
            "observation_kind": "activity",
            "lead_created_at": START + pd.to_timedelta(day // 2 * 2 - 1, unit="D"),
            "days_since_last_fact": 1.0,
            "calls_count_7d": calls,
            "property_value": np.round(rng.lognormal(0, 0.5, rows) * np.where(after["values"], 1.4, 1.0), 4),
            "lead_source": channel,
            "zip_prefix": pd.Series(np.where(rng.random(rows) < 0.1, None, "10"), dtype=object),
            "converted": (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype("int64"),
        }
    )


def fill(connection: DuckDBPyConnection, rows: pd.DataFrame) -> None:
    connection.register("world", rows)
    connection.execute("create schema if not exists features; create schema if not exists labels")
    connection.execute("create or replace table features.lead_features as select * exclude (converted) from world")
    connection.execute(
        "create or replace table labels.conversion as select lead_id, as_of, "
        f"as_of + to_days({HORIZON}) as matures_at, converted from world"
    )


def trained(folder: Path) -> Candidate:
    """Train on the observations whose labels had matured by the day of the training."""
    rows = world()
    known = rows[rows["as_of"] <= START + pd.Timedelta(days=TRAINED_DAY - HORIZON)]
    return train(DECLARED, freeze(known, DECLARED, folder / "sets", pd.Timestamp(TRAINED_AT)), folder / "models")
