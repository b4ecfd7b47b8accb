"""What tests of drift and retraining start from: an empty warehouse in memory, and a champion of the small world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from assets.ml_tables import ensure
from tests.assets.drifting import trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from models.candidate import Candidate


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """Return a model trained before the small world changes; do not change its files."""
    return trained(tmp_path_factory.mktemp("champion"))


@pytest.fixture
def connection() -> Iterator[DuckDBPyConnection]:
    """Return a warehouse with the tables of schema ``ml``, still empty."""
    with duckdb.connect() as opened:
        opened.execute("set TimeZone = 'UTC'")
        ensure(opened)
        yield opened
