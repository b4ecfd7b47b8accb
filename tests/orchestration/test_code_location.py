"""The code location: it loads by itself, says what everything is, and keeps to its layers."""

from __future__ import annotations

import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from models.declared.registry import DECLARATIONS, SCORED_TABLES
from tests.conftest import only_one_process
from tests.homes import REPOSITORY, Home

HEAVY = {"sklearn", "dlt", "evidently", "matplotlib", "duckdb", "pyarrow", "simulation"}
MODELS = ("conversion", "deal_value", "next_best_action")
DESCRIBE = """
import json, os, sys
import dagster, dagster_dbt
before = set(sys.modules)
from orchestration.definitions import defs as definitions
defs = definitions()
loaded = sorted({name.split(".")[0] for name in set(sys.modules) - before})
repository = defs.get_repository_def()
graph = repository.asset_graph
nodes = [graph.get(key) for key in graph.get_all_asset_keys() if graph.get(key).is_materializable]
def fresh_hours(policy):
    return policy and policy.fail_window.to_timedelta().total_seconds() / 3600
print(json.dumps({
    "loaded": loaded,
    "assets": {
        "/".join(node.key.path): {
            "description": node.description, "group": node.group_name, "kinds": sorted(node.kinds),
            "owners": sorted(node.owners), "pools": sorted(node.pools or []),
            "parents": sorted("/".join(key.path) for key in node.parent_keys),
            "checks": sorted(key.name for key in node.check_keys),
            "fresh_hours": fresh_hours(node.freshness_policy),
        }
        for node in nodes
    },
    "schedules": {
        each.name: [each.job_name, each.cron_schedule, each.default_status.value] for each in repository.schedule_defs
    },
    "sensors": {
        each.name: [
            sorted(target.job_name for target in each.targets), each.minimum_interval_seconds, each.default_status.value
        ]
        for each in repository.sensor_defs
    },
    "jobs": {
        name: sorted("/".join(key.path) for key in repository.get_job(name).asset_layer.executable_asset_keys)
        for name in (
            "whole_loop", "score_leads", "retrain_conversion", "retrain_deal_value", "retrain_next_best_action"
        )
    },
    "partitioned": ["/".join(node.key.path) for node in nodes if node.is_partitioned],
    "together": [["/".join(key.path) for key in graph.get(key).execution_set_asset_keys]
                 for key in graph.get_all_asset_keys()],
    "tags": {
        name: dict(repository.get_job(name).run_tags)
        for name in ("whole_loop", "score_leads", "retrain_conversion", "answer_question", "recompute_days")
    },
    "confirmed": defs.resources["confirmed_features"],
    "telemetry": {name: os.environ.get(name) for name in (
        "DAGSTER_DISABLE_TELEMETRY", "DBT_SEND_ANONYMOUS_USAGE_STATS", "RUNTIME__DLTHUB_TELEMETRY", "DO_NOT_TRACK")},
}))
"""

IMPORT_ALL = """
import importlib, os, subprocess, sys, threading
# Dagster looks at the interpreter when it is imported
import dagster, dagster_dbt
def refuse(self, command, **options):
    raise AssertionError(f"started {command}")
before, subprocess.Popen = dict(os.environ), refuse
for name in sys.argv[1:]:
    importlib.import_module(name)
# what begins with KMP_ is scikit-learn's
changed = sorted(name for name in os.environ if os.environ[name] != before.get(name) and not name.startswith("KMP_"))
print(threading.active_count(), changed)
"""


@pytest.fixture(scope="session")
def location(shared_folder: Path) -> dict[str, Any]:
    """Return what a fresh process finds in the code location."""
    home = Home(shared_folder / "location", {"LEADLINE_CONFIRMED_FEATURES": "conversion.calls_count_7d"})
    with only_one_process(home.path):
        description = home.path.with_suffix(".json")
        if not description.exists():
            described = subprocess.run(
                [sys.executable, "-c", DESCRIBE], cwd=REPOSITORY, env=home.environment(), capture_output=True, text=True
            )
            assert described.returncode == 0, described.stderr
            description.write_text(described.stdout)
    return json.loads(description.read_text())


