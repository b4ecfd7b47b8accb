"""What models could learn from a source: closings, labels over several horizons, and whether there are enough rows.

The labels are those of the dbt project. Whether a model can be trained is decided by the functions that its training
uses. Features are computed only where the declaration of a model needs them to say which rows it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from models.declaring.declaration import Horizons, ModelDeclaration
from models.declaring.entity import Entity
from models.learning.splitting import temporal_split
from models.training.training_set import refuse_no_rows
from models.untrainable import UntrainableError
from store.features.compiled import Build, microseconds
from store.features.compiling import make
from store.features.training_rows import require_facts
from store.warehouse.connection import Connection, Model, Name, Place, named
from store.warehouse.warehouse import Extraction, Warehouse

if TYPE_CHECKING:
    import pandas as pd

HORIZONS = (30, 60, 90, 180)
"""The horizons, in days, over which graded outcomes are counted beside their own."""

SILENCE = "silence"
"""The kind of a closing that no fact and no status has made."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """A kind of closing: how many such facts and statuses there are, and how many entities one of them has closed."""

    kind: str
    facts: int
    entities: int


@dataclass(frozen=True, kw_only=True)
class Entities:
    """The entities of a source at the clock.

    Attributes
    ----------
    plural : str
    known, open : int
        Those created before the clock, and those of them that have not closed.
    observations : int
        Rows that a feature view of them would have.
    closings : tuple of Closing
        The kinds of closings, the one that has closed most entities first.
    all_scored : bool
        Whether a model is about all that are open.
    """

    plural: str
    known: int
    open: int
    observations: int
    closings: tuple[Closing, ...]
    all_scored: bool


@dataclass(frozen=True)
class Rate:
    """How often an outcome happened within a horizon.

    Attributes
    ----------
    horizon_days : int
    observations, entities : int
        The observations whose labels over this horizon have matured, and the entities that they are of.
    happened, happened_entities : int
        Those of them in which it happened, and their entities.
    """

    horizon_days: int
    observations: int
    entities: int
    happened: int
    happened_entities: int


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The split of the rows of a model: how many are learnt from and held out, of how many entities, and when."""

    train_rows: int
    train_entities: int
    test_rows: int
    test_entities: int
    cut: datetime


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What a model could learn from.

    Attributes
    ----------
    model : str
    horizon_days : int
        The horizon that applies.
    rates : tuple of Rate
        For a graded outcome: how often it happened, the shortest horizon first, and the one that applies among them.
    sides : Sides or None
        None if the model cannot be trained.
    untrainable : str or None
        Why it cannot.
    """

    model: str
    horizon_days: int
    rates: tuple[Rate, ...]
    sides: Sides | None
    untrainable: str | None


def measure_readiness(
    warehouse: Warehouse, build: Build, extraction: Extraction, horizons: Horizons
) -> tuple[tuple[Entities, ...], tuple[Readiness, ...]]:
    """Make the labels of all models in a scratch warehouse, and measure entities and models.

    Parameters
    ----------
    warehouse : Warehouse
        A DuckDB file with schema ``raw`` alone.
    build : Build
        The SQL that was compiled for it.
    extraction : Extraction
        Its extraction.
    horizons : Horizons
        The horizons that settings replace.
    """
    declarations = [
        horizons.applied(each, extraction.horizon_days)
        for each in DECLARATIONS.values()
        if not extraction.lacks(each.feature_view.entity)
    ]
    entities = {each.feature_view.entity.name: each.feature_view.entity for each in declarations}
    targets = [
        *(("labels", each.label) for each in declarations),
        *(named(table) for each in entities.values() for table in (each.observations, each.closings) if table),
        # no label may need them, such as the history of statuses if no status closes anything
        *(
            relation
            for each in entities.values()
            for relation in build.relations
            if ".".join(relation) in each.kinds_of_closings
        ),
    ]
    models = build.needed_for(targets)
    with warehouse.connect() as connection:
        make(connection, models)
        found = tuple(_entities(connection, each, extraction) for each in entities.values())
    made = {model.relation for model in models}
    return found, tuple(_readiness(warehouse, build, made, extraction, each) for each in declarations)


def _entities(connection: Connection, entity: Entity, extraction: Extraction) -> Entities:
    clock = microseconds(extraction.as_of)
    known = connection.execute(f"select count(*) from {entity.table} where known_us < $1", [clock]).fetchall()[0][0]
    observations, are_open = connection.execute(
        f"select count(*), count(*) filter (where observation_kind = 'clock') from {entity.observations}"
    ).fetchall()[0]
    closings: list[Closing] = []
    if entity.closings and entity.kinds_of_closings:
        # if several became known at once, the last by its name stands for all
        rows = connection.execute(
            f"with kinds as (select * from ({extraction.with_closing(entity.kinds_of_closings)}) as kinds "
            "where known_us < $1), "
            f"closed as (select closings.{entity.key}, coalesce(max(kinds.kind), '{SILENCE}') as kind "
            f"from {entity.closings} as closings left join kinds on kinds.{entity.key} = closings.{entity.key} "
            f"and kinds.known_us = closings.closed_us where closings.closed_us < $1 group by closings.{entity.key}), "
            "facts as (select kind, count(*) as facts from kinds group by kind), "
            "entities as (select kind, count(*) as entities from closed group by kind) "
            "select kind, coalesce(facts, 0), coalesce(entities, 0) from facts full join entities using (kind) "
            "order by 3 desc, 2 desc, 1",
            [clock],
        ).fetchall()
        closings = [Closing(kind=kind, facts=facts, entities=closed) for kind, facts, closed in rows]
    return Entities(
        plural=entity.plural,
        known=known,
        open=are_open,
        observations=observations,
        closings=tuple(closings),
        all_scored=any(not each.scope for each in DECLARATIONS.values() if each.feature_view.entity == entity),
    )


def _readiness(
    warehouse: Warehouse, build: Build, made: set[Name], extraction: Extraction, declaration: ModelDeclaration
) -> Readiness:
    import pandas as pd

    label: Name = ("labels", declaration.label)
    rates: list[Rate] = []
    with warehouse.connect() as connection, connection.scratch("readiness") as space, space.place() as scope:
        in_scope = _in_scope(scope, build, made, declaration) if declaration.scope else ""
        frame = _labelled(connection, f"labels.{declaration.label}", declaration, in_scope)
        for days in sorted({declaration.horizon_days, *HORIZONS}) if declaration.task.graded else ():
            over = build.over(declaration.label, days)
            with space.place() as place:
                place.run(over.needed_for([label], made - {label}))
                rates.append(_rate(connection, place.relation(label), declaration.with_horizon(days), in_scope))
    sides = untrainable = None
    try:
        require_facts(warehouse, declaration, extraction)
        refuse_no_rows(frame, declaration, pd.Timestamp(extraction.as_of))
        split = temporal_split(frame, declaration)
        sides = Sides(
            train_rows=int(split.train.sum()),
            train_entities=split.train_entities,
            test_rows=int(split.test.sum()),
            test_entities=split.test_entities,
            cut=split.cut.to_pydatetime(),
        )
    except UntrainableError as error:
        untrainable = error.value.reason
    return Readiness(
        model=declaration.name,
        horizon_days=declaration.horizon_days,
        rates=tuple(rates),
        sides=sides,
        untrainable=untrainable,
    )


def _in_scope(place: Place, build: Build, made: set[Name], declaration: ModelDeclaration) -> str:
    """Make the observations that a model is about in a place of their own; return the join that keeps these alone."""
    view = declaration.feature_view
    features, observations, kept = (view.schema, view.name), named(view.entity.observations), ("readiness", "in_scope")
    # an outcome without a rate is asked over one horizon
    labelled = "" if declaration.task.graded else f"inner join labels.{declaration.label} using ({view.key}, {AS_OF})"
    place.make(observations, f"select observations.* from {view.entity.observations} as observations {labelled}")
    place.run(_as_views(build.needed_for([features], made), features))
    place.make(kept, f"select {view.key}, {AS_OF} from {declaration.in_scope(place.relation(features))} as scoped")
    return f"inner join {place.relation(kept)} as scoped using ({view.key}, {AS_OF})"


def _as_views(models: Iterable[Model], relation: Name) -> Iterator[Model]:
    # of a view, an engine computes only the columns that are read
    for model in models:
        yield replace(model, materialized="view") if model.relation == relation else model


def _labelled(connection: Connection, labels: str, declaration: ModelDeclaration, joined: str = "") -> pd.DataFrame:
    view = declaration.feature_view
    return connection.execute(
        f"select observations.{view.key}, observations.{AS_OF}, observations.{view.created}, "
        f"labels.{declaration.label_column} from {view.entity.observations} as observations "
        f"inner join {labels} as labels using ({view.key}, {AS_OF}) {joined}"
    ).df()


def _rate(connection: Connection, labels: str, declaration: ModelDeclaration, joined: str) -> Rate:
    key, column = declaration.feature_view.key, declaration.label_column
    counted = connection.execute(
        f"select count(*), count(distinct {key}), count(*) filter (where {column} = 1), "
        f"count(distinct {key}) filter (where {column} = 1) from {labels} as labels {joined}"
    ).fetchall()[0]
    return Rate(declaration.horizon_days, *counted)
