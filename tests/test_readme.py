"""README and the page of the feature store tell a newcomer what to type: their Python, SQL and configuration run.

The command that computes days anew is tried in ``tests/orchestration/test_backfill.py``.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd
import pytest
import yaml

from assets.learning.training_sets import training_set_asset
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.warehouse.warehouse import Warehouse
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
    beside = tmp_path / "working"
    beside.mkdir()
    (beside / ".leadline").symlink_to(own.path)
    (beside / "question.csv").write_text(QUESTION)
    return beside


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


def test_its_launchpad_configuration_answers_the_question(folder: Path, own: Home) -> None:
    (config,) = (yaml.safe_load(each) for each in blocks("yaml"))
    (op,) = config["ops"].values()
    op["config"]["entities"] = str(folder / "question.csv")
    done = dg.materialize(
        [training_set_asset(DECLARATIONS["conversion"])],
        resources={
            "warehouse": Warehouse(address=f"duckdb:{own.warehouse}"),
            "artifacts": ArtifactStore(root=str(own.path / "artifacts"), reports_port=3001),
            "compiled": CompiledSql(root=str(own.path / "compiled")),
            "horizons": Horizons(overrides={}),
        },
        run_config=config,
    )
    (observed,) = done.get_asset_observation_events()
    answer = observed.asset_observation_data.asset_observation.metadata["answer"].value
    expected = pd.read_csv(io.StringIO(QUESTION))
    assert list(pd.read_parquet(answer)["lead_id"]) == list(expected["lead_id"])


def test_its_query_of_the_catalogue_gives_the_columns_that_it_shows(own: Home) -> None:
    (query,) = (each for each in blocks("sql") if "features.catalogue" in each)
    rows = own.ask(query)
    assert len(rows) == 5
    shown = re.search(rf"{re.escape(query)}```\n\n```\n(.*?)\n", PAGES)
    assert shown is not None
    columns = [name for name, *_ in own.ask(f"describe ({query.rstrip().rstrip(';')})")]
    assert shown[1].split() == columns
