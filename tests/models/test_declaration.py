"""Declarations refuse what cannot be right, and their fingerprint follows what is learnt."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.declared.lead import LEAD
from models.declared.lead_features import LEAD_FEATURES
from models.declared.registry import DECLARATIONS, SCORED_TABLES, label_horizons, register, register_tables
from models.declaring.declaration import Horizons
from models.declaring.entity import DeclarationError
from models.declaring.feature_view import FeatureView, described_view
from models.declaring.policies import RetrainPolicy
from models.learning.pipelines import fingerprint
from models.tasks.binary import Binary
from models.tasks.multiclass import Multiclass
from models.tasks.regression import Regression

ROOT = Path(__file__).parents[2]
CONVERSION = DECLARATIONS["conversion"]
NEXT = DECLARATIONS["next_best_action"]


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_declarations_import_nothing_heavy():
    modules = (
        "models.declared.registry, models.decisions.promotion, models.scoring.scoring, models.scoring.explanation, "
        "models.versions.plots"
    )
    loaded = run(
        f"import sys, {modules}\n"
        "print([m for m in ('sklearn', 'pandas', 'numpy', 'matplotlib', 'joblib', 'pyarrow') if m in sys.modules])"
    )
    assert loaded == "[]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Lead Score"}, "lower-case identifier"),
        ({"task": Binary(("won", "lost"))}, "one outcome"),
        ({"task": Regression(("worth", "cost"))}, "one outcome"),
        ({"task": Regression(("worth",))}, "primary_metric must be one of .*'mae'.*, found 'auc'"),
        ({"label_column": "succeeded_at"}, "label_column"),
        ({"horizon_days": 0}, "horizon_days must be 1 or more, found 0"),
        ({"success_weight": 0}, "success_weight"),
        ({"success_weight": float("nan")}, "success_weight"),
        ({"test_share": 1.0}, "test_share"),
        ({"max_skill_loss": -0.1}, "max_skill_loss"),
        ({"max_skill": 0}, "max_skill and max_skill_alone"),
        ({"max_skill_alone": 1.1}, "found 0.7 and 1.1"),
        ({"retrain": RetrainPolicy(settle_days=29)}, r"settle_days must be drift.window_days or more \(30\), found 29"),
        ({"primary_metric": "macro_auc"}, "found 'macro_auc'"),
        ({"gates": {"accuracy": 0.5}}, "gates"),
        ({"gates": {"recall": 0.5}}, "gates"),
        ({"grades": {"A": 0.5, "B": 0.9, "C": 0.0}}, "grades"),
        ({"grades": {"A": 0.9, "B": 0.1}}, "grades"),
    ],
)
def test_a_wrong_field_is_named(changes, message):
    with pytest.raises(DeclarationError, match=message):
        replace(CONVERSION, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": Multiclass(("a", "b"))}, "three or more"),
        ({"task": Multiclass(("a", "b", "b"))}, "must differ"),
        ({"grades": {"A": 0.0}}, "a multiclass task has no grades"),
    ],
)
def test_a_wrong_multiclass_field_is_named(changes, message):
    with pytest.raises(DeclarationError, match=message):
        replace(NEXT, **changes)


def test_all_problems_are_named_at_once():
    with pytest.raises(DeclarationError, match=r"horizon_days.*test_share"):
        replace(CONVERSION, horizon_days=0, test_share=0)


def test_a_view_cannot_learn_from_its_own_key():
    with pytest.raises(DeclarationError, match="lead_id"):
        FeatureView(name="v", entity=LEAD, not_features=("as_of", "lead_created_at", "assigned_to"))


def test_an_entity_that_says_what_settles_needs_facts():
    with pytest.raises(DeclarationError, match="entity 'lead': settles needs facts"):
        replace(LEAD, facts="")


def test_a_view_is_what_its_description_says():
    assert LEAD_FEATURES.not_features == ("lead_id", "as_of", "observation_kind", "lead_created_at", "assigned_to")
    assert "urgency_score" in LEAD_FEATURES.dropped
    assert {"lead_age_days", "status_as_of"} <= set(LEAD_FEATURES.drifting)
    with pytest.raises(
        DeclarationError, match=r"expected one file nowhere.yml in .*features or a folder of it, found 0"
    ):
        described_view("nowhere", LEAD)
    with pytest.raises(
        DeclarationError, match=r"lead_features_unit_tests.yml: expected a description of the dbt model"
    ):
        described_view("lead_features_unit_tests", LEAD)


def test_registry_refuses_duplicates():
    with pytest.raises(DeclarationError, match="two models are named 'conversion'"):
        register((CONVERSION, CONVERSION))
    with pytest.raises(DeclarationError, match="'conversion' and 'other' both publish 'converted_probability'"):
        register((CONVERSION, replace(CONVERSION, name="other")))


def test_models_that_learn_from_one_label_have_its_horizon():
    """Its table has one: the model with another one would find none of its labels."""
    other = replace(CONVERSION, name="other", task=Binary(("won",)))
    horizons = label_horizons(register((CONVERSION, other, NEXT)).values())
    assert horizons == {"conversion": 90, "next_action": 7}
    with pytest.raises(DeclarationError, match=r"'conversion' over 90 days and 'other' over 30\. Give both the same"):
        register((CONVERSION, replace(other, horizon_days=30)))


def test_a_horizon_is_that_of_another_model_where_that_one_alone_is_set():
    value = DECLARATIONS["deal_value"]
    given = ({}, {}), ({"conversion": 30}, {}), ({"deal_value": 20, "conversion": 30}, {}), ({}, {"conversion": 60})
    applied = [Horizons(overrides=of).applied(value, mapping).horizon_days for of, mapping in given]
    assert applied == [90, 30, 20, 60]
    with pytest.raises(DeclarationError, match="horizon_of must be one of"):
        register((value,))


def test_registry_names_what_is_declared():
    assert {"conversion", "deal_value", "next_best_action"} <= set(DECLARATIONS)


def test_fingerprint_is_equal_in_every_process():
    code = (
        "from models.declared.registry import DECLARATIONS; from models.learning.pipelines import fingerprint; "
        "print(fingerprint(DECLARATIONS['conversion']))"
    )
    assert {run(code, PYTHONHASHSEED=seed) for seed in ("1", "2")} == {fingerprint(CONVERSION)}


def shallow():
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_depth=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon_days": 30},
        {"seed": 8},
        {"success_weight": 3.0},
        {"test_share": 0.2},
        {"grades": {"A": 0.5, "B": 0.0}},
        {"label": "other"},
        {"estimator": shallow},
        {"feature_view": replace(LEAD_FEATURES, not_features=(*LEAD_FEATURES.not_features, "source"))},
    ],
)
def test_fingerprint_follows_what_is_learnt(changes):
    assert fingerprint(replace(CONVERSION, **changes)) != fingerprint(CONVERSION)


def test_fingerprint_ignores_what_is_not_learnt():
    other = replace(CONVERSION, owner="team:x", description="x", gates={}, max_skill_loss=0.5, max_skill=0.5)
    assert fingerprint(other) == fingerprint(CONVERSION)


def test_fingerprint_refuses_a_parameter_without_a_stable_representation():
    def estimator():
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        return make_pipeline(FunctionTransformer(lambda x: x), shallow())

    with pytest.raises(DeclarationError, match="functiontransformer__func"):
        fingerprint(replace(CONVERSION, estimator=estimator))


def test_scored_tables_share_no_mart_and_no_model():
    of_leads = SCORED_TABLES["lead_scores"]
    of_projects = replace(of_leads, name="project_scores", history="project_score_history", models={})
    assert list(register_tables([of_leads, of_projects])) == ["lead_scores", "project_scores"]
    for other, found in (
        (of_leads, "mart 'lead_scores'"),
        (replace(of_projects, history="lead_score_history"), "mart 'lead_score_history'"),
        (replace(of_projects, models=of_leads.models), "model 'conversion'"),
    ):
        with pytest.raises(DeclarationError, match=f"found {found} in both"):
            register_tables([of_leads, other])
