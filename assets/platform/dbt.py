"""The dbt project as Dagster sees it: its manifest, the asset specs of its models, and how a part of it is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from store.features.dbt_project import DBT_PROJECT, DbtParseError, settings_of
from store.warehouse.warehouse import Warehouse

MODELS = DbtProject(project_dir=DBT_PROJECT, profiles_dir=DBT_PROJECT)


class Dbt(DbtCliResource):
    """The dbt of this environment, started once per invocation.

    `DbtCliResource` starts it once more for ``dbt --version``, which asks the package registry for newer versions, and
    loads an adapter for row counts and columns, which are not fetched here: together as long as a small build takes.
    """

    @property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002 (what it overrides)
        return None


class Translator(DagsterDbtTranslator):
    """Groups by layer, owners from ``meta.owner``, and the scores as the origin of the sources in schema ``ml``."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the layer, which is the schema."""
        # the one that the project says: that of the marts depends on the engine, and sources have one alone
        return str(dbt_resource_props.get("config", {}).get("schema") or dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Return the team that answers for the model."""
        meta = dbt_resource_props.get("config", {}).get("meta", {})
        return [f"team:{meta.get('owner', 'data-engineering')}"]

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """Return the spec; what reads schema ``ml`` depends on the scores of the models that its SQL names.

        Raises
        ------
        DbtParseError
            If a model reads it from which the scores are made.
        """
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        reads = node.get("depends_on", {}).get("nodes", [])
        predictions = {manifest["sources"][each]["name"] for each in reads if each.startswith("source.leadline.ml.")}
        if not predictions:
            return spec
        if (layer := node["fqn"][1]) != "marts":
            raise DbtParseError(
                f"{layer}.{node['name']}: expected no table of schema ml, which is made of features and labels, found "
                f"{', '.join(sorted(predictions))}. Read it in models/marts."
            )
        kept = [dep for dep in spec.deps if dep.asset_key.path[-1] not in predictions]
        # what names no model reads all of them
        named = [name for name in DECLARATIONS if f"'{name}'" in node["raw_code"]] or DECLARATIONS
        return spec.replace_attributes(deps=[*kept, *(keys.scores(name) for name in named)])


def layer_assets(
    manifest: Path, name: str, *, select: str
) -> Callable[[Callable[..., Iterator[Any]]], dg.AssetsDefinition]:
    """Return the decorator of the function that builds some models of the dbt project, one asset per model.

    Parameters
    ----------
    manifest : Path
        Of the dbt project.
    name : str
        Of the step.
    select : str
        The models, as dbt selects them.
    """
    return dbt_assets(
        manifest=manifest,
        project=MODELS,
        select=select,
        name=name,
        dagster_dbt_translator=Translator(),
        pool=WAREHOUSE_POOL,
    )


def build(
    context: dg.AssetExecutionContext,
    dbt: Dbt,
    warehouse: Warehouse,
    horizons: Horizons,
    *,
    variables: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
    keep: Callable[[Path, Mapping[str, Any]], None] | None = None,
) -> Iterator[Any]:
    """Build the selected models at the clock of the last extraction and run their data tests as checks.

    Row counts are read when dbt has ended, because neither can open the file while the other holds it.

    Parameters
    ----------
    context : AssetExecutionContext
    dbt : Dbt
    warehouse : Warehouse
    horizons : Horizons
    variables : mapping of str to object, optional
        Further variables of the dbt project.
    options : sequence of str
        Further options of ``dbt build``.
    keep : callable, optional
        Gets the folder that dbt wrote and the variables, also of a build that failed later on: what it ran is there.
    """
    extraction = warehouse.extraction()
    clock = extraction.as_of.isoformat(timespec="microseconds")
    given = {"as_of": clock, **settings_of(extraction, horizons), **(variables or {})}
    # "buildable": a test of several models runs in the part that builds the last of them
    arguments = ["build", "--exclude-resource-type", "unit_test", "--indirect-selection", "buildable",
                 "--vars", json.dumps(given), *options]  # fmt: skip
    events: list[Any] = []
    failure: DagsterDbtCliRuntimeError | None = None
    invocation = dbt.cli(arguments, context=context)
    try:
        for event in invocation.stream():
            events.append(event)  # noqa: PERF402 - extend() would lose them all at the failure
    except DagsterDbtCliRuntimeError as error:
        # what was built before the failure is built, and is reported so
        failure = error
    # a project that does not compile has no results
    if keep is not None and (invocation.target_path / "run_results.json").exists():
        keep(invocation.target_path, given)
    tables = {
        event.output_name: tuple(context.asset_key_for_output(event.output_name).path[-2:])
        for event in events
        if isinstance(event, dg.Output)
    }
    counts = warehouse.row_counts(set(tables.values()))
    for event in events:
        if isinstance(event, dg.Output):
            yield event.with_metadata(
                {**event.metadata, "dagster/row_count": counts[tables[event.output_name]], "clock": clock}
            )
        else:
            yield event
    if failure is not None:
        raise failure
    # each step has a folder of its own; that of a failed one is left to be looked at
    shutil.rmtree(invocation.target_path)
