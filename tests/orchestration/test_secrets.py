"""What is stored and shown: a database's password is not, and what the data say is text."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from orchestration.terminal import for_terminal
from tests.homes import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from orchestration.definitions import defs as definitions

defs = definitions()
snapshot = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
assert "crm_source" in snapshot
source = defs.resources["crm_source"]
print("hidden" if "open-sesame" not in snapshot else "shown", source.address)
"""


def test_what_dagster_stores_of_the_code_location_has_no_password(tmp_path: Path) -> None:
    address = "postgresql://rep:open-sesame@127.0.0.1:1/crm"
    environment = {**os.environ, "LEADLINE_SOURCE": address, "LEADLINE_HOME": str(tmp_path)}
    loaded = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr[-3000:]
    assert loaded.stdout.split() == ["hidden", address]


def test_a_terminal_obeys_nothing_that_the_data_say() -> None:
    assert for_terminal("ä\x1b]0;owned\x07\u202e\r → 1\n\t2") == "ä\\x1b]0;owned\\x07\\u202e\\r → 1\n\t2"
