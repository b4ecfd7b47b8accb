"""Fixtures for tests of assets: empty warehouses, built stores, and a champion of the data in `tests.drifting`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from assets.platform.resources import retry_step
from store.features.compiled import read, write
from store.ledger.schema import ensure
from store.warehouse.warehouse import Warehouse
from tests.conftest import only_one_process
from tests.dbt.warehouses import DuckDB, Postgres
from tests.drifting import trained
from tests.postgres import database, server
from tests.replayed import Store, built

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from models.versions.candidate import Candidate


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """Return a model that was trained before the data change; do not change its files."""
    return trained(tmp_path_factory.mktemp("champion"))


@pytest.fixture
def connection() -> Iterator[DuckDBPyConnection]:
    """Return a warehouse with empty tables of schema ``ml``."""
    with Warehouse(address="duckdb::memory:").connect() as opened:
        ensure(opened)
        yield opened


@pytest.fixture(scope="session")
def dbt_scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for dbt's files; it is shared, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture(scope="session")
def random_store(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory, dbt_scratch: Path) -> Store:
    """Return a store on DuckDB, which one process builds for all, each with a file of its own; change only copies."""
    made = shared_folder / "random_store"
    with only_one_process(made):
        if not (made / "build.json").exists():
            made.mkdir()
            store = built(DuckDB(made), dbt_scratch)
            with store.warehouse.connect() as connection:
                # dbt keeps the file open in this process, and what it wrote may lie beside it
                connection.execute("checkpoint")
            write(made / "build.json", store.build)
    own = Warehouse(address=f"duckdb:{shutil.copy(made / 'warehouse.duckdb', tmp_path_factory.mktemp('store'))}")
    return Store(own, read(made / "build.json"))


@pytest.fixture(scope="session")
def postgres_store(running: str, dbt_scratch: Path) -> Iterator[Store]:
    """Return a store on PostgreSQL in which silence closes leads; change only copies."""
    with database(running) as address:
        yield built(Postgres(address), dbt_scratch, leads=200, silence_closes_after_days=30)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of the PostgreSQL server of this process, on which tests make databases of their own."""
    with server(tmp_path_factory.mktemp("postgres")) as address:
        yield address


@pytest.fixture
def warehouse(running: str) -> Iterator[Warehouse]:
    """Return an empty PostgreSQL database as a warehouse."""
    with database(running) as address:
        yield Warehouse(address=address, when_lost=retry_step)
