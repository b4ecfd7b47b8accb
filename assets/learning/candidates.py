"""Layer `candidate`: fresh versions, compared with a linear and a trivial model on held-out rows."""

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

    Its value is the version, or an `Untrainable` if the model cannot be trained.
    """
    entities = declaration.feature_view.entity.plural

    @dg.asset(
        key=keys.candidate(declaration.name),
        ins={"training_set": dg.AssetIn(key=keys.training_set(declaration.name))},
        group_name="candidates",
        kinds={"scikitlearn"},
        owners=[declaration.owner],
        description=(
            f"{declaration.description} One scikit-learn pipeline as a joblib file, with a model card and "
            "with a manifest of its SHA-256, library versions, features, evaluation and stored predictions. The same "
            "training set, declaration and libraries give the same version, which is not trained twice."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "census",
                asset=keys.candidate(declaration.name),
                description=(
                    f"The expected totals of all {entities} that were open at past clocks match the actual totals: "
                    f"within {declaration.max_census_off:.0%} as a whole, within 2 % of the whole in every band, or "
                    "within chance."
                ),
            ),
            dg.AssetCheckSpec(
                "hindsight",
                asset=keys.candidate(declaration.name),
                description=(
                    "No feature seems to know the outcome: none predicts too well alone, none has a value that "
                    f"(almost) only open or only settled {entities} have, and the whole model is not too good. A "
                    "version that fails is not promoted until a person has confirmed each such feature by name."
                ),
            ),
        ],
        pool=WAREHOUSE_POOL,
    )
    def candidate(
        context: dg.AssetExecutionContext,
        training_set: Any,  # str or Untrainable: Dagster has no union type
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        compiled: dg.ResourceParam[CompiledSql],
        horizons: dg.ResourceParam[Horizons],
        confirmed_features: dg.ResourceParam[Mapping[str, tuple[str, ...]]],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.Output[str | Untrainable] | dg.AssetCheckResult]:
        extraction = warehouse.extraction()
        if none := extraction.lacks(declaration.feature_view.entity):
            yield from _untrained(Untrainable(reason=none, horizon_matters=False), absent=True)
            return
        if isinstance(training_set, Untrainable):
            yield from _untrained(training_set)
            return
        started_at = clock.present()
        with_horizon = horizons.applied(declaration, extraction.horizon_days).with_attributes(extraction.attributes)
        snapshot = load_training_set(artifacts.training_sets(declaration.name) / training_set)
        confirmed_names = confirmed_features.get(declaration.name, ())
        problem = unknown_confirmations(declaration.name, confirmed_names, snapshot.features)
        if problem is not None:
            raise dg.Failure(description=problem, allow_retries=False)
        with ledger(warehouse) as connection:
            earlier_versions = recorded_versions(connection, declaration.name)
        try:
            version = train(
                with_horizon,
                snapshot,
                artifacts.versions(declaration.name),
                assumed=[
                    feature
                    for each in declaration.feature_view.of_attributes(extraction.attributes)
                    for feature in each.assumed
                ],
                ends=extraction.ends.get(declaration.feature_view.entity.ends),
                recorded=earlier_versions,
                warn=context.log.warning,
            )
        except UntrainableError as error:
            context.log.warning(f"{declaration.name} cannot be trained. {error}")
            yield from _untrained(error.value)
            return
        evaluation = evaluate(version)
        cost = {**version.cost(), "entities": float(_known_entities(warehouse, declaration))}
        results = gates(with_horizon.gates, evaluation, cost)
        missed = [gate.sentence for gate in results if not gate.met]
        proof = compiled.certificate(declaration.feature_view.name, extraction.as_of)
        warning = " ".join(filter(None, [extraction.caveat, acceptance(proof)]))
        card = model_card(with_horizon, version, evaluation, results, confirmed_names, warning=warning)
        card.write(version.directory)
        with warehouse.connect() as connection:
            record_version(
                connection, version, evaluation, missed, snapshot, sha256(version.directory / MANIFEST), started_at
            )
            record_training(
                connection,
                context.run_id,
                version,
                snapshot,
                context.run.tags.get(REASON_TAG, "materialized"),
                started_at,
                clock.present(),
                as_of=extraction.as_of,
                evidence=context.run.tags.get(EVIDENCE_TAG),
                feature_code=feature_code(declaration.feature_view.name),
                proof=proof,
                confirmed_features=confirmed_names,
            )
        yield dg.Output(version.version, metadata=_metadata(version, evaluation, results, card))
        yield _census_check(evaluation, with_horizon)
        yield _hindsight_check(evaluation, with_horizon, confirmed_names)

    return candidate


def _hindsight_check(
    evaluation: Evaluation, declaration: ModelDeclaration, confirmed_names: tuple[str, ...]
) -> dg.AssetCheckResult:
    all_suspicions = suspicions(declaration, evaluation)
    unconfirmed_suspicions = unconfirmed(all_suspicions, confirmed_names)
    return dg.AssetCheckResult(
        check_name="hindsight",
        passed=evaluation.hindsight is not None and not unconfirmed_suspicions,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "suspected": "; ".join(sentences(unconfirmed_suspicions)) or "none",
            "confirmed": ", ".join(
                dict.fromkeys(each.feature for each in all_suspicions if each not in unconfirmed_suspicions)
            )
            or "none",
            "measured": dg.MetadataValue.md(hindsight_table(declaration, evaluation, confirmed_names)),
            "seen_in_open_at_least": SELDOM,
            "skill_alone_at_most": declaration.max_skill_alone,
            "skill_at_most": declaration.max_skill,
        },
    )


def _census_check(evaluation: Evaluation, declaration: ModelDeclaration) -> dg.AssetCheckResult:
    if evaluation.census is None:
        return dg.AssetCheckResult(
            check_name="census", passed=False, severity=dg.AssetCheckSeverity.WARN,
            description="The version was not measured on a census.",
        )  # fmt: skip
    differences = departures(evaluation.census, declaration.max_census_off)
    return dg.AssetCheckResult(
        check_name="census",
        passed=not differences,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "off": "; ".join(differences) or "none",
            "clocks": ", ".join(evaluation.census.clocks),
            "rows": evaluation.census.rows,
            **{f"{total.outcome}_expected": total.expected for total in evaluation.census.totals},
            **{f"{total.outcome}_happened": total.actual for total in evaluation.census.totals},
            "at_most": declaration.max_census_off,
        },
    )


def _untrained(
    untrainable: Untrainable, *, absent: bool = False
) -> Iterator[dg.Output[str | Untrainable] | dg.AssetCheckResult]:
    yield dg.Output(untrainable, metadata={"absent" if absent else "untrainable": untrainable.reason})
    for name in ("census", "hindsight"):
        yield dg.AssetCheckResult(
            check_name=name,
            passed=absent,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Nothing was measured. {plain(untrainable.reason)}",
        )


def _known_entities(warehouse: Warehouse, declaration: ModelDeclaration) -> int:
    """Count all entities of the source, or those of the feature view if the entity has no table."""
    view = declaration.feature_view
    table = view.entity.table or f"{view.schema}.{view.name}"
    with warehouse.connect() as connection:
        return int(connection.execute(f"select count(distinct {view.key}) from {table}").fetchall()[0][0])


def _metadata(version: Candidate, evaluation: Evaluation, results: tuple[Gate, ...], card: Card) -> dict[str, Any]:
    # the UI shows the entries in this order
    return {
        "card": dg.MetadataValue.md(card.embedded()),
        "version": version.version,
        "reused": version.reused,
        "held_out_rows": evaluation.n,
        **{name: value for name, value in evaluation.metrics.items() if value is not None},
        "metrics": dg.MetadataValue.md(metrics_table(evaluation)),
        "gates": dg.MetadataValue.md(gates_table(results)),
        "missed_gates": "; ".join(gate.sentence for gate in results if not gate.met) or "none",
        "artifact": dg.MetadataValue.path(version.directory),
        "census": dg.MetadataValue.md(census_table(evaluation)),
    }
