"""First values that count as known from the creation, and what later changes say of that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from models.decisions.later_changes import MOST_WRONG, SPAN_DAYS, LaterEvidence, refutation

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
NIGHTS = 60


def _evidence(seed: int, per_day: float, rows: int = 2_000) -> tuple[LaterEvidence, float]:
    """Return what sixty nights show of rows that change at one pace, and the true share of wrong first values."""
    draw = np.random.default_rng(seed)
    ages = draw.uniform(1, 540, rows)
    spans = list(pairwise(SPAN_DAYS))
    nights = [
        [
            int((draw.poisson(per_day, rows) * ((ages + night > low) & (ages + night <= high))).sum())
            for low, high in spans
        ]
        for night in range(NIGHTS)
    ]
    evidence = LaterEvidence(
        since=SINCE,
        until=UNTIL,
        called="leads",
        rows=rows,
        backdated=rows,
        past_days=[float(np.clip(np.minimum(ages, high) - low, 0, None).sum()) for low, high in spans],
        watched_days=[
            float(np.clip(np.minimum(ages + NIGHTS, high) - np.maximum(ages, low), 0, None).sum())
            for low, high in spans
        ],
        changes=[each for each in nights if sum(each)],
    )
    return evidence, float((draw.poisson(per_day * ages) > 0).mean())


@pytest.mark.parametrize("seed", range(5))
def test_the_share_of_wrong_values_is_that_of_the_simulation(seed: int) -> None:
    """It is estimated well enough to say it; a column that hardly changes stays as it is."""
    evidence, wrong = _evidence(seed, 0.001)
    said = refutation(evidence)
    assert said is not None
    assert abs(float(said.split("about ")[1].split(" %")[0]) / 100 - wrong) < 0.1
    rare, wrong = _evidence(seed, 0.00005)
    assert wrong < MOST_WRONG
    assert refutation(rare) is None


def test_values_that_few_rows_have_are_wrong_more_often() -> None:
    """If a tenth of the rows has a value, and values are entered later for as many, all of them may be wrong."""
    evidence, _ = _evidence(0, 0.0003)
    assert "about 8 %" in (refutation(evidence) or "")
    assert "about 78 %" in (refutation(replace(evidence, backdated=evidence.rows // 10)) or "")


def test_a_renaming_refutes_nothing() -> None:
    """All rows change once, by what one or two extractions see."""
    evidence, _ = _evidence(1, 0.0)
    spans = len(SPAN_DAYS) - 1
    assert refutation(replace(evidence, changes=[[300] * spans])) is None
    assert refutation(replace(evidence, changes=[[300] * spans, [20] * spans])) is None
    assert refutation(replace(evidence, changes=[[300] * spans] * 4)) is not None
