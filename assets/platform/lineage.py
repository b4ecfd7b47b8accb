"""The columns from which each column of a dbt model is made, read from its compiled SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.lineage import lineage

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A column from which a column of a model is made.

    Attributes
    ----------
    table : str
        With its schema.
    column : str
    asset : AssetKey or None
        None for a table of schema ``ml``, which is no asset.
    """

    table: str
    column: str
    asset: dg.AssetKey | None


def column_origins(
    manifest: Mapping[str, Any],
    unique_id: str,
    compiled: Path,
    asset_of: Callable[[str], dg.AssetKey | None],
    is_expanded: Callable[[str], bool],
) -> dict[str, list[Origin]]:
    """Return the columns that each column of a model is made from.

    Parameters
    ----------
    manifest : mapping
        The manifest of the dbt project.
    unique_id : str
        The model, as dbt identifies it.
    compiled : Path
        The folder into which dbt wrote the compiled SQL of the project.
    asset_of : callable
        Returns the asset of a model or source by its unique identifier, or None if it has no asset.
    is_expanded : callable
        Says whether a model without an asset is replaced by the columns that it reads. Others are left out.

    Raises
    ------
    sqlglot.errors.SqlglotError
        If the SQL cannot be read.
    """
    dialect = manifest["metadata"]["adapter_type"]
    expanded: dict[str, str] = {}
    tables: dict[tuple[str, str], dg.AssetKey | None] = {}
    unread_models = [unique_id]
    while unread_models:
        for parent in manifest["nodes"][unread_models.pop()]["depends_on"]["nodes"]:
            is_source = parent.startswith("source.")
            node = manifest["sources" if is_source else "nodes"][parent]
            if (key := asset_of(parent)) is not None or is_source:
                tables[node["schema"], node.get("alias") or node["identifier"]] = key
            elif is_expanded(parent) and node["relation_name"] not in expanded:
                expanded[node["relation_name"]] = compiled_sql(manifest, parent, compiled)
                unread_models.append(parent)
    # trimming would copy the SQL for every column; without it a model of 150 columns takes a tenth of a second
    top_nodes = lineage(
        None,
        compiled_sql(manifest, unique_id, compiled),
        schema=_columns(manifest),
        sources=expanded or None,
        dialect=dialect,
        trim_selects=False,
    )
    return {
        column: [
            Origin(table=".".join(table), column=name, asset=tables[table])
            for table, name in sorted(_origins(top))
            if table in tables
        ]
        for column, top in top_nodes.items()
    }


def _columns(manifest: Mapping[str, Any]) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """Return the described columns of all models and sources, by database, schema and name, with their types.

    Models that have further columns, one per attribute, are left out: sqlglot then takes any column for one of theirs.
    """
    found: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for node in (*manifest["nodes"].values(), *manifest["sources"].values()):
        has_further = node["config"].get("meta", {}).get("has_further_columns")
        if node["resource_type"] in ("model", "source") and node["columns"] and not has_further:
            columns = {column: each.get("data_type") or "text" for column, each in node["columns"].items()}
            relations = found.setdefault(node["database"], {}).setdefault(node["schema"], {})
            relations[node.get("alias") or node["identifier"]] = columns
    return found


def _origins(top: Any) -> set[tuple[tuple[str, str], str]]:
    """Return the table columns at the end of a column's lineage, as ((schema, table), column)."""
    return {
        ((table.db, table.name), exp.to_column(node.name).name)
        for node in top.walk()
        if not node.downstream and (table := node.expression.find(exp.Table)) is not None
    }


def compiled_sql(manifest: Mapping[str, Any], unique_id: str, compiled: Path) -> str:
    """Return the SQL of a model that dbt has compiled into a folder."""
    node = manifest["nodes"][unique_id]
    return (compiled / node["package_name"] / node["original_file_path"]).read_text(encoding="utf-8")
