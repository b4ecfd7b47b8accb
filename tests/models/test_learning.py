"""The pipeline learns from whatever columns a CRM has, the same way every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from models.declared.churn import logistic
from models.declared.registry import DECLARATIONS
from models.learning import fitting
from models.learning.fitting import fit, free_cores, predict, predict_changed, predict_each, threads
from models.learning.frames import MISSING
from models.tasks.binary import Binary
from models.tasks.multiclass import Multiclass
from models.untrainable import UntrainableError

CONVERTED = Binary(("converted",))


def learnable(rows: int = 400) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=rows)
    source = pd.Series(rng.choice(["web", "event"], rows), dtype=object)
    return pd.DataFrame({"x": x, "source": source}), pd.Series((x > 0).astype(int))


@pytest.mark.parametrize("name", list(DECLARATIONS))
def test_every_declared_estimator_learns_the_same_twice(name):
    features, label = learnable()
    each = DECLARATIONS[name]
    if isinstance(each.task, Multiclass):
        label = label.map({0: "no_action", 1: "send_proposal"})
    first, second = (predict(fit(each, features, label, np.ones(400)), features, each.task) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.std() > 0


def test_columns_without_values_do_not_stop_learning():
    features, label = learnable()
    features = features.assign(empty=np.nan, constant=1.0, empty_text=MISSING, one_value_or_none=[1.0, np.nan] * 200)
    model = fit(DECLARATIONS["conversion"], features, label, np.ones(400))
    assert model.named_steps["columns"].named_transformers_["numbers"].n_features_in_ == 2
    assert predict(model, features, CONVERTED).shape == (400, 1)


def test_a_column_with_a_single_value_among_many_rows_does_not_stop_learning():
    def one_tree():
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=1, early_stopping=False)

    rows = 300_000
    x = np.arange(rows, dtype="float64")
    features = pd.DataFrame({"x": x, "rare": np.where((x > 0) & (x < 3), x, np.nan)})
    label = pd.Series((x % 7 > 3).astype(int))
    model = fit(replace(DECLARATIONS["conversion"], estimator=one_tree), features, label, np.ones(rows))
    assert model.named_steps["columns"].named_transformers_["numbers"].n_features_in_ == 1


def test_small_frames_are_predicted_as_one_by_one(monkeypatch):
    features, label = learnable()
    model = fit(DECLARATIONS["conversion"], features, label, np.ones(400))
    monkeypatch.setattr(fitting, "ROWS_AT_A_TIME", 6)
    frames = [features.iloc[:5], features.iloc[5:5], features.iloc[5:9], features.iloc[9:30], features.iloc[30:31]]
    together = list(predict_each(model, iter(frames), CONVERTED))
    assert len(together) == len(frames)
    for frame, found in zip(frames, together, strict=True):
        np.testing.assert_array_equal(found, predict(model, frame, CONVERTED))
    assert list(predict_each(model, iter(()), CONVERTED)) == []


@pytest.mark.parametrize("model", ["trees", "indicators"])
def test_rows_with_a_changed_feature_are_predicted_as_one_by_one(model):
    features, label = learnable()
    features = features.assign(kind=np.where(features.index % 3 == 0, "a", "b"), empty=np.nan)
    declared = (
        DECLARATIONS["conversion"] if model == "trees" else replace(DECLARATIONS["conversion"], estimator=logistic)
    )
    pipeline = fit(declared, features, label, np.ones(400))
    rows, positions = np.array([0, 7, 8, 12]), np.array([1, 1, 0, 2])
    others = features.iloc[[3, 200, 301]]
    found = predict_changed(pipeline, features, others, ((name, rows, positions) for name in features), CONVERTED)
    moved = set()
    for name, predicted in zip(features, found, strict=True):
        frame = features.iloc[rows].assign(**{name: others[name].to_numpy()[positions]})
        np.testing.assert_array_equal(predicted, predict(pipeline, frame, CONVERTED))
        if (predicted != predict(pipeline, features.iloc[rows], CONVERTED)).any():
            moved.add(name)
    assert moved
    assert "empty" not in moved


def test_features_that_tell_nothing_are_refused():
    features = pd.DataFrame({"a": [1.0, 1.0], "b": [np.nan, np.nan]})
    with pytest.raises(UntrainableError, match="all 2 are constant or empty in the 2 rows") as refused:
        fit(DECLARATIONS["conversion"], features, pd.Series([0, 1]), np.ones(2))
    assert not refused.value.value.horizon_matters


def test_a_category_that_was_not_seen_is_scored():
    features, label = learnable()
    model = fit(DECLARATIONS["conversion"], features, label, np.ones(400))
    unseen = predict(model, features.assign(source="carrier pigeon"), CONVERTED)
    assert np.isfinite(unseen).all()


def test_outcomes_that_did_not_occur_have_no_probability():
    features, label = learnable()
    each = DECLARATIONS["next_best_action"]
    model = fit(each, features, label.map({0: "no_action", 1: "send_proposal"}), np.ones(400))
    probabilities = predict(model, features, each.task)
    seen = [name in ("no_action", "send_proposal") for name in each.outcomes]
    assert (probabilities[:, ~np.array(seen)] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # the column of an outcome holds the probability of that outcome, whatever the order of the classes
    assert probabilities[label == 1, each.outcomes.index("send_proposal")].mean() > 0.9


def test_no_rows_no_probabilities():
    features, label = learnable()
    model = fit(DECLARATIONS["conversion"], features, label, np.ones(400))
    assert predict(model, features.head(0), CONVERTED).shape == (0, 1)


def test_weights_are_learnt_from():
    features, label = learnable()
    even = fit(DECLARATIONS["conversion"], features, label, np.ones(400))
    tilted = fit(DECLARATIONS["conversion"], features, label, np.where(label == 1, 20.0, 1.0))
    assert predict(tilted, features, CONVERTED).mean() > predict(even, features, CONVERTED).mean()


def test_threads_are_bounded():
    for count in (1, 2):
        with threads(count):
            assert {pool["num_threads"] for pool in threadpool_info()} == {count}


def test_busy_cores_are_not_counted_as_free(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    monkeypatch.setattr("psutil.cpu_count", lambda: 4)
    for busy, expected in ((0.0, 4), (50.0, 2), (80.0, 1), (100.0, 1)):
        monkeypatch.setattr("psutil.cpu_percent", lambda interval, busy=busy: busy)
        assert free_cores() == expected
    monkeypatch.setattr("psutil.cpu_count", lambda: 64)
    assert free_cores() == 1, "a core that this process may not use is not free for it"
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 0.0)
    assert free_cores() == 4
