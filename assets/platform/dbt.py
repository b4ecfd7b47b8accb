"""The dbt project in Dagster: its command, and the assets and checks of its models and data tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.asset_utils import build_dbt_specs
from packaging.version import Version

from assets.platform import keys
from assets.platform.beta import without_beta_warnings
from assets.platform.resources import WAREHOUSE_POOL
from models.declared.registry import DECLARATIONS
from store.features.dbt_project import DBT_PROJECT, PARSED, PARSED_DBT, DbtParseError

MODELS = DbtProject(project_dir=DBT_PROJECT, profiles_dir=DBT_PROJECT)

BOOKKEEPING = "bookkeeping"
"""The dbt tag of models that serve increments, such as the list of due rows. They are not assets."""

UNIQUE_ID = "dagster_dbt/unique_id"
"""The metadata of a dbt asset with the unique identifier of its model."""

_STATEMENTS = {
    "not_null": "`{column_name}` is never null.",
    "unique": "No two rows have the same `{column_name}`.",
    "unique_combination": "No two rows have the same {columns}.",
    "accepted_values": "`{column_name}` is one of {values}.",
    "between": "`{column_name}` is null or lies between {low} and {high}.",
    "relationships": "Every `{column_name}` is a `{field}` of {to}.",
    "rows_equal_to": "There are as many rows as in {relation}.",
}
"""By name of a generic data test: the statement that it tests."""


class Dbt(DbtCliResource):
    """The dbt of this environment, started once per invocation.

    `DbtCliResource` also starts ``dbt --version``, which asks the package registry for newer versions, and loads an
    adapter to fetch row counts and columns, which Leadline does not use. Both take as long as a small build.
    """

    @property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def parsed(self, manifest: Path) -> Self:
        """Return a dbt that takes the project as it was parsed when the manifest was made."""
        program = [PARSED_DBT, str(manifest.with_suffix(PARSED))]
        return self.model_copy(update={"dbt_executable": sys.executable, "global_config_flags": program})

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002 (of the overridden method)
        return None


class Translator(DagsterDbtTranslator):
    """Makes asset specs: group by layer, owner by ``meta.owner``; models that read schema ``ml`` depend on the scores.

    In the dependencies, a bookkeeping view is replaced by its parents, and a bookkeeping table is left out.
    """

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_code_references=True))
        self._specs: dict[str, dg.AssetSpec] = {}

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the layer, which is the schema."""
        # configured, because the actual schema of the marts depends on the engine; a source has only an actual one
        return str(dbt_resource_props.get("config", {}).get("schema") or dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Return the team that owns the model."""
        meta = dbt_resource_props.get("config", {}).get("meta", {})
        return [f"team:{meta.get('owner', 'data-engineering')}"]

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """Return the spec; a reader of schema ``ml`` depends on the scores of the models that its SQL names, or of all.

        Raises
        ------
        DbtParseError
            If a model outside of the marts reads schema ``ml``.
        """
        if unique_id not in self._specs:
            self._specs[unique_id] = self._asset_spec(manifest, unique_id, project)
        return self._specs[unique_id]

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """Return the spec of a data test, with a description in words; the test depends on no bookkeeping model."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None:
            return None
        node = manifest["nodes"][unique_id]
        parents = {
            self.get_asset_spec(manifest, each, project).key
            for each in node["depends_on"]["nodes"]
            if not is_bookkeeping(manifest, each)
        }
        return dg.AssetCheckSpec(
            name=spec.name,
            asset=asset_spec.key,
            description=described_test(node),
            additional_deps=sorted(parents - {asset_spec.key}),
            metadata=spec.metadata,
            blocking=spec.blocking,
        )

    def _asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        # references to code are beta
        with without_beta_warnings():
            spec = super().get_asset_spec(manifest, unique_id, project)
        if unique_id.startswith("source."):
            return spec
        node = manifest["nodes"][unique_id]
        read = _read_assets(manifest, unique_id)
        predictions = {manifest["sources"][each]["name"] for each in read if is_of_ledger(each)}
        if predictions and (layer := node["fqn"][1]) != "marts":
            raise DbtParseError(
                f"{layer}.{node['name']}: expected no table of schema ml, because those are made from features, found "
                f"{', '.join(sorted(predictions))}. Only models/marts may read them."
            )
        parents = {self.get_asset_spec(manifest, each, project).key for each in read if not is_of_ledger(each)}
        if predictions:
            # a dbt model that names no declared model depends on the scores of all
            named = [name for name in DECLARATIONS if f"'{name}'" in node["raw_code"]] or DECLARATIONS
            parents |= {keys.scores(name) for name in named}
        return spec.replace_attributes(deps=sorted(parents))


TRANSLATOR = Translator()


def is_of_ledger(unique_id: str) -> bool:
    """Say whether a node is a source in schema ``ml``, which is no asset: the scores stand for it."""
    return unique_id.startswith("source.leadline.ml.")


def is_bookkeeping(manifest: Mapping[str, Any], unique_id: str) -> bool:
    """Say whether a node of the manifest is a bookkeeping model."""
    return BOOKKEEPING in manifest["nodes"].get(unique_id, {}).get("tags", ())


def hands_on(manifest: Mapping[str, Any], unique_id: str) -> bool:
    """Say whether a model is a bookkeeping view, which hands on rows of what it reads."""
    return is_bookkeeping(manifest, unique_id) and manifest["nodes"][unique_id]["config"]["materialized"] == "view"


def _read_assets(manifest: Mapping[str, Any], unique_id: str) -> set[str]:
    """Return the models and sources from which a model takes its rows.

    A bookkeeping view passes on rows of its parents, so the parents count; a bookkeeping table only lists due rows.
    """
    found: set[str] = set()
    for each in manifest["nodes"][unique_id]["depends_on"]["nodes"]:
        if not is_bookkeeping(manifest, each):
            found.add(each)
        elif hands_on(manifest, each):
            found |= _read_assets(manifest, each)
    return found


def described_test(node: Mapping[str, Any]) -> str:
    """Return the statement that a data test tests: its description, or a sentence for a generic test."""
    if node.get("description"):
        return str(node["description"])
    test = node.get("test_metadata")
    if test is None or test["name"] not in _STATEMENTS:
        return f"The data test `{node['name']}` of the dbt project finds no row."
    arguments = {
        name: ", ".join(f"`{each}`" for each in value) if isinstance(value, list) else value
        for name, value in test["kwargs"].items()
    }
    return _STATEMENTS[test["name"]].format_map({**arguments, **_named_relations(arguments)})


def _named_relations(arguments: Mapping[str, Any]) -> dict[str, str]:
    # dbt keeps a relation as "ref('observations')"
    return {name: f"`{str(arguments[name]).split(chr(39))[1]}`" for name in ("to", "relation") if name in arguments}


def whole_layers(manifest: Path, name: str, *, select: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return the decorator of a function that builds models together or not at all.

    Parameters
    ----------
    manifest : Path
        The manifest of the dbt project.
    name : str
        The name of the step.
    select : str
        The models, in dbt's selection syntax. Bookkeeping models among them are built, but are not assets.
    """
    project = json.loads(manifest.read_text(encoding="utf-8"))
    # if dbt excluded the bookkeeping models, it would leave out each test that reads one
    specs, check_specs = build_dbt_specs(
        translator=TRANSLATOR,
        manifest=project,
        select=select,
        exclude="",
        selector="",
        io_manager_key=None,
        project=MODELS,
    )
    assets = [each for each in specs if not is_bookkeeping(project, each.metadata[UNIQUE_ID])]
    asset_keys = {each.key for each in assets}
    return dg.multi_asset(
        name=name,
        specs=assets,
        check_specs=[each for each in check_specs if each.asset_key in asset_keys],
        can_subset=False,
        pool=WAREHOUSE_POOL,
        allow_arbitrary_check_specs=True,
    )


def layer_assets(manifest: Path, name: str, *, select: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return the decorator of a function that builds the selected models, or those of them that a run picks.

    Parameters
    ----------
    manifest : Path
        The manifest of the dbt project.
    name : str
        The name of the step.
    select : str
        The models, in dbt's selection syntax.
    """
    return dbt_assets(
        manifest=manifest,
        project=MODELS,
        select=select,
        name=name,
        dagster_dbt_translator=TRANSLATOR,
        pool=WAREHOUSE_POOL,
    )
