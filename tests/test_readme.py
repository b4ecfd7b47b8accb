"""README and the page of the feature store tell a newcomer what to type: their Python and SQL run.

``tests/orchestration/test_backfill.py`` tries the command that computes days anew, and
``tests/store/features/test_features_at.py`` the configuration of a question.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.homes import PATIENCE, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Home

PAGES = "\n".join((REPOSITORY / page).read_text(encoding="utf-8") for page in ("README.md", "docs/feature-store.md"))


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES, flags=re.DOTALL | re.MULTILINE)
    return [text for named, text in fenced if named == language]


(QUESTION,) = (each for each in blocks("") if each.startswith("lead_id,as_of\n"))


@pytest.fixture
def folder(own: Home, tmp_path: Path) -> Path:
    """Return a working folder with the question of the page, whose home is `.leadline`, as in the repository."""
    working = tmp_path / "working"
    working.mkdir()
    (working / ".leadline").symlink_to(own.path)
    (working / "question.csv").write_text(QUESTION)
    return working


def test_its_python_runs(folder: Path, own: Home) -> None:
    examples = blocks("python")
    assert ["lead_scores" in each for each in examples] == [True, False]
    assert "features_at" in examples[1]
    outputs = []
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=folder, env=own.environment(PYTHONPATH=str(REPOSITORY)),
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        outputs.append(done.stdout)
    asked = [row["lead_id"] for row in csv.DictReader(io.StringIO(QUESTION))]
    header, *rows = outputs[1].splitlines()
    assert header.split()[:3] == ["lead_id", "as_of", "entity_state"]
    assert re.search("open|closed", outputs[1])
    # as many rows as the question, in its order
    assert [row.split()[1] for row in rows] == asked
    (shown,) = (each for each in blocks("") if "entity_state" in each)
    assert header.split() == shown.splitlines()[0].split()


def test_its_query_of_the_catalogue_gives_the_columns_that_it_shows(own: Home) -> None:
    (query,) = (each for each in blocks("sql") if "features.catalogue" in each)
    rows = own.ask(query)
    assert len(rows) == 5
    shown = re.search(rf"{re.escape(query)}```\n\n```\n(.*?)\n", PAGES)
    assert shown is not None
    columns = [name for name, *_ in own.ask(f"describe ({query.rstrip().rstrip(';')})")]
    assert shown[1].split() == columns