def test_dg_lists_the_definitions(tmp_path: Path, location: dict[str, Any]) -> None:
    """They load for that, which is all that ``dg check defs`` looks at."""
    listed = subprocess.run(
        [Path(sys.executable).with_name("dg"), "list", "defs", "--json"],
        cwd=REPOSITORY,
        env=Home(tmp_path).environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr
    found = json.loads(listed.stdout)
    assert location["assets"].keys() <= {each["asset_key"] for each in found["assets"]}
    assert location["jobs"].keys() <= {each["name"] for each in found["jobs"]}


def test_importing_any_module_writes_nothing_and_starts_nothing(tmp_path: Path) -> None:
    layers = ("orchestration", "assets", "store", "models")
    files = [path.relative_to(REPOSITORY) for layer in layers for path in (REPOSITORY / layer).rglob("*.py")]
    modules = [".".join(path.with_suffix("").parts) for path in files if path.stem != "__main__"]
    imported = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules], cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**Home(tmp_path / "home").environment(), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout == "1 []\n"
    assert list(tmp_path.iterdir()) == []


def test_every_asset_says_what_it_is(location: dict[str, Any]) -> None:
    silent = {
        name: [field for field in ("description", "group", "kinds", "owners", "pools") if not asset[field]]
        for name, asset in location["assets"].items()
    }
    assert {name: fields for name, fields in silent.items() if fields} == {}
    assert {asset["group"] for asset in location["assets"].values()} == {
        "crm", "staging", "intermediate", "features", "feature_quality", "labels", "training_sets", "candidates",
        "champions", "scores", "drift", "marts", "reports",
    }  # fmt: skip


def test_trainings_know_the_features_that_a_person_confirmed(location: dict[str, Any]) -> None:
    assert location["confirmed"] == {"conversion": ["calls_count_7d"]}


def test_every_step_that_opens_the_warehouse_takes_its_turn(location: dict[str, Any]) -> None:
    assert {tuple(asset["pools"]) for asset in location["assets"].values()} == {("warehouse",)}


def test_the_assets_follow_the_flow(location: dict[str, Any]) -> None:
    parents = {name: set(asset["parents"]) for name, asset in location["assets"].items()}
    clock = "features/feature_clock"
    for model, label in (
        ("conversion", "conversion"),
        ("deal_value", "deal_value"),
        ("next_best_action", "next_action"),
    ):
        assert parents[f"training_set/{model}"] == {"features/lead_features", f"labels/{label}"}
        assert parents[f"candidate/{model}"] == {f"training_set/{model}"}
        assert parents[f"champion/{model}"] == {f"candidate/{model}"}
        assert parents[f"scores/{model}"] == {f"champion/{model}", "features/lead_features", clock}
        assert f"scores/{model}" in parents["marts/lead_scores"]
        assert parents[f"drift/{model}"] == {f"champion/{model}", "features/lead_features", f"labels/{label}", clock}
        assert parents[f"retrain_decision/{model}"] == {f"drift/{model}", "source_health/crm"}
        # what a new champion was trained on is what the source is compared with
        assert f"champion/{model}" in parents["source_health/crm"]
    scored = {f"marts/{name}" for table in SCORED_TABLES.values() for name in (table.name, table.history)}
    assert parents["published/snapshot"] == {*scored, "marts/customer_segments"}
    assert parents["reports/dbt_docs"] == scored
    # models that only say what an increment has to compute are no assets: their readers depend on what these read
    assert parents["intermediate/closed_leads"] == {
        "intermediate/lead_closings", "intermediate/timeline", "staging/stg_leads"
    }  # fmt: skip
    # whatever is read is made by something
    assert set().union(*parents.values()) <= set(parents)


def test_groups_have_no_cycle(location: dict[str, Any]) -> None:
    group = {name: asset["group"] for name, asset in location["assets"].items()}
    read: dict[str, set[str]] = {}
    for name, asset in location["assets"].items():
        read.setdefault(group[name], set()).update({group[each] for each in asset["parents"]} - {group[name]})
    assert next(iter(TopologicalSorter(read).static_order())) == "crm"


def test_every_asset_can_be_materialized_as_it_is(location: dict[str, Any]) -> None:
    """No button asks for partitions, or fails because it was pressed alone."""
    assert location["partitioned"] == []
    store = {name for name in location["assets"] if name.split("/")[0] in ("staging", "intermediate", "labels")}
    views = {f"features/{name}" for name in ("lead_features", "customer_features", "feature_clock")}
    assert store | views in map(set, location["together"])


