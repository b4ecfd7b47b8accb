"""Layer `marts`: the tables that BI reads, built by dbt from features and scores, and their published snapshot."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import dbt_assets

from assets.database_marts import READER, publish
from assets.dbt import DBT_PROJECT, Dbt, Translator, build, manifest_path
from assets.resources import WAREHOUSE_POOL, CompiledSql, Horizons, Publication
from assets.warehouse import Warehouse
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READABLE_FROM = "v1.2.0"
"""The earliest DuckDB that reads the published file. By default DuckDB 2 writes what no earlier version can open."""


@dbt_assets(
    manifest=manifest_path(),
    project=DBT_PROJECT,
    select="marts",
    name="marts",
    dagster_dbt_translator=Translator(),
    pool=WAREHOUSE_POOL,
)
def marts(
    context: dg.AssetExecutionContext, dbt: Dbt, warehouse: Warehouse, horizons: Horizons, compiled: CompiledSql
) -> Iterator[Any]:
    """Build the marts at the clock of the last extraction, whose features must be built and proved."""
    as_of = warehouse.built_extraction().as_of
    for view in dict.fromkeys(declaration.feature_view.name for declaration in DECLARATIONS.values()):
        compiled.require_proof(view, as_of)
    yield from build(context, dbt, warehouse, horizons)


@dg.asset(
    key=["published", "snapshot"],
    deps=sorted(marts.keys),
    group_name="marts",
    kinds={"sql"},
    owners=["team:analytics"],
    description=(
        "The marts, and nothing else, for readers, who keep what they have opened while the pipeline writes. Of a "
        "DuckDB file a copy; in a PostgreSQL database tables of schema marts, which are replaced in one "
        f"transaction and which the role {READER} can read."
    ),
    pool=WAREHOUSE_POOL,
)
def published_snapshot(
    context: dg.AssetExecutionContext, warehouse: Warehouse, publication: Publication
) -> dg.MaterializeResult[Any]:
    """Publish the marts that dbt declares, and nothing that a build which was killed has left beside them."""
    names = sorted(key.path[-1] for key in marts.keys)
    if not warehouse.is_file:
        counts = publish(warehouse, names, context.log.warning)
        return dg.MaterializeResult(
            metadata={
                "schema": f"{warehouse.shown}, schema marts",
                "dagster/row_count": counts["lead_scores"],
                "rows": dg.MetadataValue.json(counts),
            }
        )
    path = Path(publication.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    for leftover in (unfinished, unfinished.with_name(f"{unfinished.name}.wal")):
        leftover.unlink(missing_ok=True)
    with warehouse.analyze() as connection:
        counts = _copy_marts(connection, names, unfinished)
    # open readers keep the file that they opened; the next one to open gets this
    unfinished.replace(path)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(path),
            "dagster/row_count": counts["lead_scores"],
            "rows": dg.MetadataValue.json(counts),
            "size_bytes": path.stat().st_size,
        }
    )


def _copy_marts(connection: "DuckDBPyConnection", names: Sequence[str], path: Path) -> dict[str, int]:
    described = (
        "schema_name = 'marts' and database_name = current_database() and comment is not null "
        "and list_contains($1, table_name)"
    )
    comments = connection.execute(
        f"select 'table', table_name, null, comment from duckdb_tables() where {described} union all "
        f"select 'column', table_name, column_name, comment from duckdb_columns() where {described}",
        [names],
    ).fetchall()
    connection.execute(f"attach ? as snapshot (storage_version '{READABLE_FROM}')", [str(path)])
    counts = {}
    try:
        connection.execute("create schema snapshot.marts")
        for name in names:
            connection.execute(f'create table snapshot.marts."{name}" as from marts."{name}"')
            counts[name] = connection.execute(f'select count(*) from snapshot.marts."{name}"').fetchall()[0][0]
        for kind, table, column, comment in comments:
            name = f'"{table}"' if column is None else f'"{table}"."{column}"'
            text = comment.replace("'", "''")
            connection.execute(f"comment on {kind} snapshot.marts.{name} is '{text}'")
    finally:
        connection.execute("detach snapshot")
    return counts
