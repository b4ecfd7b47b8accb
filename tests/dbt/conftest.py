"""An empty PostgreSQL database, and a folder that the tests of the dbt project share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def address(running: str) -> Iterator[str]:
    """Return the ``postgresql://`` address of an empty database."""
    with database(running) as created:
        yield created


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for what dbt writes beside the tables."""
    return tmp_path_factory.mktemp("dbt")
