"""Predictions of champions, grades, and scorings: which version has scored a clock, or why none has."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from models.declaring.declaration import ModelDeclaration
from models.grades import GradesInForce
from models.learning.ranges import named
from models.versions.candidate import Candidate
from store.ledger.table import Key, put, table
from store.warehouse.connection import Connection, insert_rows

if TYPE_CHECKING:
    import pandas as pd


BATCH = "batch"
"""The origin of predictions that a run made for a whole census."""

PREDICTIONS = table(
    "ml_predictions",
    model=str,
    version=str,
    entity_id=str,
    as_of=datetime,
    target=str,
    value=float,
    score=int | None,
    grade=str | None,
    reasons=str | None,
    scored_at=datetime,
    outside_training=str | None,
    entity=str | None,
    lower=float | None,
    upper=float | None,
    origin=str | None,
    chosen=bool | None,
)
"""Rows are added by `add_predictions`; only grades change later, and predictions out of scope are removed."""

GRADES = table(
    "ml_grades",
    model=Key[str],
    set_at=Key[datetime],
    grade=Key[str],
    quantile=float,
    lower_bound=float | None,
    horizon_days=int,
    version=str,
    reason=str,
)

SCORINGS = table(
    "ml_scoring_logs",
    model=Key[str],
    as_of=Key[datetime],
    version=str | None,
    open_entities=int,
    scored=int,
    unscored_reason=str | None,
    scored_at=datetime,
    outside_training=int | None,
)


def forget_out_of_scope(connection: Connection, declaration: ModelDeclaration, as_of: datetime) -> None:
    """Remove predictions of a clock for entities that a correction of the source put out of the model's scope."""
    if declaration.scope:
        connection.execute(
            "delete from ml.ml_predictions where model = $1 and as_of = $2 and entity_id not in "
            f"(select {declaration.feature_view.key} from {declaration.scoped_view} as observations where as_of = $2)",
            [declaration.name, as_of],
        )


def add_predictions(connection: Connection, predictions: "pd.DataFrame", scored_at: datetime) -> int:
    """Add the predictions that the ledger does not have yet.

    Parameters
    ----------
    connection : Connection
    predictions : DataFrame
        As `models.scoring.scoring.explained` returns them.
    scored_at : datetime

    Returns
    -------
    int
        The number of rows added.
    """
    added = (
        "from new_predictions as new where not exists (select 1 from ml.ml_predictions as old where "
        "old.model = new.model and old.version = new.version and old.entity_id = new.entity_id "
        "and old.as_of = new.as_of and old.target = new.target)"
    )
    constants = {"scored_at": "$1", "origin": f"'{BATCH}'"}
    # a column of nulls alone has no type
    values = ", ".join(f"cast({constants.get(name, name)} as {kind})" for name, kind in PREDICTIONS.columns.items())
    connection.register("new_predictions", predictions)
    connection.begin()
    rows: int = connection.execute(f"select count(*) {added}").fetchall()[0][0]
    connection.execute(
        f"insert into ml.ml_predictions ({', '.join(PREDICTIONS.columns)}) select {values} {added}", [scored_at]
    )
    connection.commit()
    connection.unregister("new_predictions")
    return rows


def record_scoring(
    connection: Connection,
    model: str,
    as_of: datetime,
    *,
    version: str | None,
    open_entities: int,
    unscored_reason: str | None,
    scored_at: datetime,
    outside_training: int | None = None,
) -> None:
    """Log which version has scored the open entities of a clock, or why none has; an equal row is not written again."""
    found = {
        "version": version, "open_entities": open_entities, "scored": 0 if version is None else open_entities,
        "unscored_reason": unscored_reason, "outside_training": outside_training,
    }  # fmt: skip
    of_key = "from ml.ml_scoring_logs where model = $1 and as_of = $2"
    known = connection.execute(f"select {', '.join(found)} {of_key}", [model, as_of])
    if known.fetchall() != [tuple(found.values())]:
        put(connection, SCORINGS, {"model": model, "as_of": as_of, **found, "scored_at": scored_at})


