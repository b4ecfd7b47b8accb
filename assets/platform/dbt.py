"""The dbt project in Dagster: the asset specs of its models, and the function that builds a part of the project."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.asset_utils import build_dbt_specs
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version
from sqlglot.errors import SqlglotError

from assets.platform import keys
from assets.platform.lineage import column_lineage, compiled_sql
from assets.platform.resources import WAREHOUSE_POOL
from assets.platform.tables import metadata_table
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.markdown import printable
from store.features.dbt_project import DBT_PROJECT, FEATURES_AND_LABELS, DbtParseError, manifest_path, settings_of
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from dagster_dbt.core.dbt_cli_invocation import DbtCliInvocation

MODELS = DbtProject(project_dir=DBT_PROJECT, profiles_dir=DBT_PROJECT)

BOOKKEEPING = "bookkeeping"
"""The dbt tag of models that serve increments, such as the list of due rows. They are not assets."""

UNIQUE_ID = "dagster_dbt/unique_id"
"""The metadata of a dbt asset with the unique identifier of its model."""

SHOWN_ROWS = 10
"""The number of rows that a failed data test shows."""

SHOWN_COLUMNS = 4
"""The number of first columns that are shown with the tested one: every model begins with its key."""

_ROW_COUNT = re.compile(r"rows (\d+)")
"""The line that the macro ``report_row_count`` writes into dbt's log."""

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


class DataTestError(RuntimeError):
    """Data tests of dbt models failed; the message names them, their statements and the first rows that do not fit."""


class Dbt(DbtCliResource):
    """The dbt of this environment, started once per invocation.

    `DbtCliResource` also starts ``dbt --version``, which asks the package registry for newer versions, and loads an
    adapter to fetch row counts and columns, which Leadline does not use. Both take as long as a small build.
    """

    @property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

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
        with warnings.catch_warnings():
            # for every model, Dagster warns that code references are beta
            warnings.simplefilter("ignore", dg.BetaWarning)
            spec = super().get_asset_spec(manifest, unique_id, project)
        if unique_id.startswith("source."):
            return spec
        node = manifest["nodes"][unique_id]
        read = _read_assets(manifest, unique_id)
        predictions = {manifest["sources"][each]["name"] for each in read if each.startswith("source.leadline.ml.")}
        if predictions and (layer := node["fqn"][1]) != "marts":
            raise DbtParseError(
                f"{layer}.{node['name']}: expected no table of schema ml, because those are made from features, found "
                f"{', '.join(sorted(predictions))}. Only models/marts may read them."
            )
        parents = {
            self.get_asset_spec(manifest, each, project).key
            for each in read
            if not each.startswith("source.leadline.ml.")
        }
        if predictions:
            # a dbt model that names no declared model depends on the scores of all
            named = [name for name in DECLARATIONS if f"'{name}'" in node["raw_code"]] or DECLARATIONS
            parents |= {keys.scores(name) for name in named}
        return spec.replace_attributes(deps=sorted(parents))


TRANSLATOR = Translator()


def is_bookkeeping(manifest: Mapping[str, Any], unique_id: str) -> bool:
    """Say whether a node of the manifest is a bookkeeping model."""
    return BOOKKEEPING in manifest["nodes"].get(unique_id, {}).get("tags", ())


def _hands_on(manifest: Mapping[str, Any], unique_id: str) -> bool:
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
        elif _hands_on(manifest, each):
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


def build(
    context: dg.AssetExecutionContext,
    dbt: Dbt,
    warehouse: Warehouse,
    horizons: Horizons,
    *,
    select: str | None = None,
    variables: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
    code: str | None = None,
    keep: Callable[[Path, Mapping[str, Any]], None] | None = None,
) -> Iterator[Any]:
    """Build models at the clock of the last extraction and run their data tests as checks; failed ones come last.

    Parameters
    ----------
    context : AssetExecutionContext
    dbt : Dbt
    warehouse : Warehouse
    horizons : Horizons
    select : str, optional
        The models, in dbt's selection syntax; by default those of the selected assets and checks of the step.
    variables : mapping of str to object, optional
        Further variables of the dbt project.
    options : sequence of str
        Further options of ``dbt build``.
    code : str, optional
        A hash of the SQL and the settings. It is the data version of features and labels, so that a training set is
        out of date after a change of the hash, and not after every night.
    keep : callable, optional
        Called with the target folder of dbt and the variables, also after a failure, unless nothing ran.

    Raises
    ------
    DataTestError
        If only data tests failed.
    DagsterDbtCliRuntimeError
        If dbt failed otherwise.
    """
    extraction = warehouse.extraction()
    clock = extraction.as_of.isoformat(timespec="microseconds")
    all_variables = {"as_of": clock, **settings_of(extraction, horizons), **(variables or {})}
    # "buildable": a test of several models runs in the step that builds the last of them
    arguments = ["build", "--exclude-resource-type", "unit_test", "--indirect-selection", "buildable",
                 "--vars", json.dumps(all_variables), *options]  # fmt: skip
    if select is None:
        invocation = dbt.cli(arguments, context=context)
    else:
        # named as dagster-dbt names the folders of steps
        folder = f"{context.op_execution_context.op.name}-{context.run_id[:7]}-{uuid4().hex[:7]}"
        invocation = dbt.cli(
            [*arguments, "--select", select],
            manifest=json.loads(manifest_path().read_text(encoding="utf-8")),
            dagster_dbt_translator=TRANSLATOR,
            target_path=DBT_PROJECT / "target" / folder,
        )
    failed: dict[str, dg.AssetCheckResult] = {}
    failure: DagsterDbtCliRuntimeError | None = None
    try:
        yield from _stream_events(context, invocation, clock, code, failed)
    except DagsterDbtCliRuntimeError as error:
        # the results are still needed: a failed test is reported with its rows
        failure = error
    output = invocation.target_path / "run_results.json"
    # a project that does not compile has no results
    results = {each["unique_id"]: each for each in json.loads(output.read_text())["results"]} if output.exists() else {}
    if keep is not None and results:
        keep(invocation.target_path, all_variables)
    sentences: list[str] = []
    for unique_id, event in failed.items():
        result, sentence = _with_rows(event, invocation.manifest["nodes"][unique_id], results[unique_id], warehouse)
        yield result
        if event.severity == dg.AssetCheckSeverity.ERROR:
            sentences.append(sentence)
    if failure is not None:
        if sentences and not any(each["status"] == "error" for each in results.values()):
            raise DataTestError("\n".join(sentences)) from failure
        raise failure
    # each step has its own folder; the folder of a failed step stays for inspection
    shutil.rmtree(invocation.target_path)


