"""Layer `reports`: the dbt docs, one page that says what each table and column is, and what it is made from.

It is dbt's own page, which ``dbt docs generate --static`` fills with a manifest and a catalog. Starting dbt once more
takes longer than all the rest of it, and the manifest is at hand: the page is filled here, with what dbt would fill in.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL
from models.artifacts import replace_file
from store.artifacts import ArtifactStore
from store.features.dbt_project import manifest_path
from store.pages import UnknownPageError, in_script, with_policy
from store.warehouse.connection import Connection
from store.warehouse.engine import HISTORY, SCORES
from store.warehouse.warehouse import Warehouse

MANIFEST, CATALOG = '"MANIFEST.JSON INLINE DATA"', '"CATALOG.JSON INLINE DATA"'
"""What stands in dbt's page for the two."""

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
    """The page that comes with dbt is not the one that this module knows how to fill."""


@dg.asset(
    key=keys.DBT_DOCS,
    deps=[keys.mart(SCORES), keys.mart(HISTORY)],
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
    """Write the page where it differs from the one that is there."""
    # the page's path, and nothing of dbt itself, which takes seconds to load
    from dbt.task.docs import DOCS_INDEX_FILE_PATH

    with warehouse.connect() as connection:
        database = str(connection.execute("select current_database()").fetchall()[0][0])
        tables = columns_by_table(connection)
        views = set(connection.execute(_VIEWS).fetchall())
    manifest = published_manifest(json.loads(manifest_path().read_text(encoding="utf-8")), database)
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
    """Return the columns of the tables and views of a warehouse, by schema and name, as a catalog of dbt has them."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for schema, name, column, index, data_type in connection.execute(_COLUMNS).fetchall():
        columns = tables.setdefault((schema, name), {})
        columns[column] = {"name": column, "index": index, "type": data_type, "comment": None}
    return tables


def published_manifest(manifest: Mapping[str, Any], database: str) -> dict[str, Any]:
    """Return what a manifest says of the project, without what it tells of the machine, the moment and dbt itself.

    Parameters
    ----------
    manifest : mapping
        As dbt writes it (schema version 12). It may have been parsed for another database.
    database : str
        The name of the one whose tables are described.
    """
    told = {"created_at", "build_path", "compiled_path", "root_path"}
    shown = dict(manifest)
    for section in ("nodes", "sources", "macros", "docs", "unit_tests"):
        shown[section] = {
            unique_id: {name: value for name, value in each.items() if name not in told}
            for unique_id, each in manifest[section].items()
            if section != "macros" or each["package_name"] == "leadline"
        }
    for each in [*shown["nodes"].values(), *shown["macros"].values()]:
        own = [macro for macro in each["depends_on"].get("macros", []) if macro in shown["macros"]]
        each["depends_on"] = {**each["depends_on"], "macros": own}
    for each in [*shown["nodes"].values(), *shown["sources"].values()]:
        each["database"] = database
        if each["relation_name"]:
            each["relation_name"] = f'"{database}"."{each["schema"]}"."{each.get("alias") or each["identifier"]}"'
    kept = ("dbt_schema_version", "dbt_version", "project_name", "adapter_type")
    shown["metadata"] = {
        **{name: manifest["metadata"][name] for name in kept},
        # the page would report each reader to the makers of dbt
        "send_anonymous_usage_stats": False,
    }
    return shown


def catalog_of(
    manifest: Mapping[str, Any],
    tables: Mapping[tuple[str, str], Mapping[str, Any]],
    views: Collection[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the catalog of a manifest's models and sources; those that are not built are not in it."""
    catalog: dict[str, Any] = {"metadata": {}, "nodes": {}, "sources": {}, "errors": None}
    for section, identifier in (("nodes", "alias"), ("sources", "identifier")):
        for unique_id, each in manifest[section].items():
            schema, name = each["schema"], each[identifier]
            if (schema, name) not in tables:
                continue
            # of a model what the project says: an increment may find a table where a whole build makes a view
            is_view = each["config"]["materialized"] == "view" if section == "nodes" else (schema, name) in views
            catalog[section][unique_id] = {
                "unique_id": unique_id,
                "metadata": {
                    "type": "VIEW" if is_view else "BASE TABLE",
                    "database": each["database"],
                    "schema": schema,
                    "name": name,
                    # it would be the name of a user of the database
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
        If there is not exactly one place for each in it.
    """
    text = with_policy(template.read_text(encoding="utf-8"))
    for place, content in ((MANIFEST, manifest), (CATALOG, catalog)):
        if (found := text.count(place)) != 1:
            raise DocsPageError(
                f"{template}: expected {place} once, as the page of dbt 1.11 has it, found it {found} times. Install "
                "the dbt-core of requirements.lock, or adapt assets/publishing/documentation.py to the new page."
            )
        text = text.replace(place, in_script(json.dumps(content)))
    return text
