"""Homes that the code of commit 2684a4b has filled become homes of this state by themselves."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg2
import pytest

from models.declared import earlier as earlier_names
from models.versions.candidate import PIPELINE, load
from store.ledger.schema import TABLES, ensure, ledger
from store.warehouse.connection import columns_of
from store.warehouse.warehouse import Warehouse
from tests.homes import REPOSITORY, Home, ask
from tests.old_home.make import ARCHIVE, DUMP, SETTINGS
from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.warehouse.connection import Connection

COUNTS = {"ml_models": 2, "ml_training_logs": 2, "ml_champions": 2, "ml_decisions": 4}

KILLED = """
import os, sys
from store.ledger import schema
from store.warehouse.warehouse import Warehouse
class Dying:
    def __init__(self, connection):
        self.connection = connection
    def __getattr__(self, name):
        return getattr(self.connection, name)
    def change_key(self, *arguments):
        self.connection.change_key(*arguments)
        os._exit(9)
with Warehouse(address=sys.argv[1]).connect() as connection:
    schema.ensure(Dying(connection))
"""
"""The first key is changed, and nothing after it."""


@pytest.fixture
def old(tmp_path: Path) -> Home:
    """Return the home that the earlier code has filled, at a new place."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "home", filter="data")
    home = Home(tmp_path / "home", dict(SETTINGS))
    with duckdb.connect(str(home.warehouse)) as connection:
        # where it was made the simulated CRM had another address
        folder = Path(connection.execute("select source from raw.extraction").fetchall()[0][0]).name
        connection.execute("update raw.extraction set source = $1", [str(home.path / "simulated_crm" / folder)])
    return home


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, old: Home) -> Iterator[Warehouse]:
    """Return a warehouse of the earlier code, of each engine."""
    if request.param == "duckdb":
        yield Warehouse(address=f"duckdb:{old.warehouse}")
        return
    with database(request.getfixturevalue("running")) as address:
        with closing(psycopg2.connect(address)) as connection, connection, connection.cursor() as cursor:
            cursor.execute((old.path / DUMP).read_text(encoding="utf-8"))
        yield Warehouse(address=address)


def test_a_ledger_of_an_earlier_state_gets_keys_columns_and_a_history_and_keeps_its_rows(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        earlier = _keys(connection)
        columns = {name: columns_of(connection, "ml", name) for name in (*earlier, "ml_predictions")}
        before = {name: _rows(connection, name, listed) for name, listed in columns.items()}
    assert earlier["ml_decisions"] == ["run_id", "model", "kind"]
    assert earlier["ml_champions"] == ["model"]
    assert {name: len(rows) for name, rows in before.items() if name in COUNTS} == COUNTS
    killed = subprocess.run([sys.executable, "-c", KILLED, warehouse.address], cwd=REPOSITORY, check=False)
    assert killed.returncode == 9
    with warehouse.connect() as connection:
        assert _keys(connection) == earlier, "nothing was changed"

    renamed = {
        name: [earlier_names.COLUMNS.get(name, {}).get(each, each) for each in listed]
        for name, listed in columns.items()
    }
    with ledger(warehouse) as connection:
        assert {name: _rows(connection, name, listed) for name, listed in renamed.items()} == before
        assert connection.execute("select distinct entity, lower, upper, origin from ml.ml_predictions").fetchall() == [
            ("lead", None, None, "batch")
        ]
        keys = _keys(connection)
        assert keys == {each.name: list(each.key) for each in TABLES if each.key}
        assert keys["ml_decisions"] == ["run_id", "model", "kind", "version"]
        assert keys["ml_training_logs"] == ["run_id", "model", "version"]
        for table in TABLES:
            assert {*columns_of(connection, "ml", table.name)} == {*table.columns}, table.name
        history = connection.execute(
            "select model, number, event, version, artifact, manifest_sha256, promoted_at, happened_at = promoted_at "
            "from ml.ml_champion_history order by model"
        ).fetchall()
        assert [(model, number, event, same) for model, number, event, *_, same in history] == [
            (model, 1, "promoted", True) for model in ("conversion", "next_best_action")
        ]
        ensure(connection)
        assert {name: _rows(connection, name, listed) for name, listed in renamed.items()} == before


def _keys(connection: Connection) -> dict[str, list[str]]:
    """Return the columns of the primary keys of schema ``ml``, by table."""
    keys: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "select table_name, column_name from information_schema.key_column_usage where table_schema = 'ml' "
        "order by ordinal_position"
    ).fetchall():
        keys.setdefault(table, []).append(column)
    return keys


def _rows(connection: Connection, name: str, columns: list[str]) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(f"select {', '.join(columns)} from ml.{name}").fetchall(), key=repr)


def test_versions_of_an_earlier_state_load_and_predict_what_they_predicted(old: Home) -> None:
    versions = [path.parent for path in old.path.glob("artifacts/models/*/*/manifest.json")]
    # an earlier recipe is loaded only if it predicts the same
    assert [load(version).manifest["recipe"] for version in versions] == [3, 3]


@pytest.mark.slow(90)
def test_a_run_trains_anew_where_champions_do_not_load_any_more_and_keeps_the_history(old: Home) -> None:
    history = (
        "select lead_id, as_of, conversion_model_version, conversion_probability, grade from marts.lead_score_history"
    )
    earlier, champions = set(old.ask(history)), dict(old.ask("select model, version from ml.ml_champions"))
    damaged = champions["next_best_action"]
    with (old.path / "artifacts/models/next_best_action" / damaged / PIPELINE).open("ab") as file:
        file.write(b"more")

    run = old.run()

    assert run.code == 0, run.err[-3000:]
    assert "does not load" not in run.out
    assert ask(old.published, "select count(*) from marts.lead_scores")[0][0] > 0
    assert earlier <= set(ask(old.published, history))
    told = old.ask("select model, version, event from ml.ml_champion_history order by model, number")
    for model, version in champions.items():
        first, *rest = [each[1:] for each in told if each[0] == model]
        assert first == (version, "promoted")
        assert rest in ([(version, "retired")], [(each, "promoted") for each, _ in rest if each != version]), told