def _stream_events(
    context: dg.AssetExecutionContext,
    invocation: DbtCliInvocation,
    clock: str,
    code: str | None,
    failed: dict[str, dg.AssetCheckResult],
) -> Iterator[Any]:
    """Yield the events of dbt while it runs; add failed tests to `failed`, because their rows cannot be read yet."""
    manifest, rows = invocation.manifest, dict[str, int]()
    for message in invocation.stream_raw_events():
        unique_id = message.raw_event["data"].get("node_info", {}).get("unique_id", "")
        if (match := _ROW_COUNT.fullmatch(message.raw_event["info"]["msg"])) is not None:
            rows[unique_id] = int(match[1])
        if is_bookkeeping(manifest, unique_id) or is_bookkeeping(manifest, _tested_model(manifest, unique_id)):
            continue
        for event in message.to_default_asset_events(manifest, TRANSLATOR, context, invocation.target_path, MODELS):
            if isinstance(event, dg.Output):
                metadata = {
                    **({"dagster/row_count": rows[unique_id]} if unique_id in rows else {}),
                    "clock": clock,
                    **event.metadata,
                    **_compiled_metadata(context, manifest, unique_id, invocation.target_path / "compiled"),
                }
                is_learnt_from = manifest["nodes"][unique_id]["name"] in FEATURES_AND_LABELS
                yield _output(str(event.output_name), metadata, code if is_learnt_from else None)
            elif isinstance(event, dg.AssetCheckResult) and not event.passed:
                failed[unique_id] = event
            else:
                yield event


def _output(name: str, metadata: Mapping[str, Any], code: str | None) -> dg.Output[None]:
    """Return the output of a model, with a data version if there is one."""
    with warnings.catch_warnings():
        # Dagster calls data versions beta, and would say so for every model
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Output(None, name, metadata=metadata, data_version=None if code is None else dg.DataVersion(code))


def _tested_model(manifest: Mapping[str, Any], unique_id: str) -> str:
    """Return the model of a generic test, or an empty text for any other node."""
    return manifest["nodes"].get(unique_id, {}).get("attached_node") or ""


def _compiled_metadata(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], unique_id: str, compiled: Path
) -> dict[str, Any]:
    """Return the metadata of a built model: its compiled SQL and its column lineage."""

    def asset_of(parent: str) -> dg.AssetKey | None:
        if parent.startswith("source.leadline.ml.") or is_bookkeeping(manifest, parent):
            return None
        return TRANSLATOR.get_asset_spec(manifest, parent, MODELS).key

    sql = compiled_sql(manifest, unique_id, compiled)
    found: dict[str, Any] = {"compiled_sql": dg.MetadataValue.md(f"```sql\n{sql}\n```")}
    try:
        lineage = column_lineage(manifest, unique_id, compiled, asset_of, lambda model: _hands_on(manifest, model))
    except SqlglotError as error:
        # a build does not stop because its SQL cannot be drawn
        context.log.info(f"{unique_id}: the origin of its columns is not shown ({str(error).splitlines()[0]}).")
        return found
    return {"dagster/column_lineage": lineage, **found}


def _with_rows(
    event: dg.AssetCheckResult, test: Mapping[str, Any], result: Mapping[str, Any], warehouse: Warehouse
) -> tuple[dg.AssetCheckResult, str]:
    """Return a failed data test with the first rows that do not fit, and a sentence about them."""
    with warehouse.connect() as connection:
        found = connection.execute(f"select * from ({result['compiled_code']}) as failing limit {SHOWN_ROWS}").df()
    tested_column = (test.get("test_metadata") or {}).get("kwargs", {}).get("column_name")
    columns = [name for i, name in enumerate(found.columns) if i < SHOWN_COLUMNS or name == tested_column]
    rows = found[columns].to_numpy(object).tolist()
    first_row = ", ".join(f"{name} {value}" for name, value in zip(columns, rows[0], strict=True)) if rows else "none"
    statement, number = (
        described_test(test),
        f"{result['failures']:,} {'row does' if result['failures'] == 1 else 'rows do'}",
    )
    asset = event.asset_key.to_user_string() if event.asset_key is not None else ""
    return (
        dg.AssetCheckResult(
            passed=False,
            asset_key=event.asset_key,
            check_name=event.check_name,
            severity=event.severity,
            description=f"{statement} {number} not fit; the first are below.",
            metadata={"first_rows": metadata_table(columns, rows), **(event.metadata or {})},
        ),
        f"{asset}, data test {event.check_name}: {statement.replace('`', '')} {number} not fit; "
        f"the first: {printable(first_row)}.",
    )
