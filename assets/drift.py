"""Layer `drift`: how far each champion's world has moved since its training, over the whole population.

`reference` and `measure` need a connection and no Dagster. Observations are point-in-time, so one build of the features
can be measured at every clock up to its own.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.champion_files import load_champion
from assets.distributions import distances
from assets.drift_report import SAMPLE, write_report
from assets.ml_tables import ensure, record_drift
from assets.resources import WAREHOUSE_POOL, ArtifactStore, Clock
from assets.warehouse import Excerpt, Warehouse, columns_of
from models.candidate import PROBABILITY, TRUTH, Candidate
from models.declaration import ModelDeclaration
from models.drift import CHECKS, Distance, DriftEvidence, Performance, Reference, Verdict, judge, measure_performance
from models.markdown import Markup, bullets, markdown_table, plain
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection

    from assets.warehouse import Connection

OBSERVATION_KIND = "observation_kind"
SHOWN = 12
"""Columns that have moved most, which the metadata and the report show."""


def reference(declaration: ModelDeclaration, champion: Candidate) -> Reference:
    """Return what a champion is compared with: its training, and how good it was on its held-out rows."""
    held_out = champion.held_out()
    return Reference(
        trained_at=datetime.fromisoformat(champion.manifest["as_of"]),
        last_as_of=datetime.fromisoformat(champion.manifest["last_as_of"]),
        performance=_performance(declaration, champion, held_out, held_out[TRUTH], PROBABILITY + "{}"),
    )


def measure(
    connection: "DuckDBPyConnection",
    declaration: ModelDeclaration,
    champion: Candidate,
    *,
    clock: datetime,
    reference: Reference,
) -> DriftEvidence:
    """Measure a champion's world at a clock.

    Predictions are kept in a temporary table of the connection, so that a caller who looks at day after day predicts
    each observation once; the features must not be built anew while it is open.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Of a warehouse whose features and labels were built at `clock` or later. Only temporary tables are written.
    declaration : ModelDeclaration
    champion : Candidate
    clock : datetime
        UTC; what is later is not looked at.
    reference : Reference
        Of this champion.

    Returns
    -------
    DriftEvidence
    """
    view, window = declaration.feature_view, declaration.drift.window_days
    _gather(connection, declaration, champion, clock, reference)
    predictions = _predict(connection, declaration, champion)
    connection.execute(
        f"create or replace temp table drift_predicted as select is_reference, is_current, observed, predicted.* "
        f"from drift_rows inner join {predictions} as predicted using ({view.key}, as_of)"
    )
    rows = connection.execute(
        "select count(*) filter (where is_reference), count(*) filter (where is_current), "
        f"count(distinct {view.key}) filter (where is_reference), count(distinct {view.key}) filter (where is_current) "
        "from drift_rows"
    ).fetchall()[0]
    matured = connection.execute(
        f"select * from drift_predicted where observed is not null order by {view.key}, as_of"
    ).df()
    return DriftEvidence(
        model=champion.model,
        version=champion.version,
        as_of=clock,
        window_days=window,
        reference=reference,
        rows_reference=rows[0],
        rows_current=rows[1],
        entities_reference=rows[2],
        entities_current=rows[3],
        features=tuple(distances(connection, "drift_rows", champion.features)),
        predictions=tuple(
            distances(connection, "drift_predicted", dict.fromkeys(_probability_columns(champion), "number"))
        ),
        performance=_performance(declaration, champion, matured, matured["observed"], "{}_probability"),
        new_labels=matured_labels(connection, declaration, champion, since=reference.last_as_of, clock=clock),
    )


def matured_labels(
    connection: "Connection",
    declaration: ModelDeclaration,
    champion: Candidate,
    *,
    since: datetime,
    clock: datetime,
) -> int:
    """Count the labels of observations after `since`, over the champion's horizon, that have matured by the clock."""
    counted: int = connection.execute(
        f"select count(*) from labels.{declaration.label} "
        "where as_of > $1 and matures_at <= $2 and matures_at = as_of + $3 * interval '1 day'",
        [since, clock, champion.manifest["horizon_days"]],
    ).fetchall()[0][0]
    return counted


