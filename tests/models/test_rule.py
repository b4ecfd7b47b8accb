"""The rule beside a model, and the scope of a model: what is measured, what is decided, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from models.decisions.promotion import PromotionEvidence, decide_promotion
from models.declared.conversion import CONVERSION
from models.declared.deal_value import DEAL_VALUE
from models.declaring.entity import DeclarationError
from models.evaluation.census import measure_beside_rule, measure_census
from models.evaluation.records import BesideRule, Census, Figure, Total
from models.learning.pipelines import fingerprint
from models.tasks.task import Predictions

CLEAR = Figure(value=100.0, lower=50.0, upper=150.0)
NOISE = Figure(value=100.0, lower=-1.0, upper=201.0)
WORSE = Figure(value=-100.0, lower=-150.0, upper=-50.0)


def evidence(mae: Figure, squared: Figure, **others: object) -> PromotionEvidence:
    """Return what is known of a candidate that beats the trivial baseline, beside a rule."""
    figures = {"mae": 1_000.0, "squared_error": 2_000.0}
    better = dict.fromkeys(figures, CLEAR)
    beside = BesideRule(
        rows=1_234,
        entities=567,
        model={name: Figure(value=value, lower=None, upper=None) for name, value in figures.items()},
        rule={name: Figure(value=1.5 * value, lower=None, upper=None) for name, value in figures.items()},
        over_rule={"mae": mae, "squared_error": squared},
    )
    known = PromotionEvidence(
        model="worth",
        version="new",
        horizon_days=90,
        primary_metric="mae",
        loss="squared_error",
        metrics=dict(figures),
        baseline={name: 3 * value for name, value in figures.items()},
        over_baseline=better,
        census=(Total(outcome="worth", expected=104.5, actual=100.5, lower=-10.0, upper=18.0),),
        rule="what the sign says",
        beside_rule=beside,
        words={"mae": "mean absolute error"},
        max_census_off=0.1,
        max_skill_loss=0.02,
        champion=None,
    )
    return replace(known, **others)


def test_who_beats_the_rule_in_both_beyond_chance_is_promoted() -> None:
    decision = decide_promotion(evidence(CLEAR, CLEAR))
    assert (decision.outcome, decision.rule) == ("promote", "first_champion")


@pytest.mark.parametrize(("mae", "squared"), [(NOISE, CLEAR), (WORSE, CLEAR), (CLEAR, NOISE), (CLEAR, WORSE)])
def test_who_does_not_is_refused_and_the_rule_stays(mae: Figure, squared: Figure) -> None:
    decision = decide_promotion(evidence(mae, squared))
    assert (decision.outcome, decision.rule) == ("refuse", "rule_not_beaten")
    named = "mean absolute error 1,500 against 1,000" if mae is not CLEAR else "squared_error 3,000 against 2,000"
    assert f"The rule, what the sign says, is as good or better: {named} of new on 1,234 rows" in decision.reason
    assert decision.reason.endswith("; the rule stays.")


def test_where_nobody_has_looked_the_rule_stays() -> None:
    decision = decide_promotion(evidence(CLEAR, CLEAR, beside_rule=None))
    assert (decision.outcome, decision.rule) == ("refuse", "rule_unmeasured")
    assert decide_promotion(evidence(WORSE, WORSE, beside_rule=None, rule="")).outcome == "promote"


def test_the_rule_is_asked_before_what_concerns_the_candidate_alone() -> None:
    """A rule that is as good is no failure, and no shorter horizon is tried for it."""
    off = Total(outcome="worth", expected=200.5, actual=100.5, lower=50.0, upper=150.0)
    assert decide_promotion(evidence(WORSE, WORSE, census=(off,))).rule == "rule_not_beaten"
    decision = decide_promotion(evidence(CLEAR, CLEAR, census=(off,)))
    assert decision.rule == "census_off"
    # values are summed and not counted
    assert "worth expected 200, happened 100 (difference 50 to 150)" in decision.reason


def census_of(entities: int = 200) -> tuple[Predictions, pd.DataFrame]:
    """Return rows that are worth eight tenths of what the rule says, with predictions that know it to a tenth."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(entities), 2)
    stated = rng.gamma(2, 50_000, entities)[group]
    came = 0.8 * stated
    predictions = Predictions(
        task=DEAL_VALUE.task,
        truth=came,
        predicted=(came * rng.uniform(0.9, 1.1, len(came)))[:, None],
        group=group,
    )
    rows = pd.DataFrame({"as_of": pd.Timestamp("2026-01-01", tz="UTC"), "value": stated})
    rows.loc[::5, "value"] = np.nan
    return predictions, rows


