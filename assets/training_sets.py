"""Layer `training_set`: frozen, hashed snapshots of observations, features and matured labels, one asset per model."""

from typing import TYPE_CHECKING

import dagster as dg

from assets.resources import WAREHOUSE_POOL, ArtifactStore, Horizons
from assets.warehouse import Extraction, Warehouse, columns_of
from models.declaration import ModelDeclaration
from models.registry import DECLARATIONS
from models.training_set import TrainingDataError, freeze

if TYPE_CHECKING:
    import pandas as pd


def training_set_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that freezes the training set of a model; its value is the identifier of the set."""
    view = declaration.feature_view

    @dg.asset(
        key=["training_set", declaration.name],
        deps=[[view.schema, view.name], ["labels", declaration.label]],
        group_name="training_sets",
        kinds={"parquet", "pandas"},
        owners=[declaration.owner],
        description=(
            f"Every observation whose label `{declaration.label}` has matured, with its features as of then: "
            "a Parquet file that is never written again, beside its manifest and hash."
        ),
        pool=WAREHOUSE_POOL,
    )
    def training_set(warehouse: Warehouse, artifacts: ArtifactStore, horizons: Horizons) -> dg.Output[str]:
        import pandas as pd

        extraction = warehouse.built_extraction()
        applied = horizons.applied(declaration, extraction.horizon_days)
        frame = matured(warehouse, applied, extraction)
        try:
            frozen = freeze(frame, applied, artifacts.training_sets(declaration.name), pd.Timestamp(extraction.as_of))
        except TrainingDataError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        manifest = frozen.manifest
        return dg.Output(
            frozen.id,
            metadata={
                "dagster/row_count": manifest["rows"],
                "entities": manifest["entities"],
                "first_as_of": manifest["first_as_of"],
                "last_as_of": manifest["last_as_of"],
                "horizon_days": manifest["horizon_days"],
                "outcomes": dg.MetadataValue.json(manifest["outcome_counts"]),
                "features": len(manifest["features"]),
                "content_hash": manifest["content_hash"],
                "artifact": dg.MetadataValue.path(frozen.directory),
                "clock": dg.MetadataValue.timestamp(extraction.as_of),
            },
        )

    return training_set


def matured(warehouse: Warehouse, declaration: ModelDeclaration, extraction: Extraction) -> "pd.DataFrame":
    """Read the observations with matured labels: the columns of feature view and entity, and the label.

    Raises
    ------
    dagster.Failure
        If the label table was built over another horizon or clock than those that apply now.
    """
    view = declaration.feature_view
    entity = "".join(f", entities.{column} as {name}" for name, column in view.entity_columns.items())
    joined = f"left join {view.entity_table} as entities using ({view.key})" if entity else ""
    with warehouse.connect() as connection:
        labels = columns_of(connection, "labels", declaration.label)
        success = ", labels.succeeded_at" if "succeeded_at" in labels else ""
        other = connection.execute(
            f"select count(*) from labels.{declaration.label} "
            "where matures_at <> as_of + $1 * interval '1 day' or matures_at > $2",
            [declaration.horizon_days, extraction.as_of],
        ).fetchall()[0][0]
        if other:
            raise dg.Failure(
                description=(
                    f"labels.{declaration.label}: expected labels over {declaration.horizon_days} days, matured "
                    f"by {extraction.as_of.isoformat()}, found {other} others. The settings have changed since the "
                    "labels were built: materialize features and labels again."
                ),
                allow_retries=False,
            )
        return connection.execute(
            f"select features.*{entity}, labels.{declaration.label_column}{success} "
            f"from {view.schema}.{view.name} as features "
            f"inner join labels.{declaration.label} as labels using ({view.key}, as_of) {joined}"
        ).df()


training_sets = [training_set_asset(declaration) for declaration in DECLARATIONS.values()]
