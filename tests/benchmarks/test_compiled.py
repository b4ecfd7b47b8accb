"""The SQL that benchmarks run is that of the dbt project, in an order in which it can be built."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from benchmarks.compiled import Model, compiled
from benchmarks.measuring import MeasurementError
from tests.homes import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_every_model_of_the_layers_is_there_once_after_what_it_reads(models: list[Model]) -> None:
    names = [model.name for model in models]
    files = {
        path.stem
        for layer in ("staging", "intermediate", "features", "labels")
        for path in (REPOSITORY / "dbt_project" / "models" / layer).rglob("*.sql")
    }
    assert sorted(names) == sorted(files)
    place = {f'"{model.schema}"."{model.name}"': number for number, model in enumerate(models)}
    for number, model in enumerate(models):
        assert all(place[other] < number for other in place if other in model.sql), model.name
    assert "{{" not in "".join(model.sql for model in models)


def test_a_model_is_written_as_it_is_declared_and_replaces_what_is_there(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        for sql in ("select 1 as a", "select 2 as a, 3 as b"):
            Model(name="stored", schema="s", materialized="table", sql=sql).create(connection)
            Model(name="seen", schema="s", materialized="view", sql=sql).create(connection)
        assert (
            connection.execute("from s.stored").fetchall() == connection.execute("from s.seen").fetchall() == [(2, 3)]
        )
        kinds = "select table_type from information_schema.tables where table_schema = 's' order by table_name"
        assert connection.execute(kinds).fetchall() == [("VIEW",), ("BASE TABLE",)]


def test_what_dbt_refuses_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"dbt compile failed(.|\n)*'soon'"):
        compiled(tmp_path, {"as_of": "soon"}, ("labels",))


def test_a_process_that_runs_the_models_does_not_hold_dagster() -> None:
    code = "import sys, benchmarks.feature_sql; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
