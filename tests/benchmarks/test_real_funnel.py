"""How the benchmark on the real funnel compares keys and labels, and reads the scorer's line."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import real_funnel
from benchmarks.measuring import MeasurementError

CONVERSION, ACTION = real_funnel.TARGETS


def labels(rows: dict[tuple[str, str], object]) -> pd.Series:
    return pd.Series(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["lead_id", "as_of"]))


def test_decision_points_are_compared_both_ways() -> None:
    monday, tuesday = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="UTC")
    features = pd.DataFrame({"lead_id": ["L1", "L2"], "as_of": [monday, monday]}).set_index(["lead_id", "as_of"])
    reference = pd.DataFrame({"lead_id": ["L1", "L1"], "as_of": [monday, tuesday]})
    (figure,), details = real_funnel.decision_points(features, reference)
    assert (figure.value, figure.verdict) == (2, "MISSED")
    assert details[1:] == ["  only here: L2 2024-01-01 00:00", "  only in the reference: L1 2024-01-02 00:00"]


def test_labels_disagree_where_one_is_missing_or_has_another_value() -> None:
    ours = labels({("L1", "a"): 1, ("L2", "a"): 0, ("L3", "a"): 1})
    theirs = labels({("L1", "a"): 1.0, ("L2", "a"): 1.0, ("L4", "a"): 1.0})
    assert sorted(real_funnel.disagreements(ours, theirs)) == [("L2", "a"), ("L3", "a"), ("L4", "a")]  # type: ignore[type-var]


def test_the_figures_are_read_from_the_scorers_line() -> None:
    line = "conversion: n=8200 AUC=0.7856 (0.7668-0.8022) PR-AUC=0.5238 Brier=0.1707 ECE10=0.0213"
    assert [(each.value, each.verdict) for each in real_funnel.compared(line, CONVERSION)] == [
        (0.7856, "met"), (0.5238, "MISSED"), (0.1707, "met"), (0.0213, "met"),
    ]  # fmt: skip
    line = (
        "next action: n=10700 accuracy=0.6753 weighted F1=0.6057 macro F1=0.3153 macro AUC=0.7811 log-loss=0.7903 "
        "recall={'call_immediate': 0.913}"
    )
    assert [(each.value, each.verdict) for each in real_funnel.compared(line, ACTION)] == [
        (0.6753, "met"), (0.6057, "MISSED"), (0.3153, "MISSED"), (0.7811, "met"), (0.7903, "MISSED"),
    ]  # fmt: skip


def test_a_line_without_a_figure_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="Brier"):
        real_funnel.compared("conversion: AUC=0.7856 PR-AUC=0.5238 ECE10=0.0213", CONVERSION)


def test_without_the_funnel_the_benchmark_says_why_it_is_skipped(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(real_funnel, "FUNNEL", tmp_path / "bpi2012_crm")
    report = real_funnel.run()
    assert report.skipped is not None
    assert "bpi2012_crm" in report.skipped
    assert report.figures == ()
