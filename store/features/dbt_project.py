"""The dbt project as files: its manifest, the code of a feature view, and its variables."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.artifacts import make_folder, set_aside, sha256
from models.declared.registry import DECLARATIONS, FEATURE_VIEWS, label_horizons
from models.declaring.attribute import Attribute
from models.declaring.declaration import Horizons
from store.places import PROJECT
from store.settings import dbt_database, dbt_target
from store.source.contract import ENTITIES
from store.warehouse.warehouse import Extraction

DBT_PROJECT = PROJECT / "dbt_project"
DBT = str(Path(sys.executable).with_name("dbt"))
"""The dbt of this interpreter's environment: PATH may name another."""

PARSED_DBT = str(Path(__file__).with_name("parsed_dbt.py"))
"""The program that runs dbt without parsing the project."""

PARSED = ".msgpack"
"""The suffix of the file beside the manifest that holds all that dbt knows of the project once it is parsed."""

INPUTS = (".sql", ".yml", ".md")

GENERATED = ("target", "logs")

FEATURES_AND_LABELS = sorted({name for each in DECLARATIONS.values() for name in (each.feature_view.name, each.label)})
"""The feature views and labels of the declared models."""


class DbtParseError(RuntimeError):
    """The dbt project does not parse, or does not agree with the declared models; the message says where."""


