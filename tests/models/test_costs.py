"""Costs of errors: what is refused, the arithmetic of weights and thresholds, and that probabilities stay true."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, log_loss, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.tree import DecisionTreeClassifier

from models.declared.registry import DECLARATIONS
from models.declaring.entity import DeclarationError
from models.evaluation.census import is_off, totals
from models.evaluation.costs import (
    Rehearsal,
    cheapest_threshold,
    choice_of,
    cost_of,
    decide_threshold,
    decide_weights,
    measure_costs,
    try_threshold,
    try_weights,
    ways,
)
from models.evaluation.records import ThresholdTried, WeightsTried
from models.evaluation.validation import Observed
from models.learning.frames import model_input
from models.learning.pipelines import fingerprint
from models.learning.splitting import temporal_split
from models.pickled.estimators import ClassWeighted
from models.pickled.scaling import Scaling
from models.scoring.scoring import explained, score
from models.tasks.binary import Binary
from models.tasks.costs import CostMatrix, ErrorCosts
from models.tasks.measures import calibration_error, once
from models.tasks.multiclass import Multiclass
from models.tasks.regression import Regression
from models.tasks.task import Predictions
from models.training import contest
from models.training.training import train
from models.training.training_set import freeze
from models.versions.candidate import evaluate
from models.versions.card import model_card
from tests.models import later
from tests.models.conftest import CENSUS_CLOCKS, CLOCK, observations, open_at

COSTS = ErrorCosts(false_positive=2, false_negative=18)
BINARY = Binary(("won",), costs=COSTS)
OUTCOMES = ("a", "b", "c")
MATRIX = CostMatrix({"a": {"b": 1, "c": 4}, "b": {"a": 9, "c": 2}, "c": {"a": 5, "b": 0, "c": 0}})
MULTICLASS = Multiclass(OUTCOMES, costs=MATRIX)


def drawn(rows: int = 400, *, task: Binary = BINARY, slope: float = 1.0, shift: float = 0.0, decimals: int = 9):
    """Return binary predictions, true where the slope is 1 and the shift 0."""
    rng = np.random.default_rng(4)
    logit = rng.normal(-2, 1.5, rows)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype("int64")
    p = (1 / (1 + np.exp(-(slope * logit + shift)))).round(decimals)
    return Predictions(task=task, truth=truth, predicted=p[:, None], group=np.arange(rows) // 2)


def one(rows: int) -> np.ndarray:
    return np.ones(rows)


# what can be declared


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (replace(BINARY, costs=ErrorCosts(false_positive=-1, false_negative=1)), "false_positive must be a number"),
        (replace(BINARY, costs=ErrorCosts(false_positive=0, false_negative=0)), "false_negative must be a number"),
        (replace(BINARY, costs=ErrorCosts(false_positive=1, false_negative=float("nan"))), "found nan"),
        (replace(BINARY, costs=MATRIX), "a binary task takes its costs as ErrorCosts, found CostMatrix"),
        (replace(MULTICLASS, costs=COSTS), "a multiclass task takes its costs as CostMatrix, found ErrorCosts"),
        (Regression(("worth",), costs=COSTS), "a regression takes no costs of errors"),
    ],
)  # fmt: skip
def test_costs_that_cannot_be_are_refused(task, said):
    declared = DECLARATIONS["conversion"]
    with pytest.raises(DeclarationError, match=said):
        replace(declared, task=task, primary_metric=task.metrics[0], gates={}, grades={})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a": {"b": 1}}, r"missing for a → c"),
        ({"d": {"a": 1}}, r"does not have: d"),
        ({"a": {"b": 1, "c": -4}}, r"0 or more, found a → c \(-4\)"),
        ({"a": {"a": 3, "b": 1, "c": 4}}, r"right choices must be 0, found a \(3\)"),
        ({"c": {"a": 0, "b": 0}}, r"0 where c happens"),
        ({"a": {"b": 0, "c": 4}}, r"0 whatever happens where b is chosen"),
        ({name: dict.fromkeys(OUTCOMES, 0) for name in OUTCOMES}, "0 where a, b, c happens"),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(changed, said):
    assert MULTICLASS.problems() == []
    problems = replace(MULTICLASS, costs=CostMatrix({**MATRIX.costs, **changed})).problems()
    assert any(pd.Series(problems).str.contains(said)), problems


def test_models_without_costs_are_the_versions_that_they_were():
    """These were the fingerprints before costs could be declared; a change of a declaration may change them."""
    declared = DECLARATIONS["conversion"]
    assert declared.task.costs is None
    known = {
        "conversion": "e341f30136b966df234c7741c2a3cae257a0527fc9b4805753440473cad40ab4",
        "next_best_action": "fff664464cc4a9839869321264592553056478bdb47c9fb7d18cfecebc89dca0",
    }
    assert {name: fingerprint(DECLARATIONS[name]) for name in known} == known
    costly = replace(declared, task=replace(declared.task, costs=COSTS))
    dearer = replace(declared, task=replace(declared.task, costs=replace(COSTS, false_negative=19)))
    assert len({fingerprint(each) for each in (declared, costly, dearer)}) == 3


# the choice of least cost


def test_the_threshold_of_the_costs_is_the_choice_of_least_expected_cost():
    p = np.array([[0.0], [0.0999], [0.1], [0.5], [1.0]])
    assert BINARY.threshold() == pytest.approx(0.1)
    expected = BINARY.of_all(p) @ BINARY.cost_matrix
    assert (BINARY.choose(p, BINARY.choice())[[0, 1, 3, 4]] == expected.argmin(axis=1)[[0, 1, 3, 4]]).all()
    # where both cost the same it is acted on
    assert BINARY.chosen(p, {"threshold": 0.1})[:, 0].tolist() == [False, False, True, True, True]
    assert BINARY.chosen(p, None) is None
    assert Regression(("worth",)).chosen(p, None) is None


def test_of_many_outcomes_the_one_of_least_expected_cost_is_chosen_and_of_equal_ones_the_first():
    p = np.random.default_rng(3).dirichlet([1, 1, 1], 500)
    chosen = MULTICLASS.choose(p, MULTICLASS.choice())
    for row, pick in zip(p, chosen, strict=True):
        costs = [sum(row[i] * MATRIX.costs[OUTCOMES[i]].get(OUTCOMES[j], 0) for i in range(3)) for j in range(3)]
        assert costs[pick] == pytest.approx(min(costs))
    assert len(set(chosen)) > 1
    even = replace(MULTICLASS, costs=CostMatrix({a: dict.fromkeys(OUTCOMES, 1) | {a: 0} for a in OUTCOMES}))
    tied = np.array([[0.1 + 0.2, 0.3, 0.4], [0.3, 0.1 + 0.2, 0.4], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.4, 0.4]])
    assert even.choose(tied, even.choice()).tolist() == [2, 2, 0, 1]
    assert even.chosen(tied, even.choice())[3].tolist() == [False, True, False]
    # as JSON keeps it
    assert even.choice() == {"costs": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}


@pytest.mark.parametrize("decimals", [9, 2, 1])
def test_the_cheapest_threshold_is_that_of_all_that_can_be_tried(decimals):
    each = drawn(slope=0.5, decimals=decimals)
    weights = np.random.default_rng(1).integers(1, 9, len(each)).astype("float64")
    found = cheapest_threshold(BINARY, each, weights)

    def cost(threshold: float) -> float:
        acted = each.predicted[:, 0] >= threshold
        return float(2 * weights[acted & (each.truth == 0)].sum() + 18 * weights[~acted & (each.truth == 1)].sum())

    brute = {t: cost(t) for t in [*np.linspace(0, 1, 2001), *each.predicted[:, 0], *(each.predicted[:, 0] + 1e-9)]}
    assert cost(found) == pytest.approx(min(brute.values()))
    equally = [t for t, value in brute.items() if value <= min(brute.values()) + 1e-6]
    # of equally cheap ones that nearest to the threshold of the costs, but for the width of a gap between predictions
    gap = np.diff(np.unique(np.r_[0, each.predicted[:, 0], 1])).max()
    assert abs(found - 0.1) <= min(abs(t - 0.1) for t in equally) + gap


def test_the_cheapest_threshold_is_that_of_scikit_learn():
    each = drawn(300, slope=0.6)

    class Given(ClassifierMixin, BaseEstimator):
        """Predicts the column that it is given."""

        def fit(self, X, y):  # noqa: N803
            self.classes_ = np.array([0, 1])
            return self

        def predict_proba(self, X):  # noqa: N803
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    def saved(truth, acted):
        return -(confusion_matrix(truth, acted, labels=[0, 1]) * BINARY.cost_matrix).sum()

    tuned = TunedThresholdClassifierCV(
        Given().fit(None, None),
        scoring=make_scorer(saved),
        thresholds=np.unique(each.predicted),
        cv="prefit",
        refit=False,
    ).fit(each.predicted, each.truth)
    ours = saved(each.truth, each.predicted[:, 0] >= cheapest_threshold(BINARY, each, one(300)))
    assert ours == tuned.best_score_


def test_ties_go_to_the_threshold_of_the_costs_and_then_to_the_nearest():
    apart = Predictions(
        task=BINARY,
        truth=np.array([0, 0, 1, 1]),
        predicted=np.array([[0.01], [0.05], [0.4], [0.5]]),
        group=np.arange(4),
    )
    assert cheapest_threshold(BINARY, apart, one(4)) == BINARY.threshold()
    # to act on the two of .02 and .3 costs as much as to act on neither: nine that do not happen, one that does
    around = Predictions(
        task=BINARY,
        truth=np.array([0] * 9 + [1] + [1, 0, 0]),
        predicted=np.array([[0.3]] * 10 + [[0.6], [0.02], [0.02]]),
        group=np.arange(13),
    )
    assert cheapest_threshold(BINARY, around, one(13)) == BINARY.threshold()
    false = replace(around, predicted=np.where(around.predicted == 0.02, 0.2, around.predicted))
    assert cheapest_threshold(BINARY, false, one(13)) == pytest.approx(0.25)


# the threshold of a version


TRIED = WeightsTried(
    weights={}, learnt_rows=9, rows=9, without=1, with_weights=0.5, costs_more=-0.5, costs_more_at_most=-0.1,
    skill_lost=0.01, off=(), learnt_share=0.6, scaling=Scaling(method="sigmoid", slope=1.0, intercept=0.1),
    applied=False, reason="",
)  # fmt: skip


def rehearsal(predictions: Predictions, learnt_share: float = 0.6) -> Rehearsal:
    weights = replace(TRIED, learnt_share=learnt_share)
    return Rehearsal(predictions=predictions, stands_for=one(len(predictions)), weights=weights)


def test_true_probabilities_keep_the_threshold_of_the_costs():
    tried = try_threshold(BINARY, rehearsal(drawn(4_000)), None, seed=7)
    assert tried.threshold == tried.of_costs == BINARY.threshold()
    assert "not beyond noise" in tried.reason
    assert tried.saves_at_least < tried.saves


def test_false_ones_are_chosen_by_the_rows_unless_a_scaling_makes_them_true():
    false = drawn(4_000, shift=-2)
    tried = try_threshold(BINARY, rehearsal(false), None, seed=7)
    assert tried.threshold == tried.of_rows < 0.05
    assert tried.saves > tried.saves_at_least > 0
    scaled = try_threshold(BINARY, rehearsal(false), Scaling(method="sigmoid", slope=1.0, intercept=2.0), seed=7)
    assert scaled.threshold == BINARY.threshold()
    assert tried == try_threshold(BINARY, rehearsal(false), None, seed=7)
    few = try_threshold(BINARY, rehearsal(false, learnt_share=0.3), None, seed=7)
    assert few.threshold == BINARY.threshold()
    assert "learnt from 30% of the training rows only" in few.reason


def test_without_validation_rows_the_threshold_is_that_of_the_costs():
    tried = try_threshold(BINARY, None, None, seed=7)
    assert (tried.threshold, tried.rows) == (BINARY.threshold(), 0)
    assert "too few rows to be split once more" in tried.reason


@pytest.mark.parametrize(("at_least", "share", "chosen"), [(0.01, 0.5, 0.3), (0.0, 0.5, 0.1), (0.01, 0.49, 0.1)])
def test_rules_of_the_threshold(at_least, share, chosen):
    tried = ThresholdTried(
        of_costs=0.1, of_rows=0.3, rows=9, saves=0.02, saves_at_least=at_least, threshold=0.1, reason=""
    )
    assert decide_threshold(tried, share)[0] == chosen


# weights of the classes


def test_weights_are_what_an_error_of_a_class_costs():
    assert BINARY.class_weights() == {0: 2, 1: 18}
    assert MULTICLASS.class_weights() == {"a": 5, "b": 11, "c": 5}


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probabilities_of_a_weighted_fit_are_corrected(classes):
    """A model that can say all that there is learns the same with weights and without: the frequency of each cell."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 4, 6_000)
    truth = (rng.random(6_000)[:, None] > np.cumsum([[0.7, 0.2], [0.5, 0.4], [0.9, 0.05], [0.4, 0.3]], axis=1)[x]).sum(
        axis=1
    )
    y = np.minimum(truth, classes - 1)
    cells, weights = np.eye(4)[x], rng.integers(1, 4, 6_000).astype("float64")
    by_class = dict(zip(range(classes), (1.0, 9.0, 30.0), strict=False))
    weighted = ClassWeighted(LogisticRegression(C=1e6, tol=1e-8, max_iter=1_000), by_class).fit(
        cells, y, sample_weight=weights
    )
    found = weighted.predict_proba(np.eye(4))
    for cell, k in product(range(4), range(classes)):
        assert found[cell, k] == pytest.approx(np.average(y[x == cell] == k, weights=weights[x == cell]), abs=1e-3)
    # what it learnt itself is shifted as scikit-learn's own class_weight shifts it
    own = LogisticRegression(C=1e6, tol=1e-8, max_iter=1_000, class_weight=by_class).fit(
        cells, y, sample_weight=weights
    )
    np.testing.assert_allclose(weighted.estimator_.predict_proba(np.eye(4)), own.predict_proba(np.eye(4)), atol=2e-3)
    assert abs(own.predict_proba(cells)[:, -1].mean() - (y == classes - 1).mean()) > 0.1
    np.testing.assert_allclose(weighted.predict_proba(cells).sum(axis=1), 1)
    assert weighted.predict(cells).tolist() == weighted.predict_proba(cells).argmax(axis=1).tolist()


