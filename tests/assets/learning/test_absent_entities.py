"""Models of an entity that the source does not have: they do nothing, and nothing looks like a refusal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from assets.features.proof import result, subject
from assets.learning.candidates import candidate_asset
from assets.learning.champions import champion_asset
from assets.learning.training_sets import training_set_asset
from assets.monitoring.drift import drift_asset
from assets.monitoring.feature_quality import feature_quality_asset
from assets.monitoring.retrain_decisions import retrain_decision_asset
from assets.platform.resources import Clock
from assets.platform.values import JsonValues
from assets.publishing.scores import scores_asset
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.declaring.entity import Entity
from orchestration.sensors import gather_run_evidence
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.features.compiled import Build, write
from store.proof.point_in_time import is_empty, of_no_rows
from store.warehouse.warehouse import Warehouse
from tests.postgres import execute

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "conversion"
DECLARATION = DECLARATIONS[MODEL]
NONE = "The source has no leads."
CLOCK = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse that was filled from a source of customers alone."""
    filled = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
    execute(
        filled,
        "create schema raw",
        "create schema features",
        "create schema labels",
        f"create table raw.extraction as select timestamptz '{CLOCK}' as as_of, 1 as load_number, 'x' as source, "
        "'contract' as mapping, null::int as silence_closes_after_days, '{}' as horizon_days, '[]' as assumptions, "
        """'["customer"]' as entities, true as customers_close""",
        "create table features.feature_clock as select as_of, load_number, 'c' as build_code from raw.extraction",
        "create table features.lead_features (lead_id text)",
        *(f"create table labels.{each} (lead_id text)" for each in ("conversion", "deal_value", "next_action")),
    )
    return filled


def test_they_do_nothing_and_every_check_passes(warehouse: Warehouse, tmp_path: Path) -> None:
    resources: dict[str, Any] = {
        "warehouse": warehouse, "compiled": CompiledSql(root=str(tmp_path)), "clock": Clock(),
        "horizons": Horizons(overrides={}),
        "artifacts": ArtifactStore(root=str(tmp_path / "artifacts"), reports_address="http://127.0.0.1:1"),
        "confirmed_features": {}, "new_grades": False,
        "io_manager": JsonValues(root=str(tmp_path / "values")),
    }  # fmt: skip
    makers = (
        training_set_asset, candidate_asset, champion_asset, scores_asset, drift_asset, retrain_decision_asset
    )  # fmt: skip
    view = DECLARATION.feature_view
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize(
            [feature_quality_asset(view), *(make(DECLARATION) for make in makers)],
            resources=resources,
            instance=instance,
        )
        assert run.success
        evaluations = run.get_asset_check_evaluations()
        assert len(evaluations) == 2 + 1 + 4
        assert all(each.passed for each in evaluations)
        evidence = gather_run_evidence(instance, MODEL)
    assert (evidence.outcome, evidence.reason, evidence.failed_checks) == ("wait", NONE, ())
    # no ledger was even begun: no refusal, no decision, no reason why there is no score
    with warehouse.connect() as connection:
        schemas = connection.execute("select distinct schema_name from duckdb_tables() order by 1").fetchall()
    assert schemas == [("features",), ("labels",), ("raw",)]


def test_a_view_without_rows_is_proved_and_one_with_rows_is_not(warehouse: Warehouse, tmp_path: Path) -> None:
    compiled, as_of = CompiledSql(root=str(tmp_path)), datetime.fromisoformat(CLOCK)
    build = Build(variables={"as_of": CLOCK}, models=())
    write(compiled.path, build)
    proof_subject = subject(DECLARATION.feature_view)
    with warehouse.connect() as connection:
        assert is_empty(connection, proof_subject)
        certificate = of_no_rows(build, as_of)
        compiled.certify(DECLARATION.feature_view.name, certificate.to_json(accepted=False))
        compiled.require_proof(DECLARATION.feature_view.name, as_of)
        said = result(certificate, proof_subject.view)
        assert (said.passed, said.description) == (
            True, "There are no rows, because the source has no such entity.",
        )  # fmt: skip
        connection.execute("insert into labels.next_action values ('L1')")
        assert not is_empty(connection, proof_subject)


def test_the_marker_says_which_entities_the_source_has_and_whether_they_end(warehouse: Warehouse) -> None:
    extraction = warehouse.extraction()
    assert extraction.entities == ("customer",)
    assert extraction.ends == {"customers_close": True}
    assert extraction.lacks(DECLARATION.feature_view.entity) == NONE
    assert not extraction.lacks(DECLARATIONS["churn_30d"].feature_view.entity)
    # what belongs to leads is not there without them
    assert extraction.lacks(_project(of="lead")) == "The source has no projects."
    execute(
        warehouse,
        "alter table raw.extraction drop column entities",
        "alter table raw.extraction drop column customers_close",
    )
    assert warehouse.extraction().entities == ("lead",), "a home of an earlier release"
    assert warehouse.extraction().ends == {}


def _project(of: str) -> Entity:
    return Entity(
        name="project", of=of, key="project_id", table="t", created="c", split_by="s", observations="intermediate.o"
    )
