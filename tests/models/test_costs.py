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

from models.declared.registry import DECLARATIONS
from models.declaring.entity import DeclarationError
from models.evaluation.census import is_off
from models.evaluation.costs import (
    Rehearsal,
    cheapest_threshold,
    choice_of,
    decide_threshold,
    decide_weights,
    measure_costs,
    try_threshold,
    try_weights,
    ways,
)
from models.evaluation.records import ThresholdTried, WeightsTried
from models.learning.pipelines import fingerprint
from models.pickled.estimators import ClassWeighted
from models.pickled.scaling import Scaling
from models.scoring.scoring import explained, score
from models.tasks.classification import Binary, Multiclass
from models.tasks.costs import CostMatrix, ErrorCosts
from models.tasks.regression import Regression
from models.tasks.task import Predictions
from models.training import contest
from models.training.training import train
from models.training.training_set import freeze
from models.versions.candidate import evaluate
from models.versions.card import model_card
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
        (replace(BINARY, costs=ErrorCosts(false_positive=-1, false_negative=1)), "false_positive must be a number above"),
        (replace(BINARY, costs=ErrorCosts(false_positive=0, false_negative=0)), "false_negative must be a number above"),
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
        ({"a": {"a": 3, "b": 1, "c": 4}}, r"what is right must be 0, found a \(3\)"),
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
    assert set(chosen) == {0, 1, 2}
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
        matrix = confusion_matrix(each.truth, acted, sample_weight=weights, labels=[0, 1])
        return float((matrix * BINARY.cost_matrix).sum())

    brute = {t: cost(t) for t in [*np.linspace(0, 1, 2001), *each.predicted[:, 0], *(each.predicted[:, 0] + 1e-9)]}
    assert cost(found) == pytest.approx(min(brute.values()))
    equally = [t for t, value in brute.items() if value == pytest.approx(min(brute.values()))]
    # of equally cheap ones that nearest to the threshold of the costs, but for the width of a gap between predictions
    gap = np.diff(np.unique(np.r_[0, each.predicted[:, 0], 1])).max()
    assert abs(found - 0.1) <= min(abs(t - 0.1) for t in equally) + gap


def test_the_cheapest_threshold_is_that_of_scikit_learn():
    each = drawn(2_000, slope=0.6)

    class Given(ClassifierMixin, BaseEstimator):
        """Predicts the column that it is given."""

        def fit(self, X, y):
            self.classes_ = np.array([0, 1])
            return self

        def predict_proba(self, X):
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    def saved(truth, acted):
        return -(confusion_matrix(truth, acted, labels=[0, 1]) * BINARY.cost_matrix).sum()

    tuned = TunedThresholdClassifierCV(
        Given().fit(None, None), scoring=make_scorer(saved), thresholds=np.unique(each.predicted), cv="prefit", refit=False
    ).fit(each.predicted, each.truth)  # fmt: skip
    ours = saved(each.truth, each.predicted[:, 0] >= cheapest_threshold(BINARY, each, one(2_000)))
    assert ours == tuned.best_score_


def test_ties_go_to_the_threshold_of_the_costs_and_then_to_the_lower():
    apart = Predictions(
        task=BINARY,
        truth=np.array([0, 0, 1, 1]),
        predicted=np.array([[0.01], [0.05], [0.4], [0.5]]),
        group=np.arange(4),
    )
    assert cheapest_threshold(BINARY, apart, one(4)) == BINARY.threshold()
    # equally near on both sides: .05 and .15 cost the same, what lies between them does not
    around = Predictions(
        task=BINARY,
        truth=np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        predicted=np.array([[0.06], [0.14], *[[0.09]] * 9]),
        group=np.arange(11),
    )
    assert cheapest_threshold(BINARY, around, one(11)) in (pytest.approx(0.03), pytest.approx(0.115))


# the threshold of a version


