"""Scores are one per row and outcome, whatever else is in the frame and however many rows come at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.learning.frames import ObservationError
from models.scoring.scoring import score


@pytest.fixture
def open_leads(frame):
    return frame.drop(columns=["converted", "next_action", "succeeded_at"]).tail(60).reset_index(drop=True)


def test_binary_scores(converter, open_leads):
    bounds = {"A": 0.5, "C": 0.2, "D": 0.0}
    scored = score(converter, open_leads, "lead", bounds)
    assert scored.columns.tolist() == [
        "model", "version", "entity", "entity_id", "as_of", "target", "value", "lower", "upper", "score", "grade",
        "chosen", "outside_training",
    ]  # fmt: skip
    assert scored["entity_id"].tolist() == open_leads["lead_id"].tolist()
    assert scored["as_of"].tolist() == open_leads["as_of"].tolist()
    assert set(scored["target"]) == {"converted"}
    assert scored["score"].tolist() == [min(99, max(1, round(100 * p))) for p in scored["value"]]
    probability = scored["value"]
    assert set(scored["entity"]) == {"lead"}
    assert scored[["lower", "upper"]].isna().all(axis=None)
    expected = np.select([probability >= 0.5, probability >= 0.2], ["A", "C"], "D")
    assert scored["grade"].tolist() == expected.tolist()
    assert set(scored["grade"]) == {"A", "C", "D"}


def test_without_grades_in_force_there_is_no_grade(converter, open_leads):
    assert score(converter, open_leads, "lead")["grade"].isna().all()
    assert score(converter, open_leads, "lead", {})["grade"].isna().all()


@pytest.mark.parametrize("name", ["converter", "recommender"])
def test_what_training_has_not_seen_is_marked_and_scored_all_the_same(name, request, open_leads):
    version = request.getfixturevalue(name)
    assert score(version, open_leads, "lead")["outside_training"].isna().all()
    silent = open_leads.assign(
        days_since_last_fact=open_leads["days_since_last_fact"].where(open_leads.index != 3, 400)
    )
    scored = score(version, silent, "lead")
    assert len(scored) == len(open_leads) * len(version.outcomes)
    expected = "days_since_last_fact = 400 (learnt from up to 12)"
    of_row = (scored["entity_id"] == silent["lead_id"][3]) & (scored["as_of"] == silent["as_of"][3])
    assert set(scored.loc[of_row, "outside_training"]) == {expected}
    assert scored.loc[~of_row, "outside_training"].isna().all()
    assert scored["value"].notna().all()


def test_a_version_that_does_not_say_what_it_saw_marks_nothing(converter, open_leads):
    old = replace(converter, manifest={key: value for key, value in converter.manifest.items() if key != "ranges"})
    far = open_leads.assign(days_since_last_fact=4_000.0)
    assert score(old, far, "lead")["outside_training"].isna().all()


def test_multiclass_scores(recommender, open_leads):
    scored = score(recommender, open_leads, "lead")
    assert len(scored) == len(open_leads) * 5
    assert scored["target"].head(5).tolist() == list(recommender.outcomes)
    np.testing.assert_allclose(scored.groupby(["entity_id", "as_of"])["value"].sum(), 1)
    assert scored[["score", "grade"]].isna().all(axis=None)
    assert (scored.loc[scored["target"] == "email_nurture", "value"] == 0).all()
    # the channel decides what comes next
    best = scored.loc[scored.groupby(["entity_id", "as_of"])["value"].idxmax()]
    chosen = best.merge(open_leads, left_on=["entity_id", "as_of"], right_on=["lead_id", "as_of"])
    chosen = chosen.groupby("source_channel")["target"].agg(lambda target: target.mode()[0])
    assert chosen.to_dict() == {"event": "no_action", "referral": "send_proposal", "web": "call_immediate"}


def test_a_row_scores_alone_as_among_others(converter, open_leads):
    together = score(converter, open_leads, "lead")
    alone = pd.concat([score(converter, open_leads.iloc[[row]], "lead") for row in range(5)], ignore_index=True)
    pd.testing.assert_frame_equal(alone, together.head(5), check_exact=True)


def test_the_order_of_columns_and_other_columns_change_nothing(converter, open_leads):
    other = open_leads[open_leads.columns[::-1]].assign(
        phase_of_the_moon=1, calls_count_7d=lambda f: f["calls_count_7d"].astype("Int64")
    )
    pd.testing.assert_frame_equal(score(converter, other, "lead"), score(converter, open_leads, "lead"))


def test_no_open_leads_no_scores(converter, open_leads):
    scored = score(converter, open_leads.head(0), "lead")
    assert scored.empty
    assert scored["score"].dtype == "Int64"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["calls_count_7d", "noise_days"]), r"\['calls_count_7d', 'noise_days'\] are missing"),
        (lambda f: pd.concat([f, f.head(1)]), "1 doubled rows"),
        (lambda f: f.assign(as_of=f["as_of"].dt.tz_convert("Europe/Berlin")), "zone UTC"),
        (lambda f: f.assign(calls_count_7d="many"), "'many'"),
    ],
)
def test_what_cannot_be_scored_is_refused(converter, open_leads, change, message):
    with pytest.raises(ObservationError, match=message):
        score(converter, change(open_leads), "lead")


def test_a_model_that_gives_no_probabilities_is_refused(converter, open_leads):
    class Broken:
        classes_ = (0, 1)

        def predict_proba(self, features):
            return np.full((len(features), 2), np.nan)

    broken = replace(converter)
    broken.__dict__["pipeline"] = Broken()
    with pytest.raises(ValueError, match=r"conversion .*expected 60 x 1 probabilities"):
        score(broken, open_leads, "lead")


def test_scores_of_new_leads_follow_their_features(converter, new_leads):
    scored = score(converter, new_leads, "lead").assign(calls=new_leads["calls_count_7d"])
    busy, quiet = (scored.loc[mask, "value"].mean() for mask in (scored["calls"] >= 4, scored["calls"] == 0))
    assert busy > quiet + 0.5
