"""A list of deals that knows how they ended: nothing is scored until a person says that it was known at the time.

test_candidates.py holds what a training does once a person has confirmed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tests.homes import Home, ask

if TYPE_CHECKING:
    from pathlib import Path

START, END = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2025-03-01", tz="UTC")


def list_of_deals(folder: Path, deals: int = 1_500) -> Path:
    """Write deals whose price is entered when they are won, and set to 0 when they are lost."""
    rng = np.random.default_rng(8)
    created = START + pd.to_timedelta(np.sort(rng.uniform(0, (END - START).days, deals)), unit="D")
    closed = pd.Series(created + pd.to_timedelta(rng.gamma(2, 25, deals), unit="D"))
    over, won = closed < END, rng.random(deals) < 0.5
    name = [f"D{number:04d}" for number in range(deals)]
    folder.mkdir()
    pd.DataFrame({"lead_id": name, "source": rng.choice(["web", "fair"], deals), "created_at": created}).to_csv(
        folder / "leads.csv", index=False
    )
    pd.DataFrame(
        {
            "project_id": name,
            "lead_id": name,
            "value": pd.Series(rng.integers(1, 90, deals) * 100).where(won, 0).where(over),
            "status": np.where(~over, "open", np.where(won, "won", "lost")),
            "proposed_at": created,
            "closed_at": closed.where(over),
        }
    ).to_csv(folder / "projects.csv", index=False)
    (folder / "mapping.yml").write_text(
        "name: deals\nbased_on: contract\ntables: {interactions: {absent: true}, appointments: {absent: true}}\n"
    )
    return folder


@pytest.mark.slow(80)
def test_a_list_of_deals_that_knows_how_they_ended(tmp_path: Path) -> None:
    source = str(list_of_deals(tmp_path / "deals"))
    home = Home(tmp_path / "home", {"LEADLINE_SOURCE": source, "LEADLINE_CONVERSION_HORIZON_DAYS": "14"})

    run = home.run()

    assert run.code == 0, run.err[-3000:]
    assert "scored     nothing is scored" in run.out
    assert "unscored   conversion: " in run.out
    # the amounts, and what follows from their history
    assert "Suspected of hindsight: deal_value_" in run.out
    assert "; open_proposals_value is filled and not 0 in " in run.out
    assert ",conversion.open_proposals_value." in run.out
    assert home.ask("select rule from ml.ml_decisions where model = 'conversion' and kind = 'promotion'") == [
        ("hindsight",)
    ]

    # nobody is scored, and readers are told why
    assert "not promoted: see unscored above. There is no champion." in run.out
    assert "expected value" not in run.out
    leads = home.ask("select count(*) from features.lead_features where observation_kind = 'clock'")[0][0]
    assert leads > 0
    ((reason,),) = home.ask("select reason from ml.ml_decisions where model = 'conversion' and kind = 'promotion'")
    assert ask(
        home.published,
        "select count(*), count(conversion_probability), count(conversion_score), count(grade), count(expected_value), "
        "count(conversion_model_version), min(conversion_unscored_reason), max(conversion_unscored_reason) "
        "from marts.lead_scores",
    ) == [(leads, 0, 0, 0, 0, 0, reason, reason)]
