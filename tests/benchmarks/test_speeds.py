"""The benchmarks of drift and training: at small sizes they run to their end and compare the same work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import drift_speed, training_speed
from models.declared.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_drift_benchmark_compares_what_it_runs_at_each_size(
    in_this_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(drift_speed)
    monkeypatch.setattr(drift_speed, "SIZES", (200, 400))
    monkeypatch.setattr(drift_speed, "LARGEST_FOR_EVIDENTLY", 200)
    monkeypatch.setattr(drift_speed, "COLUMNS", 3)
    report = drift_speed.run()
    assert [figure.name for figure in report.figures] == [
        "200 rows: time, SciPy over SQL", "200 rows: time, Evidently over SQL", "400 rows: time, SciPy over SQL",
    ]  # fmt: skip
    assert all(figure.value > 0 for figure in report.figures)


def test_the_drift_benchmark_has_something_to_find() -> None:
    reference, current = drift_speed.frames(20_000)
    assert reference.shape == current.shape == (20_000, drift_speed.COLUMNS)
    assert ((current.mean() - reference.mean()) > 0.05).all()


def test_the_training_benchmark_times_both_on_the_same_rows(
    in_this_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(training_speed)
    monkeypatch.setattr(training_speed, "ROWS", 400)
    monkeypatch.setattr(training_speed, "NUMBERS", 4)
    monkeypatch.setattr(training_speed, "SINGLE_ROWS", 2)
    report = training_speed.run()
    assert [figure.name for figure in report.figures] == [
        f"{name}: {what}"
        for name in DECLARATIONS
        for what in ("fit, pipeline over bare estimator", "one prediction", "file")
    ]
    assert all(figure.value > 0 for figure in report.figures)
    assert len(report.details) == 1 + len(DECLARATIONS)


def test_the_rows_of_the_training_benchmark_can_be_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_speed, "ROWS", 3_000)
    frame, label = training_speed.rows_of(DECLARATIONS["conversion"])
    assert 0.05 < frame["number_0"].isna().mean() < 0.15
    assert label.mean() == pytest.approx(0.3, abs=0.01)
    present = frame[["number_0", "number_1"]].notna().all(axis=1)
    assert np.corrcoef((frame["number_0"] - frame["number_1"])[present], label[present])[0, 1] > 0.4
    _, actions = training_speed.rows_of(DECLARATIONS["next_best_action"])
    assert set(actions) == set(DECLARATIONS["next_best_action"].outcomes)