def rehearsal(predictions: Predictions, learnt_share: float = 0.6) -> Rehearsal:
    weights = WeightsTried(
        weights={}, learnt_rows=1, rows=1, without=0, with_weights=0, costs_more=0, costs_more_at_most=0,
        loses_more=0, loses_more_at_least=0, applied=False, reason="",
    )  # fmt: skip
    return Rehearsal(
        predictions=predictions, stands_for=one(len(predictions)), learnt_share=learnt_share, weights=weights
    )


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
    assert "cannot be split once more" in tried.reason


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


def test_expected_is_what_happened_after_a_weighted_fit_of_trees():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20_000, 3))
    y = (rng.random(20_000) < 1 / (1 + np.exp(3 - 1.5 * x[:, 0]))).astype(int)
    trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=7, early_stopping=False, random_state=1)
    learnt, others = slice(0, 10_000), slice(10_000, None)
    weighted = ClassWeighted(trees, {0: 1.0, 1: 20.0}).fit(x[learnt], y[learnt])
    plain = trees.fit(x[learnt], y[learnt])
    p, of_plain = (each.predict_proba(x[others])[:, 1] for each in (weighted, plain))
    noise = 2 * np.sqrt((p * (1 - p)).sum())
    assert abs(p.sum() - y[others].sum()) < noise
    assert weighted.estimator_.predict_proba(x[others])[:, 1].sum() > y[others].sum() + 10 * noise
    assert log_loss(y[others], p) < 1.05 * log_loss(y[others], of_plain)


@pytest.mark.parametrize(
    ("costs", "loses", "applied", "said"),
    [(-0.1, -0.1, True, "change the cost"), (0.0, -0.1, False, "no saving"), (-0.1, 0.1, False, "would be worse")],
)
def test_rules_of_the_weights(costs, loses, applied, said):
    tried = WeightsTried(
        weights={}, learnt_rows=9, rows=9, without=1, with_weights=0.5, costs_more=-0.5, costs_more_at_most=costs,
        loses_more=0, loses_more_at_least=loses, applied=False, reason="",
    )  # fmt: skip
    found, reason = decide_weights(tried)
    assert found == applied
    assert said in reason


def test_weights_are_tried_on_the_same_rows_by_the_threshold_of_the_costs():
    true, false = drawn(3_000), drawn(3_000, shift=-2)
    better = try_weights(BINARY, false, true, one(3_000), learnt_rows=99, seed=7)
    assert better.applied
    assert better.costs_more < better.costs_more_at_most < 0
    acted = true.predicted[:, 0] >= BINARY.threshold()
    assert better.with_weights == pytest.approx(
        (confusion_matrix(true.truth, acted) * BINARY.cost_matrix).sum() / 3_000
    )
    assert not try_weights(BINARY, true, true, one(3_000), learnt_rows=99, seed=7).applied
    assert not try_weights(BINARY, true, false, one(3_000), learnt_rows=99, seed=7).applied


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
    declared = replace(conversion, task=replace(conversion.task, costs=COSTS))
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
    pd.testing.assert_frame_equal(
        explained(converter, new_leads, "lead").drop(columns="chosen"),
        explained(replace(converter, manifest={**converter.manifest, "choice": {"threshold": 0.2}}), new_leads, "lead")
        .drop(columns="chosen"),
    )  # fmt: skip


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
    monkeypatch.setattr("models.evaluation.costs.decide_weights", lambda tried: (True, "as asked"))
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


def test_what_is_chosen_learns_from_all_earlier_rows_once_more(conversion, conversion_set, tmp_path, monkeypatch):
    monkeypatch.setattr(contest, "CONTEST_ROWS", 150)
    declared = replace(conversion, task=replace(conversion.task, costs=COSTS))
    measured = evaluate(train(declared, conversion_set, tmp_path)).costs
    assert measured.weights.learnt_rows == 150
    assert measured.threshold.rows == measured.weights.rows


def test_many_outcomes_are_chosen_by_a_matrix_and_the_chosen_one_has_the_reasons(next_action, tmp_path, new_leads):
    outcomes = next_action.outcomes
    costs = CostMatrix({a: {b: 10 if a == "send_proposal" else 1 for b in outcomes if b != a} for a in outcomes})
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
    assert asdict(measured)["costs"][3][0] == 10
