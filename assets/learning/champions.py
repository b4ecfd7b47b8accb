"""Layer `champion`: the version whose scores are published, and the ledger of the promotion decisions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL, Clock
from assets.platform.tables import metadata_table
from models.artifacts import MANIFEST, sha256
from models.decisions.comparison import on_shared_rows
from models.decisions.horizons import ShorterHorizons
from models.decisions.promotion import (
    HORIZON_MATTERS,
    RULE_NOT_BEATEN,
    ChampionEvidence,
    Decision,
    PromotionEvidence,
    UntrainableEvidence,
    decide_promotion,
    decide_untrainable,
    promotion_evidence,
    with_advice,
)
from models.declaring.declaration import Horizons, ModelDeclaration
from models.declaring.feature_view import FeatureView
from models.grades import why_new_grades
from models.markdown import bullets, plain
from models.training.training_set import load as load_training_set
from models.untrainable import Untrainable
from models.versions.candidate import Candidate, evaluate
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.ledger.champions import (
    RETIRED,
    ChampionMismatchError,
    champion_version,
    follow,
    learnt_wrong,
    load_champion,
    promote,
    unmeasured_champion,
)
from store.ledger.decisions import SHOWN, last_decisions, record_decision
from store.ledger.predictions import grades_in_force, record_grades
from store.ledger.schema import ledger
from store.ledger.versions import load_version
from store.measuring.shorter_horizons import try_shorter
from store.warehouse.connection import Connection
from store.warehouse.warehouse import Warehouse


def champion_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that decides on promotion and moves the pointer to the champion."""

    @dg.asset(
        key=keys.champion(declaration.name),
        ins={"candidate": dg.AssetIn(key=keys.candidate(declaration.name))},
        group_name="champions",
        kinds={"duckdb"},
        owners=[declaration.owner],
        description=(
            "The version whose scores are published. Each decision, also a refusal, is a row of ml.ml_decisions; "
            "a refused candidate leaves the champion as it was."
        ),
        pool=WAREHOUSE_POOL,
    )
    def champion(
        context: dg.AssetExecutionContext,
        candidate: Any,  # str or Untrainable: Dagster has no union type
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        compiled: dg.ResourceParam[CompiledSql],
        horizons: dg.ResourceParam[Horizons],
        new_grades: dg.ResourceParam[bool],
        confirmed_features: dg.ResourceParam[Mapping[str, tuple[str, ...]]],
        clock: dg.ResourceParam[Clock],
    ) -> dg.MaterializeResult[Any]:
        extraction = warehouse.extraction()
        if none := extraction.lacks(declaration.feature_view.entity):
            return dg.MaterializeResult(metadata={"absent": none})
        compiled.require_proof(declaration.feature_view.name, extraction.as_of)
        applied = horizons.applied(declaration, extraction.horizon_days).with_attributes(extraction.attributes)
        with ledger(warehouse) as connection:

            def shorter() -> ShorterHorizons | None:
                return try_shorter(connection, lambda: compiled.build(extraction.as_of), extraction, applied)

            evidence: PromotionEvidence | UntrainableEvidence
            if isinstance(candidate, Untrainable):
                evidence, decision = refuse_and_record(
                    connection,
                    applied,
                    artifacts,
                    candidate,
                    run_id=context.run_id,
                    decided_at=clock.present(),
                    shorter=shorter,
                )
            else:
                evidence, decision = decide_and_record(
                    connection,
                    declaration,
                    artifacts,
                    load_version(connection, artifacts, declaration.name, candidate),
                    run_id=context.run_id,
                    decided_at=clock.present(),
                    shorter=shorter,
                    new_grades=new_grades,
                    confirmed=confirmed_features.get(declaration.name, ()),
                )
            pointer = champion_version(connection, declaration.name)
            decisions = last_decisions(connection, declaration.name, decision.kind)
        # a refusal is no warning if a declared rule takes the place of the model
        is_warning = decision.outcome == "refuse" and not declaration.rule
        log = context.log.warning if is_warning else context.log.info
        log(f"{declaration.name}: {decision.outcome}. {decision.reason}")
        return dg.MaterializeResult(
            metadata={
                "champion": pointer or "none",
                "candidate": evidence.version,
                "decision": decision.outcome,
                "rule": decision.rule,
                "reason": decision.reason,
                "last_decisions": metadata_table(SHOWN, decisions),
                **_trial_metadata(evidence.shorter),
                "evidence": dg.MetadataValue.json(asdict(evidence)),
            }
        )

    return champion


def decide_and_record(
    connection: Connection,
    declaration: ModelDeclaration,
    artifacts: ArtifactStore,
    version: Candidate,
    *,
    run_id: str,
    decided_at: datetime,
    shorter: Callable[[], ShorterHorizons | None] = lambda: None,
    new_grades: bool = False,
    confirmed: tuple[str, ...] = (),
) -> tuple[PromotionEvidence, Decision]:
    """Decide whether a version becomes champion, write the decision to the ledger, and move the pointer.

    The decision, the pointer and the grades are written in one transaction. `shorter` tries shorter horizons after a
    refusal that one may avoid; `new_grades` says that a person asks for new grades; `confirmed` are the features that a
    person says were known at the time.
    """
    applied = declaration.with_horizon(version.manifest["horizon_days"])
    evaluation = evaluate(version)
    champion = _evidence_on(connection, artifacts, version, declaration.feature_view)
    evidence = promotion_evidence(applied, evaluation, champion, confirmed)
    decision = decide_promotion(evidence)
    if decision.rule in HORIZON_MATTERS:
        evidence = replace(evidence, shorter=shorter())
        decision = with_advice(decision, evidence.shorter)
    connection.begin()
    if decision.outcome == "refuse":
        decision = _retire(connection, artifacts, declaration, decision, decided_at)
    record_decision(connection, run_id, evidence, decision, decided_at)
    if decision.outcome == "promote":
        promote(connection, version, sha256(version.directory / MANIFEST), decided_at)
    if decision.outcome != "refuse" and evaluation.census is not None:
        why = why_new_grades(grades_in_force(connection, version.model), applied, asked=new_grades)
        if why is not None:
            record_grades(connection, version, applied.grades, evaluation.census.grades, why, decided_at)
    connection.commit()
    return evidence, decision


