"""From when on a source records outcomes: histories that begin late, and companies that only look like it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from models.declared.lead import LEAD
from models.training.outcome_history import AGES, OutcomesBegin, Week, outcomes_begin

START = date(2024, 1, 1)
WEEK = timedelta(weeks=1)
ALL = OutcomesBegin(None, "Outcomes are recorded from the beginning.")


def weeks(outcomes: list[int], open_leads: int = 100, band: int = 0) -> list[Week]:
    """Return weeks in which so many leads were open, all of one age."""
    counts = [tuple(each if place == band else 0 for place in range(len(AGES))) for each in outcomes]
    days = tuple(open_leads * 7.0 if place == band else 0.0 for place in range(len(AGES)))
    return [Week(START + place * WEEK, days, each) for place, each in enumerate(counts)]


@pytest.mark.parametrize(
    ("outcomes", "since"),
    [
        pytest.param([0] * 10 + [5] * 40, 10, id="none at first"),
        pytest.param([0, 1, 0, 0, 1, 0, 0, 0, 0, 0] + [5] * 40, 10, id="the first closing is not the beginning"),
        pytest.param([0] * 10 + [2, 9, 4, 6, 0, 7, 5, 3, 8] * 4, 10, id="uneven afterwards"),
        pytest.param([0] * 30 + [20] * 10, 30, id="most of the history"),
    ],
)
def test_a_history_that_begins_late(outcomes: list[int], since: int) -> None:
    found = outcomes_begin(weeks(outcomes), LEAD)
    assert found.since == START + since * WEEK
    afterwards = sorted(outcomes[since:])[:-1]
    rate = sum(afterwards) / len(afterwards)
    said = f"before it {sum(outcomes[:since])} came, of {rate * since:,.0f} to be expected of leads of the same age."
    assert said in found.reason


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([5] * 50, id="from the beginning"),
        pytest.param([0] * 4 + [5] * 46, id="too few are missing"),
        pytest.param([2] * 10 + [5] * 40, id="fewer at first"),
        pytest.param([1, 1, 2, 2, 3, 3, 4, 4, 5, 5] + [6] * 40, id="growing"),
        pytest.param([5] * 40 + [0] * 10, id="none at the end"),
        pytest.param([0, 1] * 10 + [2] * 5 + [60], id="one week in which the wins of a year were entered"),
        pytest.param([0] * 50, id="none at all"),
        pytest.param([], id="no lead"),
    ],
)
def test_others_keep_their_labels(outcomes: list[int]) -> None:
    assert outcomes_begin(weeks(outcomes), LEAD) == ALL


def test_of_young_leads_nothing_is_expected_that_only_old_ones_bring() -> None:
    """A new company whose leads take two months has no outcome for two months."""
    nothing = weeks([0] * 8, open_leads=1000, band=0)
    later = weeks([50] * 20, open_leads=1000, band=4)
    young = [Week(START + place * WEEK, each.open_days, each.outcomes) for place, each in enumerate([*nothing, *later])]
    assert outcomes_begin(young, LEAD) == ALL
