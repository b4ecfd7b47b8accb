"""Layer `scores`: the champions' predictions for the entities that are open at the clock, in ``ml.ml_predictions``.

``ml.ml_scoring_logs`` has the version that scored at each clock, or the reason why no version did.
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
from store.features.training_rows import ended
from store.ledger.champions import (
    ChampionMismatchError,
    learnt_wrong,
    load_champion,
    unmeasured_champion,
)
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
"""The check warns if a larger share of the scored entities lies outside of what training has seen. The oldest entities
always lie outside, because no outcome is known yet at their age."""


def scores_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that scores the open entities with the champion of a model."""
    view = declaration.feature_view
    scope = f"with {declaration.scope} " if declaration.scope else ""

    @dg.asset(
        key=keys.scores(declaration.name),
        deps=[keys.champion(declaration.name), keys.features(view), keys.CLOCK],
        group_name="scores",
        kinds={"scikitlearn", "duckdb"},
        owners=[declaration.owner],
        description=(
            f"The champion's {declaration.task.quantity} for every open {view.entity.name} {scope}at the clock, with "
            f"reasons. Keyed by model, version, {view.entity.name}, as_of and target: a prediction that exists is "
            "not made again."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "inside_training",
                asset=keys.scores(declaration.name),
                description=(
                    f"At most {MOST_OUTSIDE:.0%} of the scored {view.entity.plural} have a value that training has "
                    "seen too seldom or never."
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
        extraction = warehouse.built_extraction()
        if none := extraction.lacks(view.entity):
            yield dg.MaterializeResult(
                metadata={"absent": none},
                check_results=[dg.AssetCheckResult(check_name="inside_training", passed=True, description=none)],
            )
            return
        as_of = extraction.as_of
        compiled.require_proof(view.name, as_of)
        over = ended(warehouse, declaration, extraction)
        with ledger(warehouse) as connection:
            forget_out_of_scope(connection, declaration, as_of)
            unmeasured = unmeasured_champion(connection, declaration.name)
            if unmeasured is not None:
                raise dg.Failure(
                    description=(
                        f"{declaration.name}: expected a champion that was measured on a census, found {unmeasured}, "
                        f"which an earlier recipe trained: its predictions for silent {view.entity.plural} are too "
                        "high. Run the job whole_loop once (`make run`), which trains anew. The published scores are "
                        "unchanged until then."
                    ),
                    allow_retries=False,
                )
            champion = load_champion(connection, artifacts, declaration.name)
            if champion is not None and (why := learnt_wrong(connection, champion, view)):
                raise ChampionMismatchError(
                    f"{declaration.name}: expected a champion that may go on scoring, found {champion.version}, which "
                    f"{why}",
                    "run the job whole_loop once (`make run`), which trains anew",
                )
            open_entities = connection.execute(
                f"select count(*) from {declaration.scoped_view} as features where as_of = $1", [as_of]
            ).fetchall()[0][0]
            unscored_rows = connection.execute(
                f"select features.* from {declaration.scoped_view} as features where as_of = $1 and not exists "
                "(select 1 from ml.ml_predictions as scored where scored.model = $2 and scored.version = $3 "
                f"and scored.entity_id = features.{view.key} and scored.as_of = features.as_of) order by {view.key}",
                [as_of, declaration.name, champion.version if champion else ""],
            ).df()
            grades = grades_in_force(connection, declaration.name)
            bounds = {} if grades is None else grades.bounds
            if over or champion is None:
                reason = over or why_no_champion(connection, declaration.name)
                record_scoring(
                    connection, declaration.name, as_of,
                    version=None, open_entities=open_entities, unscored_reason=reason, scored_at=clock.present(),
                )  # fmt: skip
        if over or champion is None:
            # no warning if a declared rule takes the place of the model
            (context.log.info if declaration.rule else context.log.warning)(
                f"No {view.entity.name} is scored by {declaration.name}. {reason}"
                if over
                else f"{declaration.name} has no champion, so no {view.entity.name} is scored by it. {reason}"
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
        predictions = explained(champion, unscored_rows, view.entity.name, bounds)
        with warehouse.connect() as connection:
            added_rows = add_predictions(connection, predictions, clock.present())
            if bounds:
                regrade(connection, declaration.name, champion.version, as_of, bounds)
            summary = scored(connection, declaration, champion.version, as_of)
            outliers = outside_training(connection, declaration.name, champion.version, as_of)
            record_scoring(
                connection, declaration.name, as_of, version=champion.version, open_entities=open_entities,
                unscored_reason=None, scored_at=clock.present(), outside_training=outliers,
            )  # fmt: skip
        yield dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    check_name="inside_training",
                    passed=outliers <= MOST_OUTSIDE * open_entities,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"outside_training": outliers, "open_entities": open_entities, "at_most": MOST_OUTSIDE},
                )
            ],
            metadata={
                "highest_predictions": metadata_table((view.key, *HIGHEST), summary.highest),
                "champion": champion.version,
                "clock": dg.MetadataValue.timestamp(as_of),
                "open_entities": open_entities,
                "scored_now": summary.entities,
                "scored_by_this_run": added_rows // len(champion.outcomes),
                "outside_training": outliers,
                "mean_prediction": dg.MetadataValue.json(
                    {target: round(mean, 6) for target, mean in summary.means.items()}
                ),
            },
        )

    return scores
