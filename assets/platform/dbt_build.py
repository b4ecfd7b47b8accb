"""Build a part of the dbt project in a step: each model and data test is reported when it ends."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from sqlglot.errors import SqlglotError

from assets.platform.beta import without_beta_warnings
from assets.platform.dbt import MODELS, TRANSLATOR, Dbt, described_test, hands_on, is_bookkeeping, is_of_ledger
from assets.platform.lineage import column_origins, compiled_sql
from assets.platform.tables import metadata_table
from models.declaring.declaration import Horizons
from models.markdown import markdown_table, printable
from store.features.dbt_project import DBT_PROJECT, FEATURES_AND_LABELS, manifest_path, settings_of
from store.features.parsed_dbt import in_parts
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from dagster_dbt.core.dbt_cli_invocation import DbtCliInvocation

SHOWN_ROWS = 10
"""The number of rows that a failed data test shows."""

SHOWN_COLUMNS = 4
"""The number of first columns that are shown with the tested one: every model begins with its key."""

_ROW_COUNT = re.compile(r"rows (\d+)")
"""The line that the macro ``report_row_count`` writes into dbt's log."""


class DataTestError(RuntimeError):
    """Data tests of dbt models failed; the message names them, their statements and the first rows that do not fit."""


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
                 *in_parts(json.dumps(all_variables)), *options]  # fmt: skip
    dbt = dbt.parsed(manifest_path(increment=all_variables.get("built_load_number") is not None))
    if select is None:
        invocation = dbt.cli(arguments, context=context)
    else:
        # named as dagster-dbt names the folders of steps
        folder = f"{context.op_execution_context.op.name}-{context.run_id[:7]}-{uuid4().hex[:7]}"
        invocation = dbt.cli(
            [*arguments, "--select", select],
            manifest=manifest_path(),
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
    results = (
        {each["unique_id"]: each for each in json.loads(output.read_bytes())["results"]} if output.exists() else {}
    )
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
    # data versions are beta
    with without_beta_warnings():
        return dg.Output(None, name, metadata=metadata, data_version=None if code is None else dg.DataVersion(code))


def _tested_model(manifest: Mapping[str, Any], unique_id: str) -> str:
    """Return the model of a generic test, or an empty text for any other node."""
    return manifest["nodes"].get(unique_id, {}).get("attached_node") or ""


def _compiled_metadata(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], unique_id: str, compiled: Path
) -> dict[str, Any]:
    """Return the metadata of a built model: its compiled SQL and the origins of its columns."""

    def asset_of(parent: str) -> dg.AssetKey | None:
        if is_of_ledger(parent) or is_bookkeeping(manifest, parent):
            return None
        return TRANSLATOR.get_asset_spec(manifest, parent, MODELS).key

    sql = compiled_sql(manifest, unique_id, compiled)
    found: dict[str, Any] = {"compiled_sql": dg.MetadataValue.md(f"```sql\n{sql}\n```")}
    try:
        columns = column_origins(manifest, unique_id, compiled, asset_of, lambda model: hands_on(manifest, model))
    except SqlglotError as error:
        # a build does not stop because its SQL cannot be drawn
        context.log.info(f"{unique_id}: the origin of its columns is not shown ({str(error).splitlines()[0]}).")
        return found
    lineage = {
        name: [dg.TableColumnDep(each.asset, each.column) for each in origins if each.asset is not None]
        for name, origins in columns.items()
    }
    made_from = (
        (name, ", ".join(f"{each.table}.{each.column}" for each in origins) or "no column")
        for name, origins in columns.items()
    )
    return {
        # the UI of Dagster's open source does not show it
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
        "column_origins": dg.MetadataValue.md(markdown_table(("column", "made from"), made_from)),
        **found,
    }


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
    statement = described_test(test)
    number = f"{result['failures']:,} {'row does' if result['failures'] == 1 else 'rows do'}"
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
