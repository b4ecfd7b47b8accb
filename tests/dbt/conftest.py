"""A real PostgreSQL server, and folders that the tests of the dbt project share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgres import database, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server and return its ``postgresql://`` address."""
    with server(tmp_path_factory.mktemp("postgres")) as running, database(running) as address:
        yield address


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for what dbt writes beside the tables; shared, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt")
