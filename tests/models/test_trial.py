"""The trial of a horizon comes to what a training would."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from models.decisions.promotion import decide_promotion, promotion_evidence
from models.training.trial import try_horizon
from models.versions.candidate import evaluate
from tests.models.conftest import open_at

CLOCK = pd.Timestamp("2026-06-30", tz="UTC")


def census(clocks: list[pd.Timestamp]) -> pd.DataFrame:
    return open_at(clocks).drop(columns="next_action")


def test_it_passes_where_the_trained_version_would(frame, conversion, converter):
    found = try_horizon(conversion, frame.drop(columns="next_action"), CLOCK, census)
    trained = evaluate(converter)
    assert trained.calibration.applied is False
    assert found.passes
    assert decide_promotion(promotion_evidence(conversion, trained, None)).outcome == "promote"
    assert found.primary == pytest.approx(trained.metrics["auc"], abs=1e-8)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.head(0), "No label has matured"),
        (lambda rows: rows.assign(converted=0), "have 0 as converted"),
        (
            lambda rows: rows[["lead_id", "as_of", "lead_created_at", "converted"]].assign(days_since_last_fact=1.0),
            "No feature tells",
        ),
    ],
)
def test_what_cannot_be_trained_does_not_pass(frame, conversion, change, reason):
    found = try_horizon(conversion, change(frame.drop(columns="next_action")), CLOCK, census)
    assert not found.passes
    assert found.primary is None
    assert reason in found.reason


def test_without_a_census_it_does_not_pass_as_a_training_would_not(frame, conversion):
    rows = frame.drop(columns="next_action")
    nobody = try_horizon(conversion, rows, CLOCK, lambda clocks: census(clocks).head(0))
    assert not nobody.passes
    assert "was not measured on a census" in nobody.reason

    def never(clocks):
        pytest.fail(f"asked for {clocks}")

    # no label of a midnight after the cut has matured
    early = try_horizon(conversion, rows, pd.Timestamp("2025-02-01", tz="UTC"), never)
    assert "was not measured on a census" in early.reason


def test_noise_does_not_pass(frame, conversion):
    rows = frame.drop(columns="next_action")
    noise = rows.assign(converted=rows["converted"].sample(frac=1, random_state=3).to_numpy())
    found = try_horizon(replace(conversion, seed=11), noise, CLOCK, census)
    assert not found.passes
    assert "does not beat the trivial baseline" in found.reason


def test_a_band_of_silence_that_is_off_does_not_pass(frame, conversion):
    def dormant(clocks):
        rows = census(clocks)
        silent = rows["lead_id"].isin(rows["lead_id"].unique()[::4])
        return rows.assign(
            days_since_last_fact=rows["days_since_last_fact"].mask(silent, 200.0),
            converted=rows["converted"].mask(silent, 0),
        )

    found = try_horizon(conversion, frame.drop(columns="next_action"), CLOCK, dormant)
    assert not found.passes
    assert "converted where days_since_last_fact is 112 and more expected" in found.reason
