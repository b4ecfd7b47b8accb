"""Schema ``ml``: what the models wrote. Every write is keyed, so that a rerun adds nothing, and is one transaction."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import pandas as pd
    from duckdb import DuckDBPyConnection

    from assets.feature_quality import FeatureQuality
    from assets.source_health import SourceFigure
    from models.candidate import Candidate
    from models.drift import DriftEvidence, Verdict
    from models.evaluation import Evaluation
    from models.promotion import Decision, PromotionEvidence
    from models.retraining import RetrainDecision, RetrainEvidence
    from models.training_set import TrainingSet

TABLES: Mapping[str, str] = {
    "ml_models": """
        model text not null, version text not null, training_set_id text not null, horizon_days bigint not null,
        rows bigint not null, entities bigint not null, first_as_of timestamptz not null,
        last_as_of timestamptz not null, artifact text not null, manifest_sha256 text not null,
        metrics text not null, baseline text not null, missed_gates text not null, libraries text not null,
        created_at timestamptz not null, primary key (model, version)""",
    "ml_training_logs": """
        run_id text not null, model text not null, version text not null, training_set_id text not null,
        rows bigint not null, entities bigint not null, reused boolean not null, reason text not null,
        started_at timestamptz not null, finished_at timestamptz not null,
        as_of timestamptz, evidence text, feature_code text, training_minutes double, prediction_milliseconds double,
        primary key (run_id, model)""",
    "ml_decisions": """
        run_id text not null, model text not null, kind text not null, version text not null, evidence text not null,
        rule text not null, outcome text not null, reason text not null, decided_at timestamptz not null,
        primary key (run_id, model, kind)""",
    "ml_champions": """
        model text not null, version text not null, artifact text not null, manifest_sha256 text not null,
        promoted_at timestamptz not null, primary key (model)""",
    "ml_predictions": """
        model text not null, version text not null, lead_id text not null, as_of timestamptz not null,
        outcome text not null, probability double not null, score bigint, grade text, reasons text,
        scored_at timestamptz not null""",
    "ml_feature_quality": """
        feature_view text not null, as_of timestamptz not null, feature text not null, feature_group text not null,
        rows bigint not null, completeness double not null, incomplete boolean not null, constant boolean not null,
        most_correlated_with text, correlation double, redundant boolean not null, minimum double, maximum double,
        lower_bound double, upper_bound double, outlier_share double, primary key (feature_view, as_of, feature)""",
    "ml_drift_logs": """
        run_id text not null, model text not null, version text not null, as_of timestamptz not null,
        check_name text not null, feature text not null, statistic text not null, value double not null,
        threshold double, failed boolean not null, rows_reference bigint not null, rows_current bigint not null,
        measured_at timestamptz not null, primary key (model, version, as_of, check_name, feature, statistic)""",
    "ml_source_health": """
        run_id text not null, as_of timestamptz not null, check_name text not null, subject text not null,
        value double not null, threshold double not null, failed boolean not null, rows_reference bigint not null,
        rows_current bigint not null, measured_at timestamptz not null, primary key (as_of, check_name, subject)""",
}

LOOK = "looked_at"
"""Stands for a check in ml.ml_source_health where there is none."""

ADDED_COLUMNS: Mapping[str, str] = {
    "ml_training_logs": "as_of timestamptz, evidence text, feature_code text, training_minutes double, "
    "prediction_milliseconds double"
}
"""Columns that a table has gained, which a warehouse of an earlier version lacks; null in its rows."""


def ensure(connection: DuckDBPyConnection) -> None:
    """Create the tables and columns that are missing."""
    connection.execute("create schema if not exists ml")
    for name, columns in TABLES.items():
        connection.execute(f"create table if not exists ml.{name} ({columns})")
    for name, columns in ADDED_COLUMNS.items():
        for column in columns.split(", "):
            connection.execute(f"alter table ml.{name} add column if not exists {column}")


def record_version(
    connection: DuckDBPyConnection,
    candidate: Candidate,
    evaluation: Evaluation,
    missed_gates: list[str],
    training_set: TrainingSet,
    manifest_sha256: str,
    created_at: datetime,
) -> None:
    """Record a trained version with what was measured; a version that is there already stays as it is."""
    manifest = training_set.manifest
    connection.execute(
        "insert into ml.ml_models values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        [
            candidate.model,
            candidate.version,
            training_set.id,
            manifest["horizon_days"],
            manifest["rows"],
            manifest["entities"],
            manifest["first_as_of"],
            manifest["last_as_of"],
            candidate.directory.name,
            manifest_sha256,
            json.dumps(
                {**evaluation.metrics, "recall": evaluation.recall} if evaluation.recall else evaluation.metrics
            ),
            json.dumps(evaluation.baseline),
            json.dumps(missed_gates),
            json.dumps(candidate.manifest["libraries"]),
            created_at,
        ],
    )


def record_training(
    connection: DuckDBPyConnection,
    run_id: str,
    candidate: Candidate,
    training_set: TrainingSet,
    reason: str,
    started_at: datetime,
    finished_at: datetime,
    *,
    as_of: datetime,
    evidence: str | None,
    feature_code: str,
) -> None:
    """Log a training, also one that found its version trained already.

    `evidence` identifies what asked for it, where a sensor did; `as_of` is its clock and `feature_code` that of
    `assets.dbt.feature_code`. What it cost is that of the run that trained the version.
    """
    manifest, cost = training_set.manifest, candidate.cost()
    connection.execute(
        "insert or replace into ml.ml_training_logs (run_id, model, version, training_set_id, rows, entities, reused, "
        "reason, started_at, finished_at, as_of, evidence, feature_code, training_minutes, prediction_milliseconds) "
        "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run_id,
            candidate.model,
            candidate.version,
            training_set.id,
            manifest["rows"],
            manifest["entities"],
            candidate.reused,
            reason,
            started_at,
            finished_at,
            as_of,
            evidence,
            feature_code,
            cost["training_minutes"],
            cost["prediction_milliseconds"],
        ],
    )


def record_decision(
    connection: DuckDBPyConnection,
    run_id: str,
    evidence: PromotionEvidence | RetrainEvidence,
    decision: Decision | RetrainDecision,
    decided_at: datetime,
) -> None:
    """Write a decision to the ledger, also a refusal."""
    connection.execute(
        "insert or replace into ml.ml_decisions values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run_id,
            evidence.model,
            decision.kind,
            evidence.version,
            json.dumps(asdict(evidence), default=str),
            decision.rule,
            decision.outcome,
            decision.reason,
            decided_at,
        ],
    )


def record_drift(
    connection: DuckDBPyConnection,
    run_id: str,
    evidence: DriftEvidence,
    verdicts: Iterable[Verdict],
    measured_at: datetime,
) -> None:
    """Write every figure of a measurement, in place of those of the same champion at the same clock if they differ.

    A figure carries the bound that it is held to, if any. A check has failed where a row of it has: without enough
    evidence none has.
    """
    judged = {verdict.check: verdict for verdict in verdicts}
    rows: list[tuple[str, str, str, float, float | None, bool, int, int]] = []
    for check, distances in (("features", evidence.features), ("predictions", evidence.predictions)):
        # without enough evidence nothing is held to a bound
        bound = judged[check].threshold
        for each in distances:
            for statistic, value in each.statistics().items():
                decides = statistic == "psi" and each.column not in judged[check].shown_only
                failed = decides and bound is not None and value > bound
                rows.append(
                    (check, each.column, statistic, value, bound if decides else None, failed,
                     each.rows_reference, each.rows_current)
                )  # fmt: skip
    then, now = evidence.reference.performance, evidence.performance
    for check in ("performance", "champion_age"):
        verdict = judged[check]
        figures: dict[str, tuple[float, float | None, bool]] = {
            name: (value, None, False) for name, value in verdict.figures.items()
        }
        if verdict.value is not None:
            figures["deciding"] = (verdict.value, verdict.threshold, verdict.failed)
        rows += [(check, "", name, *figure, then.rows, now.rows) for name, figure in figures.items()]
    key = {"model": evidence.model, "version": evidence.version, "as_of": evidence.as_of}
    _replace_measurement(connection, "ml_drift_logs", run_id, key, rows, measured_at)


def replace_feature_quality(
    connection: DuckDBPyConnection, feature_view: str, as_of: datetime, measured: Iterable[FeatureQuality]
) -> None:
    """Write what was measured of the features of a view, in place of what was there for the same clock."""
    connection.begin()
    connection.execute("delete from ml.ml_feature_quality where feature_view = ? and as_of = ?", [feature_view, as_of])
    _insert(
        connection,
        "ml_feature_quality",
        [
            (
                feature_view,
                as_of,
                each.feature,
                each.feature_group,
                each.rows,
                each.completeness,
                each.incomplete,
                each.constant,
                each.most_correlated_with,
                each.correlation,
                each.redundant,
                each.minimum,
                each.maximum,
                each.lower_bound,
                each.upper_bound,
                each.outlier_share,
            )
            for each in measured
        ],
    )
    connection.commit()


def record_source_health(
    connection: DuckDBPyConnection,
    run_id: str,
    as_of: datetime,
    figures: Iterable[SourceFigure],
    measured_at: datetime,
) -> None:
    """Write the figures of the source at a clock, in place of those that were there if they differ.

    A row of the check `LOOK` says that the source was looked at, also where nothing could be judged.
    """
    rows = [(LOOK, "", 0.0, 0.0, False, 0, 0)]
    rows += [
        (each.check, each.subject, each.value, each.threshold, each.failed, each.rows_reference, each.rows_current)
        for each in figures
    ]
    _replace_measurement(connection, "ml_source_health", run_id, {"as_of": as_of}, rows, measured_at)


def _replace_measurement(
    connection: DuckDBPyConnection,
    table: str,
    run_id: str,
    key: Mapping[str, object],
    rows: Sequence[tuple[object, ...]],
    measured_at: datetime,
) -> None:
    """Write the rows of a key, given without it, unless they are there: what is measured again keeps its first run."""
    of_key = f"from ml.{table} where {' and '.join(f'{column} = ?' for column in key)}"
    known = connection.execute(f"select * exclude (run_id, {', '.join(key)}, measured_at) {of_key}", [*key.values()])
    if set(known.fetchall()) == set(rows):
        return
    written = [(run_id, *key.values(), *row, measured_at) for row in rows]
    connection.begin()
    connection.execute(f"delete {of_key}", [*key.values()])
    _insert(connection, table, written)
    connection.commit()


def _insert(connection: DuckDBPyConnection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows in one statement: a hundred small ones took longer than the measuring."""
    if rows:
        places = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
        connection.execute(f"insert into ml.{table} values {places}", [value for row in rows for value in row])


def add_predictions(connection: DuckDBPyConnection, predictions: pd.DataFrame, scored_at: datetime) -> int:
    """Add the predictions that are not there yet.

    Parameters
    ----------
    connection : DuckDBPyConnection
    predictions : DataFrame
        As `assets.scores.explained` returns them.
    scored_at : datetime

    Returns
    -------
    int
        The number of rows added.
    """
    connection.register("new_predictions", predictions)
    added = connection.execute(
        "insert into ml.ml_predictions "
        "select model, version, lead_id, as_of, outcome, probability, score, grade, reasons, cast(? as timestamptz) "
        "from new_predictions as new where not exists (select 1 from ml.ml_predictions as old where "
        "old.model = new.model and old.version = new.version and old.lead_id = new.lead_id and old.as_of = new.as_of "
        "and old.outcome = new.outcome)",
        [scored_at],
    ).fetchall()[0][0]
    connection.unregister("new_predictions")
    return int(added)
