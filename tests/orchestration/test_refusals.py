"""What a run refuses to do: it says why, and leaves what was published as it was; one model's trouble is its own."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import duckdb
import pytest

from assets.platform.resources import Proving
from orchestration.__main__ import main
from store.features.compiled import read
from tests.homes import Finished, Home, contents

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


def test_to_overwrite_a_column_that_is_lost(own: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "renamed"
    shutil.copytree(own.settings["LEADLINE_SOURCE"], elsewhere)
    interactions = elsewhere / "interactions.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"create table interactions as select * rename (outcome as result) from '{interactions}'")
        connection.execute(f"copy interactions to '{interactions}' (format parquet)")
    moved = {"LEADLINE_SOURCE": str(elsewhere), "LEADLINE_ACCEPT_NEW_SOURCE": "1"}
    raw = own.contents("raw")
    ((stored, rows),) = own.ask("select count(outcome), count(*) from raw.interactions")

    run = _failed(own, "score_leads", **moved)

    sentence = (
        f"interactions.outcome: a value in {stored:,} of {rows:,} rows before, read from 'outcome'; "
        "interactions.parquet has no such column any more; columns that are not read: result"
    )
    assert f"- {sentence}." in run.err
    assert own.contents("raw") == raw

    # test_comparison.py accepts it
    assert re.search(r"LEADLINE_ACCEPT_EXTRACTION=[0-9a-f]+", run.err)


@pytest.mark.slow(45)
def test_to_publish_scores_that_fail_a_test(own: Home) -> None:
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("update ml.ml_predictions set value = 1.5 where model = 'conversion'")

    # the shortest of the jobs that publish
    run = _failed(own, "retrain_next_best_action")

    assert "between_lead_scores_conversion_probability" in run.err


@pytest.mark.slow(35)
def test_to_score_features_whose_proof_fails(own: Home) -> None:
    with duckdb.connect(str(own.warehouse)) as connection:
        lead, as_of, calls = connection.execute(
            "select lead_id, as_of, calls_count_7d from features.lead_features where observation_kind = 'activity' "
            "order by as_of, lead_id limit 1"
        ).fetchone()
        connection.execute(
            "update features.lead_features set calls_count_7d = 77 where lead_id = $1 and as_of = $2", [lead, as_of]
        )

    run = _failed(own, "score_leads")

    assert "features.lead_features.calls_count_7d: 1 rows differ (store at " in run.err
    assert f"{lead} as of {as_of.isoformat()} is 77 in the store, {calls} in the replay" in run.err
    certificate = own.path / "compiled" / "lead_features_point_in_time.json"
    assert not json.loads(certificate.read_text())["accepted"]
    # what it names is what a person accepts this build by; what follows of that stands in test_compiled.py
    (accepted,) = re.findall(r"LEADLINE_ACCEPT_PROOF=(\w+)", run.err)
    assert Proving(accepted=accepted).accepts(read(own.path / "compiled" / "feature_store.json").sha256)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LEADLINE_AS_OF": "soon"}, "LEADLINE_AS_OF: expected a date or time"),
        ({"LEADLINE_SIMULATION_LEADS": "0"}, "LEADLINE_SIMULATION_LEADS: expected a whole number of 1 or more"),
    ],
)
def test_a_setting_that_cannot_be_used(
    settings: dict[str, str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path / "home"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main(["run"]) == 2
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "home").exists()
