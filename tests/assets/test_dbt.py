"""The manifest of the dbt project: made when the project has changed, and only then."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from dagster_dbt import DbtCliResource, DbtProject

import assets.dbt
from assets.dbt import DBT, DBT_PROJECT, Dbt, DbtParseError, Translator, manifest_path
from assets.environment import PROJECT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the dbt project that has never been parsed, in the place of the real one."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(PROJECT / "dbt_project", folder, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(assets.dbt, "DBT_PROJECT", DbtProject(project_dir=folder, profiles_dir=folder))
    return folder


def test_a_changed_project_is_parsed_once(project: Path) -> None:
    first = manifest_path()
    made = first.stat().st_mtime_ns
    assert "model.leadline.lead_scores" in json.loads(first.read_text())["nodes"]
    assert manifest_path().stat().st_mtime_ns == made

    model = project / "models/intermediate/lead_closings.sql"
    model.write_text(model.read_text() + "\n-- changed\n")
    assert manifest_path().stat().st_mtime_ns != made
    assert [path.name for path in (project / "target").glob("parse-*")] == []


def test_a_project_that_does_not_parse_is_refused_with_what_dbt_says(project: Path) -> None:
    (project / "models/intermediate/lead_closings.sql").write_text("select * from {{ ref('no_such_model') }}")
    with pytest.raises(DbtParseError, match="dbt could not parse the project") as caught:
        manifest_path()
    assert "no_such_model" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_feature_that_reads_what_is_made_of_features_is_refused_by_name() -> None:
    manifest = json.loads(manifest_path().read_text())
    source = next(name for name in manifest["sources"] if name.startswith("source.leadline.ml."))
    name = "model.leadline.lead_features"
    manifest["nodes"][name]["depends_on"]["nodes"].append(source)
    with pytest.raises(DbtParseError, match=r"features\.lead_features: expected no table of schema ml.*found"):
        Translator().get_asset_spec(manifest, name, None)


def test_what_dbt_overrides_is_there_to_be_overridden():
    """Both are private to dagster-dbt: under another name dbt would be started twice more, and nobody would notice."""
    assert {"_cli_version", "_initialize_dbt_core_adapter"} <= vars(DbtCliResource).keys()
    assert Dbt(project_dir=DBT_PROJECT, dbt_executable=DBT)._cli_version.release[:2] == (1, 11)
