"""The promotion rules, case by case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.decisions.horizons import HorizonTrial, ShorterHorizons
from models.decisions.promotion import (
    ChampionEvidence,
    PromotionEvidence,
    SharedRows,
    UntrainableEvidence,
    decide_promotion,
    decide_untrainable,
    promotion_evidence,
    with_advice,
)
from models.evaluation.records import CensusSlice, Figure, Total
from models.evaluation.suspicion import Suspicion
from models.training.training import train
from models.training.training_set import freeze
from models.untrainable import Untrainable
from models.versions.candidate import evaluate

CHAMPION = ChampionEvidence(version="old", horizon_days=90, loss=0.5, baseline_loss=0.625)  # skill 0.2
GOOD = {"auc": 0.8, "log_loss": 0.5}
TRIVIAL = {"auc": 0.5, "log_loss": 0.6}
BETTER = {
    "auc": Figure(value=0.3, lower=0.2, upper=0.4),
    "log_loss": Figure(value=0.1, lower=0.01, upper=0.2),
}
WITHIN_NOISE = Figure(value=0.1, lower=0.0, upper=0.2)
HOLDS = Total(outcome="converted", expected=104.0, actual=100, lower=-10.0, upper=18.0)
FIRST = PromotionEvidence(
    model="m",
    version="new",
    horizon_days=90,
    primary_metric="auc",
    loss="log_loss",
    metrics=GOOD,
    baseline=TRIVIAL,
    over_baseline=BETTER,
    census=(HOLDS,),
    max_census_off=0.1,
    max_skill_loss=0.02,
    champion=None,
)
LATER = replace(FIRST, champion=CHAMPION)
UNMEASURED = replace(FIRST, champion=replace(CHAMPION, on_census=False))
TOO_MANY = Total(outcome="converted", expected=150.0, actual=100, lower=20.0, upper=80.0)
TOO_FEW = Total(outcome="won", expected=50.0, actual=100, lower=-80.0, upper=-20.0)


def silent(total: Total) -> tuple[CensusSlice, ...]:
    """Return a census by silence, with the total of its longest band."""
    return tuple(
        CensusSlice(
            column="days_since_last_fact", band=band, rows=500, entities=300, totals=(each,), loss=0.1,
            trivial_loss=0.1,
        )
        for band, each in (("below 7", HOLDS), ("28 and more", total))
    )  # fmt: skip


# certain, and more than a tenth of the hundred that happened in all
DORMANT = Total(outcome="converted", expected=39.3, actual=0, lower=20.0, upper=58.6)
PRICE = Suspicion(feature="price", kind="alone", figures="alone predicts too well")
ADDRESS = Suspicion(feature="address", kind="one_sided", figures="is filled in settled leads")
SHARED = SharedRows(  # skill .1 and .2
    rows=1_234, candidate_loss=0.54, champion_loss=0.48, baseline_loss=0.6, lost_at_least=0.04
)


def on_shared(evidence: PromotionEvidence, **losses: float) -> PromotionEvidence:
    """Return the evidence with a comparison on shared rows."""
    return replace(evidence, champion=replace(evidence.champion, shared=replace(SHARED, **losses)))


def lost(at_least: float) -> PromotionEvidence:
    return on_shared(LATER, lost_at_least=at_least)


@pytest.mark.parametrize(
    ("evidence", "outcome", "rule", "figures"),
    [
        (FIRST, "promote", "first_champion", "auc 0.8000 against 0.5000, log_loss 0.5000 against 0.6000"),
        (
            replace(FIRST, over_baseline={**BETTER, "auc": WITHIN_NOISE}),
            "refuse",
            "baseline_not_beaten",
            "auc 0.8000, baseline 0.5000, better by 0.1000 (0.0000 to 0.2000)",
        ),
        (
            replace(FIRST, over_baseline={**BETTER, "log_loss": WITHIN_NOISE}),
            "refuse",
            "baseline_not_beaten",
            "log_loss 0.5000",
        ),
        (
            replace(FIRST, over_baseline={**BETTER, "auc": Figure(value=None, lower=None, upper=None)}),
            "refuse",
            "metric_undefined",
            "auc of new",
        ),
        (replace(FIRST, metrics={**GOOD, "auc": None}), "refuse", "metric_undefined", "auc of new"),
        (replace(FIRST, baseline={**TRIVIAL, "log_loss": None}), "refuse", "metric_undefined", "log_loss of new"),
        (replace(LATER, version="old"), "keep", "same_version", "old is the champion"),
        # the champion stays the champion, whatever its metrics were
        (replace(LATER, version="old", metrics={"auc": 0.1, "log_loss": 9.0}), "keep", "same_version", "old"),
        (replace(LATER, metrics={**GOOD, "log_loss": 0.47}), "promote", "skill_held", "skill 0.2167"),
        (replace(LATER, metrics={**GOOD, "log_loss": 0.49}), "promote", "skill_held", "skill 0.1833"),
        (
            replace(LATER, metrics={**GOOD, "log_loss": 0.495}),
            "refuse",
            "skill_lost",
            "skill 0.1750, champion old 0.2000, tolerated loss 0.0200",
        ),
        (
            replace(LATER, horizon_days=30, metrics={**GOOD, "log_loss": 0.59}),
            "promote",
            "horizon_changed",
            "over 30 days",
        ),
        (
            replace(LATER, horizon_days=30, over_baseline={**BETTER, "log_loss": WITHIN_NOISE}),
            "refuse",
            "baseline_not_beaten",
            "0.6000",
        ),
        (replace(LATER, max_skill_loss=0.1), "promote", "skill_held", "tolerated loss 0.1000"),
        (
            replace(LATER, over_baseline={**BETTER, "log_loss": WITHIN_NOISE}),
            "refuse",
            "baseline_not_beaten",
            "baseline 0.6000",
        ),
        (
            replace(LATER, champion=replace(CHAMPION, loss=None)),
            "refuse",
            "skill_undefined",
            "Train again once there are more labels",
        ),
        (replace(LATER, champion=replace(CHAMPION, baseline_loss=0.0)), "refuse", "skill_undefined", "old"),
        (replace(LATER, metrics={**GOOD, "log_loss": 0.49}), "promote", "skill_held", "each on its own held-out rows."),
        # the candidate's record is better than the champion's, and on the same rows it is worse
        (
            on_shared(replace(LATER, metrics={**GOOD, "log_loss": 0.3})),
            "refuse",
            "skill_lost",
            "skill 0.1000, champion old 0.2000, tolerated loss 0.0200, both on the 1,234 held-out rows of "
            "entities that the champion has not seen, a loss of at least 0.0400.",
        ),
        # and the other way round: the champion earned its record in an easier world
        (
            on_shared(
                replace(LATER, metrics={**GOOD, "log_loss": 0.59}),
                candidate_loss=0.48,
                champion_loss=0.6,
                lost_at_least=-0.25,
            ),
            "promote",
            "skill_held",
            "skill 0.2000, champion old 0.0000, tolerated loss 0.0200, both on the 1,234 held-out rows",
        ),
        # the loss counts beyond its interval
        (lost(0.0199), "promote", "skill_held", "a loss of at least 0.0199"),
        (lost(0.0201), "refuse", "skill_lost", "a loss of at least 0.0201"),
        # a champion without a record can be compared on rows
        (
            on_shared(replace(LATER, champion=replace(CHAMPION, loss=None)), lost_at_least=0.0),
            "promote",
            "skill_held",
            "champion old 0.2000",
        ),
        (on_shared(LATER, baseline_loss=0.0), "refuse", "skill_undefined", "Train again once there are more labels"),
        # shared rows replace neither the comparison with the baseline nor that of the horizons
        (
            on_shared(replace(LATER, over_baseline={**BETTER, "auc": WITHIN_NOISE}), candidate_loss=0.1),
            "refuse",
            "baseline_not_beaten",
            "auc 0.8000",
        ),
        (on_shared(replace(LATER, horizon_days=30)), "promote", "horizon_changed", "over 30 days"),
        # the skill of a champion that learnt from values of the future is no measure
        (
            replace(LATER, champion=replace(CHAMPION, loss=0.01, learnt_wrong="learnt from later values (size)")),
            "promote",
            "champion_learnt_wrong",
            "the champion old learnt from later values (size).",
        ),
        # a census that is missing, or off beyond the bound and beyond chance
        (replace(FIRST, census=()), "refuse", "census_missing", "not measured on a census"),
        (replace(LATER, census=()), "refuse", "census_missing", "train it anew"),
        (
            replace(FIRST, census=(TOO_MANY,)),
            "refuse",
            "census_off",
            "off by more than 10%, and by more than chance: converted expected 150 times, happened 100 times "
            "(difference 20 to 80).",
        ),
        (replace(FIRST, census=(HOLDS, TOO_FEW)), "refuse", "census_off", "won expected 50 times, happened 100 times"),
        (replace(FIRST, census=(TOO_MANY,), max_census_off=0.2), "promote", "first_champion", "no champion yet"),
        # a band of silence, where the whole holds
        (
            replace(FIRST, silence=silent(DORMANT)),
            "refuse",
            "census_off",
            "chance: converted where days_since_last_fact is 28 and more expected 39 times, happened 0 times "
            "(difference 20 to 59).",
        ),
        (replace(FIRST, silence=silent(replace(DORMANT, expected=0.0, actual=39))), "refuse", "census_off", "0 times"),
        (replace(FIRST, silence=silent(DORMANT), max_census_off=0.4), "promote", "first_champion", "no champion yet"),
        # beyond 95 of 100 and within 99; one odd clock
        (replace(FIRST, silence=silent(replace(DORMANT, lower=7.0, upper=71.6))), "promote", "first_champion", "auc"),
        (replace(FIRST, silence=silent(replace(DORMANT, rest=HOLDS))), "promote", "first_champion", "auc"),
        # what comes first is said: the split, the baseline, the census, and only then the champion
        (
            replace(FIRST, census=(), over_baseline={**BETTER, "auc": WITHIN_NOISE}),
            "refuse",
            "baseline_not_beaten",
            "auc",
        ),
        (replace(UNMEASURED, census=(TOO_MANY,)), "refuse", "census_off", "150 times"),
        (replace(UNMEASURED, census=()), "refuse", "census_missing", "train it anew"),
        (replace(LATER, version="old", census=(TOO_MANY,)), "keep", "same_version", "old"),
        # a champion that was never measured on one gives way, whatever its record and its horizon
        (
            UNMEASURED,
            "promote",
            "champion_not_on_census",
            "holds on a census, on which the champion old, of an earlier recipe, was not measured.",
        ),
        (replace(UNMEASURED, metrics={**GOOD, "log_loss": 0.59}), "promote", "champion_not_on_census", "0.5900"),
        (replace(UNMEASURED, horizon_days=30), "promote", "champion_not_on_census", "old"),
        (
            replace(UNMEASURED, over_baseline={**BETTER, "auc": WITHIN_NOISE}),
            "refuse",
            "baseline_not_beaten",
            "auc 0.8000",
        ),
        (replace(FIRST, primary_metric="log_loss"), "promote", "first_champion", "(log_loss 0.5000 against 0.6000)"),
    ],
)
def test_rules(evidence, outcome, rule, figures):
    decision = decide_promotion(evidence)
    assert (decision.kind, decision.outcome, decision.rule) == ("promotion", outcome, rule)
    assert figures in decision.reason
    assert decision.reason.endswith(".")


def test_evidence_is_what_was_measured_and_declared(converter, conversion):
    evaluation = evaluate(converter)
    evidence = promotion_evidence(conversion, evaluation, CHAMPION)
    assert evidence == replace(
        LATER,
        model="conversion",
        version=converter.version,
        horizon_days=30,
        metrics=evaluation.metrics,
        baseline=evaluation.baseline,
        over_baseline={name: evaluation.over_baseline[name] for name in ("auc", "log_loss")},
        census=evaluation.census.totals,
        silence=evidence.silence,
    )
    assert [each.band for each in evidence.silence] == ["below 7"], "all that the small frame has"
    assert evidence.silence[0].totals[0].actual == evidence.census[0].actual
    assert decide_promotion(replace(evidence, champion=None)).rule == "first_champion"


def test_noise_becomes_champion_by_chance_alone(frame, conversion, tmp_path):
    """An interval of 95 % lets one model of noise in forty pass: of six hardly ever two."""
    decisions = []
    for seed in range(6):
        shuffled = np.random.default_rng(seed).permutation(frame["converted"])
        noise = frame.drop(columns="next_action").assign(converted=shuffled)
        frozen = freeze(noise, conversion, tmp_path / "sets", pd.Timestamp("2025-12-31", tz="UTC"))
        evaluation = evaluate(train(conversion, frozen, tmp_path / "models"))
        decision = decide_promotion(promotion_evidence(conversion, evaluation, None))
        decisions.append((decision.outcome, decision.rule))
    assert decisions.count(("refuse", "baseline_not_beaten")) >= 5


def test_a_model_that_could_not_be_trained_is_refused_with_the_reason():
    untrainable = Untrainable(reason="No project was won.", horizon_matters=False)
    decision = decide_untrainable(UntrainableEvidence(model="m", horizon_days=90, untrainable=untrainable))
    assert (decision.kind, decision.outcome, decision.rule) == ("promotion", "refuse", "untrainable")
    assert decision.reason == "No project was won."


@pytest.mark.parametrize(
    ("passing", "advice"),
    [
        (
            (60, 30),
            "HORIZON=60 would probably pass (auc 0.850), HORIZON=30 would probably pass (auc 0.850). A shorter "
            "horizon answers another question, and only a training looks for hindsight.",
        ),
        (
            (30,),
            "HORIZON=30 would probably pass (auc 0.850). A shorter horizon answers another question, and only a "
            "training looks for hindsight.",
        ),
        ((), "No shorter horizon that was tried would pass (HORIZON=60, 30 or 14)."),
    ],
)
def test_a_refusal_says_which_shorter_horizons_would_pass(passing, advice):
    trials = tuple(
        HorizonTrial(horizon_days=days, passes=days in passing, primary=0.85, reason="") for days in (60, 30, 14)
    )
    decision = decide_promotion(replace(FIRST, over_baseline={**BETTER, "auc": WITHIN_NOISE}))
    tried = ShorterHorizons(setting="HORIZON", metric="auc", trials=trials)
    assert with_advice(decision, tried).reason == f"{decision.reason} {advice}"
    assert with_advice(decision, None) == decision


def test_a_suspected_feature_is_confirmed_by_name_or_nothing_is_promoted():
    suspected = replace(FIRST, suspected=(PRICE, ADDRESS))
    refused = decide_promotion(suspected)
    assert (refused.outcome, refused.rule) == ("refuse", "hindsight")
    assert "price alone predicts too well; address is filled in settled leads." in refused.reason
    assert refused.reason.endswith("LEADLINE_CONFIRMED_FEATURES=m.price,m.address.")

    half = decide_promotion(replace(suspected, confirmed=("price",)))
    assert (half.outcome, half.rule) == ("refuse", "hindsight")
    assert "price" not in half.reason
    assert half.reason.endswith("LEADLINE_CONFIRMED_FEATURES=m.address.")

    promoted = decide_promotion(replace(suspected, confirmed=("price", "address", "other")))
    assert (promoted.outcome, promoted.rule) == ("promote", "first_champion")
    assert promoted.reason.endswith(" Suspected of hindsight, and confirmed by a person: price, address.")
    assert "confirmed" not in decide_promotion(replace(FIRST, confirmed=("other",))).reason


@pytest.mark.parametrize(
    "evidence",
    [
        LATER,
        UNMEASURED,
        replace(FIRST, over_baseline={**BETTER, "auc": WITHIN_NOISE}),
        replace(FIRST, census=(TOO_MANY,)),
        replace(FIRST, metrics={**GOOD, "auc": None}),
    ],
)
def test_what_leaks_is_refused_before_any_figure_is_looked_at(evidence):
    assert decide_promotion(replace(evidence, suspected=(PRICE,))).rule == "hindsight"


def test_a_version_at_which_nobody_has_looked_is_refused():
    decision = decide_promotion(replace(LATER, suspected=None))
    assert (decision.outcome, decision.rule) == ("refuse", "hindsight_missing")


def test_the_champion_stays_the_champion_though_a_feature_is_suspected():
    assert decide_promotion(replace(LATER, version="old", suspected=(PRICE,))).outcome == "keep"
