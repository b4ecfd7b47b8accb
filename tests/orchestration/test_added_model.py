"""The worked example of ``docs/add-a-model.md``: a new entity with two models, added to a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.compiled import run_dbt
from tests.dbt.warehouses import Postgres
from tests.homes import REPOSITORY
from tests.postgres import database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Home

PAGE = REPOSITORY / "docs" / "add-a-model.md"

FILE = re.compile(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A file of the page: its path alone on a line, and its text."""

PRODUCT = (
    "assets",
    "dbt_project",
    "models",
    "orchestration",
    "simulation",
    "store",
    "pyproject.toml",
    "workspace.yaml",
)

MODELS = ("days_to_contact", "project_engagement")


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project to which the files of the page were added, none of them in place of another."""
    copy = tmp_path_factory.mktemp("project") / "leadline"
    copy.mkdir()
    for name in PRODUCT:
        source = REPOSITORY / name
        if source.is_file():
            shutil.copyfile(source, copy / name)
        else:
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    files = FILE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(files) > 5
    for path, text in files:
        place = copy / path
        assert not place.exists(), path
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return copy


def test_the_sql_of_a_new_entity_builds_on_postgresql(database_address: str, added: Path, tmp_path: Path) -> None:
    """With its data tests, on the tables of a home that knows nothing of the entity; it was not written there."""
    with database(database_address, copy_of=Postgres(database_address).database) as copied:
        store = Postgres(copied)
        ((clock, outcomes),) = store.rows("select as_of, closing_outcomes from raw.extraction")
        variables = {"as_of": clock.isoformat(timespec="microseconds"), "closing_outcomes": json.loads(outcomes)}
        names = [path.stem for path in (added / "dbt_project" / "models").glob("*/project/*.sql")]
        assert len(names) == 6
        run_dbt(
            tmp_path, "build", variables, "--select", *names,
            target=store.target, project=added / "dbt_project", environment=store.environment,
        )  # fmt: skip
        ((rows, at_clock),) = store.rows(
            "select count(*), count(*) filter (where observation_kind = 'clock') from features.project_features"
        )
        assert store.rows("select count(*) from marts_unpublished.project_scores") == [(0,)], "nobody was scored"
    assert 10 < at_clock < rows / 10


@pytest.mark.slow(120)
def test_models_of_a_new_entity_touch_no_file_of_the_product(own: Home, added: Path) -> None:
    """On a home that has known leads alone."""
    home = replace(own, repository=added)

    run = home.run()

    assert run.code == 0, run.err[-3000:]
    said = json.loads((home.path / "compiled" / "project_features_point_in_time.json").read_text())
    assert said["passed"]
    assert said["rows"] > 1000
    assert {"project_age_days"} <= set(said["not_exercised"]) <= {"project_age_days", "project_value"}
    assert set(said["rows_by_variant"]) == {"store", "scrambled", "removed", "forgotten_7d", "forgotten_30d", "past"}
    of_project = "from ml.ml_predictions where entity = 'project'"
    ((clock,),) = home.ask(f"select distinct as_of {of_project}")
    open_projects = home.ask(
        "select project_id from intermediate.projects left join intermediate.project_closings using (project_id) "
        f"where known_us < {_microseconds(clock)} and coalesce(closed_us, {_microseconds(clock)}) >= "
        f"{_microseconds(clock)} order by 1"
    )
    assert len(open_projects) > 10
    champions = dict(home.ask("select model, version from ml.ml_champions"))
    assert set(champions) >= set(MODELS)
    scored = home.ask(
        "select model, version, entity, target, count(*), count(lower), min(value), max(value) "
        f"{of_project} and as_of = $1 group by 1, 2, 3, 4 order by 1, 4",
        clock,
    )
    assert [each[:6] for each in scored] == [
        (
            "days_to_contact",
            champions["days_to_contact"],
            "project",
            "days_to_contact",
            len(open_projects),
            len(open_projects),
        ),
        *(
            ("project_engagement", champions["project_engagement"], "project", target, len(open_projects), 0)
            for target in ("answered", "quiet", "unanswered")
        ),
    ]
    assert all(low < high for *_, low, high in scored), "no two projects are alike"
    of_mart = home.ask("select project_id, quiet_probability, days_to_contact from marts.project_scores order by 1")
    assert [(each[0],) for each in of_mart] == open_projects
    assert all(None not in each for each in of_mart)
    # drift was measured of both, and led to a decision that is in the ledger
    assert {model for (model,) in home.ask("select distinct model from ml.ml_drift_logs")} >= set(MODELS)
    decided = home.ask("select model, outcome from ml.ml_decisions where kind = 'retraining'")
    assert {model for model, outcome in decided if outcome == "wait"} >= set(MODELS)


def _microseconds(moment: Any) -> int:
    return int(moment.timestamp()) * 1_000_000 + int(moment.microsecond)
