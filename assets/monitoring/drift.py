"""Layer `drift`: how far each champion's world has moved since its training. `store.measuring.drift` measures.

Observations use only facts known before them, so one build of the features serves every clock up to its own.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL, Clock
from assets.platform.tables import metadata_table
from models.decisions.drift import (
    CHECKS,
    Distance,
    DriftEvidence,
    Reference,
    Verdict,
    judge,
)
from models.declaring.declaration import ModelDeclaration
from models.markdown import Markup, bullets, plain
from models.versions.candidate import Candidate
from store.artifacts import ArtifactStore
from store.ledger.champions import learnt_wrong, load_champion
from store.ledger.measurements import record_drift
from store.ledger.schema import ledger
from store.measuring.drift import OBSERVATION_KIND, measure_drift, reference
from store.measuring.drift_report import SAMPLE, SHOWN, heading, shows, write_report
from store.warehouse.connection import columns_of
from store.warehouse.engine import Excerpt
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection


def drift_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that measures the drift of a model's champion, with its checks."""
    view = declaration.feature_view
    key = keys.drift(declaration.name)

    @dg.asset(
        key=key,
        deps=[keys.champion(declaration.name), keys.features(view), keys.label(declaration), keys.CLOCK],
        group_name="drift",
        kinds={"duckdb", "evidently"},
        owners=[declaration.owner],
        description=(
            f"How far the last {declaration.drift.window_days} days lie from those before the champion's training: "
            "features, predictions, performance on newly matured labels, and age. Every figure is a row of "
            "ml.ml_drift_logs; an Evidently report on a sample shows the columns that have moved most."
        ),
        check_specs=[dg.AssetCheckSpec(name, asset=key, description=holds) for name, holds in CHECKS.items()],
        pool=WAREHOUSE_POOL,
    )
    def drift(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        artifacts: dg.ResourceParam[ArtifactStore],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.MaterializeResult[Any]]:
        extraction = warehouse.built_extraction()
        if none := extraction.lacks(view.entity):
            passed = (Verdict(check=name, failed=False, statement=none) for name in CHECKS)
            yield dg.MaterializeResult(
                metadata={"absent": none}, check_results=[check_result(key, verdict) for verdict in passed]
            )
            return
        as_of, policy = extraction.as_of, declaration.with_attributes(extraction.attributes).drift
        with ledger(warehouse) as connection:
            champion = load_champion(connection, artifacts, declaration.name)
            there = columns_of(connection, view.schema, view.name)
            wrong = "" if champion is None else learnt_wrong(connection, champion, view)
        if champion is None or wrong:
            nothing = "there is no champion" if champion is None else f"the champion {champion.version} {wrong}"
            yield dg.MaterializeResult(
                metadata={
                    "champion": "none" if champion is None else champion.version,
                    "clock": dg.MetadataValue.timestamp(as_of),
                },
                check_results=[
                    check_result(key, Verdict(check=name, failed=False, statement=f"Not enough evidence: {nothing}."))
                    for name in CHECKS
                ],
            )
            return
        compared = reference(declaration, champion)
        with warehouse.analyze(*_read(declaration, champion, compared, as_of, there)) as analysis:
            evidence = measure_drift(analysis, declaration, champion, clock=as_of, reference=compared)
            sample = _sample(analysis, declaration, evidence)
        verdicts = judge(evidence, policy, max_age_days=declaration.retrain.max_champion_age_days)
        with warehouse.connect() as connection:
            record_drift(connection, context.run_id, evidence, verdicts, clock.present())
        kinds = {each.column: each.kind for each in _shown(evidence)}
        report = artifacts.reports(declaration.name) / f"{as_of:%Y%m%dT%H%M%SZ}-{evidence.version}.html"
        top = heading(evidence, verdicts, view.entity.plural, extraction.caveat or "")
        title = f"Drift of {declaration.name}, {as_of:%Y-%m-%d}"
        # a report with the same top is kept
        written = shows(report, top) or write_report(*sample, kinds, report, title=title, top=top)
        for verdict in verdicts:
            log = context.log.warning if verdict.failed else context.log.info
            log(f"{declaration.name}, {verdict.check}: {verdict.statement}")
        opened = {
            "report": dg.MetadataValue.url(artifacts.report_address(report)),
            "report_file": dg.MetadataValue.path(report),
        }
        yield dg.MaterializeResult(
            metadata={**(opened if written else {}), **_metadata(evidence, verdicts)},
            check_results=[check_result(key, verdict) for verdict in verdicts],
        )

    return drift