def test_both_are_measured_on_the_rows_of_which_the_rule_speaks() -> None:
    predictions, rows = census_of()
    found = measure_beside_rule(DEAL_VALUE, predictions, rows)
    assert found is not None
    spoken = rows["value"].notna().to_numpy()
    assert found.rows == spoken.sum()
    came, stated = predictions.truth[spoken], rows["value"].to_numpy()[spoken]
    assert found.rule["mae"].value == pytest.approx(np.abs(stated - came).mean())
    assert found.model["mae"].value == pytest.approx(np.abs(predictions.predicted[spoken, 0] - came).mean())
    for name in ("mae", "squared_error"):
        rule, model, better = found.rule[name].value, found.model[name].value, found.over_rule[name]
        assert rule is not None
        assert model is not None
        assert better.lower is not None
        assert better.value == pytest.approx(rule - model)
        # paired: the difference is known better than either
        assert 0 < better.lower < rule - model
    turned = replace(predictions, predicted=rows["value"].fillna(0).to_numpy()[:, None])
    same = measure_beside_rule(DEAL_VALUE, turned, rows)
    assert same is not None
    assert same.over_rule["mae"].lower == same.over_rule["mae"].upper == 0


def test_without_a_rule_or_a_value_nothing_is_measured() -> None:
    predictions, rows = census_of()
    assert measure_beside_rule(replace(DEAL_VALUE, rule=""), predictions, rows) is None
    assert measure_beside_rule(DEAL_VALUE, predictions, rows.drop(columns="value")) is None
    assert measure_beside_rule(DEAL_VALUE, predictions, rows.assign(value=np.nan)) is None


def test_it_is_kept_with_the_census_and_read_again() -> None:
    predictions, rows = census_of()
    measured = measure_census(DEAL_VALUE, predictions, rows)
    assert measured.beside_rule is not None
    kept = TypeAdapter(Census).validate_python(json.loads(json.dumps(asdict(measured))))
    assert kept == measured
    earlier = {name: value for name, value in asdict(measured).items() if name != "beside_rule"}
    assert TypeAdapter(Census).validate_python(earlier).beside_rule is None


def test_scope_and_rule_make_another_version_only_where_they_are_set() -> None:
    plain = replace(DEAL_VALUE, scope="", rule="")
    others = (replace(plain, scope="a > 0"), replace(plain, rule="r"), DEAL_VALUE)
    assert len({fingerprint(each) for each in (plain, *others)}) == 4
    assert plain.scoped_view == "features.lead_features"
    assert DEAL_VALUE.scoped_view == "(select * from features.lead_features where open_proposals_count > 0)"


def test_a_rule_needs_a_task_in_its_unit_and_values_of_the_entity() -> None:
    with pytest.raises(DeclarationError, match="a binary task has no rule beside it"):
        replace(CONVERSION, rule="the colour of the car")
    entity = replace(DEAL_VALUE.feature_view.entity, values="")
    with pytest.raises(DeclarationError, match="rule needs the values of the entity"):
        replace(DEAL_VALUE, feature_view=replace(DEAL_VALUE.feature_view, entity=entity))
