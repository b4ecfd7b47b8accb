"""The SQL of the feature store, compiled by dbt without a build: for evidence that needs a few of its models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from models.declaring.declaration import Horizons
from models.training.outcome_history import OutcomesBegin
from store.features.builds import variables_of
from store.features.compiled import Build, of_run
from store.features.dbt_project import DBT_PROJECT, DbtParseError, manifest_path, settings_of
from store.warehouse.connection import Connection, Model
from store.warehouse.warehouse import Extraction, Warehouse

LAYERS = ("staging", "intermediate", "features", "labels")


def scratch_warehouse(folder: Path) -> Warehouse:
    """Return a DuckDB file in a folder that has the name of the database in compiled SQL."""
    nodes = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"]
    return Warehouse(address=f"duckdb:{folder / next(iter(nodes.values()))['database']}.duckdb")


def compile_build(
    extraction: Extraction, horizons: Horizons, outcomes: Mapping[str, OutcomesBegin], folder: Path
) -> Build:
    """Compile the models up to features and labels, as a whole build at the clock of an extraction would run them.

    dbt runs in this process, on the project as it was parsed last: parsing it takes longer than all the rest.

    Parameters
    ----------
    extraction : Extraction
    horizons : Horizons
    outcomes : mapping of str to OutcomesBegin
        By label.
    folder : Path
        For files of dbt.

    Raises
    ------
    DbtParseError
        If dbt refuses.
    """
    from dbt.artifacts.schemas.manifest import WritableManifest
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    variables = {
        "as_of": extraction.as_of.isoformat(timespec="microseconds"),
        **settings_of(extraction, horizons),
        **variables_of(outcomes),
    }
    manifest = Manifest.from_writable_manifest(WritableManifest.read_and_check_versions(str(manifest_path())))
    # without questions to the warehouse, dbt does not open it
    result = dbtRunner(manifest=manifest).invoke(
        ["--quiet", "--no-use-colors", "compile", "--no-introspect", "--no-populate-cache",
         "--indirect-selection", "empty", "--select", *(f"resource_type:model,{each}" for each in LAYERS),
         "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT),
         "--target-path", str(folder), "--log-path", str(folder), "--vars", json.dumps(variables)],
    )  # fmt: skip
    if not result.success:
        raise DbtParseError(f"{DBT_PROJECT}: dbt could not compile the project: {result.exception or result.result}")
    return of_run(folder, variables)


def make(connection: Connection, models: Iterable[Model]) -> None:
    """Make models in the warehouse that they were compiled for, a DuckDB file without them."""
    for model in models:
        connection.execute(f'create schema if not exists "{model.schema}"')
        connection.execute(f'create {model.materialized} "{model.schema}"."{model.name}" as {model.sql}')
