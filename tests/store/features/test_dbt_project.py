"""The manifest of the dbt project: made when the project has changed, and only then."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from dagster_dbt import DbtCliResource

from assets.platform.dbt import MODELS, Dbt, Translator
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.declaring.entity import DeclarationError
from models.tasks.binary import Binary
from store.features import dbt_project
from store.features.dbt_project import DBT, DBT_PROJECT, DbtParseError, check_labels, manifest_path, settings_of
from store.features.parsed_dbt import in_parts, joined
from store.places import PROJECT
from store.warehouse.warehouse import Extraction

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the dbt project, parsed as the real one is, in its place."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(PROJECT / "dbt_project", folder, ignore=shutil.ignore_patterns("target", "logs"))
    manifest = manifest_path()
    target = folder / manifest.parent.relative_to(DBT_PROJECT)
    target.mkdir(parents=True)
    for name in ("manifest.json", "manifest.msgpack", "manifest.sha256"):
        shutil.copy(manifest.with_name(name), target)
    monkeypatch.setattr(dbt_project, "DBT_PROJECT", folder)
    return folder


def test_a_changed_project_is_parsed_once(project: Path) -> None:
    made = manifest_path().stat().st_mtime_ns
    assert manifest_path().stat().st_mtime_ns == made

    model = project / "models/intermediate/lead/lead_closings.sql"
    model.write_text(model.read_text() + "\n-- changed\n")
    anew = manifest_path()
    assert (changed := anew.stat().st_mtime_ns) != made
    assert "-- changed" in json.loads(anew.read_text())["nodes"]["model.leadline.lead_closings"]["raw_code"]
    assert manifest_path().stat().st_mtime_ns == changed
    assert [path.name for path in (project / "target").glob("parse-*")] == []


def test_a_project_that_does_not_parse_is_refused_with_what_dbt_says(project: Path) -> None:
    (project / "models/intermediate/lead/lead_closings.sql").write_text("select * from {{ ref('no_such_model') }}")
    with pytest.raises(DbtParseError, match="dbt could not parse the project") as caught:
        manifest_path()
    assert "no_such_model" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_declared_label_without_a_dbt_model_is_named(project: Path) -> None:
    (project / "models/labels/lead/conversion.sql").unlink()
    with pytest.raises(DbtParseError, match="found none named conversion"):
        manifest_path()


VIEW = DECLARATIONS["conversion"].feature_view


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"label_column": "convertd"},
            r"model 'conversion': expected label_column to be .*matures_at, converted\), found",
        ),
        ({"label": "deal_value"}, r"expected label_column to be .*labels.deal_value"),
        (
            {"feature_view": replace(VIEW, entity=replace(VIEW.entity, name="project"))},
            "entity 'project': expected `of` to be one of lead, customer, to which it belongs, found ''",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_its_label_or_the_sources_is_refused(
    change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt_project, "DECLARATIONS", {"conversion": replace(DECLARATIONS["conversion"], **change)})
    with pytest.raises(DbtParseError, match=message):
        check_labels(manifest_path())


def test_a_label_that_does_not_read_its_horizon_is_refused(tmp_path: Path) -> None:
    manifest = json.loads(manifest_path().read_text())
    label = manifest["nodes"]["model.leadline.conversion"]
    label["raw_code"] = label["raw_code"].replace("conversion_horizon_days", "conversions_horizon_days")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DbtParseError, match="expected the variable 'conversion_horizon_days'"):
        check_labels(tmp_path / "manifest.json")


def test_settings_under_which_two_models_need_two_labels_in_one_table_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conversion = DECLARATIONS["conversion"]
    other = replace(conversion, name="other", task=Binary(("won",)))
    monkeypatch.setattr(dbt_project, "DECLARATIONS", {each.name: each for each in (conversion, other)})
    extraction = Extraction(
        as_of=datetime(2026, 1, 1, tzinfo=UTC), load_number=1, source="crm", mapping="mine", closing={},
        silence_closes_after_days=None, horizon_days={"other": 60}, assumptions=[],
    )  # fmt: skip
    with pytest.raises(DeclarationError, match="'conversion' over 30 days and 'other' over 60"):
        settings_of(extraction, Horizons(overrides={"conversion": 30}))
    assert settings_of(extraction, Horizons(overrides={"conversion": 60}))["conversion_horizon_days"] == 60


def test_a_feature_that_reads_what_is_made_of_features_is_refused_by_name() -> None:
    manifest = json.loads(manifest_path().read_text())
    source = next(name for name in manifest["sources"] if name.startswith("source.leadline.ml."))
    name = "model.leadline.lead_features"
    manifest["nodes"][name]["depends_on"]["nodes"].append(source)
    with pytest.raises(DbtParseError, match=r"features\.lead_features: expected no table of schema ml.*found"):
        Translator().get_asset_spec(manifest, name, MODELS)


def test_what_dbt_overrides_is_there_to_be_overridden():
    """Both are private to dagster-dbt: under another name dbt would be started twice more, and nobody would notice."""
    assert {"_cli_version", "_initialize_dbt_core_adapter"} <= vars(DbtCliResource).keys()
    assert Dbt(project_dir=str(DBT_PROJECT), dbt_executable=DBT)._cli_version.release[:2] == (1, 11)


def test_variables_of_any_length_reach_dbt() -> None:
    """Two thousand options of questions are longer than any one argument that Linux passes."""
    variables = json.dumps({"attribute_features": [{"option": "Wärmepumpe ☂ " * 5}] * 5_000})
    arguments = ["build", *in_parts(variables), "--select", "lead_features"]
    assert max(map(len, arguments)) < 2**17 < len(variables)
    assert joined(arguments) == ["build", "--select", "lead_features", "--vars", variables]
