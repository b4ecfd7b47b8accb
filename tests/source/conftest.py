"""The extraction as a call, a look at what it wrote, and a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from sqlalchemy import create_engine, text

from assets.source.extract import ExtractionReport, extract
from assets.source.readers import database_url
from tests import postgres
from tests.source.exports import PRESENT, Extract, Query, Rows, valid_export

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


class Server:
    """A server with an empty database."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._engine = create_engine(database_url(address), connect_args={"options": "-c timezone=UTC"})

    def do(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def empty(self) -> None:
        """Drop what the test before made."""
        self.do(
            "drop schema if exists raw cascade", "drop schema if exists raw_staging cascade",
            "drop schema public cascade", "create schema public",
        )  # fmt: skip

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start one server for the module."""
    with postgres.server(tmp_path_factory.mktemp("pg")) as started, postgres.database(started) as address:
        server = Server(address)
        yield server
        server.close()


@pytest.fixture
def server(running: Server) -> Server:
    """Return the server, emptied."""
    running.empty()
    return running
