"""The extraction as a call, a look at what it wrote, and a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from models.declared.registry import DECLARATIONS
from store.source.extract import extract
from tests.postgres import database
from tests.store.source.exports import PRESENT, Extract, Query, Rows, valid_export
from tests.store.source.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.source.report import ExtractionReport


@pytest.fixture
def export() -> dict[str, Rows]:
    """Return a valid export, for a test to change."""
    return valid_export()


@pytest.fixture
def run(tmp_path: Path) -> Extract:
    """Return the extraction into a DuckDB warehouse in ``tmp_path``."""

    def call(source: Path | str, **options: Any) -> ExtractionReport:
        defaults: dict[str, Any] = {
            "warehouse": f"duckdb:{tmp_path / 'home' / 'warehouse.duckdb'}",
            "state_dir": tmp_path / "home" / "dlt",
            "as_of": None,
            "present": PRESENT,
            "models": DECLARATIONS,
        }
        return extract(source=str(source), **{**defaults, **options})

    return call


@pytest.fixture
def query(tmp_path: Path) -> Query:
    """Return a query on that warehouse, with times in UTC."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb"), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    return ask


@pytest.fixture(scope="module")
def of_module(running: str) -> Iterator[Server]:
    """Return a database for the module."""
    with database(running) as address:
        server = Server(address)
        yield server
        server.close()


@pytest.fixture
def server(of_module: Server) -> Server:
    """Return the database, emptied."""
    of_module.empty()
    return of_module
