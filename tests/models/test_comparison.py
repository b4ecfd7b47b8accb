"""A candidate and the champion on the rows from which neither has learnt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from models.decisions import comparison
from models.decisions.comparison import on_shared_rows
from models.decisions.promotion import ChampionEvidence, decide_promotion, promotion_evidence
from models.evaluation.records import Total
from models.learning.frames import model_input
from models.training.training import train
from models.training.training_set import freeze
from models.versions.candidate import evaluate
from tests.models.conftest import CLOCK, observations

LEADS = 900
KNOWN = pd.Timestamp("2025-06-05", tz="UTC")
"""The last moment from which the champion learns: some of the held-out leads had come by then."""

OTHER = {"conversion": "next_action", "next_best_action": "converted"}


def version(declaration, rows, known_until, folder):
    """Train a version on the rows up to a moment, when their labels have matured."""
    clock = min(CLOCK, known_until + pd.Timedelta(days=declaration.horizon_days))
    known = rows[rows["as_of"] <= known_until]
    known = known.drop(columns=OTHER[declaration.name])
    if "succeeded_at" in known.columns:
        # a success after the clock is not known to it
        known = known.assign(succeeded_at=known["succeeded_at"].where(known["succeeded_at"] <= clock))
    frozen = freeze(known, declaration, folder / "sets", clock)
    return train(declaration, frozen, folder / "versions"), frozen.frame()


@pytest.fixture(scope="module")
def compared(conversion, next_action, tmp_path_factory):
    """Return of each model the candidate, its training set, and a champion of an earlier clock."""
    folder, rows = tmp_path_factory.mktemp("comparison"), observations(leads=LEADS)
    found = {}
    for declared in (conversion, next_action):
        champion, _ = version(declared, rows, KNOWN, folder / declared.name)
        found[declared.name] = (*version(declared, rows, CLOCK, folder / declared.name), champion)
    return found


@pytest.fixture(params=["conversion", "next_best_action"])
def versions(request, compared):
    return compared[request.param]


def unseen(candidate, champion, frame):
    """Return the held-out rows of leads that have no row of the time from which the champion has learnt."""
    learnt = frame.loc[frame["as_of"] <= pd.Timestamp(champion.manifest["last_as_of"]), "lead_id"]
    held_out = candidate.held_out()
    return held_out[~held_out["lead_id"].isin(learnt)]


def test_the_losses_are_those_of_the_same_rows(versions):
    candidate, frame, champion = versions
    later = unseen(candidate, champion, frame)
    assert 0 < len(later) < len(candidate.held_out()), "the champion knows some of the rows that were held out"
    truth = later["truth"].astype(str).to_numpy()
    labels = ["0", "1"] if candidate.model == "conversion" else sorted(candidate.outcomes)
    order = [sorted(candidate.outcomes).index(name) for name in candidate.outcomes]

    def loss(probability):
        if candidate.model == "conversion":
            return log_loss(truth, np.column_stack([1 - probability[:, 0], probability[:, 0]]), labels=labels)
        columns = np.empty_like(probability)
        columns[:, order] = probability
        return log_loss(truth, columns, labels=labels)

    rows = frame.set_index(["lead_id", "as_of"]).loc[pd.MultiIndex.from_frame(later[["lead_id", "as_of"]])]
    classes = list(champion.pipeline.classes_)
    wanted = [1] if candidate.model == "conversion" else list(candidate.outcomes)
    raw = champion.pipeline.predict_proba(model_input(rows, champion.features))
    predicted = np.column_stack(
        [raw[:, classes.index(name)] if name in classes else np.zeros(len(rows)) for name in wanted]
    )

    found = on_shared_rows(candidate, champion, frame)

    assert found.rows == len(later)
    assert found.candidate_loss == pytest.approx(
        loss(later[[f"probability_{name}" for name in candidate.outcomes]].to_numpy())
    )
    assert found.champion_loss == pytest.approx(loss(predicted))
    assert found.baseline_loss == pytest.approx(
        loss(np.tile(candidate.manifest["baseline"], (len(later), 1)).astype(float))
    )
    lost = (found.candidate_loss - found.champion_loss) / found.baseline_loss
    assert lost - 0.5 < found.lost_at_least < lost
    assert found.candidate_loss < found.baseline_loss
    assert found.champion_loss < found.baseline_loss


def test_rows_that_the_champion_knows_are_not_shared(versions):
    candidate, frame, _ = versions
    assert on_shared_rows(candidate, candidate, frame) is None


def test_fewer_rows_than_a_comparison_takes_are_not_compared(versions, monkeypatch):
    candidate, frame, champion = versions
    later = len(unseen(candidate, champion, frame))
    monkeypatch.setattr(comparison, "LEAST_ROWS", later)
    assert on_shared_rows(candidate, champion, frame) is not None
    monkeypatch.setattr(comparison, "LEAST_ROWS", later + 1)
    assert on_shared_rows(candidate, champion, frame) is None


def test_a_champion_that_needs_what_the_rows_lack_is_not_compared(versions):
    candidate, frame, champion = versions
    assert on_shared_rows(candidate, champion, frame.drop(columns="calls_count_7d")) is None
    fewer = replace(champion, manifest={**champion.manifest, "features": {"calls_count_7d": "number"}})
    assert set(fewer.features) < set(frame.columns), "a feature that came later is no obstacle"
    outcomes = [*champion.outcomes[1:], "another"]
    assert (
        on_shared_rows(candidate, replace(champion, manifest={**champion.manifest, "outcomes": outcomes}), frame)
        is None
    )


def test_a_candidate_of_the_changed_world_replaces_a_champion_whose_record_is_better(conversion, tmp_path):
    """The old world was easy: nobody who learns from the new one reaches the skill that was measured in it."""
    declared, rows = conversion.with_horizon(3), observations(leads=LEADS)
    changed = pd.Timestamp("2025-02-10", tz="UTC")
    new = rows["as_of"] > changed
    random = np.random.default_rng(4)
    turned = random.random(len(rows)) < 1 / (1 + np.exp(rows["calls_count_7d"].to_numpy() - 1.0))
    easy = rows["calls_count_7d"] > 2
    rows["converted"] = np.where(new, turned, easy).astype(int)
    rows = rows.drop(columns="succeeded_at")
    champion, _ = version(declared, rows, changed, tmp_path)
    candidate, frame = version(declared, rows, CLOCK, tmp_path)

    record = evaluate(champion)
    holds = Total(outcome="converted", expected=100.0, actual=100, lower=-10.0, upper=10.0)
    evidence = replace(promotion_evidence(declared, evaluate(candidate), None), census=(holds,))
    recorded = ChampionEvidence(
        version=champion.version,
        horizon_days=3,
        loss=record.metrics["log_loss"],
        baseline_loss=record.baseline["log_loss"],
    )
    shared = on_shared_rows(candidate, champion, frame)

    assert decide_promotion(replace(evidence, champion=recorded)).rule == "skill_lost"
    assert decide_promotion(replace(evidence, champion=replace(recorded, shared=shared))).rule == "skill_held"