def _gather(
    connection: "DuckDBPyConnection",
    declaration: ModelDeclaration,
    champion: Candidate,
    clock: datetime,
    reference: Reference,
) -> None:
    """Make ``drift_rows``: the observations of both windows and those whose outcome is known and was not learnt from.

    The observations at the clock itself are a census of the open leads rather than decision points, and no other
    moment has one.
    """
    view = declaration.feature_view
    features = ", ".join(f'features."{name}"' for name in champion.features)
    census = f"and {OBSERVATION_KIND} <> 'clock'" if OBSERVATION_KIND in view.not_features else ""
    outcome = f"labels.{declaration.label_column}"
    observed = f"cast({outcome} as integer)" if declaration.task == "binary" else outcome
    connection.execute(
        f"""
        create or replace temp table drift_rows as
        select
            features.{view.key}, features.as_of,
            features.as_of > $trained_at - to_days($window) and features.as_of <= $trained_at as is_reference,
            features.as_of > $clock - to_days($window) and features.as_of <= $clock as is_current,
            cast({observed} as varchar) as observed, {features}
        from {view.schema}.{view.name} as features
        left join labels.{declaration.label} as labels
            on features.{view.key} = labels.{view.key} and features.as_of = labels.as_of
            and labels.as_of >= $trained_at and labels.matures_at <= $clock
            and labels.matures_at > $clock - to_days($window)
            and labels.matures_at - labels.as_of = to_days($horizon)
        where features.as_of <= $clock {census}
            and (is_reference or is_current or observed is not null)
        """,
        {
            "trained_at": reference.trained_at,
            "clock": clock,
            "window": declaration.drift.window_days,
            "horizon": champion.manifest["horizon_days"],
        },
    )


def _predict(connection: "DuckDBPyConnection", declaration: ModelDeclaration, champion: Candidate) -> str:
    """Predict the rows of ``drift_rows`` that have not been predicted on this connection; return the table's name."""
    import pandas as pd

    from models.frames import model_input
    from models.learning import predict

    view = declaration.feature_view
    table = f'"drift_predictions_{champion.model}_{champion.version}"'
    columns = ", ".join(f"{name} double" for name in _probability_columns(champion))
    connection.execute(f"create temp table if not exists {table} ({view.key} varchar, as_of timestamptz, {columns})")
    missing = connection.execute(
        f"select * from drift_rows anti join {table} using ({view.key}, as_of) order by {view.key}, as_of"
    ).df()
    if missing.empty:
        return table
    probabilities = predict(champion.pipeline, model_input(missing, champion.features), champion.outcomes)
    predicted = pd.DataFrame(probabilities, columns=_probability_columns(champion))
    predicted.insert(0, view.key, missing[view.key])
    predicted.insert(1, "as_of", missing["as_of"])
    connection.register("drift_predicted_now", predicted)
    connection.execute(f"insert into {table} select * from drift_predicted_now")
    connection.unregister("drift_predicted_now")
    return table


def _probability_columns(champion: Candidate) -> list[str]:
    return [f"{name}_probability" for name in champion.outcomes]


def _performance(
    declaration: ModelDeclaration, champion: Candidate, rows: "pd.DataFrame", observed: "pd.Series", column: str
) -> Performance:
    import numpy as np

    positive = ("1",) if declaration.task == "binary" else champion.outcomes
    happened = np.column_stack([observed.astype(str) == name for name in positive]).astype(bool)
    return measure_performance(
        rows[champion.key].to_numpy(),
        happened,
        rows[[column.format(name) for name in champion.outcomes]].to_numpy(dtype=float),
        champion.outcomes,
        declaration.drift.min_positives,
    )


