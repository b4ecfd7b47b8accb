"""Which last facts are taken for mistyped: companies that must not be cut, and dates that must be."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from store.source.checking.clock import last_facts

Days = list[tuple[date, int]]
START = date(2023, 1, 2)
DAY = timedelta(days=1)


def every(days: int, facts: int, *, until: int, since: int = 0) -> Days:
    """Return facts on each so many-th day from one day of the company's life until before another."""
    return [(START + day * DAY, facts) for day in range(since, until, days)]


WEEKDAYS = [each for each in every(1, 3, until=500) if each[0].weekday() < 5]
BUSY = every(1, 450, until=540)
SUMMER = every(1, 5, until=180)


@pytest.mark.parametrize(
    "honest",
    [
        pytest.param(every(30, 1, until=900), id="one fact a month"),
        pytest.param([*every(30, 1, until=300), *every(30, 1, since=390, until=420)], id="one a month, but for three"),
        pytest.param([*SUMMER, (START + 273 * DAY, 3)], id="the first facts after three months of summer"),
        pytest.param([*every(2, 1, until=200), (START + 260 * DAY, 1)], id="few facts beside it"),
        pytest.param([*SUMMER, *every(1, 5, since=250, until=252)], id="two days after a summer's pause"),
        pytest.param([*SUMMER, *every(1, 5, since=300, until=303)], id="three days after four months"),
        pytest.param([*BUSY, (START + 545 * DAY, 1)], id="less than a week"),
        pytest.param([*BUSY, (START + 570 * DAY, 450)], id="a busy company's first day after a month"),
        pytest.param([*every(1, 2, until=19), (START + 400 * DAY, 1)], id="too young to be judged"),
        pytest.param([(START, 3), (START + 200 * DAY, 1)], id="few leads"),
        pytest.param(
            [*WEEKDAYS[:100], *WEEKDAYS[200:300], (WEEKDAYS[299][0] + 300 * DAY, 1)], id="paused as long before"
        ),
        pytest.param([(START, 1)], id="one fact"),
    ],
)
def test_an_honest_company_is_not_cut(honest: Days) -> None:
    assert last_facts(honest) == (honest[-1][0], None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(WEEKDAYS, [(365, 1)], id="another year"),
        pytest.param(WEEKDAYS, [(101, 1)], id="another month, small company"),
        pytest.param(WEEKDAYS, [(60, 2)], id="one row with two times, sooner"),
        pytest.param(WEEKDAYS[:60], [(180, 2)], id="one row with two times, few beside it"),
        pytest.param(BUSY, [(30, 1)], id="another month, busy company"),
        pytest.param(BUSY, [(7, 1)], id="a week ahead, busy company"),
        pytest.param(BUSY, [(60, 1), (90, 1), (400, 2)], id="several apart"),
        pytest.param(every(30, 1, until=900), [(365, 1)], id="one fact a month"),
        pytest.param(every(1, 20, until=400), [(110, 3)], id="three of two thousand"),
    ],
)
def test_few_facts_after_a_gap_are_far_from_the_others(before: Days, after: list[tuple[int, int]]) -> None:
    last = before[-1][0]
    last_day, reason = last_facts([*before, *((last + days * DAY, facts) for days, facts in after)])
    assert last_day == last
    assert reason is not None
    assert reason.startswith(f"{sum(facts for _, facts in after):,} fact")
    assert f"after a gap of {after[0][0]} days ({last} to {last + after[0][0] * DAY})" in reason
