"""Tests of shared homes: all tests can read them at once, and none can write them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.homes import PATIENCE, ask, never_written, reading

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Home

OPEN = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=sys.argv[2] == 'read').sql('select 1')"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks of an open file are of Linux")


def opened_elsewhere(path: Path, how: str) -> str:
    """Open a file in another process; return the last line of its error, or an empty text if it succeeds."""
    other = subprocess.run(
        [sys.executable, "-c", OPEN, path, how], text=True, capture_output=True, timeout=PATIENCE, check=False
    )
    return other.stderr.strip().rpartition("\n")[2]


def assert_is_only_read(path: Path) -> None:
    with pytest.raises(duckdb.IOException, match="Could not set lock"):
        duckdb.connect(str(path))
    with duckdb.connect() as memory, pytest.raises(duckdb.IOException, match="Could not set lock"):
        memory.execute(f"attach '{path}' as other")
    assert "Could not set lock" in opened_elsewhere(path, "write")
    with reading(path), reading(path):
        assert opened_elsewhere(path, "read") == ""


def test_a_file_that_is_never_written_can_be_read_and_copied_by_all(tmp_path: Path) -> None:
    path, copy = tmp_path / "shared.duckdb", tmp_path / "copy.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table facts as select 1 as fact")
    with never_written(path), never_written(path):
        assert_is_only_read(path)
        # a process that closes a file loses its own locks, but not those of an open file
        shutil.copy(path, copy)
        assert_is_only_read(path)
        with duckdb.connect(str(copy)) as connection:
            connection.execute("update facts set fact = 2")
        assert (ask(path, "from facts"), ask(copy, "from facts")) == ([(1,)], [(2,)])
    with duckdb.connect(str(path)) as connection:
        connection.execute("update facts set fact = 3")


def test_the_filled_home_is_only_read(filled: Home) -> None:
    for path in (filled.warehouse, filled.published):
        assert_is_only_read(path)
