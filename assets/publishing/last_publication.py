"""What readers have of a home, and whether its warehouse still is the one that published it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.platform import keys
from assets.platform.event_log import latest_materialization
from models.declared.registry import SCORED
from store.publishing.publications import Publication, read
from store.warehouse.engine import HISTORY, SCORES, Standing, known_versions
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg


def recorded(publication: Publication, instance: dg.DagsterInstance) -> Standing:
    """Return what the home remembers of its last publication; nothing where it has never published.

    Of one by an earlier state of Leadline, Dagster's event log knows the number of rows.
    """
    record = read(Path(publication.record))
    if record is not None:
        return record.standing
    last = latest_materialization(instance, keys.SNAPSHOT)
    rows = None if last is None else last.metadata.get("rows")
    return Standing(rows={str(name): int(count) for name, count in rows.items()} if isinstance(rows, dict) else {})


def why_lost(warehouse: Warehouse, publication: Publication, instance: dg.DagsterInstance) -> str | None:
    """Return what has become of the warehouse that published the scores of this home; None where it is there.

    Scores come from versions, and a warehouse keeps every version that it has trained: one without any has published
    none.
    """
    names = [SCORES, HISTORY]
    with warehouse.connect() as connection:
        if known_versions(connection):
            return None
        last = recorded(publication, instance)
        readers = warehouse.engine.readers(Path(publication.path))
        found = readers.found(connection, names, last).standing
    published = found.completed_by(last)
    if not published.rows.get(HISTORY):
        return None
    clock = "" if published.as_of is None else f" as of {published.as_of}"
    kept = (
        f"Readers keep what is in {readers.place}, and {readers.after_loss}"
        if HISTORY in found.rows
        else f"What readers had in {readers.place} is gone as well, and comes back with a backup alone"
    )
    return (
        f"{warehouse.shown}: expected the warehouse that has published {published.rows.get(SCORES, 0):,} "
        f"{SCORED.entity.plural}{clock} and {published.rows[HISTORY]:,} rows of history, found one in which no model "
        f"was ever trained: it was deleted, emptied, or is another one. {kept}. Lost with it are its ledgers (schema "
        "ml), the bounds of the grades, and overwritten values that only earlier extractions saw (raw.changes)."
    )
