"""The census: its clocks, its sums beside what happened with their intervals, and where it says that they differ."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from models.declared.registry import DECLARATIONS
from models.evaluation.census import (
    census_clocks,
    departures,
    is_off,
    measure_census,
    slices_of_silence,
    totals,
)
from models.evaluation.records import Census, CensusSlice, Total
from models.tasks.multiclass import Multiclass
from models.tasks.task import Predictions

CONVERSION, NEXT = DECLARATIONS["conversion"], DECLARATIONS["next_best_action"]


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def binary(truth: list[int], probability: list[float], group: list[int] | None = None) -> Predictions:
    return Predictions(
        truth=np.array(truth),
        predicted=np.array(probability, dtype=float)[:, None],
        group=np.array(group if group is not None else range(len(truth))),
        task=CONVERSION.task,
    )


@pytest.mark.parametrize(
    ("cut", "clock", "days", "expected"),
    [
        ("2025-01-01 12:00", "2025-04-11 18:00", 90, ["2025-01-02", "2025-01-06", "2025-01-11"]),
        # the cut itself, where it is a midnight
        ("2025-01-01", "2025-04-11 18:00", 90, ["2025-01-01", "2025-01-06", "2025-01-11"]),
        # the last label has just matured, or just not
        ("2025-01-01", "2025-02-10", 30, ["2025-01-01", "2025-01-06", "2025-01-11"]),
        ("2025-01-01", "2025-02-09 23:59", 30, ["2025-01-01", "2025-01-05", "2025-01-10"]),
        ("2025-01-01 00:01", "2025-02-01 12:00", 30, ["2025-01-02"]),
        ("2025-01-01 00:01", "2025-02-02", 30, ["2025-01-02", "2025-01-03"]),
        ("2025-01-01 00:01", "2025-01-31 23:59", 30, []),
        ("2025-06-01", "2025-02-01", 30, []),
    ],
)
def test_clocks_are_spread_from_the_cut_to_the_last_known_outcome(cut, clock, days, expected):
    found = census_clocks(utc(cut), utc(clock), days)
    assert [f"{each:%Y-%m-%d}" for each in found] == expected
    assert all(each == each.normalize() and str(each.tz) == "UTC" for each in found)


def test_a_total_by_hand():
    """Two rows of one entity that converted twice, and one of another that did not."""
    (total,) = totals(binary([1, 1, 0], [0.5, 0.5, 0.2], [0, 0, 1]))
    assert (total.outcome, total.actual) == ("converted", 2)
    assert total.expected == pytest.approx(1.2)
    # what was found: (-1)² + .2²; what the probabilities say: (.5 + .5)² + .2 * .8
    spread = 1.96 * np.sqrt(max(1.0 + 0.04, 1.0 + 0.16))
    assert (total.lower, total.upper) == (pytest.approx(-0.8 - spread), pytest.approx(-0.8 + spread))


def test_what_was_found_counts_where_it_varies_more():
    """All ten rows of an entity, each improbable, converted: no chance that the probabilities know of."""
    (total,) = totals(binary([1] * 10 + [0], [0.01] * 11, [0] * 10 + [1]))
    assert (total.upper - total.lower) / 2 == pytest.approx(1.96 * np.sqrt(9.9**2 + 0.01**2))


def test_rows_of_one_entity_are_less_sure_than_rows_of_many():
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.integers(2, size=100), 4).tolist()
    widths = []
    for group in (range(400), np.repeat(range(100), 4)):
        (total,) = totals(binary(truth, [0.5] * 400, list(group)))
        widths.append(total.upper - total.lower)
    assert widths[1] == pytest.approx(2 * widths[0])


CLOCK = np.repeat([0, 1, 2], 1000)


def at_clocks(happened: tuple[int, int, int], expected: tuple[float, float, float] = (200, 200, 200)) -> Total:
    """Return the total of a census of 1,000 other leads at each of three clocks, as many of which were won."""
    truth = [int(row < wins) for wins in happened for row in range(1000)]
    (total,) = totals(binary(truth, np.repeat(np.array(expected) / 1000, 1000).tolist()), CLOCK)
    return total


def test_one_odd_clock_is_no_fault_and_the_same_difference_at_every_clock_is():
    """On the real funnel one of three days had 40 % fewer leads without an action than every model expected."""
    odd, biased = at_clocks((200, 60, 200)), at_clocks((150, 150, 150))
    assert (odd.actual, biased.actual) == (460, 450)
    assert odd.lower > 46, "beyond chance as leads alone would have it"
    assert (odd.rest.expected, odd.rest.actual, odd.rest.rest) == (pytest.approx(400), 400, None)
    assert not is_off(odd, 0.1)
    assert not is_off(at_clocks((60, 200, 200)), 0.1)
    assert is_off(biased, 0.1)


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        ((200, 200, 0), (200, 200, 200)),
        ((200, 200, 60), (200, 200, 200)),
        ((50, 50, 50), (50, 50, 500)),
        # fewer than happened
        ((200, 200, 400), (200, 200, 200)),
    ],
)
def test_where_only_the_latest_clock_is_wrong_the_census_is_off(happened, expected):
    """It is nearest to what is scored, so it is never left out."""
    total = at_clocks(happened, expected)
    assert total.rest is None
    assert is_off(total, 0.1)


@pytest.mark.parametrize("factors", [(1, 1.5, 2), (2, 1.5, 1)])
def test_a_trend_is_off(factors):
    """A model that is ever further from what happens, or ever nearer to it, has more than one odd clock."""
    assert is_off(at_clocks((200, 200, 200), tuple(200 * factor for factor in factors)), 0.1)


def test_a_fair_model_is_hardly_ever_off():
    rng = np.random.default_rng(5)
    p = np.tile(rng.beta(1, 17, 1000), 3)
    off = [
        is_off(totals(binary((rng.random(3000) < p).astype(int).tolist(), p.tolist()), CLOCK)[0], 0.1)
        for _ in range(200)
    ]
    assert sum(off) <= 2


def test_no_event_is_not_certain():
    """Three expected and none happened is chance; the differences alone would call it certain."""
    (total,) = totals(binary([0] * 300, [0.01] * 300))
    assert total.expected == pytest.approx(3)
    assert total.lower < 0 < total.upper
    assert not is_off(total, 0.1)


def test_a_certain_bias_is_off():
    rng = np.random.default_rng(1)
    truth = (rng.random(5_000) < 0.2).astype(int).tolist()
    (high,), (right,), (low,) = (totals(binary(truth, [p] * 5_000)) for p in (0.3, 0.2, 0.1))
    assert is_off(high, 0.1)
    assert is_off(low, 0.1)
    assert not is_off(right, 0.1)
    # many where none were
    (none,) = totals(binary([0] * 5_000, [0.1] * 5_000))
    assert is_off(none, 0.1)


@pytest.mark.parametrize(
    ("lower", "upper", "off"),
    [(10.1, 60, True), (9.9, 60, False), (-60, -10.1, True), (-60, -9.9, False), (-5, 5, False)],
)
def test_off_is_beyond_the_bound_and_beyond_chance(lower, upper, off):
    assert is_off(Total(outcome="won", expected=100.0, actual=100, lower=lower, upper=upper), 0.1) is off


def test_the_loss_of_frequencies_is_that_of_the_best_constant():
    truth = [1, 0, 0, 0]
    found = CONVERSION.task.trivial_loss(binary(truth, [0.9] * 4))
    assert found == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    constants = np.linspace(0.01, 0.99, 99)
    losses = -(0.25 * np.log(constants) + 0.75 * np.log(1 - constants))
    assert found == pytest.approx(losses.min())
    assert CONVERSION.task.trivial_loss(binary([0, 0], [0.5, 0.5])) == 0
    three = Predictions(
        truth=np.array([0, 0, 2, 2]),
        predicted=np.full((4, 3), 1 / 3),
        group=np.arange(4),
        task=Multiclass(("a", "b", "c")),
    )
    assert three.task.trivial_loss(three) == pytest.approx(np.log(2))


@pytest.fixture
def rows() -> pd.DataFrame:
    """Return a census of twelve rows at two clocks, with silences on every bound and none."""
    return pd.DataFrame(
        {
            "as_of": [utc("2025-02-01"), utc("2025-01-01")] * 6,
            "days_since_last_fact": [0.5, 6.99, 7, 27, 28, 55, 56, 111, 112, 900, None, 7],
            "lead_source": ["web"] * 6 + ["fair"] * 3 + ["(missing)"] * 2 + ["ad"],
            "value": [100.0] * 11 + [None],
        }
    )


PREDICTED = binary([1] + [0] * 11, [0.9, 0.8, 0.5, 0.5, *[0.1] * 8], [n // 2 for n in range(12)])


def test_a_census_is_measured_as_a_whole(rows):
    found = measure_census(CONVERSION, PREDICTED, rows)
    assert (found.clocks, found.rows, found.entities) == (("2025-01-01", "2025-02-01"), 12, 6)
    # by time: the rows of January come second
    assert found.totals == totals(PREDICTED, np.array([1, 0] * 6))
    assert found.totals[0].expected == pytest.approx(3.5)
    assert found.trivial_loss == pytest.approx(CONVERSION.task.trivial_loss(PREDICTED))
    assert found.metrics["auc"].value == 1
    # a value that is not known counts nothing
    assert (found.value_expected, found.value_actual) == (pytest.approx(340), pytest.approx(100))
    assert list(found.grades)[-1] == "D"


def of(census: Census, column: str) -> tuple[CensusSlice, ...]:
    """Return the slices of a column."""
    return tuple(each for each in census.slices if each.column == column)


def test_every_band_holds_its_rows_in_order(rows):
    found = measure_census(CONVERSION, PREDICTED, rows)
    silence = of(found, "days_since_last_fact")
    assert [(each.band, each.rows) for each in silence] == [
        ("below 7", 2), ("7 to below 28", 3), ("28 to below 56", 2), ("56 to below 112", 2), ("112 and more", 2),
        ("(missing)", 1),
    ]  # fmt: skip
    assert silence[0].totals[0].expected == pytest.approx(1.7)
    assert silence[0].totals[0].actual == 1
    assert silence[0].entities == 1
    assert silence[0].loss == pytest.approx(-(np.log(0.9) + np.log(0.2)) / 2)
    assert silence[0].trivial_loss == pytest.approx(np.log(2))
    assert [(each.band, each.rows) for each in of(found, "clock")] == [("2025-01-01", 6), ("2025-02-01", 6)]
    assert [each.band for each in of(found, "grade")] == ["A", "B", "C"], "from the best to the worst; D has no row"
    assert {each.band: each.rows for each in of(found, "lead_source")} == {"web": 6, "fair": 3, "(missing)": 2, "ad": 1}
    assert of(found, "lead_age_days") == (), "a column that is not there has no bands"
    for column in ("clock", "days_since_last_fact", "lead_source", "grade"):
        assert sum(each.rows for each in of(found, column)) == 12
        assert sum(each.totals[0].expected for each in of(found, column)) == pytest.approx(3.5)


def test_the_slices_of_silence_are_those_of_the_whole_measurement(rows):
    for model, predicted in ((CONVERSION, PREDICTED), (NEXT, replace(PREDICTED, task=NEXT.task,
                                                              predicted=np.full((12, 5), 0.2)))):  # fmt: skip
        found = measure_census(model, predicted, rows)
        assert slices_of_silence(model, predicted, rows) == of(found, "days_since_last_fact") != ()


def test_rare_texts_share_a_band(rows):
    many = pd.concat(
        [rows.assign(lead_source="common")] + [rows.head(1).assign(lead_source=f"s{n}") for n in range(12)]
    )
    predicted = binary([1, 0] * 12, [0.5] * 24)
    found = of(measure_census(CONVERSION, predicted, many.reset_index(drop=True)), "lead_source")
    assert len(found) == 11
    assert (found[0].band, found[0].rows) == ("common", 12)
    assert (found[-1].band, found[-1].rows) == ("(others)", 3)


def test_a_census_is_read_back_as_it_was_written(rows):
    # the first clock is the odd one, so there are totals without it
    found = measure_census(CONVERSION, binary([0] * 12, [0.1, 0.9] * 6, [n // 2 for n in range(12)]), rows)
    assert found.totals[0].rest.expected == pytest.approx(0.6)
    assert TypeAdapter(Census).validate_json(json.dumps(asdict(found))) == found


def test_without_values_none_is_expected(rows):
    for known in (rows.drop(columns="value"), rows.assign(value=None)):
        found = measure_census(CONVERSION, PREDICTED, known)
        assert (found.value_expected, found.value_actual) == (None, None)


def test_a_census_of_many_outcomes_has_a_total_of_each(rows):
    rng = np.random.default_rng(1)
    probability = rng.dirichlet(np.ones(5), 12)
    predicted = Predictions(truth=rng.integers(4, size=12), predicted=probability, group=np.arange(12), task=NEXT.task)
    found = measure_census(NEXT, predicted, rows)
    assert [each.outcome for each in found.totals] == list(NEXT.outcomes)
    np.testing.assert_allclose([each.expected for each in found.totals], probability.sum(axis=0))
    assert sum(each.actual for each in found.totals) == 12
    assert (found.value_expected, found.value_actual) == (None, None)
    assert (found.grades, of(found, "grade")) == ({}, ())
    assert all(len(each.totals) == 5 for each in found.slices)


def test_one_outcome_everywhere_is_measured_without_nan(rows):
    found = measure_census(CONVERSION, replace(PREDICTED, truth=np.zeros(12, dtype=int)), rows)
    assert found.metrics["auc"].value is None
    assert found.trivial_loss == 0
    json.dumps([each.loss for each in found.slices], allow_nan=False)


def sliced(*bands: Total) -> Census:
    """Return a census whose total holds, with bands."""
    return Census(
        clocks=("2025-01-01",), rows=1_000, entities=1_000, metrics={}, trivial_loss=0.5,
        totals=(Total(outcome="converted", expected=205.0, actual=200, lower=-20.0, upper=30.0),),
        value_expected=None, value_actual=None, grades={},
        slices=tuple(
            CensusSlice(column="silence", band=f"band {n}", rows=10, entities=10, totals=(total,), loss=0.1,
                        trivial_loss=0.1)
            for n, total in enumerate(bands)
        ),
    )  # fmt: skip


def test_departures_are_named():
    assert departures(sliced(), 0.1) == []
    whole = replace(sliced(), totals=(Total(outcome="converted", expected=300.4, actual=200, lower=60.0, upper=140.8),))
    assert departures(whole, 0.1) == ["converted: expected 300.4, happened 200"]
    assert departures(whole, 0.3) == [], "within the bound"
    band = Total(outcome="converted", expected=30.0, actual=20, lower=4.0, upper=16.0)
    assert departures(sliced(band), 0.1) == ["converted where silence is band 0: expected 30.0, happened 20"]
    fewer = Total(outcome="converted", expected=10.0, actual=20, lower=-16.0, upper=-4.0)
    assert departures(sliced(fewer), 0.1) == ["converted where silence is band 0: expected 10.0, happened 20"]


def test_a_band_departs_beyond_99_of_100_and_by_what_matters():
    # 10 of ± 8 lies beyond 95 of 100 and within 99
    chance = Total(outcome="converted", expected=30.0, actual=20, lower=2.0, upper=18.0)
    assert departures(sliced(chance), 0.1) == []
    # one odd clock, other than the last
    odd = Total(outcome="converted", expected=60.0, actual=20, lower=32.0, upper=48.0, rest=chance)
    assert departures(sliced(odd), 0.1) == []
    # certain, and less than 2 % of all that happened
    small = Total(outcome="converted", expected=23.9, actual=20, lower=3.0, upper=4.8)
    assert departures(sliced(small), 0.1) == []