def grades_in_force(connection: Connection, model: str) -> GradesInForce | None:
    """Return the grades of a model that were set last, or None where none were ever set."""
    rows = connection.execute(
        "select grade, quantile, lower_bound, horizon_days from ml.ml_grades where model = $1 and set_at = "
        "(select max(set_at) from ml.ml_grades where model = $1) order by quantile desc",
        [model],
    ).fetchall()
    if not rows:
        return None
    return GradesInForce(
        horizon_days=rows[0][3],
        quantiles={grade: quantile for grade, quantile, *_ in rows},
        bounds={grade: bound for grade, _, bound, _ in rows if bound is not None},
    )


def record_grades(
    connection: Connection,
    version: Candidate,
    quantiles: Mapping[str, float],
    bounds: Mapping[str, float],
    reason: str,
    set_at: datetime,
) -> None:
    """Write new grades of a model. A grade that ties with a worse one has no bound, and no prediction gets it."""
    rows = [
        (version.model, set_at, grade, quantile, bounds.get(grade), version.manifest["horizon_days"], version.version,
         reason)
        for grade, quantile in quantiles.items()
    ]  # fmt: skip
    insert_rows(connection, "ml", GRADES.name, list(GRADES.columns), rows)


def regrade(connection: Connection, model: str, version: str, as_of: datetime, bounds: Mapping[str, float]) -> None:
    """Change the grades of a clock's predictions to the grades in force."""
    names = list(bounds)
    places = {name: place for place, name in enumerate(names, start=4)}
    grade = " ".join(f"when value >= ${places[name]} then '{name}'" for name in names)
    connection.execute(
        f"update ml.ml_predictions set grade = case {grade} end where model = $1 and version = $2 and as_of = $3 "
        f"and grade is distinct from case {grade} end",
        [model, version, as_of, *bounds.values()],
    )


def outside_training(connection: Connection, model: str, version: str, as_of: datetime) -> int:
    """Count the entities that a version scored at a clock although their features lie outside its training."""
    return connection.execute(
        "select count(distinct entity_id) from ml.ml_predictions "
        "where model = $1 and version = $2 and as_of = $3 and outside_training is not null",
        [model, version, as_of],
    ).fetchall()[0][0]


HIGHEST = ("target", "value", "grade", "reasons", "outside_training")
"""The columns of a list of the highest predictions, after the entity."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The predictions of a version at a clock, of this run and earlier ones together.

    Attributes
    ----------
    entities : int
    means : dict of str to float
        The mean prediction, by target.
    highest : list of tuple
        The ten entities with the highest predictions, each with `HIGHEST` of the target that was chosen, or of that
        with the highest prediction. The highest of each target come first, for one target may be far commoner than
        the others.
    """

    entities: int
    means: dict[str, float]
    highest: list[tuple[Any, ...]]


def scored(connection: Connection, declaration: ModelDeclaration, version: str, as_of: datetime) -> Scored:
    """Return the predictions of a version for the entities that are open at a clock, as a summary."""
    of_clock = (
        "from ml.ml_predictions where model = $1 and version = $2 and as_of = $3 and entity_id in "
        f"(select {declaration.feature_view.key} from {declaration.scoped_view} as observations where as_of = $3)"
    )
    given = [declaration.name, version, as_of]
    by_target = connection.execute(f"select target, avg(value) {of_clock} group by target order by target", given)
    means = {target: float(mean) for target, mean in by_target.fetchall()}
    ((entities,),) = connection.execute(f"select count(distinct entity_id) {of_clock}", given).fetchall()
    highest = connection.execute(
        f"select entity_id, {', '.join(HIGHEST)} from ("
        "select *, row_number() over (partition by target order by value desc, entity_id) as of_target from ("
        "select *, row_number() over (partition by entity_id order by case when chosen then 0 else 1 end, value desc, "
        f"target) as of_entity {of_clock}) as each_entity where of_entity = 1) as each_target "
        "order by of_target, value desc, entity_id limit 10",
        given,
    ).fetchall()
    return Scored(entities=entities, means=means, highest=highest)


def outside_by_feature(connection: Connection, model: str) -> dict[str, int]:
    """Count the entities marked ``outside_training`` at the present clock, by feature, the largest count first."""
    remarks = connection.execute(
        "select distinct entity_id, predictions.outside_training from ml.ml_predictions as predictions "
        "inner join ml.ml_scoring_logs using (model, version, as_of) where model = $1 "
        "and as_of = (select as_of from raw.extraction) and predictions.outside_training is not null",
        [model],
    ).fetchall()
    return dict(Counter(sorted(feature for _, remark in remarks for feature in named(remark))).most_common())
