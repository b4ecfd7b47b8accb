"""Layer `candidate`: freshly trained versions, measured on held-out rows beside a linear and a trivial model."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.event_log import EVIDENCE_TAG, REASON_TAG
from assets.platform.resources import WAREHOUSE_POOL, Clock
from models.artifacts import MANIFEST, sha256
from models.declaring.declaration import Horizons, ModelDeclaration
from models.evaluation.census import departures
from models.evaluation.gates import Gate, gates
from models.evaluation.records import Evaluation
from models.evaluation.suspicion import SELDOM, sentences, suspicions, unconfirmed, unknown_confirmations
from models.markdown import plain
from models.training.training import train
from models.training.training_set import load as load_training_set
from models.untrainable import Untrainable, UntrainableError
from models.versions.candidate import Candidate, evaluate
from models.versions.card import Card, metrics_table, model_card
from models.versions.card_tables import census_table, gates_table, hindsight_table
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql, acceptance
from store.features.dbt_project import feature_code
from store.ledger.schema import ledger
from store.ledger.versions import record_training, record_version, recorded_versions
from store.warehouse.warehouse import Warehouse


def candidate_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that trains a version of a model.

    Its value is the version, or an `Untrainable` where the model cannot be trained.
    """

    @dg.asset(
        key=keys.candidate(declaration.name),
        ins={"training_set": dg.AssetIn(key=keys.training_set(declaration.name))},
        group_name="candidates",
        kinds={"scikitlearn"},
        owners=[declaration.owner],
        description=(
            f"{declaration.description} One scikit-learn pipeline as a joblib file, beside a manifest with its "
            "SHA-256, library versions, features, evaluation and stored predictions, and its model card. The same "
            "training set, declaration and libraries give the same version, which is not trained twice."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "census",
                asset=keys.candidate(declaration.name),
                description=(
                    "What is expected of all that was open at past clocks is what happened, as a whole within "
                    f"{declaration.max_census_off:.0%} and in every band within 2 % of all, or within chance."
                ),
            ),
            dg.AssetCheckSpec(
                "hindsight",
                asset=keys.candidate(declaration.name),
                description=(
                    "No feature seems to know the outcome: none predicts too well alone, and none takes a value only "
                    "where the outcome is known by now. A version that fails is not promoted until a person has "
                    "confirmed each such feature by name."
                ),
            ),
        ],
        pool=WAREHOUSE_POOL,
    )
    def candidate(
        context: dg.AssetExecutionContext,
        training_set: Any,  # str or Untrainable: Dagster has no type for either of two
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        compiled: dg.ResourceParam[CompiledSql],
        horizons: dg.ResourceParam[Horizons],
        confirmed_features: dg.ResourceParam[Mapping[str, tuple[str, ...]]],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.Output[str | Untrainable] | dg.AssetCheckResult]:
        if isinstance(training_set, Untrainable):
            yield from _untrained(training_set)
            return
        started_at = clock.present()
        extraction = warehouse.extraction()
        applied = horizons.applied(declaration, extraction.horizon_days)
        frozen = load_training_set(artifacts.training_sets(declaration.name) / training_set)
        confirmed = confirmed_features.get(declaration.name, ())
        unknown = unknown_confirmations(declaration.name, confirmed, frozen.features)
        if unknown is not None:
            raise dg.Failure(description=unknown, allow_retries=False)
        with ledger(warehouse) as connection:
            recorded = recorded_versions(connection, declaration.name)
        try:
            trained = train(
                applied, frozen, artifacts.versions(declaration.name), recorded=recorded, warn=context.log.warning
            )
        except UntrainableError as error:
            context.log.warning(f"{declaration.name} cannot be trained. {error}")
            yield from _untrained(error.value)
            return
        evaluation = evaluate(trained)
        cost = {**trained.cost(), "entities": float(_known_entities(warehouse, declaration))}
        measured = gates(applied.gates, evaluation, cost)
        missed = [gate.sentence for gate in measured if not gate.met]
        proof = compiled.certificate(declaration.feature_view.name, extraction.as_of)
        card = model_card(applied, trained, evaluation, measured, confirmed, warning=acceptance(proof))
        card.write(trained.directory)
        with warehouse.connect() as connection:
            record_version(
                connection, trained, evaluation, missed, frozen, sha256(trained.directory / MANIFEST), started_at
            )
            record_training(
                connection,
                context.run_id,
                trained,
                frozen,
                context.run.tags.get(REASON_TAG, "materialized"),
                started_at,
                clock.present(),
                as_of=extraction.as_of,
                evidence=context.run.tags.get(EVIDENCE_TAG),
                feature_code=feature_code(declaration.feature_view.name),
                proof=proof,
                confirmed_features=confirmed,
            )
        yield dg.Output(trained.version, metadata=_metadata(trained, evaluation, measured, card))
        yield _census_check(evaluation, applied)
        yield _hindsight_check(evaluation, applied, confirmed)

    return candidate


