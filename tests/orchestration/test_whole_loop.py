"""One run of the whole loop on the simulated CRM: what the user is told, and what the analyst finds."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

import pytest

from models.declared.registry import DECLARATIONS
from tests.conftest import NEXT_DAY
from tests.homes import Home, ask, contents, open_to_others

if TYPE_CHECKING:
    from datetime import datetime

ACTIONS = ("call_immediate", "email_nurture", "schedule_appointment", "send_proposal", "no_action")
KEPT = ("ml_models", "ml_predictions", "ml_champions", "ml_scoring_logs")
PROMISED = {
    "lead_id", "as_of", "scored_at", "conversion_probability", "conversion_score", "grade", "expected_value",
    "next_best_action", "action_confidence", "value", "value_source", "conversion_model", "conversion_model_version",
    "action_model", "action_model_version", *(f"probability_{action}" for action in ACTIONS),
}  # fmt: skip


def _records(home: Home, table: str) -> list[dict[str, Any]]:
    names = [name for name, *_ in home.ask(f"describe {table}")]
    return [dict(zip(names, row, strict=True)) for row in home.ask(f"from {table}")]


@pytest.fixture
def summary(filled: Home) -> str:
    return filled.path.with_name("filled.out").read_text()


@pytest.fixture
def clock(filled: Home) -> datetime:
    return filled.ask("select as_of from raw.extraction")[0][0]


def test_the_summary_names_scores_rejects_metrics_places_and_the_next_step(filled: Home, summary: str) -> None:
    scored = filled.ask("select count(*) from marts.lead_scores where conversion_model_version is not null")[0][0]
    of = filled.ask("select count(*) from marts.lead_scores")[0][0]
    assert f"scored     {scored:,} of {of:,} open leads" in summary
    rejects = filled.ask("select count(*) from raw.rejects")[0][0]
    assert rejects > 0
    assert re.search(rf"^rejects    {rejects:,}: .*→ raw\.rejects$", summary, re.MULTILINE)
    replayed = r"replayed at 4 moments for all leads: no value uses a later fact"
    proved = rf"^proof      [\d,]+ rows of \d+ features, {replayed}$"
    assert re.search(proved, summary, re.MULTILINE)
    for model, metrics, baseline, census in filled.ask("select model, metrics, baseline, census from ml.ml_models"):
        line = next(line for line in summary.splitlines() if line.startswith(f"model      {model} "))
        if DECLARATIONS[model].rule:
            # amounts are won as they were stated: one line says that the rule stays, and none calls for anybody
            assert re.search(r": not taken: The rule, the amount of the latest .*; the rule stays\.$", line)
            assert [other for other in summary.splitlines() if f" {model}" in other and other != line] == []
            continue
        measured, trivial = json.loads(metrics)["log_loss"], json.loads(baseline)["log_loss"]
        assert f"log_loss {measured:.3f} (baseline {trivial:.3f})" in line
        total = json.loads(census)["totals"][0]
        by_day = f"of {json.loads(census)['rows']:,} leads by day, open at 3 past clocks: {total['outcome']} expected "
        assert f"           census: {by_day}{total['expected']:,.0f}, happened {total['actual']:,}" in summary
    for place in (filled.published, filled.warehouse, filled.path / "artifacts", filled.docs):
        assert str(place) in summary
        assert place.exists()
    assert re.search(rf"^next       make ui .*HOME_DIR={filled.path}: ", summary, re.MULTILINE)


def test_what_a_run_writes_its_owner_alone_can_read(filled: Home) -> None:
    """Also what libraries write: logs, storage, values between steps, reports, temporary files."""
    assert open_to_others(filled.path) == []


def test_each_open_lead_has_one_row(filled: Home, clock: datetime) -> None:
    outcomes = json.loads(filled.ask("select closing_outcomes from raw.extraction")[0][0])
    closed = {
        each["lead_id"]
        for each in _records(filled, "raw.projects")
        if each["status"] == "won" and each["closed_at"] and max(each["closed_at"], each["proposed_at"]) < clock
    } | {
        each["lead_id"]
        for each in _records(filled, "raw.interactions")
        if each["outcome"] in outcomes and max(each["occurred_at"], each["recorded_at"] or each["occurred_at"]) < clock
    }
    leads = {each["lead_id"] for each in _records(filled, "raw.leads") if each["created_at"] < clock}
    assert closed & leads
    scores = _records(filled, "marts.lead_scores")
    assert sorted(each["lead_id"] for each in scores) == sorted(leads - closed)
    assert {each["as_of"] for each in scores} == {clock}


def test_every_promised_column_is_there_and_filled(filled: Home) -> None:
    scores = _records(filled, "marts.lead_scores")
    assert set(scores[0]) >= PROMISED
    assert {(each["conversion_unscored_reason"], each["action_unscored_reason"]) for each in scores} == {(None, None)}
    (why,) = {each["value_unscored_reason"] for each in scores}
    assert why.endswith("; the rule stays.")
    assert {(each["value_model_version"], each["value_outside_training"]) for each in scores} == {(None, None)}
    missing = {name for each in scores for name in PROMISED if each[name] is None}
    assert missing == set()


def test_probabilities_scores_and_grades_agree(filled: Home) -> None:
    bounds = filled.ask("select grade, lower_bound from ml.ml_grades where lower_bound is not null order by 2 desc")
    assert bounds[-1][1] == 0
    for each in _records(filled, "marts.lead_scores"):
        probability = each["conversion_probability"]
        assert 0 <= probability <= 1
        assert each["conversion_score"] == min(99, max(1, round(100 * probability)))
        assert each["grade"] == next(grade for grade, bound in bounds if probability >= bound)
        actions = {action: each[f"probability_{action}"] for action in ACTIONS}
        assert math.isclose(sum(actions.values()), 1, abs_tol=1e-9)
        assert all(0 <= value <= 1 for value in actions.values())
        assert each["action_confidence"] == max(actions.values()) == actions[each["next_best_action"]]


def test_expected_value_is_probability_times_the_value_of_the_named_source(filled: Home, clock: datetime) -> None:
    proposals = defaultdict(list)
    won = []
    for each in _records(filled, "raw.projects"):
        gone = each["closed_at"] is not None and max(each["closed_at"], each["proposed_at"]) < clock
        if each["value"] is not None and each["proposed_at"] < clock and not gone:
            proposals[each["lead_id"]].append((each["proposed_at"], each["project_id"].encode(), each["value"]))
        if each["value"] is not None and each["status"] == "won" and gone:
            won.append(each["value"])
    median = sorted(won)[math.ceil(len(won) / 2) - 1]
    property_values = {each["lead_id"]: each["property_value"] for each in _records(filled, "raw.leads")}
    seen = set()
    for each in _records(filled, "marts.lead_scores"):
        if proposals[each["lead_id"]]:
            source, value = "open_project", max(proposals[each["lead_id"]])[2]
        elif property_values[each["lead_id"]] is not None:
            source, value = "property_value", property_values[each["lead_id"]]
        else:
            source, value = "median_won_value", median
        seen.add(source)
        assert (each["value_source"], each["value"]) == (source, value)
        exact = (Decimal(each["conversion_probability"]) * value).quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert abs(each["expected_value"] - exact) <= Decimal("0.01")
    assert len(seen) > 1


def test_the_history_remembers_each_published_score(filled: Home) -> None:
    left_out = ", ".join([*(f"{name}_unscored_reason" for name in ("conversion", "action", "value")), "value_currency"])
    scores = f"from (select * exclude ({left_out}, source_id) from marts.lead_scores)"
    assert filled.ask("from marts.lead_score_history order by all") == filled.ask(f"{scores} order by all")


def test_the_ledgers_tell_how_the_scores_came_about(filled: Home) -> None:
    models = ["conversion", "next_best_action"]
    trained = sorted([*models, "deal_value"])
    for table, there in (("ml_models", trained), ("ml_training_logs", trained), ("ml_champions", models)):
        assert [row for (row,) in filled.ask(f"select model from ml.{table} order by 1")] == there, table
    assert filled.ask("select kind, model, outcome, rule from ml.ml_decisions order by kind, model") == sorted([
        *(("promotion", model, "promote", "first_champion") for model in models),
        *(("retraining", model, "wait", "nothing_failed") for model in models),
        ("promotion", "deal_value", "refuse", "rule_not_beaten"),
        ("retraining", "deal_value", "wait", "no_champion"),
    ])  # fmt: skip
    assert filled.ask("select count(distinct run_id) from (from ml.ml_training_logs select run_id)") == [(1,)]
    leads = filled.ask("select count(*) from marts.lead_scores")[0][0]
    assert filled.ask("select model, count(*) from ml.ml_predictions group by 1 order by 1") == [
        ("conversion", leads), ("next_best_action", leads * len(ACTIONS))
    ]  # fmt: skip
    for model, artifact, training_set in filled.ask("select model, artifact, training_set_id from ml.ml_models"):
        assert (filled.path / "artifacts/models" / model / artifact / "pipeline.joblib").is_file()
        assert (filled.path / "artifacts/training_sets" / model / training_set / "training_set.parquet").is_file()


def test_each_training_has_the_certificate_of_the_features_that_it_learnt_from(filled: Home, clock: datetime) -> None:
    proofs = [json.loads(proof) for (proof,) in filled.ask("select proof from ml.ml_training_logs")]
    assert len(proofs) == 3
    for each in proofs:
        assert each["passed"]
        assert each["as_of"] == clock.isoformat()
        assert each["features"] > 80
        assert set(each["rows_by_variant"]) == {
            "store", "staggered", "removed", "scrambled", "forgotten_7d", "forgotten_30d", "forgotten_90d", "past"
        }  # fmt: skip
        assert min(each["rows_by_variant"].values()) > 0


def test_the_snapshot_holds_the_marts_and_nothing_else(filled: Home) -> None:
    relations = ask(
        filled.published,
        "select schema_name, table_name from duckdb_tables() union all "
        "select schema_name, view_name from duckdb_views() where not internal order by all",
    )
    of_leads = ["lead_score_history", "lead_scores"]
    # those of customers are empty, as the source has none
    of_customers = ["customer_score_history", "customer_scores", "customer_segments"]
    assert relations == [("marts", name) for name in (*of_customers, *of_leads)]
    assert contents(filled.published, "marts") == filled.contents("marts")
    assert sorted(path.name for path in filled.published.parent.iterdir()) == [filled.published.name]


def test_the_columns_of_the_snapshot_are_documented(filled: Home) -> None:
    undocumented = ask(
        filled.published, "select table_name, column_name from duckdb_columns() where comment is null and not internal"
    )
    assert undocumented == []


@pytest.mark.slow(55)
def test_a_second_run_adds_nothing(own: Home) -> None:
    def kept() -> dict[str, Any]:
        return {
            **own.contents("raw", "features", "labels", "marts"),
            **{name: own.ask(f"from ml.{name} order by all") for name in KEPT},
            "models": own.files("artifacts/models"),
            "training sets": own.files("artifacts/training_sets"),
            "docs": own.files("artifacts/reports/dbt_docs"),
            "published": contents(own.published, "marts"),
        }

    before = kept()
    run = own.run()
    assert run.code == 0, run.err[-3000:]
    after = kept()
    assert [name for name in before if before[name] != after.get(name)] == []
    assert after.keys() == before.keys()
    assert own.ask("select reused, count(*) from ml.ml_training_logs group by 1 order by 1") == [(False, 3), (True, 3)]


@pytest.mark.slow(60)
def test_scoring_alone_at_a_later_clock_adds_its_scores_and_trains_nothing(
    undisturbed: Home, filled: Home, clock: datetime
) -> None:
    trained = ("ml_models", "ml_training_logs", "ml_champions")
    for name in trained:
        assert undisturbed.ask(f"from ml.{name} order by all") == filled.ask(f"from ml.{name} order by all")
    for folder in ("artifacts/models", "artifacts/training_sets"):
        assert undisturbed.files(folder) == filled.files(folder)
    history = "from marts.lead_score_history"
    assert set(filled.ask(history)) < set(undisturbed.ask(history))
    clocks = [str(each) for (each,) in undisturbed.ask(f"select distinct as_of {history} order by 1")]
    assert clocks == [str(clock), f"{NEXT_DAY} 00:00:00+00:00"]
    latest = ask(undisturbed.published, "select distinct as_of, conversion_score is null from marts.lead_scores")
    assert [(str(moment), missing) for moment, missing in latest] == [(clocks[1], False)]
