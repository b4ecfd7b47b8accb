"""What a run refuses to do: it says why, ends with exit code 1, and leaves what was published as it was."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.homes import Finished, Home, ask, contents

if TYPE_CHECKING:
    from pathlib import Path


def _failed(home: Home, job: str = "whole_loop", **settings: str) -> Finished:
    """Run a job that must fail, and hold it to its promise that nothing published has changed."""
    before = contents(home.published, "marts"), home.published.stat().st_mtime_ns
    run = home.run(job, **settings)
    assert run.code == 1, run.err[-3000:]
    assert (contents(home.published, "marts"), home.published.stat().st_mtime_ns) == before
    assert "Nothing that was published has changed." in run.err
    # of this home, and not of the default one
    assert re.search(rf"The run's log: `make ui .*HOME_DIR={home.path}`, run [0-9a-f-]+;", run.err)
    assert "Traceback" not in run.err
    return run


@pytest.mark.slow(60)
def test_another_source_unless_it_is_accepted(own: Home, tmp_path: Path) -> None:
    here = own.settings["LEADLINE_SOURCE"]
    elsewhere = tmp_path / "moved"
    shutil.copytree(here, elsewhere)
    raw = own.contents("raw")

    run = _failed(own, LEADLINE_SOURCE=str(elsewhere))

    assert f"expected the source that it was filled from, {here}, found {elsewhere}" in run.err
    assert "LEADLINE_ACCEPT_NEW_SOURCE=1" in run.err
    assert own.contents("raw") == raw

    accepted = own.run("score_leads", LEADLINE_SOURCE=str(elsewhere), LEADLINE_ACCEPT_NEW_SOURCE="1")
    assert accepted.code == 0, accepted.err[-3000:]
    assert own.ask("select source from raw.extraction") == [(str(elsewhere),)]


@pytest.mark.slow(40)
def test_to_train_before_a_label_has_matured(own: Home) -> None:
    run = _failed(own, LEADLINE_CONVERSION_HORIZON_DAYS="3000")
    assert "training_set__conversion: model 'conversion': no rows to learn from" in run.err
    assert "no label over 3000 days has matured" in run.err
    assert "load more history, or shorten the horizon" in run.err


@pytest.mark.slow(50)
def test_to_score_with_a_model_file_that_was_changed(own: Home) -> None:
    artifact = own.ask("select artifact from ml.ml_champions where model = 'conversion'")[0][0]
    model = own.path / "artifacts/models/conversion" / artifact / "pipeline.joblib"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    predictions = own.ask("from ml.ml_predictions order by all")

    run = _failed(own, "score_leads", LEADLINE_AS_OF="2026-07-15")

    assert f"{model}: expected SHA-256 " in run.err
    assert "restore it from a backup" in run.err
    assert own.ask("from ml.ml_predictions where model = 'conversion' order by all") == [
        row for row in predictions if row[0] == "conversion"
    ]


@pytest.mark.slow(45)
def test_to_publish_scores_that_fail_a_test(own: Home) -> None:
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("update ml.ml_predictions set probability = 1.5 where model = 'conversion'")

    run = _failed(own, "score_leads")

    assert "between_lead_scores_conversion_probability" in run.err


@pytest.mark.slow(75)
def test_to_promote_a_candidate_that_does_not_beat_the_baseline(tmp_path: Path) -> None:
    # too few leads to learn from
    home = Home(tmp_path / "home", {"LEADLINE_SIMULATION_LEADS": "150"})

    run = home.run()

    assert run.code == 0, run.err[-3000:]
    promotion = "select outcome from ml.ml_decisions where model = 'conversion' and kind = 'promotion'"
    assert home.ask(promotion) == [("refuse",)]
    assert home.ask("select count(*) from ml.ml_champions where model = 'conversion'") == [(0,)]
    leads = home.ask("select count(*) from features.lead_features where observation_kind = 'clock'")
    assert leads[0][0] > 0
    assert ask(
        home.published,
        "select count(*), count(conversion_probability), count(conversion_score), count(grade), count(expected_value), "
        "count(conversion_model_version) from marts.lead_scores",
    ) == [(leads[0][0], 0, 0, 0, 0, 0)]
    assert f"scored     0 of {leads[0][0]:,} open leads" in run.out
    assert "not promoted: " in run.out
    assert "does not beat the trivial baseline" in run.out
    assert "The champion is none." in run.out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LEADLINE_AS_OF": "soon"}, "LEADLINE_AS_OF: expected a date or time"),
        ({"LEADLINE_SIMULATION_LEADS": "0"}, "LEADLINE_SIMULATION_LEADS: expected a whole number of 1 or more"),
    ],
)
def test_a_setting_that_cannot_be_used(settings: dict[str, str], message: str, tmp_path: Path) -> None:
    run = Home(tmp_path / "home").run(**settings)
    assert run.code == 2
    assert run.err.startswith(message)
    assert not (tmp_path / "home").exists()


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    run = Home(tmp_path / "home", {"LEADLINE_SOURCE": str(tmp_path / "nowhere")}).run()
    assert run.code == 1
    assert str(tmp_path / "nowhere") in run.err
    assert "Traceback" not in run.err
