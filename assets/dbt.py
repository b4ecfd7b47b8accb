"""The dbt project as Dagster sees it: its manifest, the asset specs of its models, and how a part of it is built."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version

from assets.environment import PROJECT, dbt_target
from models.artifacts import make_folder, set_aside, sha256
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from assets.resources import Horizons
    from assets.warehouse import Extraction, Warehouse

DBT_PROJECT = DbtProject(project_dir=PROJECT / "dbt_project", profiles_dir=PROJECT / "dbt_project")
DBT = str(Path(sys.executable).with_name("dbt"))
"""The dbt beside this interpreter: PATH may lead to another."""

INPUTS = (".sql", ".yml", ".md")
GENERATED = ("target", "logs")


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


class DbtParseError(RuntimeError):
    """The dbt project does not parse, or reads what is made of it; the message says where."""


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
        """Return the spec; what reads schema ``ml`` depends on the scores of every declared model.

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
        return spec.replace_attributes(deps=[*kept, *(dg.AssetKey(["scores", name]) for name in DECLARATIONS)])


def manifest_path() -> Path:
    """Return the path of the manifest for the engine of this process; parses the project where it has changed.

    Raises
    ------
    DbtParseError
        If the project does not parse.
    """
    target = DBT_PROJECT.project_dir / "target" / dbt_target()
    manifest, stamp = target / "manifest.json", target / "manifest.sha256"
    fingerprint = _fingerprint()
    if manifest.is_file() and stamp.is_file() and stamp.read_bytes() == _stamped(fingerprint, manifest):
        return manifest
    # several processes may load the code location at once: parse beside, then swap in
    make_folder(target)
    beside = target / f"parse-{os.getpid()}"
    parsed = subprocess.run(
        [DBT, "--quiet", "--no-use-colors", "parse", "--profiles-dir", str(DBT_PROJECT.profiles_dir),
         "--target-path", str(beside), "--log-path", str(beside)],
        cwd=DBT_PROJECT.project_dir, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if parsed.returncode != 0:
        raise DbtParseError(
            f"{DBT_PROJECT.project_dir}: dbt could not parse the project.\n{parsed.stdout}{parsed.stderr}"
        )
    for damaged in (each for each in (manifest, stamp) if each.is_dir()):
        set_aside(damaged)
    stamped = _stamped(fingerprint, beside / "manifest.json")
    (beside / "manifest.json").replace(manifest)
    stamp.write_bytes(stamped)
    for leftover in beside.iterdir():
        leftover.unlink()
    beside.rmdir()
    return manifest


def feature_code(view: str) -> str:
    """Return a hash of the SQL that makes a feature view: its own, that of every model it reads, and their macros.

    Parameters
    ----------
    view : str
        The name of the dbt model.

    Returns
    -------
    str
        64 hexadecimal digits. A changed comment changes them as well.
    """
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    seen: set[str] = set()
    ahead = [f"model.leadline.{view}"]
    while ahead:
        unique_id = ahead.pop()
        if unique_id in seen or unique_id.startswith("source."):
            continue
        seen.add(unique_id)
        node = manifest["macros" if unique_id.startswith("macro.") else "nodes"][unique_id]
        # macros of dbt and its adapters change with their versions, not with this project
        if node["package_name"] == "leadline":
            depends_on = node["depends_on"]
            ahead += sorted([*depends_on.get("nodes", []), *depends_on.get("macros", [])])
            digest.update(f"{unique_id}\0{node.get('raw_code') or node.get('macro_sql')}\0".encode())
    return digest.hexdigest()


def settings_of(extraction: Extraction, horizons: Horizons) -> dict[str, Any]:
    """Return the variables of the dbt project that an extraction and the settings decide, without its clock."""
    variables: dict[str, Any] = {
        "closing_outcomes": extraction.closing_outcomes,
        "closing_lead_statuses": extraction.closing_lead_statuses,
        "closing_project_statuses": extraction.closing_project_statuses,
        "silence_closes_after_days": extraction.silence_closes_after_days,
    }
    for declaration in DECLARATIONS.values():
        applied = horizons.applied(declaration, extraction.horizon_days)
        variables[f"{declaration.label}_horizon_days"] = applied.horizon_days
    return variables


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


def _stamped(fingerprint: str, manifest: Path) -> bytes:
    """Return what stands for a manifest and what it was made of: one that is damaged is made again."""
    return f"{fingerprint} {sha256(manifest)}".encode()


def _fingerprint() -> str:
    digest = hashlib.sha256()
    files: list[Path] = []
    for folder, folders, names in os.walk(DBT_PROJECT.project_dir):
        # not even looked into: another process may be removing what is in there
        folders[:] = [name for name in folders if name not in GENERATED]
        files += [Path(folder, name) for name in names if name.endswith(INPUTS)]
    for path in sorted(files):
        digest.update(f"{path.relative_to(DBT_PROJECT.project_dir)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