def drift_asset(declaration: ModelDeclaration) -> dg.AssetsDefinition:
    """Return the asset that measures the drift of a model's champion, with its checks."""
    view = declaration.feature_view
    key = ["drift", declaration.name]

    @dg.asset(
        key=key,
        deps=[["champion", declaration.name], [view.schema, view.name], ["labels", declaration.label]],
        group_name="drift",
        kinds={"duckdb", "evidently"},
        owners=[declaration.owner],
        description=(
            f"How far the last {declaration.drift.window_days} days lie from those before the champion's training: "
            "features, predictions, performance on labels that have matured since, and age. Every figure is a row of "
            "ml.ml_drift_logs; an Evidently report on a sample shows the columns that have moved most."
        ),
        check_specs=[dg.AssetCheckSpec(name, asset=key, description=holds) for name, holds in CHECKS.items()],
        pool=WAREHOUSE_POOL,
    )
    def drift(
        context: dg.AssetExecutionContext, warehouse: Warehouse, artifacts: ArtifactStore, clock: Clock
    ) -> Iterator[dg.MaterializeResult[Any]]:
        as_of = warehouse.built_extraction().as_of
        with warehouse.connect() as connection:
            ensure(connection)
            champion = load_champion(connection, artifacts, declaration.name)
            there = columns_of(connection, view.schema, view.name)
        nothing = _nothing_to_measure(declaration, champion, there)
        if champion is None or nothing:
            yield dg.MaterializeResult(
                metadata={
                    "champion": "none" if champion is None else champion.version,
                    "clock": dg.MetadataValue.timestamp(as_of),
                },
                check_results=[
                    check_result(key, Verdict(check=name, failed=False, statement=nothing)) for name in CHECKS
                ],
            )
            return
        compared = reference(declaration, champion)
        with warehouse.analyze(*_read(declaration, champion, compared, as_of)) as analysis:
            evidence = measure(analysis, declaration, champion, clock=as_of, reference=compared)
            sample = _sample(analysis, declaration, evidence)
        verdicts = judge(evidence, declaration.drift, max_age_days=declaration.retrain.max_champion_age_days)
        with warehouse.connect() as connection:
            record_drift(connection, context.run_id, evidence, verdicts, clock.present())
        kinds = {each.column: each.kind for each in _shown(evidence)}
        report = artifacts.reports(declaration.name) / f"{as_of:%Y%m%dT%H%M%SZ}-{evidence.version}.html"
        # the same champion at the same clock gives the same report
        written = report.exists() or write_report(*sample, kinds, report)
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


def _nothing_to_measure(declaration: ModelDeclaration, champion: Candidate | None, columns: Sequence[str]) -> str:
    """Say why a champion cannot be measured; an empty text where it can."""
    if champion is None:
        return "Not enough evidence: there is no champion."
    missing = [name for name in champion.features if name not in columns]
    if not missing:
        return ""
    view = declaration.feature_view
    return (
        f"Not enough evidence: {view.schema}.{view.name} lacks {', '.join(missing)}, from which the champion "
        f"{champion.version} learnt."
    )


def _read(
    declaration: ModelDeclaration, champion: Candidate, compared: Reference, clock: datetime
) -> tuple[Excerpt, Excerpt]:
    """Return what `measure` reads: both windows, and the observations since the training with their labels."""
    view = declaration.feature_view
    first = min(compared.trained_at, clock) - timedelta(days=declaration.drift.window_days)
    since = f"as_of > timestamp with time zone '{first.isoformat()}'"
    kind = [name for name in view.not_features if name == OBSERVATION_KIND]
    return (
        Excerpt(view.schema, view.name, [view.key, "as_of", *kind, *champion.features], since),
        Excerpt("labels", declaration.label),
    )


def check_result(
    key: list[str], verdict: Verdict, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
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
        "most_moved": dg.MetadataValue.md(markdown_table(head, rows)),
    }


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


drifts = [drift_asset(declaration) for declaration in DECLARATIONS.values()]