def _hindsight_check(
    evaluation: Evaluation, declaration: ModelDeclaration, confirmed: tuple[str, ...]
) -> dg.AssetCheckResult:
    suspected = suspicions(declaration, evaluation)
    unclear = unconfirmed(suspected, confirmed)
    return dg.AssetCheckResult(
        check_name="hindsight",
        passed=evaluation.hindsight is not None and not unclear,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "suspected": "; ".join(sentences(unclear)) or "none",
            "confirmed": ", ".join(dict.fromkeys(each.feature for each in suspected if each not in unclear)) or "none",
            "measured": dg.MetadataValue.md(hindsight_table(declaration, evaluation, confirmed)),
            "seen_in_open_at_least": SELDOM,
            "skill_alone_at_most": declaration.max_skill_alone,
            "skill_at_most": declaration.max_skill,
        },
    )


def _census_check(evaluation: Evaluation, declaration: ModelDeclaration) -> dg.AssetCheckResult:
    if evaluation.census is None:
        return dg.AssetCheckResult(
            check_name="census", passed=False, severity=dg.AssetCheckSeverity.WARN,
            description="Not measured on a census.",
        )  # fmt: skip
    off = departures(evaluation.census, declaration.max_census_off)
    return dg.AssetCheckResult(
        check_name="census",
        passed=not off,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "off": "; ".join(off) or "none",
            "clocks": ", ".join(evaluation.census.clocks),
            "rows": evaluation.census.rows,
            **{f"{total.outcome}_expected": total.expected for total in evaluation.census.totals},
            **{f"{total.outcome}_happened": total.actual for total in evaluation.census.totals},
            "at_most": declaration.max_census_off,
        },
    )


def _untrained(untrainable: Untrainable) -> Iterator[dg.Output[str | Untrainable] | dg.AssetCheckResult]:
    yield dg.Output(untrainable, metadata={"untrainable": untrainable.reason})
    for name in ("census", "hindsight"):
        yield dg.AssetCheckResult(
            check_name=name,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Nothing was measured. {plain(untrainable.reason)}",
        )


def _known_entities(warehouse: Warehouse, declaration: ModelDeclaration) -> int:
    """Count the entities that the source has, also those without an observation or a matured label."""
    view = declaration.feature_view
    table = view.entity.table or f"{view.schema}.{view.name}"
    with warehouse.connect() as connection:
        return int(connection.execute(f"select count(distinct {view.key}) from {table}").fetchall()[0][0])


def _metadata(trained: Candidate, evaluation: Evaluation, measured: tuple[Gate, ...], card: Card) -> dict[str, Any]:
    # the UI lists them in this order
    return {
        "card": dg.MetadataValue.md(card.embedded()),
        "version": trained.version,
        "reused": trained.reused,
        "held_out_rows": evaluation.n,
        **{name: value for name, value in evaluation.metrics.items() if value is not None},
        "metrics": dg.MetadataValue.md(metrics_table(evaluation)),
        "gates": dg.MetadataValue.md(gates_table(measured)),
        "missed_gates": "; ".join(gate.sentence for gate in measured if not gate.met) or "none",
        "artifact": dg.MetadataValue.path(trained.directory),
        "census": dg.MetadataValue.md(census_table(evaluation)),
    }
