"""Hindsight: values in groups, features that predict alone, and values that settled or open leads alone have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from models.evaluation.hindsight import measure_alone
from models.evaluation.one_sided import SETTLED_AT, Groups, OneSided, measure_one_sided
from models.evaluation.validation import Observed
from models.learning.frames import MISSING, feature_kinds
from models.tasks.binary import Binary
from models.tasks.multiclass import Multiclass

if TYPE_CHECKING:
    from collections.abc import Callable

CONVERSION = DECLARATIONS["conversion"]
CLOCK = pd.Timestamp("2026-01-01 12:00", tz="UTC")

CONVERTED = Binary(("converted",))


def in_words(column: pd.Series, value: object) -> set[str]:
    """Return the names of the groups and unions that hold a value."""
    groups = Groups(column)
    (number,) = groups.of(pd.Series([value], dtype=column.dtype))
    return {name for name, those, _ in groups.unions if number in those}


def test_a_number_of_few_values_is_looked_at_value_by_value():
    column = pd.Series([0, 1, 1, 2, np.nan])
    assert in_words(column, np.nan) == {"missing"}
    assert in_words(column, 0) == {"0", "filled", "filled and not 1", "filled and not 2"}
    assert in_words(column, 2) == {"2", "filled", "filled and not 0", "filled and not 1"}
    # a value that came later
    assert in_words(column, 7) == {
        "any other number", "filled", "filled and not 0", "filled and not 1", "filled and not 2"
    }  # fmt: skip


def test_a_number_of_many_values_has_ten_parts_and_its_frequent_values():
    column = pd.Series([*np.arange(1, 101) + 0.5, *[30.0] * 10, 0.0])
    groups = Groups(column)
    assert list(groups.single) == [0, 30]
    assert len(groups) == 1 + 2 + 10
    assert np.bincount(groups.of(column)).tolist() == [0, 1, 10, *[10] * 10]
    assert in_words(column, 30.0) == {"30", "filled", "filled and not 0"}
    assert in_words(column, -5.0) >= {"up to 11.4", "filled and not 30"}
    assert in_words(column, 1e9) >= {"above 90.6", "filled and not 30"}


def test_an_empty_number_has_no_value():
    column = pd.Series([np.nan] * 3)
    assert in_words(column, np.nan) == {"missing"}
    assert in_words(column, 1.0) == {"filled", "any other number"}


def test_a_text_is_looked_at_by_its_commonest_values():
    column = pd.Series([MISSING, *["web"] * 2, *[f"rare {number}" for number in range(40)]], dtype=object)
    assert len(Groups(column)) == 31
    assert in_words(column, "web") >= {"'web'", f"other than '{MISSING}'"}
    assert in_words(column, MISSING) >= {f"'{MISSING}'", "other than 'web'"}
    assert in_words(column, "new") >= {"other than 'web'", f"other than '{MISSING}'"}
    assert "'new'" not in in_words(column, "new")


def observed(features: pd.DataFrame, label: np.ndarray, stands_for: np.ndarray | None = None) -> Observed:
    weights = np.ones(len(label)) if stands_for is None else stands_for
    return Observed(
        features=features, label=pd.Series(label), weights=weights, stands_for=weights, entities=np.arange(len(label))
    )


def both_sides(rows: Observed) -> tuple[Observed, Observed]:
    even = np.arange(len(rows)) % 2 == 0
    return rows.rows(even), rows.rows(~even)


def test_a_feature_that_tells_the_outcome_stands_before_one_that_tells_nothing():
    rng = np.random.default_rng(1)
    won = rng.integers(0, 2, 2_000)
    features = pd.DataFrame(
        {
            "noise": rng.normal(size=2_000),
            "price": np.where(won == 1, rng.uniform(1, 9, 2_000), 0),
            "address": np.where(won == 1, rng.uniform(1, 9, 2_000), np.nan),
            "stage": pd.Series(np.where(won == 1, "contract", "talk"), dtype=object),
        }
    )
    found = {each.feature: each for each in measure_alone(*both_sides(observed(features, won)), CONVERTED)}
    assert list(found)[-1] == "noise"
    assert abs(found["noise"].skill) < 0.02
    assert abs(found["noise"].auc - 0.5) < 0.05
    for name in ("price", "address", "stage"):
        assert found[name].skill > 0.8
        assert found[name].auc == 1
        assert found[name].outcome == "converted"


def test_what_a_feature_predicts_counts_as_much_as_its_row_stands_for():
    """Against scikit-learn, of the rates that are worked out here."""
    rng = np.random.default_rng(2)
    calls, weights = rng.integers(0, 4, 3_000).astype(float), rng.uniform(7, 100, 3_000)
    won = (rng.random(3_000) < 0.1 + 0.2 * calls).astype(int)
    train, test = both_sides(observed(pd.DataFrame({"calls": calls}), won, weights))
    (found,) = measure_alone(train, test, CONVERTED)

    known = pd.DataFrame(
        {"calls": train.features["calls"], "w": train.stands_for, "hit": train.stands_for * train.label}
    )
    sums = known.groupby("calls").sum()
    added = 20 * train.stands_for.mean()
    rate = (sums["hit"] + added * known["hit"].sum() / known["w"].sum()) / (sums["w"] + added)
    predicted = test.features["calls"].map(rate)
    assert found.auc == pytest.approx(roc_auc_score(test.label, predicted, sample_weight=test.stands_for))
    plain = np.average(test.label, weights=test.stands_for)
    losses = [log_loss(test.label, p, sample_weight=test.stands_for) for p in (predicted, [plain] * len(test))]
    assert found.skill == pytest.approx(1 - losses[0] / losses[1])


def test_of_many_outcomes_the_one_that_is_told_best_is_named():
    rng = np.random.default_rng(3)
    action = rng.choice(["call", "mail", "none"], 1_500)
    features = pd.DataFrame({"booked": (action == "mail") * 1.0})
    (found,) = measure_alone(*both_sides(observed(features, action)), Multiclass(("call", "mail", "none", "proposal")))
    assert found.outcome == "mail"
    assert found.skill > 0.9


def test_too_few_rows_of_an_outcome_tell_nothing():
    won = np.zeros(200, dtype=int)
    won[:38] = 1
    features = pd.DataFrame({"leak": won * 1.0})
    assert measure_alone(*both_sides(observed(features, won)), CONVERTED) == ()
    won[:40] = 1
    assert len(measure_alone(*both_sides(observed(features, won)), CONVERTED)) == 1
    assert measure_alone(*both_sides(observed(features, np.ones(200, dtype=int))), CONVERTED) == ()
    # rows of nine leads on each side, and of ten
    for leads, measurable in ((9, 0), (10, 1)):
        rows = replace(observed(features, won), entities=np.where(won == 1, np.arange(200) % (2 * leads), 1_000))
        assert len(measure_alone(*both_sides(rows), CONVERTED)) == measurable


def recent(leads: int = 900, seed: int = 4) -> pd.DataFrame:
    """Return a half-year of weekly rows of leads, of which three in five are settled some weeks after they came.

    A contract is sent two weeks before that, so nearly every lead with a contract is settled by now.
    """
    rng = np.random.default_rng(seed)
    created = CLOCK - pd.to_timedelta(rng.uniform(0, 250, leads), unit="D")
    due = created + pd.to_timedelta(np.where(rng.random(leads) < 0.6, rng.exponential(50, leads), 10_000), unit="D")
    rows = []
    for lead, (came, end) in enumerate(zip(created, due, strict=True)):
        moments = [came.ceil("D") + pd.Timedelta(days=7 * week) for week in range(40)]
        kept = [moment for moment in moments if moment <= min(end, CLOCK)]
        rows += [(f"L{lead:04d}", moment, came, end) for moment in [*kept, *([CLOCK] if end > CLOCK else [])]]
    frame = pd.DataFrame(rows, columns=["lead_id", AS_OF, "lead_created_at", "due"])
    frame = frame[frame[AS_OF] >= CLOCK - pd.Timedelta(days=180)].reset_index(drop=True)
    settled = frame["due"].where(frame["due"] <= CLOCK)
    return frame.drop(columns="due").assign(
        observation_kind="heartbeat",
        settled_at=settled,
        days_since_last_fact=rng.uniform(0, 10, len(frame)),
        lead_age_days=(frame[AS_OF] - frame["lead_created_at"]).dt.total_seconds() / 86_400,
        calls_count_7d=rng.poisson(2, len(frame)),
        contract_sent=(frame["due"] - frame[AS_OF] < pd.Timedelta(days=14)).astype(int),
        price=frame["lead_id"].map(lambda lead: 1_000.0 + 37 * int(lead[1:])),
        lead_source=pd.Series(rng.choice(["web", "fair"], len(frame)), dtype=object),
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return recent()


def measured(rows: pd.DataFrame, clock: pd.Timestamp = CLOCK) -> dict[str, OneSided]:
    kinds = feature_kinds(rows.drop(columns=SETTLED_AT), CONVERSION.not_features)
    return {each.feature: each for each in measure_one_sided(rows, CONVERSION, kinds, clock)}


def test_honest_values_occur_on_both_sides(rows):
    found = measured(rows)
    assert set(found) == {
        "calls_count_7d", "contract_sent", "days_since_last_fact", "lead_age_days", "lead_source", "price"
    }  # fmt: skip
    assert all(each.seen > 0.3 for each in found.values()), found


def test_a_last_stage_is_missed_in_earlier_rows_of_open_leads_and_not_in_those_of_the_clock(rows):
    kinds = feature_kinds(rows.drop(columns=SETTLED_AT), CONVERSION.not_features)
    alone = measure_one_sided(rows, CONVERSION, {"contract_sent": kinds["contract_sent"]}, CLOCK)[0]
    assert alone.seen > 0.5
    without_the_clock = rows[rows[AS_OF] < CLOCK]
    sent = without_the_clock["contract_sent"] == 1
    assert without_the_clock.loc[sent, SETTLED_AT].notna().mean() > 0.9


def settled_of(rows: pd.DataFrame) -> np.ndarray:
    return rows[SETTLED_AT].notna().to_numpy()


def zips(rows: pd.DataFrame, settled: np.ndarray) -> pd.Series:
    return pd.Series(np.where(settled, "zip " + rows["lead_id"].str[-2:], "unknown"), dtype=object)


def three_by_mistake(rows: pd.DataFrame, settled: np.ndarray) -> pd.Series:
    return rows["price"].where(settled | rows["lead_id"].isin(rows.loc[~settled, "lead_id"].unique()[:3]))


LEAKS: dict[str, tuple[Callable[[pd.DataFrame, np.ndarray], object], str, str]] = {
    "filled": (lambda rows, settled: rows["price"].where(settled), "settled", "filled"),
    "zero": (lambda rows, settled: rows["price"].where(~settled, 0), "settled", "0"),
    "constant": (lambda rows, settled: rows["price"].where(~settled, 999), "settled", "999"),
    "missing": (lambda rows, settled: rows["price"].where(~settled), "settled", "missing"),
    "flag": (lambda rows, settled: settled, "settled", "1"),
    "inverse flag": (lambda rows, settled: ~settled, "settled", "0"),
    "text": (lambda rows, settled: rows["lead_source"].where(~settled, "desk"), "settled", "'desk'"),
    "text of many values": (zips, "settled", "other than 'unknown'"),
    "count": (lambda rows, settled: rows["calls_count_7d"].where(settled, 0), "settled", "filled and not 0"),
    # where some have none anyway, what is left is that no settled lead has one
    "removed": (
        lambda rows, settled: rows["price"].where(~settled & (rows["lead_id"].str[-1] < "7")),
        "open",
        "filled",
    ),
    "three open ones by mistake": (three_by_mistake, "settled", "filled"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_what_was_entered_at_the_end_is_found(rows, leak):
    planted, side, value = LEAKS[leak]
    found = measured(rows.assign(leak=planted(rows, settled_of(rows))))
    first = next(iter(found.values()))
    assert (first.feature, first.side) == ("leak", side)
    assert first.seen <= 0.05
    assert all(each.seen > 0.3 for each in found.values() if each.feature != "leak")
    assert first.value == value


def test_a_value_that_leads_to_the_end_is_no_leak_while_open_leads_have_it(rows):
    """Entered for settled leads, and by now for every tenth open one."""
    tenth = rows["lead_id"].str[-1] == "3"
    found = measured(rows.assign(leak=rows["price"].where(settled_of(rows) | tenth)))
    assert 0.05 < found["leak"].seen < 0.4


def test_rows_from_after_the_end_tell_nothing(rows):
    settled = settled_of(rows)
    after = rows[settled].assign(**{AS_OF: rows[SETTLED_AT] + pd.Timedelta(days=1)}).drop_duplicates("lead_id")
    after = after[after[AS_OF] < CLOCK].assign(lead_source="won")
    assert len(after) > 100
    assert measured(pd.concat([rows, after])) == measured(rows)


def planted(rows: pd.DataFrame, values: object) -> OneSided | None:
    """Return what is measured of a feature with these values alone."""
    kinds = feature_kinds(rows.drop(columns=SETTLED_AT).assign(planted=values), CONVERSION.not_features)
    found = measure_one_sided(rows.assign(planted=values), CONVERSION, {"planted": kinds["planted"]}, CLOCK)
    return found[0] if found else None


def young(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a source whose leads close by silence: no lead is open for long."""
    silent = rows[SETTLED_AT].isna() & (rows["lead_created_at"] < CLOCK - pd.Timedelta(days=60))
    return rows[~silent].reset_index(drop=True)


