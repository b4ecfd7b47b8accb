"""The champion of each model: a history to which rows are only added, and whose last row names the champion.

``ml.ml_champions`` is a view of this history, with one row per model that has a champion.
"""

import json
from datetime import datetime

from models.artifacts import ArtifactMismatchError
from models.declaring.attribute import Attribute
from models.declaring.entity import Entity
from models.declaring.feature_view import FeatureView
from models.versions.candidate import Candidate, load
from store.artifacts import ArtifactStore
from store.ledger.table import Key, table
from store.warehouse.connection import Connection, columns_of

PROMOTED, VOUCHED_ANEW, RETIRED = "promoted", "trained_again", "retired"
"""Events of a version. `VOUCHED_ANEW`: the files of a champion were lost, and training it again gave other bytes."""

CHAMPION_HISTORY = table(
    "ml_champion_history",
    model=Key[str],
    # counts the events of a model; times cannot order them, because clocks may go back
    number=Key[int],
    event=str,
    version=str,
    artifact=str,
    manifest_sha256=str,
    promoted_at=datetime,
    happened_at=datetime,
)

PRESENT = f"""
    select model, version, artifact, manifest_sha256, promoted_at from ml.ml_champion_history as last
    where event <> '{RETIRED}'
        and number = (select max(number) from ml.ml_champion_history as each where each.model = last.model)
"""
"""The query of ``ml.ml_champions``."""

_NEXT = "(select coalesce(max(number), 0) + 1 from ml.ml_champion_history where model = $1)"


class ChampionMismatchError(ArtifactMismatchError):
    """The files of a champion are not those that were promoted, or give other predictions than before."""


def champion_version(connection: Connection, model: str) -> str | None:
    """Return the version that is the champion of a model, or None where it has none."""
    row = connection.execute("select version from ml.ml_champions where model = $1", [model]).fetchone()
    return None if row is None else str(row[0])


def load_champion(connection: Connection, artifacts: ArtifactStore, model: str) -> Candidate | None:
    """Load the champion of a model, or return None where it has none.

    Raises
    ------
    ChampionMismatchError
        If its files are not those that were promoted.
    """
    pointer = connection.execute(
        "select artifact, manifest_sha256 from ml.ml_champions where model = $1", [model]
    ).fetchone()
    if pointer is None:
        return None
    artifact, recorded = pointer
    try:
        return load(artifacts.versions(model) / artifact, recorded)
    except ArtifactMismatchError as error:
        raise ChampionMismatchError(error.found, error.remedy) from error


def lost_features(connection: Connection, champion: Candidate, view: FeatureView) -> list[str]:
    """Return the features from which a champion learnt and which the view no longer has, as of attributes."""
    there = columns_of(connection, view.schema, view.name)
    return [name for name in champion.features if name not in there] if there else []


def withdrawn_features(connection: Connection, champion: Candidate) -> list[str]:
    """Return the features from whose past a champion learnt, and whose values turned out to be later than that."""
    if not (assumed := champion.manifest.get("assumed")):
        return []
    ((stored,),) = connection.execute("select attributes from raw.extraction").fetchall()
    attributes = [each for each in map(Attribute.of_json, json.loads(stored or "[]")) if each.withdrawn]
    withdrawn = {feature.column for each in attributes for feature in each.features}
    return [name for name in assumed if name in withdrawn]


def learnt_otherwise(connection: Connection, champion: Candidate, entity: Entity) -> str:
    """Say that a champion learnt labels of another meaning: the source began or stopped to tell when an entity ends."""
    if (learnt := champion.manifest.get("ends")) is None:
        return ""
    ((told,),) = connection.execute(f"select {entity.ends} from raw.extraction").fetchall()
    if learnt == (told is True):
        return ""
    return (
        f"ends that the source tells no longer ({entity.ends})"
        if learnt
        else f"a time when the source told no ends ({entity.ends})"
    )


def learnt_wrong(connection: Connection, champion: Candidate, view: FeatureView) -> str:
    """Say why a champion may not be used for what it has learnt; empty if it may."""
    if otherwise := learnt_otherwise(connection, champion, view.entity):
        return f"learnt from {otherwise}"
    if late := withdrawn_features(connection, champion):
        return f"learnt from values that were later than they seemed ({', '.join(late)})"
    gone = lost_features(connection, champion, view)
    return f"learnt from features that are no more ({', '.join(gone)})" if gone else ""


def promote(connection: Connection, version: Candidate, manifest_sha256: str, promoted_at: datetime) -> None:
    """Make a version the champion of its model, unless it is already."""
    connection.execute(
        f"insert into ml.ml_champion_history select cast($1 as text), {_NEXT}, '{PROMOTED}', cast($2 as text), "
        "cast($3 as text), cast($4 as text), cast($5 as timestamptz), cast($5 as timestamptz) where not exists "
        "(select 1 from ml.ml_champions where model = $1 and version = $2 and manifest_sha256 = $4)",
        [version.model, version.version, version.directory.name, manifest_sha256, promoted_at],
    )


def follow(
    connection: Connection,
    model: str,
    version: str,
    event: str,
    happened_at: datetime,
    manifest_sha256: str | None = None,
) -> None:
    """Record an event of a version, if it is the champion.

    A model whose champion is retired has no champion; its versions and their predictions stay.
    """
    connection.execute(
        f"insert into ml.ml_champion_history select model, {_NEXT}, cast($3 as text), version, artifact, "
        "coalesce(cast($4 as text), manifest_sha256), promoted_at, cast($5 as timestamptz) "
        "from ml.ml_champions where model = $1 and version = $2",
        [model, version, event, manifest_sha256, happened_at],
    )


def unmeasured_champion(connection: Connection, model: str, measure: str = "census") -> str | None:
    """Return the version of a champion that lacks a measurement (``census`` or ``hindsight``), or None."""
    row = connection.execute(
        "select champions.version from ml.ml_champions as champions "
        "inner join ml.ml_models as versions using (model, version) "
        f"where champions.model = $1 and versions.{measure} is null",
        [model],
    ).fetchone()
    return None if row is None else str(row[0])
