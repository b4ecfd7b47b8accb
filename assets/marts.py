"""Layer `marts`: the tables that BI reads, built by dbt from features and scores, and their published snapshot."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import dbt_assets

from assets.database_marts import READER, publish
from assets.dbt import DBT_PROJECT, Dbt, Translator, build, manifest_path
from assets.file_marts import attached, copy_marts, of_readers, take_back
from assets.last_publication import KEY, recorded
from assets.permissions import open_to_group
from assets.publications import (
    HISTORY,
    Record,
    Replacement,
    Standing,
    digest,
    findings,
    known_versions,
    lost_by_groups,
    measure,
    refusal,
    write,
)
from assets.resources import WAREHOUSE_POOL, CompiledSql, Horizons, Publication
from assets.warehouse import Warehouse
from models.artifacts import make_folder, set_aside
from models.markdown import bullets
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets.warehouse import Connection


@dbt_assets(
    manifest=manifest_path(),
    project=DBT_PROJECT,
    select="marts",
    name="marts",
    dagster_dbt_translator=Translator(),
    pool=WAREHOUSE_POOL,
)
def marts(
    context: dg.AssetExecutionContext,
    dbt: Dbt,
    warehouse: Warehouse,
    horizons: Horizons,
    compiled: CompiledSql,
    publication: Publication,
) -> Iterator[Any]:
    """Build the marts at the clock of the last extraction, whose features must be built and proved.

    A warehouse that has lost its history takes that of the published file back before dbt adds to it.
    """
    as_of = warehouse.built_extraction().as_of
    for view in dict.fromkeys(declaration.feature_view.name for declaration in DECLARATIONS.values()):
        compiled.require_proof(view, as_of)
    if warehouse.is_file:
        _take_history_back(context, warehouse, Path(publication.path))
    yield from build(context, dbt, warehouse, horizons)


def _take_history_back(context: dg.AssetExecutionContext, warehouse: Warehouse, path: Path) -> None:
    import duckdb

    node = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"][f"model.leadline.{HISTORY}"]
    required = [
        column["name"]
        for column in node["columns"].values()
        if any(constraint["type"] == "not_null" for constraint in column["constraints"])
    ]
    with warehouse.analyze() as connection, attached(connection, path) as problem:
        # a file that cannot be read is reported when it is replaced
        if problem is not None:
            return
        try:
            taken = take_back(connection, required)
        except duckdb.Error as error:
            context.log.warning(f"{path}: expected the published history, found that it cannot be read ({error}).")
            return
    if taken:
        context.log.warning(
            f"marts.{HISTORY}: {taken:,} rows that {warehouse.shown} did not have any more were taken back from {path}."
        )


@dg.asset(
    key=KEY,
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
    """Publish the marts that dbt declares, and nothing that a build which was killed has left beside them.

    Raises
    ------
    dagster.Failure
        If readers would lose what they have, and no person has accepted that; what is published stays as it was.
    """
    names = sorted(key.path[-1] for key in marts.keys)
    last = recorded(publication, context.instance)
    if warehouse.is_file:
        accepted, standing, metadata = _publish_file(context, warehouse, publication, names, last)
    else:
        accepted, standing, metadata = _publish_tables(context, warehouse, publication, names, last)
    try:
        write(Path(publication.record), Record(standing=standing, accepted=accepted))
    except OSError as error:
        # readers have the scores; without the record they are compared with what readers have
        context.log.warning(f"{publication.record}: expected to keep what was published, found {error.strerror}.")
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "dagster/row_count": standing.rows["lead_scores"],
            "rows": dg.MetadataValue.json(dict(standing.rows)),
            **({"accepted": dg.MetadataValue.md(bullets(accepted))} if accepted else {}),
        }
    )


def _publish_file(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    publication: Publication,
    names: "Sequence[str]",
    last: Standing,
) -> tuple[list[str], Standing, "Mapping[str, Any]"]:
    """Swap the published file; return which losses were accepted, what it holds now, and metadata."""
    import duckdb

    path = Path(publication.path)
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.unfinished")
    _remove(unfinished)
    with warehouse.analyze() as connection:
        built = measure(connection, names)
        found, lost, problem = of_readers(connection, path, names)
        published = found.completed_by(last)
        if problem is not None and published.rows:
            context.log.warning(f"{problem} {_compared_with_the_record(published)}")
        replacement = Replacement(
            published=published,
            built=built,
            lost=lost_by_groups(published, built) if lost is None else lost,
            known_versions=known_versions(connection),
        )
        accepted = _accepted(context, warehouse, publication, connection, replacement)
        try:
            copy_marts(connection, names, unfinished)
        except duckdb.Error:
            # of a full disk, the half that was written takes up room
            _remove(unfinished)
            raise
    open_to_group(unfinished, publication.group)
    if path.is_dir():
        set_aside(path)
    # open readers keep the file that they opened; the next one to open gets this
    unfinished.replace(path)
    return accepted, built, {"path": dg.MetadataValue.path(path), "size_bytes": path.stat().st_size}


def _remove(unfinished: Path) -> None:
    for leftover in (unfinished, *unfinished.parent.glob(f"{unfinished.name}.wal*")):
        if leftover.is_dir():
            set_aside(leftover)
        leftover.unlink(missing_ok=True)


def _publish_tables(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    publication: Publication,
    names: "Sequence[str]",
    last: Standing,
) -> tuple[list[str], Standing, "Mapping[str, Any]"]:
    """Replace the tables of a database; return which losses were accepted, what they hold now, and metadata."""
    accepted: list[str] = []

    def review(connection: "Connection") -> None:
        found = measure(connection, names)
        published, built = found.completed_by(last), measure(connection, names, schema=warehouse.marts)
        if missing := [name for name in published.rows if name not in found.rows]:
            context.log.warning(
                f"{warehouse.shown}: expected what was published last, found no {' and no '.join(missing)} in schema "
                f"marts. {_compared_with_the_record(published)}"
            )
        # a history that is there only gains rows and columns
        stays = HISTORY in found.rows
        replacement = Replacement(
            published=published,
            built=built.with_columns_of(published, HISTORY) if stays else built,
            lost=0 if stays else lost_by_groups(published, built),
            known_versions=known_versions(connection),
        )
        accepted.extend(_accepted(context, warehouse, publication, connection, replacement))

    publish(warehouse, names, context.log.warning, review)
    with warehouse.connect() as connection:
        standing = measure(connection, names)
    return accepted, standing, {"schema": f"{warehouse.shown}, schema marts"}


def _compared_with_the_record(published: Standing) -> str:
    counts = ", ".join(f"{rows:,} rows of {name}" for name, rows in published.rows.items())
    return f"What is published now is compared with what the home remembers of it: {counts}."


def _accepted(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    publication: Publication,
    connection: "Connection",
    replacement: Replacement,
) -> list[str]:
    """Return what readers lose and a person has accepted, or refuse the publication."""
    published, built = replacement.published, replacement.built
    if replacement.goes_back:
        context.log.warning(
            f"marts.lead_scores: the scores as of {built.as_of} take the place of later ones, as of {published.as_of}. "
            f"marts.{HISTORY} keeps both."
        )
    found = findings(replacement)
    if not found:
        return []
    if not publication.accepts(digest(found)):
        raise dg.Failure(
            description=refusal(
                replacement,
                found,
                where=publication.path if warehouse.is_file else f"{warehouse.shown}, schema marts",
                built=f"schema {warehouse.marts} of {warehouse.shown}",
                as_of=warehouse.extraction(connection).as_of.isoformat(),
            ),
            allow_retries=False,
        )
    context.log.warning(
        "A person accepted that readers lose what was published:\n" + "\n".join(f"- {each}." for each in found)
    )
    return found