RECORDED: dict[str, Callable[[pd.DataFrame, pd.Timestamp], object]] = {
    # as the status of a CRM without a history, from the first extraction on
    "text from then on": lambda rows, then: pd.Series(
        np.where(rows[AS_OF] < then, MISSING, np.where(rows["calls_count_7d"] > 1, "new", "talk")), dtype=object
    ),
    "number from then on": lambda rows, then: rows["price"].where(rows[AS_OF] >= then),
    "count from then on": lambda rows, then: rows["calls_count_7d"].where(rows[AS_OF] >= then, 0),
    "word of leads created since": lambda rows, then: pd.Series(
        np.where((rows["lead_created_at"] >= then) & (rows["price"] % 2 == 0), "video", "web"), dtype=object
    ),
    "word renamed": lambda rows, then: pd.Series(np.where(rows[AS_OF] < then, "neu", "new"), dtype=object),
    "until then": lambda rows, then: rows["price"].where(rows[AS_OF] < then),
    "of leads created until then": lambda rows, then: rows["price"].where(rows["lead_created_at"] < then),
    "for ten days": lambda rows, then: rows["price"].where(rows[AS_OF].between(then, then + pd.Timedelta(days=10))),
}


@pytest.mark.parametrize("recorded", RECORDED)
def test_what_was_recorded_since_some_day_or_until_then_is_no_leak(rows, recorded):
    for frame in (rows, young(rows)):
        for days in (1, 7, 30, 100, 150):
            found = planted(frame, RECORDED[recorded](frame, CLOCK - pd.Timedelta(days=days)))
            assert found is None or found.seen > 0.2, (days, found)


