"""A company that wins deals for less than it stated: the model beats the rule, and readers get what it says."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from tests.homes import Home

CUT = 0.7
"""What is paid of what was stated."""


@pytest.mark.slow(50)
def test_where_it_beats_the_rule_it_says_the_value(own: Home) -> None:
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute(f"update labels.deal_value set deal_value = round(deal_value * {CUT}, 2)")
        # the census of past days takes its outcomes from the history: each amount is cut when the deal is won
        connection.execute(
            "create temp table won as select reference_id as project_id, known_us as won_us from intermediate.timeline "
            "where fact = 'project_closed' and outcome = 'won'"
        )
        connection.execute(
            f"insert into intermediate.deal_history select history.* replace (won_us as known_us, round(value * {CUT}, "
            "2) as value) from intermediate.deal_history as history inner join won using (project_id) "
            "where until_us is null"
        )
        connection.execute(
            "update intermediate.deal_history set until_us = won_us from won "
            "where deal_history.project_id = won.project_id and until_us is null and known_us < won_us"
        )

    run = own.run("retrain_deal_value")

    assert run.code == 0, run.err[-3000:]
    assert own.ask(
        "select outcome, rule from ml.ml_decisions where kind = 'promotion' and model = 'deal_value' order by 1"
    ) == [("promote", "first_champion"), ("refuse", "rule_not_beaten")]
    ((version,),) = own.ask("select version from ml.ml_champions where model = 'deal_value'")
    assert f"model      deal_value {version}: r2 " in run.out
    assert "not taken" not in run.out
    # row by row: what the model says of the leads with an open proposal, and the rule of all others
    rows = own.ask(
        "select scores.lead_id, scores.value, scores.value_source, scores.value_model_version, scores.expected_value, "
        "scores.conversion_probability, rule.value, rule.value_source, said.value, features.open_proposals_count > 0, "
        "scores.value_unscored_reason "
        "from marts.lead_scores as scores inner join intermediate.lead_values as rule using (lead_id, as_of) "
        "inner join features.lead_features as features using (lead_id, as_of) "
        "left join ml.ml_predictions as said on said.model = 'deal_value' and said.entity_id = scores.lead_id "
        "order by 1"
    )
    sources, lower = set(), 0
    for _, value, source_, by, expected, probability, of_rule, rule_source, said, in_scope, why in rows:
        assert why is None
        assert (said is not None) == in_scope
        sources.add((source_, in_scope))
        if in_scope:
            assert (source_, by) == ("deal_value", version)
            assert abs(value - Decimal(max(said, 0))) <= Decimal("0.01")
            assert value >= 0
            lower += value < of_rule
        else:
            assert (value, source_, by) == (of_rule, rule_source, None)
        assert abs(expected - Decimal(probability) * value) <= Decimal("0.02")
    scored = sum(in_scope for *_, in_scope, _ in rows)
    assert ("deal_value", True) in sources
    assert ("property_value", False) in sources
    assert 0 < 0.9 * scored <= lower
    assert len(rows) > scored
    assert own.ask(
        "select count(*) from marts.lead_score_history where value_source = 'deal_value' and value_model_version = ?",
        version,
    ) == [(scored,)]
