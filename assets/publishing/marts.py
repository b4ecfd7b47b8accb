"""Layer `marts`: the tables that BI reads, built by dbt from features and scores, and their published snapshot."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.dbt import Dbt, layer_assets
from assets.platform.dbt_build import build
from assets.platform.freshness import NIGHTLY
from assets.platform.resources import WAREHOUSE_POOL
from assets.platform.tables import metadata_table
from assets.publishing.last_publication import recorded
from models.declared.registry import FEATURE_VIEWS, SCORED_TABLES
from models.declaring.declaration import Horizons
from models.declaring.scored_table import ScoredTable
from models.markdown import bullets
from store.features.certificates import CompiledSql
from store.features.dbt_project import manifest_path
from store.publishing.publications import (
    Publication,
    Record,
    Replacement,
    digest,
    findings,
    lost_by_groups,
    refusal,
    write,
)
from store.warehouse.connection import Connection
from store.warehouse.engine import HISTORIES, Found, Standing, known_versions
from store.warehouse.postgres.marts import READER
from store.warehouse.warehouse import Warehouse


def mart_assets(manifest: Path) -> dg.AssetsDefinition:
    """Return the assets of the marts, one per dbt model.

    Parameters
    ----------
    manifest : Path
        The manifest of the dbt project.
    """

    @layer_assets(manifest, "marts", select="marts")
    def marts(
        context: dg.AssetExecutionContext,
        dbt: Dbt,
        warehouse: dg.ResourceParam[Warehouse],
        horizons: dg.ResourceParam[Horizons],
        compiled: dg.ResourceParam[CompiledSql],
        publication: dg.ResourceParam[Publication],
    ) -> Iterator[Any]:
        """Build the marts at the clock of the last extraction, whose features must be built and proved.

        First, rows of the histories that the warehouse has lost are taken back from the published file.
        """
        extraction = warehouse.built_extraction()
        for view in FEATURE_VIEWS:
            compiled.require_proof(view, extraction.as_of)
        readers = warehouse.engine.readers(Path(publication.path), publication.group)
        with warehouse.connect() as connection:
            taken_back = readers.take_back(connection, _never_null_columns, context.log.warning)
        for history, row_count in taken_back.items():
            if row_count:
                context.log.warning(
                    f"marts.{history}: {row_count:,} rows that {warehouse.shown} had lost were taken back from "
                    f"{readers.place}."
                )
        variables = {"value_currency": extraction.value_currency or ""}
        yield from build(context, dbt, warehouse, horizons, variables=variables)

    return marts.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=NIGHTLY))


def _never_null_columns(history: str) -> list[str]:
    """Return the columns of a history that are never null."""
    node = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"][f"model.leadline.{history}"]
    return [
        column["name"]
        for column in node["columns"].values()
        if any(constraint["type"] == "not_null" for constraint in column["constraints"])
    ]


def snapshot_asset(marts: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Return the asset that publishes the marts."""

    @dg.asset(
        key=keys.SNAPSHOT,
        deps=sorted(marts.keys),
        group_name="marts",
        kinds={"sql"},
        owners=["team:analytics"],
        freshness_policy=NIGHTLY,
        description=(
            "The marts alone, for readers, who can go on reading while the pipeline writes. A DuckDB warehouse "
            "publishes a copy in a file. A PostgreSQL warehouse replaces the tables of schema marts in one "
            f"transaction, and the role {READER} can read them."
        ),
        pool=WAREHOUSE_POOL,
    )
    def published_snapshot(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        publication: dg.ResourceParam[Publication],
    ) -> dg.MaterializeResult[Any]:
        """Publish the marts that dbt declares, without other tables that a killed build has left.

        Raises
        ------
        dagster.Failure
            If readers would lose published data and no person has accepted that; the published marts are unchanged.
        """
        names = sorted(key.path[-1] for key in marts.keys)
        last = recorded(publication, context.instance)
        readers = warehouse.engine.readers(Path(publication.path), publication.group)
        losses: list[str] = []

        def review(connection: Connection, found: Found, built: Standing) -> None:
            published = found.standing.completed_by(last)
            if found.problem is not None and published.rows:
                counts = ", ".join(f"{rows:,} rows of {name}" for name, rows in published.rows.items())
                context.log.warning(
                    f"{found.problem} The new marts are compared with the record of the last publication: {counts}."
                )
            replacement = Replacement(
                published=published,
                built=built,
                lost={name: lost_by_groups(published, built, name) for name in HISTORIES} | dict(found.lost),
                known_versions=known_versions(connection),
            )
            for name, table in SCORED_TABLES.items():
                if replacement.goes_back(name):
                    context.log.warning(
                        f"marts.{name}: the scores as of {built.as_of[name]} take the place of later ones, those as of "
                        f"{published.as_of[name]}. marts.{table.history} keeps both."
                    )
            losses.extend(findings(replacement))
            if losses and not publication.accepts(digest(losses)):
                raise dg.Failure(
                    description=refusal(
                        replacement,
                        losses,
                        where=readers.where,
                        built=f"schema {warehouse.engine.marts} of {warehouse.shown}",
                        as_of=warehouse.extraction(connection).as_of.isoformat(),
                    ),
                    allow_retries=False,
                )
            if losses:
                context.log.warning(
                    "A person accepted these losses of published data:\n" + "\n".join(f"- {each}." for each in losses)
                )

        with warehouse.connect() as connection:
            standing, metadata = readers.replace(connection, names, last, review, context.log.warning)
            publication.reached_readers()
            previews = {
                f"first_rows_{name}": _first_rows(connection, table, standing.columns[name])
                for name, table in SCORED_TABLES.items()
                if standing.rows[name]
            }
        try:
            write(Path(publication.record), Record(standing=standing, accepted=losses))
        except OSError as error:
            # no failure: readers have the marts, and the next publication is compared with these
            context.log.warning(f"{publication.record}: expected to record this publication, found {error.strerror}.")
        return dg.MaterializeResult(
            metadata={
                **previews,
                **metadata,
                "dagster/row_count": sum(standing.rows[name] for name in SCORED_TABLES),
                "rows": dg.MetadataValue.json(dict(standing.rows)),
                **({"accepted": dg.MetadataValue.md(bullets(losses))} if losses else {}),
            }
        )

    return published_snapshot


def _first_rows(connection: Connection, table: ScoredTable, published: Sequence[str]) -> dg.TableMetadataValue:
    """Return the first ten rows of a published table, the highest first, from its published columns."""
    key = table.entity.key
    columns = [each for each in (key, *table.previewed) if each in published]
    order = f"{table.highest_first} desc nulls last, " if table.highest_first in published else ""
    rows = connection.execute(f"select {', '.join(columns)} from marts.{table.name} order by {order}{key} limit 10")
    return metadata_table(columns, rows.fetchall())
