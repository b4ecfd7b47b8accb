"""Layer `scores`: the champions' predictions for what is open at the clock, in ``ml.ml_predictions``.

``ml.ml_scoring_logs`` says of each clock which version has scored, or why none has.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL, Clock
from assets.platform.tables import metadata_table
from models.declaring.declaration import ModelDeclaration
from models.scoring.scoring import explained
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.ledger.champions import load_champion, unmeasured_champion
from store.ledger.decisions import why_no_champion
from store.ledger.predictions import (
    HIGHEST,
    add_predictions,
    forget_out_of_scope,
    grades_in_force,
    outside_training,
    record_scoring,
    regrade,
    scored,
)
from store.ledger.schema import ledger
from store.warehouse.warehouse import Warehouse

MOST_OUTSIDE = 1 / 3
"""Share of the scored entities that may lie outside of what training has seen before a person should look. The oldest
always do, for their age is one at which no outcome is known yet."""


def scores_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that scores what is open with the champion of a model."""
    view = declaration.feature_view
    about = f"with {declaration.scope} " if declaration.scope else ""

    @dg.asset(
        key=keys.scores(declaration.name),
        deps=[keys.champion(declaration.name), keys.features(view), keys.CLOCK],
        group_name="scores",
        kinds={"scikitlearn", "duckdb"},
        owners=[declaration.owner],
        description=(
            f"The champion's {declaration.task.quantity} for every open {view.entity.name} {about}at the clock, with "
            f"reasons. Keyed by model, version, {view.entity.name}, as_of and target: what was scored already is not "
            "scored again."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "inside_training",
                asset=keys.scores(declaration.name),
                description=(
                    f"At most {MOST_OUTSIDE:.0%} of the scored {view.entity.plural} lie where training has (almost) "
                    "nothing."
                ),
            )
        ],
        pool=WAREHOUSE_POOL,
    )
    def scores(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        compiled: dg.ResourceParam[CompiledSql],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.MaterializeResult[Any]]:
        as_of = warehouse.built_extraction().as_of
        compiled.require_proof(view.name, as_of)
        with ledger(warehouse) as connection:
            forget_out_of_scope(connection, declaration, as_of)
            unmeasured = unmeasured_champion(connection, declaration.name)
            if unmeasured is not None:
                raise dg.Failure(
                    description=(
                        f"{declaration.name}: expected a champion that was measured on a census, found {unmeasured}, "
                        "which an earlier recipe trained and whose predictions of what is silent are too high. Run the "
                        "job whole_loop once (`make run`): it trains anew. What is published stays as it is until then."
                    ),
                    allow_retries=False,
                )
            champion = load_champion(connection, artifacts, declaration.name)
            open_entities = connection.execute(
                f"select count(*) from {declaration.scoped_view} as features where as_of = $1", [as_of]
            ).fetchall()[0][0]
            unscored = connection.execute(
                f"select features.* from {declaration.scoped_view} as features where as_of = $1 and not exists "
                "(select 1 from ml.ml_predictions as scored where scored.model = $2 and scored.version = $3 "
                f"and scored.entity_id = features.{view.key} and scored.as_of = features.as_of) order by {view.key}",
                [as_of, declaration.name, champion.version if champion else ""],
            ).df()
            in_force = grades_in_force(connection, declaration.name)
            bounds = {} if in_force is None else in_force.bounds
            if champion is None:
                reason = why_no_champion(connection, declaration.name)
                record_scoring(
                    connection, declaration.name, as_of,
                    version=None, open_entities=open_entities, unscored_reason=reason, scored_at=clock.present(),
                )  # fmt: skip
        if champion is None:
            # where a rule does without the model, nothing is lost
            (context.log.info if declaration.rule else context.log.warning)(
                f"{declaration.name} has no champion, so no {view.entity.name} is scored by it. {reason}"
            )
            yield dg.MaterializeResult(
                metadata={
                    "champion": "none",
                    "unscored_reason": reason,
                    "open_entities": open_entities,
                    "scored_now": 0,
                    "scored_by_this_run": 0,
                },
                check_results=[
                    dg.AssetCheckResult(check_name="inside_training", passed=True, description="Nothing is scored.")
                ],
            )
            return
        predictions = explained(champion, unscored, view.entity.name, bounds)
        with warehouse.connect() as connection:
            added = add_predictions(connection, predictions, clock.present())
            if bounds:
                regrade(connection, declaration.name, champion.version, as_of, bounds)
            now = scored(connection, declaration, champion.version, as_of)
            outside = outside_training(connection, declaration.name, champion.version, as_of)
            record_scoring(
                connection, declaration.name, as_of, version=champion.version, open_entities=open_entities,
                unscored_reason=None, scored_at=clock.present(), outside_training=outside,
            )  # fmt: skip
        yield dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    check_name="inside_training",
                    passed=outside <= MOST_OUTSIDE * open_entities,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"outside_training": outside, "open_entities": open_entities, "at_most": MOST_OUTSIDE},
                )
            ],
            metadata={
                "highest_predictions": metadata_table((view.key, *HIGHEST), now.highest),
                "champion": champion.version,
                "clock": dg.MetadataValue.timestamp(as_of),
                "open_entities": open_entities,
                "scored_now": now.entities,
                "scored_by_this_run": added // len(champion.outcomes),
                "outside_training": outside,
                "mean_prediction": dg.MetadataValue.json(
                    {target: round(mean, 6) for target, mean in now.means.items()}
                ),
            },
        )

    return scores