def manifest_path(*, increment: bool = False) -> Path:
    """Return the path of the manifest for the warehouse of this process; parse the project first if it has changed.

    Parameters
    ----------
    increment : bool
        Whether the manifest is for an increment, which reads more models and keeps others as tables.

    Raises
    ------
    DbtParseError
        If the project does not parse.
    """
    target = DBT_PROJECT / "target" / dbt_target()
    name = "increment" if increment else "manifest"
    manifest, stamp = target / f"{name}.json", target / f"{name}.sha256"
    variables = {"features_and_labels": FEATURES_AND_LABELS, **({"built_load_number": 0} if increment else {})}
    fingerprint = _fingerprint(dbt_database())
    made = {"manifest.json": manifest, "partial_parse.msgpack": manifest.with_suffix(PARSED)}
    if all(each.is_file() for each in (*made.values(), stamp)) and stamp.read_bytes() == _stamped(
        fingerprint, *made.values()
    ):
        return manifest
    model_names = {path.stem for path in (DBT_PROJECT / "models").rglob("*.sql")}
    if missing := [name for name in FEATURES_AND_LABELS if name not in model_names]:
        raise DbtParseError(
            f"{DBT_PROJECT}/models: expected a dbt model for each feature view and label of the declared models, found "
            f"none named {', '.join(missing)}. Write it, or correct its name in models/declared."
        )
    # several processes may load the code location at once: each parses in a folder of its own, then moves the manifest
    make_folder(target)
    parse_folder = target / f"parse-{os.getpid()}"
    parsed = subprocess.run(
        [DBT, "--quiet", "--no-use-colors", "parse", "--profiles-dir", str(DBT_PROJECT),
         "--vars", json.dumps(variables),
         "--target-path", str(parse_folder), "--log-path", str(parse_folder)],
        cwd=DBT_PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if parsed.returncode != 0:
        raise DbtParseError(f"{DBT_PROJECT}: dbt could not parse the project.\n{parsed.stdout}{parsed.stderr}")
    for damaged in (each for each in (*made.values(), stamp) if each.is_dir()):
        set_aside(damaged)
    stamped = _stamped(fingerprint, *(parse_folder / each for each in made))
    for each, place in made.items():
        (parse_folder / each).replace(place)
    stamp.write_bytes(stamped)
    for leftover in parse_folder.iterdir():
        leftover.unlink()
    parse_folder.rmdir()
    return manifest


def described_columns(view: str, attributes: Iterable[Attribute]) -> dict[str, dict[str, Any]]:
    """Return the described columns of a feature view: those of the manifest, and the features of its attributes.

    Parameters
    ----------
    view : str
        The name of the dbt model.
    attributes : iterable of Attribute
        Those of the source.
    """
    node = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"][f"model.leadline.{view}"]
    columns: dict[str, dict[str, Any]] = dict(node["columns"])
    return columns | {
        each.column: {
            "name": each.column,
            "description": each.description,
            "data_type": each.data_type,
            "meta": {"group": "attribute", "unit": each.unit, "window": "as_of", "null_means": each.null_means},
        }
        for one in FEATURE_VIEWS[view].of_attributes(attributes)
        for each in one.features
    }


def check_labels(manifest: Path) -> None:
    """Refuse declarations whose label model lacks their label column, or does not read the variable of their horizon.

    Raises
    ------
    DbtParseError
        If a declaration has such a label model, or an entity that no source can have.
    """
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"]
    for each in DECLARATIONS.values():
        entity = each.feature_view.entity
        if (entity.of or entity.name) not in ENTITIES:
            raise DbtParseError(
                f"entity {entity.name!r}: expected `of` to be one of {', '.join(ENTITIES)}, to which it belongs, "
                f"found {entity.of!r}. Without it no source has one, and its models do nothing."
            )
        node = nodes[f"model.leadline.{each.label}"]
        described, variable = list(node["columns"]), f"{each.label}_horizon_days"
        if each.label_column not in described:
            raise DbtParseError(
                f"model {each.name!r}: expected label_column to be a column in the description of labels.{each.label} "
                f"({', '.join(described)}), found {each.label_column!r}. Correct it in models/declared, or describe it "
                "in the yml beside the label."
            )
        if variable not in node["raw_code"]:
            raise DbtParseError(
                f"dbt_project/{node['original_file_path']}: expected the variable {variable!r}, by which the horizon "
                f"of model {each.name!r} comes into its label, found none. Read it as the other labels do."
            )


def feature_code(view: str) -> str:
    """Return a hash of the SQL that makes a dbt model: its own, that of every model it reads, and their macros.

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
    waiting = [f"model.leadline.{view}"]
    while waiting:
        unique_id = waiting.pop()
        if unique_id in seen or unique_id.startswith("source."):
            continue
        seen.add(unique_id)
        node = manifest["macros" if unique_id.startswith("macro.") else "nodes"][unique_id]
        # macros of dbt and its adapters change with their versions, not with this project
        if node["package_name"] == "leadline":
            depends_on = node["depends_on"]
            waiting += sorted([*depends_on.get("nodes", []), *depends_on.get("macros", [])])
            digest.update(f"{unique_id}\0{node.get('raw_code') or node.get('macro_sql')}\0".encode())
    return digest.hexdigest()


def settings_of(extraction: Extraction, horizons: Horizons) -> dict[str, Any]:
    """Return the variables of the dbt project that follow from an extraction and the settings, without the clock.

    Raises
    ------
    DeclarationError
        If models that learn from one label have different horizons.
    """
    applied = [horizons.applied(declaration, extraction.horizon_days) for declaration in DECLARATIONS.values()]
    return {
        "features_and_labels": FEATURES_AND_LABELS,
        **extraction.closing,
        **extraction.ends,
        "attribute_features": [each.variable for one in extraction.attributes for each in one.features],
        "silence_closes_after_days": extraction.silence_closes_after_days,
        **{f"{label}_horizon_days": days for label, days in label_horizons(applied).items()},
    }


def _stamped(fingerprint: str, *made: Path) -> bytes:
    """Return the fingerprint of the project and the hashes of what dbt made of it: it parses again what is damaged."""
    return " ".join((fingerprint, *map(sha256, made))).encode()


def _fingerprint(database: str) -> str:
    digest = hashlib.sha256("\0".join((database, *FEATURES_AND_LABELS)).encode())
    files: list[Path] = []
    for folder, folders, names in os.walk(DBT_PROJECT):
        # these folders are not entered: another process may be removing files in them
        folders[:] = [name for name in folders if name not in GENERATED]
        files += [Path(folder, name) for name in names if name.endswith(INPUTS)]
    for path in sorted(files):
        digest.update(f"{path.relative_to(DBT_PROJECT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
