"""Layer `marts`: the tables that BI reads, built by dbt from features and scores, and their published snapshot."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.dbt import Dbt, build, layer_assets
from assets.platform.freshness import NIGHTLY
from assets.platform.resources import WAREHOUSE_POOL
from assets.platform.tables import metadata_table
from assets.publishing.last_publication import recorded
from models.declared.registry import FEATURE_VIEWS, SCORED
from models.declaring.declaration import Horizons
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
from store.warehouse.engine import HISTORY, SCORES, Found, Standing, known_versions
from store.warehouse.postgres.marts import READER
from store.warehouse.warehouse import Warehouse


def mart_assets(manifest: Path) -> dg.AssetsDefinition:
    """Return the assets of the marts, one per dbt model.

    Parameters
    ----------
    manifest : Path
        Of the dbt project.
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

        A warehouse that has lost its history takes that of the published file back before dbt adds to it.
        """
        as_of = warehouse.built_extraction().as_of
        for view in FEATURE_VIEWS:
            compiled.require_proof(view, as_of)
        readers = warehouse.engine.readers(Path(publication.path), publication.group)
        with warehouse.connect() as connection:
            taken = readers.take_back(connection, _never_null, context.log.warning)
        if taken:
            context.log.warning(
                f"marts.{HISTORY}: {taken:,} rows that {warehouse.shown} did not have any more were taken back from "
                f"{readers.place}."
            )
        yield from build(context, dbt, warehouse, horizons)

    return marts.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=NIGHTLY))


def _never_null() -> list[str]:
    """Return the columns of the history that are never null."""
    node = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"][f"model.leadline.{HISTORY}"]
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
            "The marts, and nothing else, for readers, who keep what they have opened while the pipeline writes. Of a "
            "DuckDB file a copy; in a PostgreSQL database tables of schema marts, which are replaced in one "
            f"transaction and which the role {READER} can read."
        ),
        pool=WAREHOUSE_POOL,
    )
    def published_snapshot(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        publication: dg.ResourceParam[Publication],
    ) -> dg.MaterializeResult[Any]:
        """Publish the marts that dbt declares, and nothing that a build which was killed has left beside them.

        Raises
        ------
        dagster.Failure
            If readers would lose what they have, and no person has accepted that; what is published stays as it was.
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
                    f"{found.problem} What is published now is compared with what the home remembers of it: {counts}."
                )
            replacement = Replacement(
                published=published,
                built=built,
                lost=lost_by_groups(published, built) if found.lost is None else found.lost,
                known_versions=known_versions(connection),
            )
            if replacement.goes_back:
                context.log.warning(
                    f"marts.{SCORES}: the scores as of {built.as_of} take the place of later ones, as of "
                    f"{published.as_of}. marts.{HISTORY} keeps both."
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
                    "A person accepted that readers lose what was published:\n"
                    + "\n".join(f"- {each}." for each in losses)
                )

        with warehouse.connect() as connection:
            standing, metadata = readers.replace(connection, names, last, review, context.log.warning)
            publication.reached_readers()
            first_rows = _first_rows(connection, standing)
        try:
            write(Path(publication.record), Record(standing=standing, accepted=losses))
        except OSError as error:
            # readers have the scores; without the record they are compared with what readers have
            context.log.warning(f"{publication.record}: expected to keep what was published, found {error.strerror}.")
        return dg.MaterializeResult(
            metadata={
                "first_rows": first_rows,
                **metadata,
                "dagster/row_count": standing.rows[SCORES],
                "rows": dg.MetadataValue.json(dict(standing.rows)),
                **({"accepted": dg.MetadataValue.md(bullets(losses))} if losses else {}),
            }
        )

    return published_snapshot


def _first_rows(connection: Connection, published: Standing) -> dg.TableMetadataValue:
    """Return the ten rows of the published scores that a reader looks at first."""
    key, there = SCORED.entity.key, published.columns[SCORES]
    columns = [each for each in (key, *SCORED.previewed) if each in there]
    order = f"{SCORED.total} desc nulls last, " if SCORED.total in there else ""
    rows = connection.execute(f"select {', '.join(columns)} from marts.{SCORES} order by {order}{key} limit 10")
    return metadata_table(columns, rows.fetchall())