def test_data_tests_are_checks_as_are_census_and_hindsight(location: dict[str, Any]) -> None:
    checks = {name: asset["checks"] for name, asset in location["assets"].items()}
    for model in MODELS:
        assert checks[f"candidate/{model}"] == ["census", "hindsight"]
        assert checks[f"scores/{model}"] == ["inside_training"]
    assert "few_rejects" in checks["crm/leads"]
    assert "point_in_time" in checks["features/lead_features"]
    assert "unique_lead_scores_lead_id" in checks["marts/lead_scores"]
    assert "action_probabilities_sum_to_one" in checks["marts/lead_scores"]
    for model in MODELS:
        assert checks[f"drift/{model}"] == ["champion_age", "features", "performance", "predictions"]
    assert checks["source_health/crm"] == ["categories", "data_age", "nulls", "volume"]
    # a test of two models names the one that it is a check of
    assert "every_open_lead_has_one_score_row" in checks["marts/lead_scores"]


def test_one_job_does_everything_and_the_other_trains_nothing(location: dict[str, Any]) -> None:
    everything = set(location["assets"])
    assert set(location["jobs"]["whole_loop"]) == everything
    trained = {name for name in everything if name.startswith(("training_set/", "candidate/", "champion/"))}
    assert len(trained) == 3 * len(DECLARATIONS)
    assert set(location["jobs"]["score_leads"]) == everything - trained
    assert location["schedules"] == {"nightly_scores": ["score_leads", "30 2 * * *", "RUNNING"]}


def test_a_job_of_each_model_trains_it_anew_and_publishes(location: dict[str, Any]) -> None:
    for model in MODELS:
        layers = ("training_set", "candidate", "champion", "scores", "drift", "retrain_decision")
        assert set(location["jobs"][f"retrain_{model}"]) == {
            *(f"{layer}/{model}" for layer in layers),
            "marts/lead_scores", "marts/lead_score_history", "published/snapshot",
        }  # fmt: skip


def test_the_sensors_are_on(location: dict[str, Any]) -> None:
    jobs = sorted(f"retrain_{model}" for model in DECLARATIONS)
    assert location["sensors"] == {
        "retrain_sensor": [jobs, 60, "RUNNING"], "tidy_sensor": [[], 600, "RUNNING"]
    }  # fmt: skip


def test_what_a_night_makes_for_readers_and_what_it_reads_is_to_be_made_every_night(location: dict[str, Any]) -> None:
    hours = {name: asset["fresh_hours"] for name, asset in location["assets"].items() if asset["fresh_hours"]}
    assert set(hours) == {
        name for name in location["assets"] if name.startswith(("crm/", "marts/")) or name == "published/snapshot"
    }
    assert set(hours.values()) == {30}


def test_a_killed_night_is_started_again_and_a_killed_training_is_not(location: dict[str, Any]) -> None:
    again = {name for name, tags in location["tags"].items() if tags.get("dagster/max_retries") == "1"}
    assert again == {"whole_loop", "score_leads"}
    assert all(location["tags"][name]["dagster/retry_strategy"] == "ALL_STEPS" for name in again)


def test_dagster_dev_by_itself_is_refused_with_the_command_that_takes_its_place(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", "from orchestration.definitions import defs; defs()"], cwd=REPOSITORY,
        env=Home(tmp_path / "home").environment(DAGSTER_IS_DEV_CLI="1", DAGSTER_verbose=""), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert refused.stderr.splitlines()[-1].startswith(
        "store.places.SettingError: dagster dev: expected `make ui` (or .venv/bin/python -m orchestration ui), which "
    )
    assert not (tmp_path / "home").exists()


def test_loading_switches_telemetry_off_and_leaves_heavy_libraries_for_later(location: dict[str, Any]) -> None:
    assert location["telemetry"] == {
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
    }
    assert HEAVY & set(location["loaded"]) == set()
    assert "pandas" not in location["loaded"]


def test_the_sources_say_nothing_of_where_they_were_written() -> None:
    marks = (f"{REPOSITORY}/", "../shared")
    assert [
        str(path.relative_to(REPOSITORY))
        for layer in ("simulation", "models", "store", "assets", "orchestration", "dbt_project", "docs")
        for path in (REPOSITORY / layer).rglob("*")
        if path.suffix in {".py", ".sql", ".yml", ".yaml", ".md"}
        and "target" not in path.parts
        and any(mark in path.read_text(encoding="utf-8") for mark in marks)
    ] == []