SINCE: dict[str, tuple[Callable[[pd.DataFrame, np.ndarray], object], str]] = {
    "entered": (lambda rows, settled: rows["price"].where(settled), "settled"),
    "removed": (lambda rows, settled: rows["price"].where(~settled), "open"),
    "counted": (lambda rows, settled: rows["calls_count_7d"].where(settled, 0), "settled"),
    "said": (lambda rows, settled: rows["lead_source"].where(~settled, "desk"), "settled"),
}


@pytest.mark.parametrize("leak", SINCE)
def test_what_is_recorded_since_some_day_and_tells_the_end_is_found(rows, leak):
    values, side = SINCE[leak]
    for days in (60, 100):
        since = (rows[AS_OF] >= CLOCK - pd.Timedelta(days=days)).to_numpy()
        found = planted(rows, values(rows[since], settled_of(rows)[since]).reindex(rows.index))
        assert found is not None
        assert (found.side, found.seen <= 0.05) == (side, True), (days, found)


def test_figures_by_hand():
    """Of one age: forty settled leads with a value, and of forty open ones each with an earlier row without."""
    many = 40
    settled = pd.DataFrame({"lead_id": [f"S{n}" for n in range(many)], AS_OF: CLOCK - pd.Timedelta(days=3)})
    earlier = pd.DataFrame({"lead_id": [f"O{n}" for n in range(many)], AS_OF: CLOCK - pd.Timedelta(days=3)})
    frame = pd.concat(
        [
            settled.assign(settled_at=CLOCK - pd.Timedelta(days=1), bonus=5.0),
            earlier.assign(settled_at=pd.NaT, bonus=np.nan),
            earlier.assign(as_of=CLOCK, settled_at=pd.NaT, bonus=[5.0] + [np.nan] * (many - 1)),
        ],
        ignore_index=True,
    ).assign(lead_created_at=CLOCK - pd.Timedelta(days=9), observation_kind="clock", lead_age_days=6.0)
    frame[SETTLED_AT] = pd.to_datetime(frame[SETTLED_AT], utc=True)
    # the rows of the settled leads stand for three times as many days
    frame["days_since_last_fact"] = 1.0
    declared = replace(CONVERSION, row_weight=replace(CONVERSION.row_weight, column="weight", at_least=1))
    frame["weight"] = np.where(frame[SETTLED_AT].notna(), 3.0, 1.0)
    (found,) = measure_one_sided(frame, declared, {"bonus": "number"}, CLOCK)
    # all earlier rows: 3 of 4 have it, of which 40 open leads should have 30; of the settled ones all have
    assert found == OneSided(
        feature="bonus", value="filled", side="settled", having=40, others=40,
        expected_now=30.0, seen_now=1.0, expected_before=40.0, seen_before=0.0,
    )  # fmt: skip
    assert found.seen == pytest.approx(1 / 30)


@pytest.mark.parametrize(("leads", "measurable"), [(19, False), (20, True)])
def test_too_few_leads_tell_nothing(rows, leads, measurable):
    settled = rows.loc[settled_of(rows) & (rows[AS_OF] < CLOCK), "lead_id"].unique()[:leads]
    found = measured(rows.assign(leak=rows["price"].where(rows["lead_id"].isin(settled))))
    filled = [each for each in [found["leak"]] if each.value == "filled"]
    assert not filled or measurable


def test_nothing_recent_tells_nothing(rows):
    assert measured(rows.head(0)) == {}
    assert measured(rows[~settled_of(rows)]) == {}
    assert measured(rows[rows[AS_OF] < CLOCK]) == {}
