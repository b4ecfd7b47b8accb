"""What the steps of dbt tell Dagster: rows, SQL, lineage of columns, versions, and which rows a data test refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pytest

from assets.features.feature_store import feature_store_assets
from assets.platform.dbt import Dbt, described_test
from models.declaring.declaration import Horizons
from store.features.certificates import CompiledSql
from store.features.dbt_project import DBT, DBT_PROJECT, manifest_path
from store.warehouse.warehouse import Warehouse
from tests.homes import REPOSITORY

if TYPE_CHECKING:
    from tests.homes import Home

STALE = """
import json
import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest
from orchestration.definitions import defs
graph = defs().get_repository_def().asset_graph
with dg.DagsterInstance.get() as instance:
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    status = {key.to_user_string(): resolver.get_status(key).value for key in graph.materializable_asset_keys}
print(json.dumps(status))
"""


def test_after_a_night_nothing_is_out_of_date(undisturbed: Home) -> None:
    found = subprocess.run(
        [sys.executable, "-c", STALE], cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env=undisturbed.environment(DAGSTER_HOME=str(undisturbed.path / "dagster")),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    status: dict[str, str] = json.loads(found.stdout.splitlines()[-1])
    assert {name: each for name, each in status.items() if each != "FRESH"} == {}


def test_a_model_has_its_rows_its_sql_and_the_origin_of_its_columns(own: Home) -> None:
    with dg.DagsterInstance.from_config(str(own.path / "dagster")) as instance:

        def told(*key: str) -> dict[str, Any]:
            event = instance.get_latest_materialization_event(dg.AssetKey(key))
            assert event is not None
            assert event.asset_materialization is not None
            return {name: each.value for name, each in event.asset_materialization.metadata.items()}

        features, scores = told("features", "lead_features"), told("marts", "lead_scores")
        staged = told("staging", "stg_leads")
    for found, table in ((features, "features.lead_features"), (scores, "marts.lead_scores")):
        assert found["dagster/row_count"] == own.ask(f"select count(*) from {table}")[0][0]
    assert staged["compiled_sql"].startswith("```sql\n")
    assert '"raw"."leads"' in staged["compiled_sql"]

    def origins(found: dict[str, Any], column: str) -> set[str]:
        return {
            f"{each.asset_key.to_user_string()}.{each.column_name}"
            for each in found["dagster/column_lineage"].deps_by_column[column]
        }

    assert origins(staged, "lead_id") == {"crm/leads.lead_id"}
    # the observations that are due are no asset: their columns are those of what they are taken from
    assert origins(features, "lead_id") == {"intermediate/observations.lead_id"}
    assert "intermediate/timeline.known_us" in origins(features, "interactions_count_7d")
    columns = [
        name for (name,) in own.ask("select column_name from duckdb_columns() where table_name = 'lead_features'")
    ]
    assert set(features["dagster/column_lineage"].deps_by_column) == set(columns)


def test_the_origin_of_columns_is_shown_where_the_ui_shows_no_lineage(own: Home) -> None:
    with dg.DagsterInstance.from_config(str(own.path / "dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["marts", "lead_scores"]))
    assert event is not None
    assert event.asset_materialization is not None
    lines = str(event.asset_materialization.metadata["column_origins"].value).splitlines()
    (of_probability,) = [each for each in lines if each.startswith("| conversion_probability |")]
    # which is a table of the ledger, and no asset
    assert "ml.ml_predictions." in of_probability


def test_every_data_test_says_in_words_what_it_tests() -> None:
    nodes = json.loads(manifest_path().read_bytes())["nodes"].values()
    said = {each["name"]: described_test(each) for each in nodes if each["resource_type"] == "test"}
    assert said["facts_are_known_no_earlier_than_they_happen"] == "No fact is known before it happened."
    assert [name for name, words in said.items() if name in words] == []


@pytest.mark.slow(30)
def test_dbt_reports_while_it_runs_and_a_failed_test_shows_the_rows(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute(
            "update raw.changes set column_name = 'colour' where change_id in "
            "(select change_id from raw.changes order by change_id limit 12)"
        )
    monkeypatch.setenv("LEADLINE_DUCKDB_PATH", str(own.warehouse))
    feature_store = feature_store_assets(manifest_path())
    with dg.DagsterInstance.ephemeral() as instance:
        built = dg.materialize(
            [feature_store],
            instance=instance,
            resources={
                "dbt": Dbt(project_dir=str(DBT_PROJECT), dbt_executable=DBT),
                "warehouse": Warehouse(address=f"duckdb:{own.warehouse}"),
                "horizons": Horizons(overrides={"conversion": 30}),
                "compiled": CompiledSql(root=str(own.path / "compiled")),
            },
            raise_on_error=False,
        )
        times = [entry.timestamp for entry in instance.all_logs(built.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)]
    assert not built.success
    # of those that ended before the failure each came in its time, and not all at once
    assert max(times) - min(times) > 0.2
    (failed,) = [each for each in built.get_asset_check_evaluations() if not each.passed]
    assert failed.asset_key == dg.AssetKey(["staging", "stg_changes"])
    assert failed.description is not None
    assert failed.description.startswith("`lead_column` is one of `lead_status`")
    assert "12 rows do not fit" in failed.description
    shown = failed.metadata["first_rows"].value.records
    assert len(shown) == 10
    assert {row.data["lead_column"] for row in shown} == {"colour"}
    assert all(row.data["change_id"] for row in shown)
    (failure,) = built.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error is not None
    assert "staging/stg_changes, data test accepted_values" in str(error.cause or error)
