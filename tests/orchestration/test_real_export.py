"""The real funnel (BPI Challenge 2012), from its export to scored leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.homes import REPOSITORY, Home

if TYPE_CHECKING:
    from pathlib import Path

EXPORT = REPOSITORY.parent / "shared" / "data" / "bpi2012_crm"


@pytest.mark.slow(150)
@pytest.mark.skipif(not EXPORT.is_dir(), reason="the export of the real funnel (shared/data/bpi2012_crm) is not here")
def test_the_real_funnel_is_scored_as_of_its_last_fact(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", {"LEADLINE_SOURCE": str(EXPORT)})

    run = home.run()

    assert run.code == 0, run.err[-3000:]
    assert "scored     399 of 399 open leads, as of 2012-03-14T15:04:55+00:00" in run.out
    assert "rejects    none" in run.out
    assert home.ask("select count(*) from raw.rejects") == [(0,)]
    champions = home.ask(
        "select model, horizon_days, missed_gates from ml.ml_champions join ml.ml_models using (model, version) "
        "order by model"
    )
    (converted, converted_days, converted_missed), (action, action_days, action_missed) = champions
    assert (converted, converted_days, converted_missed) == ("conversion", 30, "[]")
    # what this company does next is harder to tell than the gate asks for, which stops no first scores
    assert (action, action_days) == ("next_best_action", 7)
    assert "accuracy is 0.6" in action_missed
    scored = home.ask("select count(*), count(conversion_probability), count(next_best_action) from marts.lead_scores")
    assert scored == [(399, 399, 399)]
