"""Suspicions: which features are named by what was measured, in which words, and what a person can do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from models.declared.registry import DECLARATIONS
from models.evaluation.hindsight import Alone, Hindsight
from models.evaluation.one_sided import OneSided
from models.evaluation.records import Figure
from models.evaluation.suspicion import sentences, suspicions, unconfirmed, unknown_confirmations, why_suspected
from models.evaluation.validation import Importance
from models.versions.candidate import evaluate

if TYPE_CHECKING:
    from models.evaluation.records import Evaluation
    from models.versions.candidate import Candidate

CONVERSION, NEXT = DECLARATIONS["conversion"], DECLARATIONS["next_best_action"]
ONLY_SETTLED = OneSided(
    feature="open_proposals_value", value="filled and not 0", side="settled", having=2_333, others=1_589,
    expected_now=115.9, seen_now=0, expected_before=3_299.8, seen_before=0.0,
)  # fmt: skip
ONLY_OPEN = replace(ONLY_SETTLED, feature="zip_prefix", value="filled", side="open")
TELLS_ALL = Alone(feature="zip_prefix", outcome="converted", skill=0.77, auc=0.963)


@pytest.fixture
def honest(converter: Candidate) -> Evaluation:
    """Return the evaluation of a model of which nothing is suspected."""
    return evaluate(converter)


def with_hindsight(evaluation: Evaluation, *measured: Alone | OneSided) -> Evaluation:
    found = Hindsight(
        alone=tuple(each for each in measured if isinstance(each, Alone)),
        one_sided=tuple(each for each in measured if isinstance(each, OneSided)),
    )
    return replace(evaluation, hindsight=found)


def test_an_honest_model_is_measured_and_not_suspected(honest, recommender):
    assert honest.hindsight.alone[0].feature == "calls_count_7d"
    assert suspicions(CONVERSION, honest) == ()
    assert suspicions(NEXT, evaluate(recommender)) == ()


def test_a_value_of_one_side_is_named_with_its_figures(honest):
    settled, opened = suspicions(CONVERSION, with_hindsight(honest, ONLY_SETTLED, ONLY_OPEN))
    assert (settled.kind, opened.kind) == ("one_sided", "one_sided")
    assert sentences((settled, opened)) == [
        "open_proposals_value is filled and not 0 in 2,333 leads before they were settled; of the 1,589 open ones it "
        "is so in 0, where 116 were to be expected",
        "zip_prefix is filled in 2,333 open leads; of the 1,589 settled ones it was so, before they were settled, in "
        "0, where 116 were to be expected",
    ]


@pytest.mark.parametrize(
    ("seen_now", "seen_before", "named"), [(5, 0, True), (0, 164, True), (6, 0, False), (0, 166, False)]
)
def test_a_value_that_both_sides_have_is_not_suspected(honest, seen_now, seen_before, named):
    shared = replace(ONLY_SETTLED, seen_now=seen_now, seen_before=seen_before)
    assert bool(suspicions(CONVERSION, with_hindsight(honest, shared))) == named


@pytest.mark.parametrize(
    ("skill", "auc", "named"), [(0.77, 0.963, True), (0.6, 0.99, False), (0.61, 0.9, True), (0.2, 0.991, True)]
)
def test_a_feature_that_predicts_too_well_alone_is_named(honest, skill, auc, named):
    found = suspicions(CONVERSION, with_hindsight(honest, replace(TELLS_ALL, skill=skill, auc=auc)))
    assert [each.kind for each in found] == ["alone"] * named


def test_how_well_it_predicts_is_said(honest):
    assert sentences(suspicions(CONVERSION, with_hindsight(honest, TELLS_ALL))) == [
        "zip_prefix alone predicts converted with a skill of 0.77 (at most 0.6 is believed) and an AUC of 0.963"
    ]


def too_good(evaluation: Evaluation, ranked: tuple[Importance, ...]) -> Evaluation:
    """Return the evaluation with held-out figures that no honest source allows, and no feature that stands out."""
    figures = {
        **evaluation.intervals,
        "auc": Figure(value=0.972, lower=0.96, upper=0.98),
        "log_loss": Figure(value=0.134, lower=0.11, upper=0.158),
    }
    return replace(
        with_hindsight(evaluation),
        intervals=figures,
        baseline={**evaluation.baseline, "log_loss": 0.632},
        validation=replace(evaluation.validation, importance=ranked),
        happened_to={"converted": 310},
    )


RANKED = (Importance(feature="a", rise=0.4), Importance(feature="b", rise=0.2), Importance(feature="c", rise=0.19))


def test_of_a_model_that_is_too_good_the_features_on_which_it_leans_are_named(honest):
    evaluation = too_good(honest, RANKED)
    found = suspicions(CONVERSION, evaluation)
    assert [(each.feature, each.kind) for each in found] == [("a", "model"), ("b", "model")]
    assert sentences(found) == [
        "the whole model is too good: a skill of 0.79 on held-out rows with 310 leads to which it happened (beyond "
        "chance at least 0.75, at most 0.7 is believed); it leans most on a and b"
    ]
    # a feature that stands out explains it
    explained = replace(evaluation, hindsight=Hindsight(alone=(), one_sided=(ONLY_SETTLED,)))
    assert [each.kind for each in suspicions(CONVERSION, explained)] == ["one_sided"]
    # reps who keep to a playbook are easier to predict than customers
    assert suspicions(NEXT, evaluation) == ()


def test_a_model_can_be_too_good_on_the_census_alone(honest):
    census = honest.census
    figures = {**census.metrics, "auc": Figure(value=0.995, lower=0.992, upper=0.998)}
    evaluation = replace(with_hindsight(honest), census=replace(census, metrics=figures, happened_to={"converted": 10}))
    found = suspicions(CONVERSION, evaluation)
    assert found[0].feature == honest.validation.importance[0].feature
    assert found[0].figures == (
        "an AUC of 0.995 on the census with 10 leads to which it happened (beyond chance at least 0.992, at most 0.99 "
        "is believed)"
    )


@pytest.mark.parametrize(
    ("value", "lower", "leads"), [(0.991, 0.98, 13), (0.991, 0.99, 400), (1, 1, 9), (0.9, None, 400)]
)
def test_what_is_too_good_by_chance_is_no_suspicion(honest, value, lower, leads):
    census = honest.census
    figures = {**census.metrics, "auc": Figure(value=value, lower=lower, upper=1)}
    of_chance = replace(census, metrics=figures, happened_to={"converted": leads})
    assert suspicions(CONVERSION, replace(with_hindsight(honest), census=of_chance)) == ()


def test_undefined_figures_are_no_suspicion(honest):
    undefined = dict.fromkeys(honest.metrics, Figure(value=None, lower=None, upper=None))
    assert suspicions(CONVERSION, replace(with_hindsight(honest), intervals=undefined, census=None)) == ()
    assert suspicions(CONVERSION, replace(honest, hindsight=None)) == ()


def test_a_person_confirms_feature_by_feature(honest):
    suspected = suspicions(CONVERSION, with_hindsight(honest, ONLY_SETTLED, ONLY_OPEN, TELLS_ALL))
    assert [each.feature for each in suspected] == ["open_proposals_value", "zip_prefix", "zip_prefix"]
    assert [each.feature for each in unconfirmed(suspected, ("zip_prefix",))] == ["open_proposals_value"]
    assert unconfirmed(suspected, ("zip_prefix", "open_proposals_value")) == ()
    said = why_suspected("conversion", suspected)
    assert said.startswith("Suspected of hindsight: open_proposals_value is filled and not 0 in 2,333 leads")
    assert said.endswith("LEADLINE_CONFIRMED_FEATURES=conversion.open_proposals_value,conversion.zip_prefix.")


def test_a_name_that_is_no_feature_is_refused():
    features = {"open_proposals_value": "number", "zip_prefix": "text"}
    assert unknown_confirmations("conversion", ["zip_prefix"], features) is None
    said = unknown_confirmations("conversion", ["open_proposal_value", "zip_prefix"], features)
    assert said.startswith(
        "LEADLINE_CONFIRMED_FEATURES: expected features that conversion learns from, found "
        "conversion.open_proposal_value. Did you mean open_proposals_value?"
    )
    assert "Did you mean" not in unknown_confirmations("conversion", ["x"], features)
