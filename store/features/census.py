"""Censuses of past clocks: every entity that was open then, with its features, its outcome and its value.

The compiled SQL of the last build makes them in a scratch place, with the open entities in place of the observations:
there is no second way to compute a feature, and nothing of it stays in the warehouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF, VALUE
from models.declaring.declaration import ModelDeclaration
from store.features.compiled import OBSERVATIONS, Build, open_at
from store.warehouse.extraction import CLOCKS
from store.warehouse.scratch import Name, Scratch
from store.warehouse.tables import Connection
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


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
    """Return the entities that were open at some clocks, with what was known of them then and what came of them.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    space : Scratch
        Of this connection.
    build : Build
    declaration : ModelDeclaration
        Over the horizon of the build's labels.
    clocks : sequence of Timestamp
        UTC; their labels have matured by the clock of the build.

    Returns
    -------
    DataFrame
        One row per entity and clock: the columns of the feature view, the label and, where the view names a table of
        values, ``value``.
    """
    view = declaration.feature_view
    features: Name = (view.schema, view.name)
    label: Name = ("labels", declaration.label)
    targets = [features, label]
    with space.place() as place:
        place.make(OBSERVATIONS, " union all ".join(open_at(place, each.to_pydatetime()) for each in clocks))
        value = joined = ""
        if view.entity.values:
            schema, table = view.entity.values.split(".")
            targets.append((schema, table))
            value = f", worth.{VALUE}"
        place.run(build.affected_by([OBSERVATIONS], targets))
        if view.entity.values:
            joined = f"left join {place.relation(targets[-1])} as worth using ({view.key}, {AS_OF})"
        found: pd.DataFrame = connection.execute(
            f"select features.*, labels.{declaration.label_column}{value} from {place.relation(features)} as features "
            f"inner join {place.relation(label)} as labels using ({view.key}, {AS_OF}) {joined} "
            f"order by {view.key}, {AS_OF}"
        ).df()
    return found