def refuse_and_record(
    connection: Connection,
    declaration: ModelDeclaration,
    artifacts: ArtifactStore,
    untrainable: Untrainable,
    *,
    run_id: str,
    decided_at: datetime,
    shorter: Callable[[], ShorterHorizons | None] = lambda: None,
) -> tuple[UntrainableEvidence, Decision]:
    """Write to the ledger that a model could not be trained; the champion stays unless `_retire` retires it."""
    evidence = UntrainableEvidence(
        model=declaration.name,
        horizon_days=declaration.horizon_days,
        untrainable=untrainable,
        shorter=shorter() if untrainable.horizon_matters else None,
    )
    connection.begin()
    refusal = with_advice(decide_untrainable(evidence), evidence.shorter)
    decision = _retire(connection, artifacts, declaration, refusal, decided_at)
    record_decision(connection, run_id, evidence, decision, decided_at)
    connection.commit()
    return evidence, decision


def _retire(
    connection: Connection,
    artifacts: ArtifactStore,
    declaration: ModelDeclaration,
    refusal: Decision,
    decided_at: datetime,
) -> Decision:
    """Retire a champion that must not or cannot score after a refusal, and add the reason to the refusal.

    A champion of an earlier recipe is retired if it was never measured on a census, because its scores are not known to
    be true. So is a champion that was never measured for hindsight, if the candidate is suspected of it. If the
    candidate does not beat the declared rule, the rule replaces the champion as well. A champion that does not load, or
    has learnt from a feature that is no more, is retired because it would stop every later run.
    """
    model = declaration.name
    retired = (
        _unmeasured(connection, model, refusal)
        or _beaten(connection, model, refusal)
        or _unusable(connection, artifacts, declaration)
    )
    if retired is None:
        return refusal
    version, why = retired
    follow(connection, model, version, RETIRED, decided_at)
    return replace(refusal, reason=f"{refusal.reason} The champion {version}{why} and scores no longer.")


def _unmeasured(connection: Connection, model: str, refusal: Decision) -> tuple[str, str] | None:
    """Return a champion that lacks a required measurement, and the reason to retire it."""
    reasons = {"census": "was never measured on a census"}
    if refusal.rule == "hindsight":
        reasons["hindsight"] = "was never looked at for hindsight"
    for measure, reason in reasons.items():
        version = unmeasured_champion(connection, model, measure)
        if version is not None:
            return version, f", of an earlier recipe, {reason}"
    return None


def _beaten(connection: Connection, model: str, refusal: Decision) -> tuple[str, str] | None:
    """Return the champion if the candidate does not beat the declared rule, and the reason to retire it."""
    if refusal.rule != RULE_NOT_BEATEN:
        return None
    version = champion_version(connection, model)
    return None if version is None else (version, " learnt from earlier rows")


def _unusable(
    connection: Connection, artifacts: ArtifactStore, declaration: ModelDeclaration
) -> tuple[str, str] | None:
    """Return a champion that does not load, or has learnt what it may not use any more, and the reason."""
    try:
        champion = load_champion(connection, artifacts, declaration.name)
    except ChampionMismatchError as error:
        # readers of the marts see the reason, and do not know the home
        found = error.found.replace(f"{artifacts.root}/", "")
        return str(champion_version(connection, declaration.name)), f" does not load any more ({found})"
    if champion is None or not (why := learnt_wrong(connection, champion, declaration.feature_view)):
        return None
    return champion.version, f" {why}"


def _trial_metadata(shorter: ShorterHorizons | None) -> dict[str, Any]:
    if shorter is None:
        return {}
    tried = bullets(f"{shorter.setting}={each.horizon_days}: {each.reason}" for each in shorter.trials)
    return {"shorter_horizons": dg.MetadataValue.md(tried if shorter.trials else plain(shorter.advice))}


def _evidence_on(
    connection: Connection, artifacts: ArtifactStore, candidate: Candidate, view: FeatureView
) -> ChampionEvidence | None:
    row = connection.execute(
        "select champions.version, versions.metrics, versions.baseline, versions.horizon_days, versions.census "
        "from ml.ml_champions as champions inner join ml.ml_models as versions using (model, version) "
        "where champions.model = $1",
        [candidate.model],
    ).fetchone()
    if row is None:
        return None
    evidence = ChampionEvidence(
        version=row[0],
        horizon_days=row[3],
        loss=json.loads(row[1])[candidate.task.loss],
        baseline_loss=json.loads(row[2])[candidate.task.loss],
        on_census=row[4] is not None,
    )
    if evidence.version == candidate.version or evidence.horizon_days != candidate.manifest["horizon_days"]:
        return evidence
    try:
        champion = load_champion(connection, artifacts, candidate.model)
    except ChampionMismatchError:
        # a champion with damaged files scores nothing, and must not block its successor
        return evidence
    if champion is None:
        return evidence
    if why := learnt_wrong(connection, champion, view):
        return replace(evidence, learnt_wrong=why)
    training_set = load_training_set(artifacts.training_sets(candidate.model) / candidate.manifest["training_set"])
    return replace(
        evidence, shared=on_shared_rows(candidate, champion, training_set.frame(), lasting=view.entity.lasting)
    )
