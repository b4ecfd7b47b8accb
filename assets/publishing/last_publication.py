"""The last publication of a home, and whether the warehouse that made it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.platform import keys
from assets.platform.event_log import latest_materialization
from models.declared.registry import SCORED_TABLES
from store.publishing.publications import Publication, read
from store.warehouse.engine import HISTORIES, Standing, known_versions
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg


def recorded(publication: Publication, instance: dg.DagsterInstance) -> Standing:
    """Return the standing of the home's last publication; an empty one if the home has never published.

    For a publication by an earlier version of Leadline, Dagster's event log has only the number of rows.
    """
    record = read(Path(publication.record))
    if record is not None:
        return record.standing
    last = latest_materialization(instance, keys.SNAPSHOT)
    rows = None if last is None else last.metadata.get("rows")
    return Standing(rows={str(name): int(count) for name, count in rows.items()} if isinstance(rows, dict) else {})


def why_lost(warehouse: Warehouse, publication: Publication, instance: dg.DagsterInstance) -> str | None:
    """Return a message if the warehouse that published the scores of this home is lost, else None.

    A warehouse keeps every version that it has trained, and scores come from versions: a warehouse without versions has
    published no scores.
    """
    names = [*SCORED_TABLES, *HISTORIES]
    with warehouse.connect() as connection:
        if known_versions(connection):
            return None
        last = recorded(publication, instance)
        readers = warehouse.engine.readers(Path(publication.path))
        found = readers.found(connection, names, last).standing
    published = found.completed_by(last)
    lost = [table for history, table in HISTORIES.items() if published.rows.get(history)]
    if not lost:
        return None
    listed = ", ".join(
        f"{published.rows.get(table.name, 0):,} {table.entity.plural}"
        + (f" as of {published.as_of[table.name]}" if table.name in published.as_of else "")
        + f" and {published.rows[table.history]:,} rows of history"
        for table in lost
    )
    consequence = (
        f"Readers keep the tables in {readers.place}, and {readers.after_loss}"
        if all(table.history in found.rows for table in lost)
        else f"The tables of readers in {readers.place} are gone as well, and only a backup brings them back"
    )
    return (
        f"{warehouse.shown}: expected the warehouse that has published {listed}, found one in which no model was ever "
        f"trained: it was deleted, emptied or replaced. {consequence}. Also lost are its ledgers (schema "
        "ml), the bounds of the grades, and overwritten values that only earlier extractions saw (raw.changes)."
    )