def test_weights_that_save_costs_are_applied_and_what_is_expected_happens():
    """A tree of four leaves tells improbable rows apart only where these weigh more."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(24_000, 2))
    logit = -5 + 4 * np.maximum(x[:, 0] - 0.5, 0) + 2 * np.tanh(2 * x[:, 1])
    y = (rng.random(24_000) < 1 / (1 + np.exp(-logit))).astype("int64")
    task = Binary(("won",), costs=ErrorCosts(false_positive=1, false_negative=20))
    learnt, validation, others = (slice(first, first + 8_000) for first in (0, 8_000, 16_000))
    tree = DecisionTreeClassifier(max_leaf_nodes=4, random_state=1)

    def predicted(each, rows: slice) -> Predictions:
        p = each.fit(x[learnt], y[learnt]).predict_proba(x[rows])[:, 1:]
        return Predictions(task=task, truth=y[rows], predicted=p, group=np.arange(8_000))

    weights = task.class_weights()
    declared = replace(DECLARATIONS["conversion"], task=task)
    tried = try_weights(
        declared,
        predicted(tree, validation),
        predicted(ClassWeighted(tree, weights), validation),
        one(8_000),
        learnt_rows=8_000,
        learnt_share=0.6,
    )
    assert tried.applied, tried.reason
    assert tried.costs_more < tried.costs_more_at_most < 0
    without, found = predicted(tree, others), predicted(ClassWeighted(tree, weights, tried.scaling), others)
    assert cost_of(task, found, task.choice()).mean() < 0.9 * cost_of(task, without, task.choice()).mean()
    (total,) = totals(found)
    assert total.lower < 0 < total.upper
    assert calibration_error(found, once(8_000))[0] < 0.02
    # of the weighted tree itself several times as much would be expected
    shifted = ClassWeighted(tree, weights).fit(x[learnt], y[learnt]).estimator_.predict_proba(x[others])[:, 1]
    assert shifted.sum() > 3 * y[others].sum()


def test_trees_that_stay_behind_what_they_see_need_the_scaling():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(16_000, 2))
    y = (rng.random(16_000) < 1 / (1 + np.exp(4 - 1.5 * x[:, 0] - 0.8 * x[:, 1] ** 2))).astype("int64")
    trees = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=3, early_stopping=False, random_state=1)
    fitted = ClassWeighted(trees, {0: 1.0, 1: 20.0}).fit(x[:8_000], y[:8_000])
    group = np.arange(4_000)
    validation, others = (
        Predictions(task=BINARY, truth=y[part], predicted=fitted.predict_proba(x[part])[:, 1:], group=group)
        for part in (slice(8_000, 12_000), slice(12_000, 16_000))
    )
    scaling = BINARY.fit_scaling(validation, one(4_000))
    assert is_off(totals(others)[0], 0.05)
    scaled = replace(others, predicted=scaling.apply(others.predicted))
    assert not is_off(totals(scaled)[0], 0.01)
    assert log_loss(scaled.truth, scaled.predicted[:, 0]) < log_loss(others.truth, others.predicted[:, 0])
    fitted.scaling = scaling
    np.testing.assert_allclose(fitted.predict_proba(x[12_000:])[:, 1:], scaled.predicted)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"costs_more_at_most": 0.0}, "no saving beyond noise"),
        ({"skill_lost": 0.021}, "would be worse"),
        ({"off": ("won",)}, "expected totals would be off for won"),
        ({"scaling": None}, "no scaling"),
        ({"scaling": Scaling(method="sigmoid", slope=-1.0, intercept=0)}, "no scaling"),
        ({"learnt_share": 0.4}, "learnt from 40% of the training rows only"),
    ],
)
def test_rules_of_the_weights(changed, said):
    found, reason = decide_weights(replace(TRIED, **changed), 0.02)
    assert found == (said is None)
    assert (said or "-0.5 (at most -0.1)") in reason


def test_weights_are_tried_on_the_same_rows_and_a_scaling_alone_is_no_saving():
    true, false, noise = drawn(3_000), drawn(3_000, shift=-2), drawn(3_000)
    noise = replace(noise, predicted=np.random.default_rng(9).permutation(noise.predicted))
    declared = replace(DECLARATIONS["conversion"], task=BINARY)

    def tried(*both: Predictions) -> WeightsTried:
        return try_weights(declared, *both, one(3_000), learnt_rows=99, learnt_share=0.6)

    better = tried(noise, true)
    assert better.applied
    assert better.scaling.slope == pytest.approx(1, abs=0.2)
    # within what the scaling of the other folds moves over the threshold
    acted = true.predicted[:, 0] >= BINARY.threshold()
    assert better.with_weights == pytest.approx(
        (confusion_matrix(true.truth, acted) * BINARY.cost_matrix).sum() / 3_000, rel=0.05
    )
    assert not tried(true, noise).applied
    for each in (tried(false, true), tried(true, false), tried(true, true)):
        assert "no saving beyond noise" in each.reason
        assert each.costs_more == pytest.approx(0, abs=0.01)


# what it comes to


def test_costs_stand_beside_those_of_one_choice_everywhere():
    each = drawn(3_000)
    never_ever, always = each.truth.sum() * 18 / 3_000, (each.truth == 0).sum() * 2 / 3_000
    this, never, ever = ways(BINARY, each, BINARY.choice(), seed=7)
    assert (never.name, never.cost.value, never.shares) == ("never act", pytest.approx(never_ever), (1, 0))
    assert (ever.name, ever.cost.value, ever.shares) == ("always act", pytest.approx(always), (0, 1))
    assert this.cost.lower < this.expected < this.cost.upper
    assert never.over_this.lower > 0 < ever.over_this.lower
    assert never.over_this.value == pytest.approx(never.cost.value - this.cost.value)
    measured = measure_costs(BINARY, each, None, rehearsal(each), None, seed=7)
    assert measured.held_out == ways(BINARY, each, choice_of(BINARY, measured), seed=7)
    assert measured.census == ()
    free = Binary(("won",))
    assert measure_costs(free, each, None, None, None, seed=7) is None
    assert choice_of(free, None) is None


# a version


@pytest.fixture(scope="module")
def costly(conversion, conversion_set, tmp_path_factory):
    """Return the conversion model with costs, trained."""
    declared = replace(conversion, task=replace(conversion.task, costs=ErrorCosts(false_positive=2, false_negative=3)))
    return declared, train(declared, conversion_set, tmp_path_factory.mktemp("costly"))


def test_a_version_keeps_its_threshold_and_publishes_what_it_chooses(costly, converter, new_leads):
    declared, version = costly
    evaluation = evaluate(version)
    assert (
        evaluation.costs.weights.rows + evaluation.costs.weights.learnt_rows <= version.manifest["split"]["train_rows"]
    )
    threshold = evaluation.costs.threshold.threshold
    assert version.manifest["choice"] == {"threshold": pytest.approx(threshold)}
    scored = score(version, new_leads, "lead")
    assert scored["chosen"].tolist() == (scored["value"] >= version.manifest["choice"]["threshold"]).tolist()
    assert 0 < scored["chosen"].mean() < 1
    this, *others = evaluation.costs.census
    assert all(this.cost.value < each.cost.value for each in others)
    assert not any(is_off(total, declared.max_census_off) for total in evaluation.census.totals)
    # a version without costs says nothing
    assert "choice" not in converter.manifest
    assert evaluate(converter).costs is None
    assert score(converter, new_leads, "lead")["chosen"].isna().all()
    rows = new_leads.drop_duplicates("lead_id")
    deciding = replace(converter, manifest={**converter.manifest, "choice": {"threshold": 0.2}})
    pd.testing.assert_frame_equal(
        *(explained(each, rows, "lead").drop(columns="chosen") for each in (converter, deciding))
    )


def test_the_card_shows_costs_weights_and_threshold(costly, conversion, converter):
    declared, version = costly
    card = model_card(declared, version, evaluate(version), ()).text
    for said in (
        "## Costs of errors",
        "| not converted | 0 | 2 |",
        "Weights of the classes",
        "**Threshold ",
        "never act",
    ):
        assert said in card
    assert "## Costs of errors" not in model_card(conversion, converter, evaluate(converter), ()).text


def test_where_weights_serve_the_published_pipeline_learns_with_them(conversion, conversion_set, tmp_path, monkeypatch):
    monkeypatch.setattr("models.evaluation.costs.decide_weights", lambda tried, most: (True, "as asked"))
    declared = replace(conversion, task=replace(conversion.task, costs=COSTS))
    version = train(declared, conversion_set, tmp_path)
    evaluation = evaluate(version)
    assert evaluation.costs.weights.applied
    assert version.manifest["estimator"] == "HistGradientBoostingClassifier"
    learnt = version.pipeline.named_steps["estimator"]
    learnt = getattr(learnt, "estimator", learnt) if not isinstance(learnt, ClassWeighted) else learnt
    assert learnt.weights == {0: 2, 1: 18}
    assert learnt.estimator_.categorical_features == [0]
    assert learnt.estimator_.random_state == declared.seed
    assert learnt.scaling == evaluation.costs.weights.scaling or learnt.scaling.slope == pytest.approx(
        evaluation.costs.weights.scaling.slope
    )
    # published probabilities are true nevertheless: a census gets what was expected of it
    (total,) = evaluation.census.totals
    assert total.lower < 0 < total.upper
    assert train(declared, conversion_set, tmp_path).reused


def test_a_training_side_that_cannot_be_split_once_more_gives_the_threshold_of_the_costs(
    conversion, conversion_set, tmp_path, monkeypatch
):
    def refuse(frame, declaration):
        raise contest.UntrainableError("too few")

    monkeypatch.setattr(contest, "temporal_split", refuse)
    declared = replace(conversion, task=replace(conversion.task, costs=COSTS))
    version = train(declared, conversion_set, tmp_path)
    assert version.manifest["choice"] == {"threshold": 0.1}
    assert evaluate(version).costs.weights is None
    assert "were not tried" in model_card(declared, version, evaluate(version), ()).text


def test_equal_costs_weigh_nothing_and_few_rows_are_not_split(conversion, conversion_set):
    """One lead of which something happens is not enough for folds that all have both outcomes."""
    even = replace(conversion, task=replace(conversion.task, costs=ErrorCosts(false_positive=3, false_negative=3)))
    frame = conversion_set.frame()
    side = frame[temporal_split(frame, even).train].reset_index(drop=True)
    later_half = temporal_split(side, even).test
    alone = side.assign(converted=side["converted"].where(~later_half, 0))
    alone.loc[np.flatnonzero(later_half)[0], "converted"] = 1

    def rehearsed(rows: pd.DataFrame):
        observed = Observed(
            features=model_input(rows, conversion_set.features),
            label=rows["converted"],
            weights=one(len(rows)),
            stands_for=one(len(rows)),
            entities=rows["lead_id"].factorize()[0],
        )
        return contest.rehearse(even, rows, observed)

    chosen, found = rehearsed(side)
    assert chosen is even
    assert (found.weights.costs_more, found.weights.costs_more_at_most, found.weights.applied) == (0, 0, False)
    assert rehearsed(alone) == (even, None)


def test_weights_and_threshold_know_nothing_of_held_out_rows_and_census(conversion, tmp_path, monkeypatch):
    monkeypatch.setattr("models.evaluation.costs.decide_weights", lambda tried, most: (True, "as asked"))
    monkeypatch.setattr("models.evaluation.costs.COMPARABLE", 0)
    base = later.history(replace(conversion, task=replace(conversion.task, costs=COSTS)))
    found = []
    for number, world in enumerate((base, later.with_other_outcomes(base), later.with_other_rows(base))):
        folder = tmp_path / str(number)
        frozen = freeze(world.rows, world.declaration, folder / "sets", later.CLOCK, world.census)
        version = train(world.declaration, frozen, folder / "versions")
        found.append((version.manifest["choice"], evaluate(version).costs))
    for choice, costs in found[1:]:
        assert choice == found[0][0]
        assert (costs.weights, costs.threshold) == (found[0][1].weights, found[0][1].threshold)
        assert costs.held_out != found[0][1].held_out


def test_many_outcomes_are_chosen_by_a_matrix_and_the_chosen_one_has_the_reasons(next_action, tmp_path, new_leads):
    outcomes = next_action.outcomes
    costs = CostMatrix({a: {b: 200 if a == "send_proposal" else 1 for b in outcomes if b != a} for a in outcomes})
    declared = replace(next_action, task=replace(next_action.task, costs=costs))
    census = open_at(CENSUS_CLOCKS).drop(columns="converted")
    frozen = freeze(observations().drop(columns="converted"), declared, tmp_path / "sets", CLOCK, census)
    version = train(declared, frozen, tmp_path / "models")
    measured = evaluate(version).costs
    assert measured.threshold is None
    assert [each.name for each in measured.census][:2] == ["this version", "always call_immediate"]
    rows = new_leads.drop_duplicates("lead_id")
    scored = explained(version, rows, "lead")
    assert (scored.groupby("entity_id")["chosen"].sum() == 1).all()
    assert scored.loc[scored["reasons"].notna(), "chosen"].all()
    wide = scored.pivot_table(index="entity_id", columns="target", values="value")[list(outcomes)]
    least = (wide.to_numpy() @ np.array(measured.costs)).argmin(axis=1)
    picked = scored[scored["chosen"]].set_index("entity_id")["target"]
    assert picked.loc[wide.index].tolist() == [outcomes[number] for number in least]
    assert (wide.to_numpy().argmax(axis=1) != least).any()
    assert asdict(measured)["costs"][3][0] == 200
