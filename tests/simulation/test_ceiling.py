"""The ceiling of next_best_action."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulation import simulate
from simulation.ceiling import action_ceiling
from simulation.world import COMPANIES

ACTIONS = ["call_immediate", "email_nurture", "schedule_appointment", "send_proposal", "no_action"]
DAY_ZERO = datetime(2025, 3, 3, tzinfo=UTC)


def planned(*plans: tuple[str, float, str]) -> pa.Table:
    """Return decisions of (lead, day, planned action), each planned with probability 0.8."""
    return pa.table(
        {
            "lead_id": [lead for lead, _, _ in plans],
            "decided_at": pa.array([DAY_ZERO + timedelta(days=day) for _, day, _ in plans], pa.timestamp("us", "UTC")),
            **{f"probability_{name}": [0.8 if plan == name else 0.05 for _, _, plan in plans] for name in ACTIONS},
        }
    )


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (0, "call_immediate"),
        (1, "call_immediate"),
        (1.001, "no_action"),
        (2.9, "no_action"),
        (3, "no_action"),
        (3.001, "send_proposal"),
        (10, "send_proposal"),
        (10.5, "email_nurture"),
        (11.5, "no_action"),
    ],
)
def test_the_first_plan_within_the_horizon_counts(day: float, expected: str) -> None:
    decisions = planned(
        ("B", 2, "email_nurture"),
        ("A", 11, "email_nurture"),
        ("A", 1, "call_immediate"),
        ("A", 2, "no_action"),
        ("A", 10, "send_proposal"),
    )
    ceiling = action_ceiling(decisions, ["A"], [DAY_ZERO + timedelta(days=day)], ["no_action"])
    assert ceiling.predicted.tolist() == [expected]
    assert ceiling.accuracy == (expected == "no_action")


def test_accuracy_and_recall_are_of_the_given_labels() -> None:
    decisions = planned(("A", 1, "call_immediate"), ("B", 1, "email_nurture"))
    labels = ["call_immediate", "no_action", "no_action", "call_immediate"]
    ceiling = action_ceiling(decisions, ["A", "B", "C", "B"], [DAY_ZERO] * 4, labels)
    assert ceiling.predicted.tolist() == ["call_immediate", "email_nurture", "no_action", "email_nurture"]
    assert ceiling.accuracy == 0.5
    assert ceiling.recall == {"call_immediate": 0.5, "no_action": 0.5}
    assert ceiling.largest_probability == pytest.approx(0.8)


@pytest.mark.parametrize(("deviation", "expected"), [(0.0, 1.0), (0.5, 0.5)])
def test_plans_name_what_happens_as_often_as_they_are_followed(
    tmp_path: Path, deviation: float, expected: float
) -> None:
    simulate(tmp_path / "crm", leads=800, company=replace(COMPANIES["default"], deviation=deviation), progress=False)
    file = tmp_path / "crm" / "truth" / "decisions.parquet"
    lead, as_of, label = (
        duckdb.sql(f"""
            select lead_id, moments.at, coalesce(min_by(action, decided_at), 'no_action') as label
            from (
                select distinct lead_id, date_trunc('day', decided_at) - interval 2 day as at from '{file}'
            ) as moments
            left join '{file}' as d using (lead_id)
            where decided_at >= moments.at and decided_at < moments.at + interval 7 day and action <> 'no_action'
            group by all""")
        .fetchnumpy()
        .values()
    )
    ceiling = action_ceiling(pq.read_table(file), lead, as_of, label)
    assert ceiling.largest_probability == pytest.approx(1.0 - deviation)
    if deviation:
        assert abs(ceiling.accuracy - expected) < 0.2
        assert ceiling.accuracy < 0.75
    else:
        assert ceiling.accuracy == expected
        assert len(ceiling.recall) == 4


def test_wrong_observations_are_named() -> None:
    decisions = planned(("A", 1, "call_immediate"))
    with pytest.raises(ValueError, match="and at least one, found 0, 0 and 0"):
        action_ceiling(decisions, [], [], [])
    with pytest.raises(ValueError, match="found 1, 2 and 1"):
        action_ceiling(decisions, ["A"], [DAY_ZERO] * 2, ["no_action"])
    with pytest.raises(ValueError, match=r"labels: expected call_immediate, .*, found wait"):
        action_ceiling(decisions, np.array(["A"]), [DAY_ZERO], ["wait"])
