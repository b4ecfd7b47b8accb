"""Layer `training_set`: frozen, hashed snapshots of observations, features and matured labels, one asset per model."""

from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL
from models.declaring.declaration import Horizons, ModelDeclaration
from models.evaluation.census import census_clocks
from models.learning.splitting import temporal_split
from models.training.training_set import TrainingDataError, freeze
from models.untrainable import Untrainable, UntrainableError
from store.artifacts import ArtifactStore
from store.features.builds import labelled_since, require_present_code
from store.features.certificates import CompiledSql
from store.features.training_rows import census, drawn_share, matured, require_facts
from store.measuring.hindsight import recent_rows
from store.warehouse.warehouse import Warehouse


def training_set_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that freezes the training set of a model.

    Its value is the identifier of the set, or an `Untrainable` where there is nothing to learn from.
    """
    view = declaration.feature_view

    @dg.asset(
        key=keys.training_set(declaration.name),
        deps=[keys.features(view), keys.label(declaration)],
        group_name="training_sets",
        kinds={"parquet", "pandas"},
        owners=[declaration.owner],
        description=(
            f"Every observation whose label `{declaration.label}` has matured, with its features as of then, and the "
            "census of past clocks on which a candidate is measured: Parquet files that never change, with a manifest "
            "and hashes."
        ),
        pool=WAREHOUSE_POOL,
    )
    def training_set(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        compiled: dg.ResourceParam[CompiledSql],
        horizons: dg.ResourceParam[Horizons],
    ) -> dg.Output[Any]:  # str or Untrainable: Dagster has no union type
        import pandas as pd

        extraction = warehouse.built_extraction()
        if none := extraction.lacks(view.entity):
            context.log.info(f"{declaration.name}: {none}")
            return dg.Output(Untrainable(reason=none, horizon_matters=False), metadata={"absent": none})
        require_present_code(warehouse, horizons, compiled)
        applied = horizons.applied(declaration, extraction.horizon_days).with_attributes(extraction.attributes)
        share = drawn_share(warehouse, applied)
        frame = matured(warehouse, applied, extraction, share)
        try:
            require_facts(warehouse, applied, extraction)
            clock = pd.Timestamp(extraction.as_of)
            # without rows, `freeze` raises the error with the reason
            cut = temporal_split(frame, applied).cut if len(frame) else clock
            clocks = census_clocks(cut, clock, applied.horizon_days)
            census_rows = census(warehouse, compiled.build(extraction.as_of), applied, clocks) if clocks else None
            with warehouse.connect() as connection:
                recent = recent_rows(connection, applied, extraction) if len(frame) else None
            since = labelled_since(compiled, extraction.as_of, applied.label)
            frozen = freeze(
                frame, applied, artifacts.training_sets(declaration.name), clock, census_rows, recent, since,
                share=share, warn=context.log.warning,
            )  # fmt: skip
        except UntrainableError as error:
            context.log.warning(f"{declaration.name} cannot be trained. {error}")
            return dg.Output(error.value, metadata={"dagster/row_count": len(frame), "untrainable": str(error)})
        except TrainingDataError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        manifest = frozen.manifest
        return dg.Output(
            frozen.id,
            metadata={
                "dagster/row_count": manifest["rows"],
                "entities": manifest["entities"],
                "share_of_entities": manifest.get("share", 1.0),
                "first_as_of": manifest["first_as_of"],
                "last_as_of": manifest["last_as_of"],
                "horizon_days": manifest["horizon_days"],
                "outcomes": dg.MetadataValue.json(manifest["outcome_counts"]),
                "features": len(manifest["features"]),
                "census": ", ".join(each[:10] for each in manifest["census"]) or "none",
                "content_hash": manifest["content_hash"],
                "artifact": dg.MetadataValue.path(frozen.directory),
                "clock": dg.MetadataValue.timestamp(extraction.as_of),
            },
        )

    return training_set
