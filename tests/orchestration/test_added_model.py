"""The worked example of ``docs/add-a-model.md``: a new entity with two models, added to a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from benchmarks.compiled import run_dbt
from tests.conftest import HORIZON, source_of
from tests.homes import REPOSITORY, Home, reading
from tests.postgres import serving

if TYPE_CHECKING:
    from pathlib import Path

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

EARLIER = "2026-06-16T12:00:00Z"
"""The clock of the first night: the second one adds to it."""

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


def test_the_sql_of_a_new_entity_builds_on_duckdb(filled: Home, added: Path, tmp_path: Path) -> None:
    """With its data tests, on the tables of a home that knows nothing of the entity."""
    shutil.copy(filled.warehouse, tmp_path)
    ((clock, outcomes),) = filled.ask("select as_of, closing_outcomes from raw.extraction")
    variables = {"as_of": clock.isoformat(timespec="microseconds"), "closing_outcomes": json.loads(outcomes)}
    names = [path.stem for path in (added / "dbt_project" / "models").glob("*/project/*.sql")]
    assert len(names) == 6
    run_dbt(tmp_path, "build", variables, "--select", *names, project=added / "dbt_project")
    with reading(tmp_path / filled.warehouse.name) as store:
        ((rows, at_clock),) = store.execute(
            "select count(*), count(*) filter (observation_kind = 'clock') from features.project_features"
        ).fetchall()
        assert store.execute("select count(*) from marts.project_scores").fetchall() == [(0,)], "nobody was scored"
    assert 10 < at_clock < rows / 10


@pytest.mark.slow(160)
def test_models_of_a_new_entity_touch_no_file_of_the_product(filled: Home, added: Path, tmp_path: Path) -> None:
    """On PostgreSQL, which the SQL of the page was not written on."""
    settings = {"LEADLINE_SOURCE": source_of(filled), "LEADLINE_WAREHOUSE": "postgres", **HORIZON}
    home = Home(tmp_path / "home", settings, repository=added)

    def ask_home(query: str) -> list[tuple[Any, ...]]:
        with (
            serving(home.path) as server,
            closing(psycopg2.connect(server.address(), options="-c timezone=UTC")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return cursor.fetchall()

    # the first night, and a training of each model
    run = home.run(LEADLINE_AS_OF=EARLIER)
    assert run.code == 0, run.err[-3000:]
    first = _proved(home)

    # the second night is an increment, scored by the champions of the first
    run = home.run("score_leads")
    assert run.code == 0, run.err[-3000:]
    assert "Increment on the build of" in run.err
    assert _proved(home)["as_of"] > first["as_of"]

    ((clock, nights),) = ask_home("select max(as_of), count(distinct as_of) from ml.ml_predictions")
    assert nights == 2
    open_projects = ask_home(
        "select project_id from intermediate.projects left join intermediate.project_closings using (project_id) "
        f"where known_us < {_microseconds(clock)} and coalesce(closed_us, {_microseconds(clock)}) >= "
        f"{_microseconds(clock)} order by 1"
    )
    assert len(open_projects) > 10
    champions = dict(ask_home("select model, version from ml.ml_champions"))
    assert set(champions) >= set(MODELS)
    scored = ask_home(
        "select model, version, entity, target, count(*), count(lower), min(value), max(value) "
        f"from ml.ml_predictions where as_of = '{clock.isoformat()}' and entity = 'project' group by 1, 2, 3, 4 "
        "order by 1, 4"
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
    of_mart = ask_home("select project_id, quiet_probability, days_to_contact from marts.project_scores order by 1")
    assert [(each[0],) for each in of_mart] == open_projects
    assert all(None not in each for each in of_mart)
    # drift was measured of both, and led to a decision that is in the ledger
    assert {model for (model,) in ask_home("select distinct model from ml.ml_drift_logs")} >= set(MODELS)
    decided = ask_home("select model, outcome from ml.ml_decisions where kind = 'retraining'")
    assert {model for model, outcome in decided if outcome == "wait"} >= set(MODELS)


def _proved(home: Home) -> dict[str, Any]:
    said = json.loads((home.path / "compiled" / "project_features_point_in_time.json").read_text())
    assert said["passed"]
    assert said["rows"] > 1000
    assert {"project_age_days"} <= set(said["not_exercised"]) <= {"project_age_days", "project_value"}
    assert set(said["rows_by_variant"]) == {"store", "scrambled", "removed", "forgotten_7d", "forgotten_30d", "past"}
    return dict(said)


def _microseconds(moment: Any) -> int:
    return int(moment.timestamp()) * 1_000_000 + int(moment.microsecond)
