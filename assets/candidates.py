"""Layer `candidate`: freshly trained versions, measured beside the trivial baseline on held-out leads."""

import base64
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.ml_tables import ensure, record_training, record_version
from assets.resources import WAREHOUSE_POOL, ArtifactStore, Clock, Horizons
from assets.warehouse import Warehouse
from models.artifacts import MANIFEST, sha256
from models.candidate import Candidate, train
from models.declaration import LOWER_IS_BETTER, ModelDeclaration
from models.evaluation import Evaluation, evaluate, missed_gates
from models.plots import calibration_plot
from models.registry import DECLARATIONS
from models.splitting import TooFewRowsError
from models.training_set import load as load_training_set

REASON_TAG = "leadline/reason"
"""Run tag that says why a training was asked for."""


def candidate_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that trains a version of a model; its value is the version."""

    @dg.asset(
        key=["candidate", declaration.name],
        ins={"training_set": dg.AssetIn(key=["training_set", declaration.name])},
        group_name="candidates",
        kinds={"scikitlearn"},
        owners=[declaration.owner],
        description=(
            f"{declaration.description} One scikit-learn pipeline as a joblib file, beside a manifest with its "
            "SHA-256, library versions, features and stored predictions. The same training set, declaration and "
            "libraries give the same version, which is not trained twice."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "gates", asset=["candidate", declaration.name], description="The declared bounds of the metrics hold."
            )
        ],
        pool=WAREHOUSE_POOL,
    )
    def candidate(
        context: dg.AssetExecutionContext,
        training_set: str,
        warehouse: Warehouse,
        artifacts: ArtifactStore,
        horizons: Horizons,
        clock: Clock,
    ) -> Iterator[dg.Output[str] | dg.AssetCheckResult]:
        started_at = clock.present()
        applied = horizons.applied(declaration, warehouse.extraction().horizon_days)
        frozen = load_training_set(artifacts.training_sets(declaration.name) / training_set)
        try:
            trained = train(applied, frozen, artifacts.versions(declaration.name))
        except TooFewRowsError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        evaluation = evaluate(trained)
        missed = missed_gates(evaluation, declaration.gates)
        with warehouse.connect() as connection:
            ensure(connection)
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
            )
        yield dg.Output(trained.version, metadata=_metadata(trained, evaluation))
        yield dg.AssetCheckResult(
            check_name="gates",
            passed=not missed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                **{f"{name}_bound": bound for name, bound in declaration.gates.items()},
                **{name: _figure(evaluation.metrics[name]) for name in declaration.gates},
                "missed": "; ".join(missed) or "none",
            },
        )

    return candidate


def _metadata(trained: Candidate, evaluation: Evaluation) -> dict[str, Any]:
    plot = base64.b64encode(calibration_plot(evaluation)).decode()
    rows = [
        f"| {name} {'(lower is better)' if name in LOWER_IS_BETTER else ''} | {_figure(value)} "
        f"| {_figure(evaluation.baseline[name])} |"
        for name, value in evaluation.metrics.items()
    ]
    rows += [f"| recall of {name} | {_figure(value)} | |" for name, value in evaluation.recall.items()]
    defined = {name: value for name, value in evaluation.metrics.items() if value is not None}
    return {
        **defined,
        "version": trained.version,
        "reused": trained.reused,
        "held_out_rows": evaluation.n,
        "metrics": dg.MetadataValue.md("\n".join(["| metric | model | baseline |", "|---|---|---|", *rows])),
        "calibration": dg.MetadataValue.md(f"![calibration](data:image/png;base64,{plot})"),
        "artifact": dg.MetadataValue.path(trained.directory),
    }


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


candidates = [candidate_asset(declaration) for declaration in DECLARATIONS.values()]
