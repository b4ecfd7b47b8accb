"""The rows that models learn from: observations with matured labels."""

from typing import TYPE_CHECKING

from models.declaring.columns import SUCCEEDED_AT
from models.declaring.declaration import ModelDeclaration
from models.untrainable import UntrainableError
from store.features.compiled import microseconds
from store.warehouse.extraction import Extraction, StaleFeaturesError
from store.warehouse.tables import Connection, columns_of
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


def require_facts(warehouse: Warehouse, declaration: ModelDeclaration, extraction: Extraction) -> None:
    """Refuse a model whose source lacks the facts that its declaration requires.

    Raises
    ------
    UntrainableError
        If no such fact was known before the clock.
    """
    with warehouse.connect() as connection:
        for each in declaration.requires:
            found = connection.execute(
                f"select 1 from {declaration.feature_view.entity.facts} where known_us < $1 and ({each.condition}) "
                "limit 1",
                [microseconds(extraction.as_of)],
            )
            if found.fetchone() is None:
                raise UntrainableError(each.absent, horizon_matters=False)


def matured(warehouse: Warehouse, declaration: ModelDeclaration, extraction: Extraction) -> "pd.DataFrame":
    """Read the observations with matured labels: the columns of feature view and entity, and the label.

    Raises
    ------
    StaleFeaturesError
        If the label table was built over another horizon or clock than those that apply now.
    """
    with warehouse.connect() as connection:
        other = connection.execute(
            f"select count(*) from labels.{declaration.label} "
            "where matures_at <> as_of + $1 * interval '1 day' or matures_at > $2",
            [declaration.horizon_days, extraction.as_of],
        ).fetchall()[0][0]
        if other:
            raise StaleFeaturesError(
                f"labels.{declaration.label}: expected labels over {declaration.horizon_days} days, matured "
                f"by {extraction.as_of.isoformat()}, found {other} others. The settings have changed since the "
                "labels were built: materialize features and labels again."
            )
        return training_rows(connection, declaration, f"labels.{declaration.label}")


def training_rows(
    connection: Connection, declaration: ModelDeclaration, labels: str, where: str = ""
) -> "pd.DataFrame":
    """Read the observations that a relation has labels of, with the columns of feature view and entity."""
    view = declaration.feature_view
    entity = "".join(f", entities.{column} as {name}" for name, column in view.entity.columns.items())
    joined = f"left join {view.entity.table} as entities using ({view.key})" if entity else ""
    there = columns_of(connection, "labels", declaration.label)
    success = f", labels.{SUCCEEDED_AT}" if SUCCEEDED_AT in there else ""
    frame: pd.DataFrame = connection.execute(
        f"select features.*{entity}, labels.{declaration.label_column}{success} "
        f"from {view.schema}.{view.name} as features "
        f"inner join {labels} as labels using ({view.key}, as_of) {joined} {where}"
    ).df()
    return frame
