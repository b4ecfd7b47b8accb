"""Layer `reports`: the dbt docs, one page that describes every table and column with its lineage.

The page comes with dbt, and ``dbt docs generate --static`` fills it with a manifest and a catalog. This module fills
the page in the same way without starting dbt again, because the start takes longer than everything else.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL
from models.artifacts import replace_file
from models.declared.registry import FEATURE_VIEWS, SCORED_TABLES
from store.artifacts import ArtifactStore
from store.features.dbt_project import described_columns, manifest_path
from store.pages import UnknownPageError, in_script, with_policy
from store.warehouse.connection import Connection
from store.warehouse.engine import HISTORIES
from store.warehouse.warehouse import Warehouse

MANIFEST, CATALOG = '"MANIFEST.JSON INLINE DATA"', '"CATALOG.JSON INLINE DATA"'
"""The placeholders in dbt's page."""

_COLUMNS = (
    "select table_schema, table_name, column_name, ordinal_position, data_type || "
    # DuckDB's name of the type says how many digits there are, PostgreSQL's does not
    "case when data_type = 'numeric' and numeric_precision is not null "
    "then '(' || numeric_precision || ',' || numeric_scale || ')' else '' end "
    "from information_schema.columns where table_catalog = current_database() "
    "order by table_schema, table_name, ordinal_position"
)


_VIEWS = (
    "select table_schema, table_name from information_schema.tables "
    "where table_type = 'VIEW' and table_catalog = current_database()"
)


class DocsPageError(UnknownPageError):
    """The page that comes with dbt is not the page that this module can fill."""


@dg.asset(
    key=keys.DBT_DOCS,
    deps=[keys.mart(name) for name in (*SCORED_TABLES, *HISTORIES)],
    group_name="reports",
    kinds={"dbt"},
    owners=["team:data-engineering"],
    description=(
        "The dbt docs: every table and column described, with its type, SQL and lineage, as one page that needs no "
        "network. It changes with the project and the tables' columns, and not from run to run."
    ),
    pool=WAREHOUSE_POOL,
)
def dbt_docs(
    warehouse: dg.ResourceParam[Warehouse], artifacts: dg.ResourceParam[ArtifactStore]
) -> dg.MaterializeResult[Any]:
    """Write the page if it differs from the existing one."""
    # this module holds the path of the page, and imports nothing of dbt that takes seconds
    from dbt.task.docs import DOCS_INDEX_FILE_PATH

    with warehouse.connect() as connection:
        database = str(connection.execute("select current_database()").fetchall()[0][0])
        tables = columns_by_table(connection)
        attributes = warehouse.extraction(connection).attributes
        views = set(connection.execute(_VIEWS).fetchall())
    manifest = published_manifest(json.loads(manifest_path().read_text(encoding="utf-8")), database)
    for view in FEATURE_VIEWS.values():
        manifest["nodes"][f"model.leadline.{view.name}"]["columns"] = described_columns(view.name, attributes)
    catalog = catalog_of(manifest, tables, views)
    text = page(Path(DOCS_INDEX_FILE_PATH), manifest, catalog)
    if not artifacts.docs.is_file() or artifacts.docs.read_bytes() != text.encode():
        replace_file(artifacts.docs, text)
    found = [*catalog["nodes"].values(), *catalog["sources"].values()]
    return dg.MaterializeResult(
        metadata={
            "docs": dg.MetadataValue.url(artifacts.report_address(artifacts.docs)),
            "path": dg.MetadataValue.path(artifacts.docs),
            "tables": len(found),
            "columns": sum(len(table["columns"]) for table in found),
        }
    )


def columns_by_table(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the columns of the tables and views of a warehouse, by schema and name, in the form of dbt's catalog."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for schema, name, column, index, data_type in connection.execute(_COLUMNS).fetchall():
        columns = tables.setdefault((schema, name), {})
        columns[column] = {"name": column, "index": index, "type": data_type, "comment": None}
    return tables


def published_manifest(manifest: Mapping[str, Any], database: str) -> dict[str, Any]:
    """Return a manifest without facts on the machine and the time of parsing, and without the macros of other packages.

    Parameters
    ----------
    manifest : mapping
        As dbt writes it (schema version 12). It may have been parsed for another database.
    database : str
        The name of the database whose tables are described.
    """
    private_fields = {"created_at", "build_path", "compiled_path", "root_path"}
    published = dict(manifest)
    for section in ("nodes", "sources", "macros", "docs", "unit_tests"):
        published[section] = {
            unique_id: {name: value for name, value in each.items() if name not in private_fields}
            for unique_id, each in manifest[section].items()
            if section != "macros" or each["package_name"] == "leadline"
        }
    for each in [*published["nodes"].values(), *published["macros"].values()]:
        own_macros = [macro for macro in each["depends_on"].get("macros", []) if macro in published["macros"]]
        each["depends_on"] = {**each["depends_on"], "macros": own_macros}
    for each in [*published["nodes"].values(), *published["sources"].values()]:
        each["database"] = database
        if each["relation_name"]:
            each["relation_name"] = f'"{database}"."{each["schema"]}"."{each.get("alias") or each["identifier"]}"'
    metadata_fields = ("dbt_schema_version", "dbt_version", "project_name", "adapter_type")
    published["metadata"] = {
        **{name: manifest["metadata"][name] for name in metadata_fields},
        # the page would report each reader to the makers of dbt
        "send_anonymous_usage_stats": False,
    }
    return published


def catalog_of(
    manifest: Mapping[str, Any],
    tables: Mapping[tuple[str, str], Mapping[str, Any]],
    views: Collection[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the catalog of those models and sources of a manifest that exist as tables or views."""
    catalog: dict[str, Any] = {"metadata": {}, "nodes": {}, "sources": {}, "errors": None}
    for section, identifier in (("nodes", "alias"), ("sources", "identifier")):
        for unique_id, each in manifest[section].items():
            schema, name = each["schema"], each[identifier]
            if (schema, name) not in tables:
                continue
            # the project decides for a model: the database may have a table where a whole build makes a view
            is_view = each["config"]["materialized"] == "view" if section == "nodes" else (schema, name) in views
            catalog[section][unique_id] = {
                "unique_id": unique_id,
                "metadata": {
                    "type": "VIEW" if is_view else "BASE TABLE",
                    "database": each["database"],
                    "schema": schema,
                    "name": name,
                    # dbt would put the name of a database user here
                    "owner": None,
                },
                "columns": tables[schema, name],
                "stats": {},
            }
    return catalog


def page(template: Path, manifest: Mapping[str, Any], catalog: Mapping[str, Any]) -> str:
    """Return dbt's page, filled with a manifest and a catalog.

    Parameters
    ----------
    template : Path
        The page as it comes with dbt.
    manifest, catalog : mapping

    Raises
    ------
    DocsPageError
        If the page does not have exactly one placeholder for each.
    """
    text = with_policy(template.read_text(encoding="utf-8"))
    for placeholder, content in ((MANIFEST, manifest), (CATALOG, catalog)):
        if (found := text.count(placeholder)) != 1:
            raise DocsPageError(
                f"{template}: expected {placeholder} once, as the page of dbt 1.11 has it, found it {found} times. "
                "Install the dbt-core of requirements.lock, or adapt assets/publishing/documentation.py to the new "
                "page."
            )
        text = text.replace(placeholder, in_script(json.dumps(content)))
    return text
