"""The rows that models learn from and are measured on: observations with matured labels, and censuses of past clocks.

A census has every entity that was open at a clock, with its features, its outcome and its value. The compiled SQL of
the last build makes it in a scratch place, with the open entities in place of the observations. No feature is
implemented a second time, and the warehouse keeps nothing of the census.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF, SUCCEEDED_AT, VALUE
from models.declaring.declaration import ModelDeclaration, RequiredFacts
from models.untrainable import UntrainableError
from store.features.compiled import DAY_US, Build, microseconds, open_at
from store.warehouse.connection import Connection, Name, Scratch, columns_of, named
from store.warehouse.warehouse import CLOCKS, Extraction, StaleFeaturesError, Warehouse

if TYPE_CHECKING:
    import pandas as pd


ENDED_DAYS = 7
"""So long, and `ENDED_RATIO` times as long as ever before, no fact of a feed must be known for it to have ended."""

ENDED_RATIO = 2

MOST_ROWS = 500_000
"""A model learns from about so many rows at most. Of more, those of a part of the entities are drawn: a boosted tree of
the declared sizes gains little from more rows, and the memory of a training follows from them."""


def require_facts(warehouse: Warehouse, declaration: ModelDeclaration, extraction: Extraction) -> None:
    """Refuse a model whose source lacks the facts that its declaration requires.

    Raises
    ------
    UntrainableError
        If no such fact was known before the clock of the extraction, or if these facts end long before it and the
        declaration says that this matters.
    """
    with warehouse.connect() as connection:
        for each in _required(declaration, extraction):
            found = connection.execute(
                f"select 1 from {declaration.feature_view.entity.facts} where known_us < $1 and ({each.condition}) "
                "limit 1",
                [microseconds(extraction.as_of)],
            )
            if found.fetchone() is None:
                raise UntrainableError(each.absent, horizon_matters=False)
    if over := ended(warehouse, declaration, extraction):
        raise UntrainableError(over, horizon_matters=False)


def _required(declaration: ModelDeclaration, extraction: Extraction) -> list[RequiredFacts]:
    ends = extraction.ends.get(declaration.feature_view.entity.ends, False)
    return [each for each in declaration.requires if each.applies(ends)]


def ended(warehouse: Warehouse, declaration: ModelDeclaration, extraction: Extraction) -> str:
    """Say that the facts that a model requires end long before the clock, if its declaration says that this matters.

    A feed that has ended looks like proof that nothing happens: neither may a model learn from it nor a champion score.
    """
    clock_us = microseconds(extraction.as_of)
    with warehouse.connect() as connection:
        for each in _required(declaration, extraction):
            if not each.ended:
                continue
            ((last_us, longest_us),) = connection.execute(
                "select max(known_us), max(gap_us) from (select known_us, known_us - lag(known_us) over "
                "(order by known_us) as gap_us from (select distinct known_us "
                f"from {declaration.feature_view.entity.facts} where known_us < $1 and ({each.condition})) as moments"
                ") as gaps",
                [clock_us],
            ).fetchall()
            if last_us is None:
                continue
            silence_us = clock_us - last_us
            if silence_us > max(ENDED_DAYS * DAY_US, ENDED_RATIO * (longest_us or 0)):
                last = extraction.as_of - timedelta(microseconds=silence_us)
                return each.ended.format(last=f"{last:%Y-%m-%d}", clock=f"{extraction.as_of:%Y-%m-%d}")
    return ""


def drawn_share(warehouse: Warehouse, declaration: ModelDeclaration) -> float:
    """Return the share of the entities whose rows are drawn, so that there are about `MOST_ROWS`; at most 1."""
    with warehouse.connect() as connection:
        ((rows,),) = connection.execute(
            f"select count(*) from {declaration.scoped_view} as features "
            f"inner join labels.{declaration.label} as labels using ({declaration.feature_view.key}, as_of)"
        ).fetchall()
    return min(1.0, MOST_ROWS / max(1, rows))


def drawn(key: str, share: float) -> str:
    """Return the condition, in SQL of every engine, by which a share of the entities is drawn by their keys."""
    return "" if share >= 1 else f"where substr(md5({key}), 1, 8) < '{int(share * 16**8):08x}'"


def matured(
    warehouse: Warehouse, declaration: ModelDeclaration, extraction: Extraction, share: float = 1.0
) -> pd.DataFrame:
    """Read the observations in scope with matured labels: the columns of feature view and entity, and the label.

    Parameters
    ----------
    warehouse : Warehouse
    declaration : ModelDeclaration
    extraction : Extraction
    share : float
        Of the entities; always the same ones are drawn.

    Raises
    ------
    StaleFeaturesError
        If the label table was built over another horizon or clock than those that apply now.
    """
    with warehouse.connect() as connection:
        stale_rows = connection.execute(
            f"select count(*) from labels.{declaration.label} "
            "where matures_at <> as_of + $1 * interval '1 day' or matures_at > $2",
            [declaration.horizon_days, extraction.as_of],
        ).fetchall()[0][0]
        if stale_rows:
            raise StaleFeaturesError(
                f"labels.{declaration.label}: expected labels over {declaration.horizon_days} days, matured "
                f"by {extraction.as_of.isoformat()}, found {stale_rows} others. The settings have changed since the "
                "labels were built: materialize features and labels again."
            )
        where = drawn(f"features.{declaration.feature_view.key}", share)
        return training_rows(connection, declaration, f"labels.{declaration.label}", where)


def training_rows(connection: Connection, declaration: ModelDeclaration, labels: str, where: str = "") -> pd.DataFrame:
    """Read the observations in scope that have a row in the relation `labels`, as `matured` does."""
    view = declaration.feature_view
    entity = "".join(f", entities.{column} as {name}" for name, column in view.entity.columns.items())
    joined = f"left join {view.entity.table} as entities using ({view.key})" if entity else ""
    label_columns = columns_of(connection, "labels", declaration.label)
    success = f", labels.{SUCCEEDED_AT}" if SUCCEEDED_AT in label_columns else ""
    return connection.execute(
        f"select features.*{entity}, labels.{declaration.label_column}{success} "
        f"from {declaration.scoped_view} as features "
        f"inner join {labels} as labels using ({view.key}, as_of) {joined} {where}"
    ).df()


def census(
    warehouse: Warehouse, build: Build, declaration: ModelDeclaration, clocks: Sequence[pd.Timestamp]
) -> pd.DataFrame:
    """Return the entities that were open at some clocks; see `census_in`."""
    with (
        warehouse.connect() as connection,
        connection.scratch("census", {*build.relations, *CLOCKS}) as space,
    ):
        return census_in(connection, space, build, declaration, clocks)


def census_in(
    connection: Connection,
    space: Scratch,
    build: Build,
    declaration: ModelDeclaration,
    clocks: Sequence[pd.Timestamp],
) -> pd.DataFrame:
    """Return the entities that were open at some clocks, with their features then and their outcomes.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    space : Scratch
        Scratch place of this connection.
    build : Build
    declaration : ModelDeclaration
        With the horizon of the build's labels.
    clocks : sequence of Timestamp
        UTC; their labels must have matured by the clock of the build.

    Returns
    -------
    DataFrame
        One row per entity in scope, clock and label: the columns of the feature view, the label and, where the view
        names a table of values, ``value``.
    """
    view = declaration.feature_view
    features: Name = (view.schema, view.name)
    label: Name = ("labels", declaration.label)
    targets = [features, label]
    observations = named(view.entity.observations)
    with space.place() as place:
        place.make(
            observations, " union all ".join(open_at(place, view.entity, each.to_pydatetime()) for each in clocks)
        )
        value = joined = ""
        if view.entity.values:
            targets.append(named(view.entity.values))
            value = f", worth.{VALUE}"
        place.run(build.affected_by([observations], targets))
        if view.entity.values:
            joined = f"left join {place.relation(targets[-1])} as worth using ({view.key}, {AS_OF})"
        return connection.execute(
            f"select features.*, labels.{declaration.label_column}{value} "
            f"from {declaration.in_scope(place.relation(features))} as features "
            f"inner join {place.relation(label)} as labels using ({view.key}, {AS_OF}) {joined} "
            f"order by {view.key}, {AS_OF}"
        ).df()