def _read(
    declaration: ModelDeclaration, champion: Candidate, compared: Reference, clock: datetime, columns: Sequence[str]
) -> tuple[Excerpt, Excerpt]:
    """Return what `measure_drift` reads: the observations since the reference window began, and the labels.

    If the model has a scope, also its columns, and every observation after the last of the training.
    """
    view = declaration.feature_view
    first = min(compared.trained_at, clock) - timedelta(days=declaration.drift.window_days)
    of_scope = [name for name in columns if re.search(rf"\b{re.escape(name)}\b", declaration.scope)]
    if declaration.scope:
        first = min(first, compared.last_as_of)
    since = f"as_of > timestamp with time zone '{first.isoformat()}'"
    kind = [name for name in view.not_features if name == OBSERVATION_KIND]
    return (
        Excerpt(
            view.schema,
            view.name,
            [*dict.fromkeys((view.key, "as_of", *kind, *champion.features, *of_scope))],
            since,
        ),
        Excerpt("labels", declaration.label),
    )


def check_result(
    key: dg.AssetKey, verdict: Verdict, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
) -> dg.AssetCheckResult:
    """Return a verdict as the result of an asset check, with its value and threshold."""
    figures = {"value": verdict.value, "threshold": verdict.threshold, **verdict.figures}
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=verdict.check,
        passed=not verdict.failed,
        severity=severity,
        # the UI reads it as Markdown
        description=plain(verdict.statement),
        metadata={
            "statement": verdict.statement,
            **{name: value for name, value in figures.items() if value is not None},
            **({"subject": verdict.subject} if verdict.subject else {}),
        },
    )


def _shown(evidence: DriftEvidence) -> list[Distance]:
    most_moved = sorted(evidence.features, key=lambda each: (-(each.psi or 0), each.column))[:SHOWN]
    return [*evidence.predictions, *most_moved]


def _sample(
    connection: "DuckDBPyConnection", declaration: ModelDeclaration, evidence: DriftEvidence
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    key = declaration.feature_view.key
    shown = ", ".join(f'"{each.column}"' for each in _shown(evidence))
    reference, current = (
        connection.execute(
            f"select {shown} from drift_rows inner join drift_predicted using ({key}, as_of) "
            f"where drift_rows.{side} order by md5({key} || epoch_us(as_of)), {key}, as_of limit {SAMPLE}"
        ).df()
        for side in ("is_reference", "is_current")
    )
    return reference, current


def _metadata(evidence: DriftEvidence, verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
    head = ("column", "PSI", "KS or Jensen-Shannon", "Wasserstein", "nulls before", "nulls now", "new categories")
    rows = [
        (
            each.column, _figure(each.psi), _figure(each.distance), _figure(each.wasserstein),
            _figure(each.nulls_reference), _figure(each.nulls_current), _figure(each.new_categories),
        )
        for each in _shown(evidence)
    ]  # fmt: skip
    return {
        "champion": evidence.version,
        "clock": dg.MetadataValue.timestamp(evidence.as_of),
        "trained_at": dg.MetadataValue.timestamp(evidence.reference.trained_at),
        "rows_reference": evidence.rows_reference,
        "rows_current": evidence.rows_current,
        "failed": ", ".join(each.check for each in verdicts if each.failed) or "none",
        "verdicts": dg.MetadataValue.md(
            bullets(Markup(f"**{each.check}**: {plain(each.statement)}") for each in verdicts)
        ),
        "most_moved": metadata_table(head, rows),
    }


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
