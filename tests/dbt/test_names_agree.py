"""SQL names the outcomes, models and horizons of the declarations, and the tables of the source contract."""

from __future__ import annotations

import re

import pytest
import yaml

from models.declared.registry import DECLARATIONS, FEATURE_VIEWS, SCORED_TABLES
from store.features.dbt_project import FEATURES_AND_LABELS
from store.source.contract import CHANGES, TABLES
from store.source.loading.deltas import CHANGE_COLUMNS
from tests.dbt.view_columns import VIEWS, columns
from tests.dbt.warehouses import DBT_PROJECT

ACTIONS = set(DECLARATIONS["next_best_action"].outcomes)


@pytest.mark.parametrize(
    ("path", "unsaid"),
    [
        ("models/marts/lead/lead_scores.sql", set()),
        # what is left where there was none of the others
        ("models/labels/lead/next_action.sql", {"no_action"}),
    ],
)
def test_actions(path: str, unsaid: set[str]) -> None:
    text = (DBT_PROJECT / path).read_text()
    listed = re.search(r"set actions = \[(.*?)\]", text, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) | unsaid == ACTIONS
    assert all(f"'{action}'" in text for action in unsaid)


def test_the_mart_reads_the_declared_models() -> None:
    text = (DBT_PROJECT / "models/marts/lead/lead_scores.sql").read_text()
    read = set(re.findall(r"model = '(\w+)'", text))
    # models that a rule stands in for are no loss to readers
    assert {name for name in read if not DECLARATIONS[name].rule} == set(SCORED_TABLES["lead_scores"].models)
    assert set(re.findall(r"model = 'conversion' and outcome = '(\w+)'", text)) == set(
        DECLARATIONS["conversion"].outcomes
    )


def test_scored_tables_name_columns_that_there_are() -> None:
    described = {
        mart["name"]: {each["name"] for each in mart["columns"]}
        for path in (DBT_PROJECT / "models/marts").rglob("*.yml")
        for mart in yaml.safe_load(path.read_text()).get("models", [])
    }
    for name, table in SCORED_TABLES.items():
        shown = {table.entity.key, "as_of", *table.previewed, *table.counted.values(), *table.counted_in_order.values()}
        of_models = {column for each in table.models.values() for column in (each.score, each.version, each.reason)}
        totals = {table.total, table.highest_first} - {""}
        assert shown | of_models | totals | set(table.further_versions.values()) <= described[name]
        assert {table.entity.key, "as_of", *table.all_versions.values()} <= described[table.history]


def test_feature_views_have_the_attributes_of_the_tables_that_they_declare() -> None:
    for name, view in FEATURE_VIEWS.items():
        text = (DBT_PROJECT / f"models/features/{view.entity.name}/{name}.sql").read_text()
        (hook,) = re.findall(r"attribute_columns\((.*?)\)", text)
        assert tuple(re.findall(r"'(\w+)'", hook)) == view.attributes
        assert set(re.findall(r"attributes_of\('(\w+)'\)", text)) == set(view.attributes)


@pytest.mark.parametrize("view", VIEWS)
def test_features_of_the_own_history_drift_by_themselves(view: str) -> None:
    meta = {each["name"]: each["meta"] for each in columns(view)}
    grouped = [name for name, said in meta.items() if said.get("group") == "own_history"]
    assert grouped == [name for name, said in meta.items() if said.get("drifts") == "own_history"]


def test_every_label_has_its_horizon() -> None:
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]
    # an added model has its default in the SQL of its label
    assert set(variables["features_and_labels"]) <= set(FEATURES_AND_LABELS)
    horizons = {f"{each.label}_horizon_days": each.horizon_days for each in DECLARATIONS.values()}
    listed = {name: days for name, days in variables.items() if name.endswith("_horizon_days")}
    assert {name: horizons[name] for name in listed} == listed


def test_the_sources_are_the_tables_of_the_contract() -> None:
    raw = yaml.safe_load((DBT_PROJECT / "models/sources.yml").read_text())["sources"][0]
    bookkeeping = ["row_hash", "extracted_at", "load_number"]
    assert {
        table["name"]: (table["meta"]["dagster"]["asset_key"], [column["name"] for column in table["columns"]])
        for table in raw["tables"]
        if table["name"] != "source_ids"
    } == {
        name: (["crm", name], list(CHANGE_COLUMNS) if name == CHANGES else [*table.column_names, *bookkeeping])
        for name, table in TABLES.items()
    }


@pytest.mark.parametrize("name", TABLES)
def test_staging_knows_a_row_and_its_parts_from_the_times_of_the_contract(name: str) -> None:
    table = TABLES[name]
    text = (DBT_PROJECT / f"models/staging/{table.staging}.sql").read_text()
    staged = {f"{{{{ epoch_us('{table.known}') }}}} as {table.staged_known}"}
    staged |= {f"{{{{ epoch_us('{part.time}') }}}} as {part.staged}" for part in table.parts}
    staged |= {f"{column.name} as {column.staged}" for column in table.columns if column.staged}
    assert {each for each in staged if each not in text} == set()


@pytest.mark.parametrize("owner", ["leads", "customers"])
def test_every_table_about_an_entity_can_touch_it(owner: str) -> None:
    text = (DBT_PROJECT / f"models/staging/touched_{owner}.sql").read_text()
    rows = re.findall(r"\(ref\('(\w+)'\), source\('raw', '(\w+)'\), '(\w+)', '(\w+)', \[(.*?)\]", text)
    assert sorted((*names, re.findall(r"\w+", parts)) for *names, parts in rows) == sorted(
        (table.staging, name, table.key, table.staged_known, [part.staged for part in table.parts])
        for name, table in TABLES.items()
        if owner in (table.of, *table.or_of)
    )
