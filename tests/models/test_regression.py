"""The task of a number: its figures are scikit-learn's, under every weighting, and it is measured as classes are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from models.declared.conversion import CONVERSION
from models.evaluation.census import is_off, totals
from models.evaluation.held_out import calibration_table, gains
from models.evaluation.hindsight import measure_alone
from models.evaluation.validation import Observed
from models.learning.fitting import fit, predict
from models.tasks.measures import calibration_error, once, resampled
from models.tasks.regression import Regression
from models.tasks.task import Predictions

WORTH = Regression(("worth",))


def drawn(rows: int = 400, *, bias: float = 1.0) -> Predictions:
    """Return predictions of large values, whose squares would lose digits."""
    rng = np.random.default_rng(5)
    expected = 1e6 + rng.gamma(2, 10_000, rows)
    return Predictions(
        task=WORTH,
        truth=expected + rng.normal(0, 8_000, rows),
        predicted=bias * expected[:, None],
        group=np.unique(rng.integers(90, size=rows), return_inverse=True)[1],
    )


def test_metrics_are_those_of_scikit_learn_under_every_weighting():
    each = drawn()
    weights = np.vstack([once(each.groups), resampled(each.groups, 4, seed=1)])
    found = each.measured(weights)
    assert list(found) == list(WORTH.metrics)
    for number, weighting in enumerate(weights):
        weight = weighting[each.group]
        given = (each.truth, each.predicted[:, 0], weight)
        assert found["r2"][number] == pytest.approx(r2_score(*given[:2], sample_weight=weight), abs=1e-9)
        assert found["mae"][number] == pytest.approx(mean_absolute_error(*given[:2], sample_weight=weight))
        assert found["squared_error"][number] == pytest.approx(mean_squared_error(*given[:2], sample_weight=weight))
        assert found["mean_actual"][number] == pytest.approx(np.average(each.truth, weights=weight))
        assert found["mean_predicted"][number] == pytest.approx(np.average(each.predicted[:, 0], weights=weight))
    assert WORTH.losses(each).mean() == pytest.approx(found["squared_error"][0])
    constant = replace(each, predicted=np.full((len(each), 1), each.truth.mean()))
    assert WORTH.trivial_loss(each) == pytest.approx(constant.losses().mean())
    assert constant.measured(once(each.groups))["r2"][0] == pytest.approx(0)


def test_values_without_a_spread_have_no_r2():
    same = Predictions(task=WORTH, truth=np.full(3, 7.0), predicted=np.full((3, 1), 7.0), group=np.arange(3))
    assert np.isnan(same.measured(once(3))["r2"][0])
    assert calibration_error(same, once(3))[0] == 0


def test_calibration_is_by_parts_of_as_many_rows():
    each = drawn(bias=1.1)
    table = calibration_table(each)
    assert [part.n for part in table] == [40] * 10
    assert all(part.lower <= part.mean_predicted <= part.upper for part in table)
    assert all(part.mean_predicted > part.mean_actual for part in table)
    gap = np.mean([part.mean_predicted - part.mean_actual for part in table])
    assert calibration_error(each, once(each.groups))[0] == pytest.approx(gap)


def test_a_census_of_values_holds_sums_to_sums():
    each = drawn()
    (whole,) = totals(each)
    assert whole.expected == pytest.approx(each.predicted.sum())
    assert whole.actual == pytest.approx(each.truth.sum())
    assert not is_off(whole, 0.01)
    assert is_off(totals(drawn(bias=1.1))[0], 0.05)


def test_residuals_of_equal_predictions_have_no_empty_parts():
    """Most predictions may be equal, as those of a small tree are; a bound may also lie between two values."""
    for low, high in ((400, 0), (300, 100), (99, 301)):
        each = drawn()
        predicted = np.array([1.0] * low + [5.0] * high)[:, None]
        interval = WORTH.residuals(replace(each, predicted=predicted))
        assert len(interval["lower"]) == len(interval["bounds"]) + 1 == len(np.unique(predicted))
        assert np.isfinite(WORTH.interval(predicted[:, 0], interval)).all()


def test_what_is_found_first_is_value():
    each = Predictions(
        task=WORTH, truth=np.array([60.0, 30, 10, 0]), predicted=np.array([[4.0], [3], [2], [1]]), group=np.arange(4)
    )
    (found,) = gains(each)
    assert found.found[5] == pytest.approx(0.6)
    assert gains(replace(each, truth=np.array([60.0, -30, 10, 0]))) == []


@pytest.mark.parametrize(("label", "wrong"), [([1.5, 2.0], 0), ([1.0, np.inf], 1), ([np.nan, 1.0], 1), (["a", 1.0], 1)])
def test_a_label_is_a_finite_number(label, wrong):
    unknown, expected = WORTH.unknown(pd.Series(label, dtype=object))
    assert (unknown.sum(), expected) == (wrong, "finite numbers")


def test_stored_values_are_read_as_they_were():
    values = pd.Series([0.1 + 0.2, 1e-17, 123456789.123456])
    assert WORTH.truth(WORTH.cast(values).astype(str)).tolist() == values.tolist()


def test_a_regressor_and_its_linear_beside_are_fitted_and_told_apart_by_a_feature():
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(2)
    size = rng.gamma(2, 10, 2_000)
    worth = 3 * size + rng.normal(0, 5, 2_000)
    features = pd.DataFrame({"size": size, "noise": rng.normal(size=2_000)})
    declared = replace(
        CONVERSION, task=WORTH, estimator=HistGradientBoostingRegressor, primary_metric="mae", gates={}, grades={}
    )
    rows = Observed(
        features=features, label=pd.Series(worth), weights=np.ones(2_000), stands_for=np.ones(2_000),
        entities=np.arange(2_000),
    )  # fmt: skip
    train, test = rows.rows(np.arange(2_000) < 1_400), rows.rows(np.arange(2_000) >= 1_400)
    fitted = fit(declared, train.features, train.label, train.weights)
    measured = test.predicted(predict(fitted, test.features, WORTH), WORTH).measured(once(600))
    assert measured["r2"][0] > 0.85
    first, second = measure_alone(train, test, WORTH)
    assert (first.feature, first.auc, second.feature) == ("size", None, "noise")
    assert first.skill > 0.8 > 0.05 > abs(second.skill)
    assert WORTH.rank_quality(test.label.to_numpy(), test.features["size"].to_numpy()) == pytest.approx(
        spearmanr(test.label, test.features["size"]).statistic
    )
