"""A company that wins deals for less than it stated: the model beats the rule, and readers get what it says."""

from __future__ import annotations

import shutil
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.conftest import HORIZON, source_of
from tests.homes import Home

if TYPE_CHECKING:
    from pathlib import Path

CUT = 0.7
"""What is paid of what was stated. A CRM keeps one amount of a project, so the stated one is of a project that another
takes the place of when it is won."""


def _cut(source: Path) -> None:
    projects = source / "projects.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"create table projects as from '{projects}'")
        won = "status = 'won' and closed_at is not null and value is not null"
        connection.execute(
            "create table stated as select * replace (project_id || '-stated' as project_id, "
            f"value / {CUT} as value, 'cancelled' as status) from projects where {won}"
        )
        connection.execute(f"update projects set value = value / {CUT} where not ({won})")
        connection.execute(f"update projects set proposed_at = closed_at where {won}")
        connection.execute("insert into projects from stated")
        connection.execute(f"copy (from projects order by project_id) to '{projects}' (format parquet)")


@pytest.mark.slow(60)
def test_where_it_beats_the_rule_it_says_the_value(filled: Home, tmp_path: Path) -> None:
    source = tmp_path / "crm"
    shutil.copytree(source_of(filled), source)
    _cut(source)
    home = Home(
        tmp_path / "home", {"LEADLINE_SOURCE": str(source), "LEADLINE_DEAL_VALUE_HORIZON_DAYS": "30", **HORIZON}
    )

    run = home.run()

    assert run.code == 0, run.err[-3000:]
    assert home.ask("select outcome, rule from ml.ml_decisions where kind = 'promotion' and model = 'deal_value'") == [
        ("promote", "first_champion")
    ]
    ((version,),) = home.ask("select version from ml.ml_champions where model = 'deal_value'")
    assert f"model      deal_value {version}: r2 " in run.out
    assert "not taken" not in run.out
    # row by row: what the model says of the leads with an open proposal, and the rule of all others
    rows = home.ask(
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
    assert home.ask(
        "select count(*) from marts.lead_score_history where value_source = 'deal_value' and value_model_version = ?",
        version,
    ) == [(scored,)]
