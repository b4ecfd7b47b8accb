"""Layer `retrain_decision`: the decision whether to train a model anew, from measurements of drift and of the source.

The asset opens the warehouse and decides; `orchestration.sensors` reads the decision from Dagster's event log.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.event_log import runs_in_flight
from assets.platform.resources import WAREHOUSE_POOL, Clock
from assets.platform.tables import metadata_table
from models.decisions.retraining import decide_retraining
from models.declaring.declaration import ModelDeclaration
from store.artifacts import ArtifactStore
from store.features.dbt_project import feature_code
from store.ledger.champions import load_champion
from store.ledger.decisions import SHOWN, last_decisions, record_decision
from store.ledger.schema import ledger
from store.measuring.drift import gather_retrain_evidence
from store.warehouse.warehouse import Warehouse


def retrain_job_name(model: str) -> str:
    """Return the name of the job that trains a model anew."""
    return f"retrain_{model}"


def retrain_decision_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that decides whether a model is trained anew."""

    @dg.asset(
        key=keys.retrain_decision(declaration.name),
        deps=[keys.drift(declaration.name), keys.SOURCE_HEALTH],
        group_name="drift",
        kinds={"duckdb"},
        owners=[declaration.owner],
        description=(
            "The decision to retrain, wait or quarantine, with its reason, as a row of ml.ml_decisions. The sensor "
            f"retrain_sensor then starts {retrain_job_name(declaration.name)}, or calls a person."
        ),
        pool=WAREHOUSE_POOL,
    )
    def retrain_decision(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        clock: dg.ResourceParam[Clock],
    ) -> dg.MaterializeResult[Any]:
        extraction = warehouse.built_extraction()
        if none := extraction.lacks(declaration.feature_view.entity):
            # no decision, so no row of the ledger; `retrain_sensor` reads why it starts nothing
            return dg.MaterializeResult(
                metadata={"outcome": "wait", "rule": "absent", "reason": none, "evidence_id": "none"}
            )
        as_of = extraction.as_of
        training_runs = runs_in_flight(
            context.instance,
            [retrain_job_name(declaration.name)],
            keys.candidate(declaration.name),
            but=context.run_id,
        )
        with ledger(warehouse) as connection:
            champion = load_champion(connection, artifacts, declaration.name)
            evidence = gather_retrain_evidence(
                connection,
                declaration,
                champion,
                clock=as_of,
                feature_code=feature_code(declaration.feature_view.name),
                in_flight=bool(training_runs),
            )
            decision = decide_retraining(evidence, declaration.retrain)
            record_decision(connection, context.run_id, evidence, decision, clock.present())
            decisions = last_decisions(connection, declaration.name, decision.kind)
        (context.log.info if decision.outcome == "wait" else context.log.warning)(
            f"{declaration.name}: {decision.outcome}. {decision.reason}"
        )
        return dg.MaterializeResult(
            metadata={
                "outcome": decision.outcome,
                "rule": decision.rule,
                "reason": decision.reason,
                "evidence_id": decision.evidence_id,
                "champion": evidence.version or "none",
                "clock": dg.MetadataValue.timestamp(as_of),
                "last_decisions": metadata_table(SHOWN, decisions),
                "evidence": dg.MetadataValue.json(
                    {name: str(value) if isinstance(value, datetime) else value
                     for name, value in asdict(evidence).items()}
                ),
            }
        )  # fmt: skip

    return retrain_decision
