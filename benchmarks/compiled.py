"""The SQL of the dbt project without dbt: compiled once, then run on as many warehouses as a benchmark needs.

A dbt build takes seconds to start, and some benchmarks build hundreds of warehouses. The text is the one that dbt runs.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import MeasurementError
from simulation.world import COMPANIES, Faults
from store.features.compiled import in_order, model_of
from store.source.contract import TABLES
from store.source.record import SQL_TYPES
from store.warehouse.connection import Model as CompiledModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from store.warehouse.connection import Readable

DATABASE = "warehouse"
"""The name of the warehouse in compiled SQL: its file must be called ``warehouse.duckdb``."""

FAULTLESS = replace(COMPANIES["default"], faults=Faults(duplicate=0.0, conflict=0.0, orphan=0.0, unknown_type=0.0))
"""A company whose CRM makes no mistakes that the extraction would correct or reject: its export needs no extraction."""


class Model(CompiledModel):
    """A compiled dbt model that can be built in the warehouse that it was compiled for."""

    def create(self, connection: Readable) -> None:
        """Create the view or table, and replace an existing one."""
        connection.execute(f'create schema if not exists "{self.schema}"')
        connection.execute(f'create or replace {self.materialized} "{self.schema}"."{self.name}" as {self.sql}')


def compiled(folder: Path, variables: Mapping[str, Any], layers: Sequence[str], target: str = "duckdb") -> list[Model]:
    """Compile the models of some layers, in an order in which they can be built.

    Parameters
    ----------
    folder : Path
        For files of dbt.
    variables : mapping of str to object
        The variables of the dbt project; ``as_of`` is the clock.
    layers : sequence of str
        Folders below ``dbt_project/models``.
    target : str
        The engine: ``duckdb``, or ``postgres`` with a database called ``warehouse``.

    Raises
    ------
    MeasurementError
        If dbt refuses.
    """
    options = ["--no-introspect", "--no-populate-cache", "--select", *layers]
    run_dbt(folder, "compile", variables, *options, target=target)
    manifest = json.loads((folder / "target" / "manifest.json").read_text(encoding="utf-8"))
    nodes = [
        node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["fqn"][1] in layers
    ]
    models = in_order(model_of(node, node["compiled_code"]) for node in nodes)
    return [Model(**asdict(model)) for model in models]


def run_dbt(
    folder: Path,
    command: str,
    variables: Mapping[str, Any],
    *options: str,
    target: str = "duckdb",
    project: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command of dbt on the project, with ``warehouse.duckdb`` in a folder, where dbt also writes its files.

    Parameters
    ----------
    folder : Path
    command : str
    variables : mapping of str to object
        The variables of the dbt project.
    *options : str
    target : str
        The engine: ``duckdb``, or ``postgres`` with a database called ``warehouse``.
    project : Path, optional
        The folder of another project than the repository's.
    environment : mapping of str to str, optional
        Further variables for the profile.

    Raises
    ------
    MeasurementError
        If dbt fails.
    """
    # imported here, so that a process whose memory is measured does not load more than it needs
    from store.features.dbt_project import DBT, DBT_PROJECT

    finished = subprocess.run(
        [
            DBT, "--quiet", command, "--profiles-dir", str(DBT_PROJECT), "--target", target,
            "--target-path", str(folder / "target"), "--log-path", str(folder / "logs"),
            "--vars", json.dumps(dict(variables)), *options,
        ],
        cwd=project or DBT_PROJECT, capture_output=True, text=True, check=False,
        env={
            **os.environ,
            "LEADLINE_DUCKDB_PATH": str(folder / f"{DATABASE}.duckdb"),
            "LEADLINE_POSTGRES_DATABASE": DATABASE,
            **(environment or {}),
        },
    )  # fmt: skip
    if finished.returncode != 0:
        raise MeasurementError(f"dbt {command} failed:\n{finished.stdout}{finished.stderr}")


def for_simulations(folder: Path, as_of: datetime, *, contractual: bool = False) -> list[Model]:
    """Compile all models up to the labels at a clock, with the closing outcomes of a simulated CRM."""
    variables = {
        "as_of": as_of.isoformat(timespec="microseconds"),
        "closing_outcomes": ["not_interested"],
        "customers_close": contractual,
    }
    return compiled(folder, variables, ("staging", "intermediate", "features", "labels"))


def build(connection: Readable, export: Path, models: Iterable[Model]) -> None:
    """Load a faultless export into an empty warehouse whose session is in UTC, and build models on it.

    Tables that the export lacks are empty.
    """
    connection.execute("create schema raw")
    # no key of a simulated lead is a pseudonym
    connection.execute("create table raw.source_ids (lead_id text, source_id text)")
    for table in TABLES.values():
        columns = ", ".join(f"{column.name} {SQL_TYPES[column.kind]}" for column in table.columns)
        connection.execute(f"create table raw.{table.name} ({columns})")
        if (file := export / f"{table.name}.parquet").exists():
            there = connection.execute(f"describe select * from read_parquet('{file}')").fetchall()
            read = ", ".join(name for name, *_ in there if name in table.column_names)
            connection.execute(f"insert into raw.{table.name} ({read}) select {read} from read_parquet('{file}')")
    # as the extraction does: the history of the export, and the values of leads and projects that it lacks
    connection.execute("alter table raw.changes rename column changed_at to known_at")
    for owner, column, known_at in (
        ("leads", "property_value", "created_at"),
        ("leads", "zip_code", "created_at"),
        ("projects", "value", "proposed_at"),
    ):
        key = TABLES[owner].key
        keys = "lead_id" if owner == "leads" else "lead_id, project_id"
        connection.execute(
            f"insert into raw.changes (change_id, {keys}, column_name, value, known_at) select {key} || '-{column}', "
            f"{keys}, '{column}', cast({column} as text), {known_at} from raw.{owner} where {column} is not null"
        )
    for model in models:
        model.create(connection)
