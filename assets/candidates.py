"""Layer `candidate`: freshly trained versions, measured on held-out leads beside a linear and a trivial model."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.ceilings import ceiling
from assets.certificate import acceptance
from assets.champion_files import recorded_versions
from assets.dbt import feature_code
from assets.event_log import EVIDENCE_TAG, REASON_TAG
from assets.ml_tables import ensure, record_training, record_version
from assets.resources import WAREHOUSE_POOL, ArtifactStore, Clock, CompiledSql, Confirmations, Horizons, Splitting
from assets.warehouse import Warehouse
from models.artifacts import MANIFEST, sha256
from models.candidate import Candidate, train
from models.card import Card, census_table, gates_table, hindsight_table, metrics_table, model_card
from models.census import departures
from models.declaration import ModelDeclaration
from models.evaluation import Evaluation, evaluate
from models.gates import Gate, gates
from models.markdown import plain
from models.registry import DECLARATIONS
from models.suspicion import SELDOM, sentences, suspicions, unconfirmed, unknown_confirmations
from models.training_set import load as load_training_set
from models.untrainable import Untrainable, UntrainableError


def candidate_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that trains a version of a model.

    Its value is the version, or an `Untrainable` where the model cannot be trained.
    """

    @dg.asset(
        key=["candidate", declaration.name],
        ins={"training_set": dg.AssetIn(key=["training_set", declaration.name])},
        group_name="candidates",
        kinds={"scikitlearn"},
        owners=[declaration.owner],
        description=(
            f"{declaration.description} One scikit-learn pipeline as a joblib file, beside a manifest with its "
            "SHA-256, library versions, features, evaluation and stored predictions, and its model card. The same "
            "training set, declaration and libraries give the same version, which is not trained twice."
        ),
        check_specs=[
            dg.AssetCheckSpec("gates", asset=["candidate", declaration.name], description="The declared bounds hold."),
            dg.AssetCheckSpec(
                "census",
                asset=["candidate", declaration.name],
                description=(
                    "What is expected of all that was open at past clocks is what happened, as a whole within "
                    f"{declaration.max_census_off:.0%} and in every band within 2 % of all, or within chance."
                ),
            ),
            dg.AssetCheckSpec(
                "hindsight",
                asset=["candidate", declaration.name],
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
        warehouse: Warehouse,
        artifacts: ArtifactStore,
        compiled: CompiledSql,
        horizons: Horizons,
        splitting: Splitting,
        confirmations: Confirmations,
        clock: Clock,
    ) -> Iterator[dg.Output[str | Untrainable] | dg.AssetCheckResult]:
        if isinstance(training_set, Untrainable):
            yield from _untrained(training_set)
            return
        started_at = clock.present()
        extraction = warehouse.extraction()
        applied = splitting.applied(horizons.applied(declaration, extraction.horizon_days))
        frozen = load_training_set(artifacts.training_sets(declaration.name) / training_set)
        confirmed = confirmations.of(declaration.name)
        unknown = unknown_confirmations(declaration.name, confirmed, frozen.features)
        if unknown is not None:
            raise dg.Failure(description=unknown, allow_retries=False)
        with warehouse.connect() as connection:
            ensure(connection)
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
        cost = {**trained.cost(), "leads": float(_known_entities(warehouse, declaration))}
        known = ceiling(extraction.source, declaration.label, trained)
        measured = gates(applied.gates, evaluation, cost, known)
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
        yield dg.AssetCheckResult(
            check_name="gates",
            passed=not missed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                **{f"{gate.name}_bound": gate.bound for gate in measured},
                **{gate.name: "undefined" if gate.value is None else gate.value for gate in measured},
                **{f"{gate.name}_ceiling": gate.ceiling for gate in measured if gate.ceiling is not None},
                "missed": "; ".join(missed) or "none",
                "split": evaluation.split if evaluation.split == "temporal" else f"{evaluation.split}: flattering",
            },
        )
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
    for name in ("gates", "census", "hindsight"):
        yield dg.AssetCheckResult(
            check_name=name,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Nothing was measured. {plain(untrainable.reason)}",
        )


def _known_entities(warehouse: Warehouse, declaration: ModelDeclaration) -> int:
    """Count the entities that the source has, also those without an observation or a matured label."""
    view = declaration.feature_view
    table = view.entity_table or f"{view.schema}.{view.name}"
    with warehouse.connect() as connection:
        known: int = connection.execute(f"select count(distinct {view.key}) from {table}").fetchall()[0][0]
    return known


def _metadata(trained: Candidate, evaluation: Evaluation, measured: tuple[Gate, ...], card: Card) -> dict[str, Any]:
    defined = {name: value for name, value in evaluation.metrics.items() if value is not None}
    return {
        **defined,
        "version": trained.version,
        "reused": trained.reused,
        "held_out_rows": evaluation.n,
        "census": dg.MetadataValue.md(census_table(evaluation)),
        "metrics": dg.MetadataValue.md(metrics_table(evaluation)),
        "gates": dg.MetadataValue.md(gates_table(measured, evaluation)),
        "card": dg.MetadataValue.md(card.embedded()),
        "artifact": dg.MetadataValue.path(trained.directory),
    }


candidates = [candidate_asset(declaration) for declaration in DECLARATIONS.values()]
