"""SQL and the declarations of the models name the same outcomes, models and horizons."""

from __future__ import annotations

import re

import pytest
import yaml

from models.declaration import OWN_HISTORY
from models.registry import DECLARATIONS, declaration
from tests.dbt.warehouses import DBT_PROJECT

ACTIONS = set(declaration("next_best_action").outcomes)


@pytest.mark.parametrize(
    ("path", "unsaid"),
    [
        ("models/marts/lead_scores.sql", set()),
        # what is left where there was none of the others
        ("models/labels/next_action.sql", {"no_action"}),
    ],
)
def test_actions(path: str, unsaid: set[str]) -> None:
    text = (DBT_PROJECT / path).read_text()
    listed = re.search(r"set actions = \[(.*?)\]", text, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) | unsaid == ACTIONS
    assert all(f"'{action}'" in text for action in unsaid)


def test_the_mart_reads_the_declared_models() -> None:
    text = (DBT_PROJECT / "models/marts/lead_scores.sql").read_text()
    assert set(re.findall(r"model = '(\w+)'", text)) == set(DECLARATIONS)
    assert set(re.findall(r"model = 'conversion' and outcome = '(\w+)'", text)) == set(
        declaration("conversion").outcomes
    )


def test_every_feature_of_the_own_history_is_named() -> None:
    (view,) = yaml.safe_load((DBT_PROJECT / "models/features/lead_features.yml").read_text())["models"]
    grouped = [each["name"] for each in view["columns"] if each.get("meta", {}).get("group") == "own_history"]
    assert grouped == list(OWN_HISTORY)


def test_every_label_has_its_horizon() -> None:
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]
    for each in DECLARATIONS.values():
        assert variables[f"{each.label}_horizon_days"] == each.horizon_days
