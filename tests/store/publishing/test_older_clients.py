"""The published file in the hands of readers whose DuckDB is older than the pipeline's, tried with real ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pytest
import yaml

from store.publishing.publications import Publication
from store.warehouse.warehouse import Warehouse
from tests.homes import PATIENCE, REPOSITORY
from tests.postgres import execute
from tests.snapshots import published_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Home

# the oldest has no wheel for Python 3.14
CLIENTS = ["1.2.2", "1.4.4"] if sys.version_info < (3, 14) else ["1.4.4"]

READ = """
import json, sys, duckdb

with duckdb.connect(sys.argv[1], read_only=True) as connection:
    connection.execute("set TimeZone = 'UTC'")
    columns = connection.execute(
        "select schema_name, table_name, column_name, data_type, comment from duckdb_columns() where not internal "
        "order by table_name, column_index"
    ).fetchall()
    tables = connection.execute(
        "select schema_name, table_name, comment from duckdb_tables() where not internal order by table_name"
    ).fetchall()
    rows = {
        table: connection.execute(f"select cast(columns(*) as varchar) from {schema}.{table} order by all").fetchall()
        for schema, table, _ in tables
    }
print(json.dumps({"version": duckdb.__version__, "columns": columns, "tables": tables, "rows": rows}))
"""

VALUES = {
    "bigint": "9223372036854775807",
    "boolean": "true",
    "decimal(18,2)": "-1234567890123456.78",
    "double precision": "0.1",
    "text": "'it''s ü'",
    "timestamp with time zone": "'2026-06-30T23:50:30.123456+00:00'",
}
"""A value of each type that the marts have."""


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return a version of DuckDB, and the folder in which it is installed."""
    folder = tmp_path_factory.mktemp("client")
    install = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
            "--no-deps", "--only-binary", "duckdb", "--target", folder, f"duckdb=={request.param}",
        ],
        text=True, capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if install.returncode and re.search("Connection|Timeout|ProxyError", install.stderr):
        pytest.skip(f"the package registry cannot be reached: {install.stderr.strip().splitlines()[0]}")
    assert install.returncode == 0, install.stderr
    return request.param, folder


def read(path: Path, client: Path | None = None) -> dict[str, Any]:
    """Return what a reader sees of a file, with the DuckDB in a folder or that of the pipeline."""
    first = {} if client is None else {"PYTHONPATH": str(client)}
    reader = subprocess.run(
        [sys.executable, "-c", READ, path],
        text=True, capture_output=True, timeout=PATIENCE, check=False, env={**os.environ, **first},
    )  # fmt: skip
    assert reader.returncode == 0, reader.stderr
    return json.loads(reader.stdout)


def assert_reads_alike(path: Path, client: tuple[str, Path]) -> dict[str, Any]:
    """Fail where an older client sees something else than the pipeline's DuckDB; return what it sees."""
    version, folder = client
    found, expected = read(path, folder), read(path)
    assert (found.pop("version"), expected.pop("version")) == (version, duckdb.__version__)
    assert found == expected
    return found


def test_an_older_client_reads_every_type_of_the_marts(client: tuple[str, Path], tmp_path: Path) -> None:
    declared = [
        model
        for path in sorted((REPOSITORY / "dbt_project/models/marts").glob("*/marts.yml"))
        for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    ]
    warehouse = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
    execute(warehouse, "create schema marts")
    for model in declared:
        name, columns = f"marts.{model['name']}", {each["name"]: each["data_type"] for each in model["columns"]}
        execute(
            warehouse,
            f"create table {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})",
            f"insert into {name} values ({', '.join(VALUES[kind] for kind in columns.values())})",
            f"insert into {name} values ({', '.join('null' for _ in columns)})",
            f"comment on table {name} is 'One row per lead''s score'",
            *(f"comment on column {name}.{column} is '{column}''s'" for column in columns),
        )
    path = tmp_path / "leadline.duckdb"
    readers = Publication(path=str(path), record=str(tmp_path / "publication.json"))
    published_snapshot()(dg.build_asset_context(), warehouse=warehouse, publication=readers)

    found = assert_reads_alike(path, client)

    assert {name: len(rows) for name, rows in found["rows"].items()} == {model["name"]: 2 for model in declared}
    assert {comment for _, _, comment in found["tables"]} == {"One row per lead's score"}
    assert all(comment == f"{column}'s" for _, _, column, _, comment in found["columns"])
    kinds = {kind for _, _, _, kind, _ in found["columns"]}
    assert kinds == {"BIGINT", "BOOLEAN", "DECIMAL(18,2)", "DOUBLE", "VARCHAR", "TIMESTAMP WITH TIME ZONE"}


def test_an_older_client_reads_what_a_run_has_published(client: tuple[str, Path], filled: Home) -> None:
    found = assert_reads_alike(filled.published, client)

    assert len(found["rows"]["lead_scores"]) == filled.ask("select count(*) from marts.lead_scores")[0][0] > 0
    assert all(comment for _, _, _, _, comment in found["columns"])
