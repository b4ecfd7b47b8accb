"""Schema ``ml``: what the models wrote. Every write is keyed, so that a rerun adds nothing, and is one transaction."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from assets.warehouse import insert_rows
from models.grades import GradesInForce
from models.ranges import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from assets.feature_quality import FeatureQuality
    from assets.lateness import Lateness
    from assets.source_deliveries import Delivery
    from assets.source_health import SourceFigure
    from assets.warehouse import Connection
    from models.candidate import Candidate
    from models.drift import DriftEvidence, Verdict
    from models.evaluation import Evaluation
    from models.promotion import Decision, PromotionEvidence, UntrainableEvidence
    from models.retraining import RetrainDecision, RetrainEvidence
    from models.training_set import TrainingSet

TEXT, TIME, COUNT, NUMBER, FLAG = "text", "timestamptz", "bigint", "double precision", "boolean"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of schema ``ml``.

    Attributes
    ----------
    columns : mapping of str to str
        Types by name, in order.
    nullable : tuple of str
        Columns that may be null. One that a table has gained since it was made is null in its earlier rows.
    key : tuple of str
        The columns of its primary key; empty where the writer sees to it.
    """

    columns: Mapping[str, str]
    nullable: tuple[str, ...] = ()
    key: tuple[str, ...] = ()

    def definition(self) -> str:
        """Return the columns and the key as ``create table`` wants them."""
        parts = [f"{name} {kind}{'' if name in self.nullable else ' not null'}" for name, kind in self.columns.items()]
        return ", ".join([*parts, *([f"primary key ({', '.join(self.key)})"] if self.key else [])])


TABLES: Mapping[str, Table] = {
    "ml_models": Table(
        columns={
            "model": TEXT,
            "version": TEXT,
            "training_set_id": TEXT,
            "horizon_days": COUNT,
            "rows": COUNT,
            "entities": COUNT,
            "first_as_of": TIME,
            "last_as_of": TIME,
            "artifact": TEXT,
            "manifest_sha256": TEXT,
            "metrics": TEXT,
            "baseline": TEXT,
            "missed_gates": TEXT,
            "libraries": TEXT,
            "created_at": TIME,
            "census": TEXT,
            "hindsight": TEXT,
        },
        nullable=("census", "hindsight"),
        key=("model", "version"),
    ),
    "ml_training_logs": Table(
        columns={
            "run_id": TEXT,
            "model": TEXT,
            "version": TEXT,
            "training_set_id": TEXT,
            "rows": COUNT,
            "entities": COUNT,
            "reused": FLAG,
            "reason": TEXT,
            "started_at": TIME,
            "finished_at": TIME,
            "as_of": TIME,
            "evidence": TEXT,
            "feature_code": TEXT,
            "training_minutes": NUMBER,
            "prediction_milliseconds": NUMBER,
            "proof": TEXT,
            "confirmed_features": TEXT,
        },
        nullable=(
            "as_of",
            "evidence",
            "feature_code",
            "training_minutes",
            "prediction_milliseconds",
            "proof",
            "confirmed_features",
        ),
        key=("run_id", "model"),
    ),
    "ml_decisions": Table(
        columns={
            "run_id": TEXT,
            "model": TEXT,
            "kind": TEXT,
            "version": TEXT,
            "evidence": TEXT,
            "rule": TEXT,
            "outcome": TEXT,
            "reason": TEXT,
            "decided_at": TIME,
        },
        key=("run_id", "model", "kind"),
    ),
    "ml_champions": Table(
        columns={
            "model": TEXT,
            "version": TEXT,
            "artifact": TEXT,
            "manifest_sha256": TEXT,
            "promoted_at": TIME,
        },
        key=("model",),
    ),
    "ml_predictions": Table(
        columns={
            "model": TEXT,
            "version": TEXT,
            "lead_id": TEXT,
            "as_of": TIME,
            "outcome": TEXT,
            "probability": NUMBER,
            "score": COUNT,
            "grade": TEXT,
            "reasons": TEXT,
            "scored_at": TIME,
            "outside_training": TEXT,
        },
        nullable=("score", "grade", "reasons", "outside_training"),
    ),
    "ml_grades": Table(
        columns={
            "model": TEXT,
            "set_at": TIME,
            "grade": TEXT,
            "quantile": NUMBER,
            "lower_bound": NUMBER,
            "horizon_days": COUNT,
            "version": TEXT,
            "reason": TEXT,
        },
        nullable=("lower_bound",),
        key=("model", "set_at", "grade"),
    ),
    "ml_scoring_logs": Table(
        columns={
            "model": TEXT,
            "as_of": TIME,
            "version": TEXT,
            "open_leads": COUNT,
            "scored": COUNT,
            "unscored_reason": TEXT,
            "scored_at": TIME,
            "outside_training": COUNT,
        },
        nullable=("version", "unscored_reason", "outside_training"),
        key=("model", "as_of"),
    ),
    "ml_feature_quality": Table(
        columns={
            "feature_view": TEXT,
            "as_of": TIME,
            "feature": TEXT,
            "feature_group": TEXT,
            "rows": COUNT,
            "completeness": NUMBER,
            "incomplete": FLAG,
            "constant": FLAG,
            "most_correlated_with": TEXT,
            "correlation": NUMBER,
            "redundant": FLAG,
            "minimum": NUMBER,
            "maximum": NUMBER,
            "lower_bound": NUMBER,
            "upper_bound": NUMBER,
            "outlier_share": NUMBER,
        },
        nullable=(
            "most_correlated_with",
            "correlation",
            "minimum",
            "maximum",
            "lower_bound",
            "upper_bound",
            "outlier_share",
        ),
        key=("feature_view", "as_of", "feature"),
    ),
    "ml_drift_logs": Table(
        columns={
            "run_id": TEXT,
            "model": TEXT,
            "version": TEXT,
            "as_of": TIME,
            "check_name": TEXT,
            "feature": TEXT,
            "statistic": TEXT,
            "value": NUMBER,
            "threshold": NUMBER,
            "failed": FLAG,
            "rows_reference": COUNT,
            "rows_current": COUNT,
            "measured_at": TIME,
        },
        nullable=("threshold",),
        key=("model", "version", "as_of", "check_name", "feature", "statistic"),
    ),
    "ml_source_health": Table(
        columns={
            "run_id": TEXT,
            "as_of": TIME,
            "check_name": TEXT,
            "subject": TEXT,
            "value": NUMBER,
            "threshold": NUMBER,
            "failed": FLAG,
            "rows_reference": COUNT,
            "rows_current": COUNT,
            "measured_at": TIME,
        },
        key=("as_of", "check_name", "subject"),
    ),
    "ml_source_deliveries": Table(
        columns={
            "run_id": TEXT,
            "as_of": TIME,
            "load_number": COUNT,
            "table_name": TEXT,
            "subject": TEXT,
            "column_name": TEXT,
            "category": TEXT,
            "rows": COUNT,
            "nulls": COUNT,
            "days": NUMBER,
            "measured_at": TIME,
        },
        key=("as_of", "load_number", "table_name", "subject", "column_name", "category"),
    ),
    "ml_lateness": Table(
        columns={
            "run_id": TEXT,
            "as_of": TIME,
            "measure": TEXT,
            "table_name": TEXT,
            "type": TEXT,
            "rows": COUNT,
            "median_days": NUMBER,
            "p90_days": NUMBER,
            "p99_days": NUMBER,
            "max_days": NUMBER,
            "share_over_1d": NUMBER,
            "share_over_7d": NUMBER,
            "share_over_30d": NUMBER,
            "measured_at": TIME,
        },
        key=("as_of", "measure", "table_name", "type"),
    ),
}

LOOK = "looked_at"
"""Stands for a check in ml.ml_source_health where there is none."""


def ensure(connection: Connection) -> None:
    """Create the tables that are missing, and the columns that a table has gained."""
    connection.execute("create schema if not exists ml")
    for name, table in TABLES.items():
        connection.execute(f"create table if not exists ml.{name} ({table.definition()})")
        for column in table.nullable:
            connection.execute(f"alter table ml.{name} add column if not exists {column} {table.columns[column]}")


def record_version(
    connection: Connection,
    candidate: Candidate,
    evaluation: Evaluation,
    missed_gates: list[str],
    training_set: TrainingSet,
    manifest_sha256: str,
    created_at: datetime,
) -> None:
    """Record a trained version with what was measured; a version that is there already stays as it is.

    One that was lost and trained again to other bytes takes its place, also as the champion: its scores are of the same
    rows, declaration and libraries.
    """
    manifest = training_set.manifest
    of_version = "where model = $1 and version = $2"
    known = connection.execute(
        f"select manifest_sha256 from ml.ml_models {of_version}", [candidate.model, candidate.version]
    ).fetchone()
    anew = known is not None and known[0] != manifest_sha256
    connection.begin()
    metrics = {**evaluation.metrics, "recall": evaluation.recall} if evaluation.recall else evaluation.metrics
    _put(
        connection,
        "ml_models",
        {
            "model": candidate.model,
            "version": candidate.version,
            "training_set_id": training_set.id,
            "horizon_days": manifest["horizon_days"],
            "rows": manifest["rows"],
            "entities": manifest["entities"],
            "first_as_of": datetime.fromisoformat(manifest["first_as_of"]),
            "last_as_of": datetime.fromisoformat(manifest["last_as_of"]),
            "artifact": candidate.directory.name,
            "manifest_sha256": manifest_sha256,
            "metrics": json.dumps(metrics),
            "baseline": json.dumps(evaluation.baseline),
            "missed_gates": json.dumps(missed_gates),
            "libraries": json.dumps(candidate.manifest["libraries"]),
            "created_at": created_at,
            "census": None if evaluation.census is None else json.dumps(asdict(evaluation.census)),
            "hindsight": None if evaluation.hindsight is None else json.dumps(asdict(evaluation.hindsight)),
        },
        replace=anew,
    )
    if anew:
        connection.execute(
            f"update ml.ml_champions set manifest_sha256 = $3 {of_version}",
            [candidate.model, candidate.version, manifest_sha256],
        )
    connection.commit()


def record_training(
    connection: Connection,
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
    proof: str | None = None,
    confirmed_features: Sequence[str] = (),
) -> None:
    """Log a training, also one that found its version trained already.

    `evidence` identifies what asked for it, where a sensor did; `as_of` is its clock and `feature_code` that of
    `assets.dbt.feature_code`; `proof` is the certificate of the build that its rows come from, if it has one;
    `confirmed_features` are those that a person says were known at the time. What it cost is that of the run that
    trained the version.
    """
    manifest, cost = training_set.manifest, candidate.cost()
    _put(
        connection,
        "ml_training_logs",
        {
            "run_id": run_id,
            "model": candidate.model,
            "version": candidate.version,
            "training_set_id": training_set.id,
            "rows": manifest["rows"],
            "entities": manifest["entities"],
            "reused": candidate.reused,
            "reason": reason,
            "started_at": started_at,
            "finished_at": finished_at,
            "as_of": as_of,
            "evidence": evidence,
            "feature_code": feature_code,
            "training_minutes": cost["training_minutes"],
            "prediction_milliseconds": cost["prediction_milliseconds"],
            "proof": proof,
            "confirmed_features": json.dumps(list(confirmed_features)),
        },
    )


def record_decision(
    connection: Connection,
    run_id: str,
    evidence: PromotionEvidence | UntrainableEvidence | RetrainEvidence,
    decision: Decision | RetrainDecision,
    decided_at: datetime,
) -> None:
    """Write a decision to the ledger, also a refusal."""
    _put(
        connection,
        "ml_decisions",
        {
            "run_id": run_id,
            "model": evidence.model,
            "kind": decision.kind,
            "version": evidence.version,
            "evidence": json.dumps(asdict(evidence), default=str),
            "rule": decision.rule,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "decided_at": decided_at,
        },
    )


def point_at_champion(connection: Connection, version: Candidate, manifest_sha256: str, promoted_at: datetime) -> None:
    """Make a version the champion of its model."""
    _put(
        connection,
        "ml_champions",
        {
            "model": version.model,
            "version": version.version,
            "artifact": version.directory.name,
            "manifest_sha256": manifest_sha256,
            "promoted_at": promoted_at,
        },
    )


def retire_champion(connection: Connection, model: str) -> None:
    """Leave a model without a champion; its versions and what they predicted stay."""
    connection.execute("delete from ml.ml_champions where model = $1", [model])


def unmeasured_champion(connection: Connection, model: str, measure: str = "census") -> str | None:
    """Return the version of a champion that was never measured so (``census`` or ``hindsight``), or None."""
    row = connection.execute(
        "select champions.version from ml.ml_champions as champions "
        "inner join ml.ml_models as versions using (model, version) "
        f"where champions.model = $1 and versions.{measure} is null",
        [model],
    ).fetchone()
    return None if row is None else str(row[0])


def record_scoring(
    connection: Connection,
    model: str,
    as_of: datetime,
    *,
    version: str | None,
    open_leads: int,
    unscored_reason: str | None,
    scored_at: datetime,
    outside_training: int | None = None,
) -> None:
    """Log which version has scored the open leads of a clock, or why none has; what says the same stays as it is."""
    found = (version, open_leads, 0 if version is None else open_leads, unscored_reason, outside_training)
    of_key = "from ml.ml_scoring_logs where model = $1 and as_of = $2"
    known = connection.execute(
        f"select version, open_leads, scored, unscored_reason, outside_training {of_key}", [model, as_of]
    )
    if known.fetchall() != [found]:
        names = list(TABLES["ml_scoring_logs"].columns)
        row = (model, as_of, *found[:4], scored_at, outside_training)
        _put(connection, "ml_scoring_logs", dict(zip(names, row, strict=True)))


def grades_in_force(connection: Connection, model: str) -> GradesInForce | None:
    """Return the grades of a model that were set last, or None where none ever were."""
    rows = connection.execute(
        "select grade, quantile, lower_bound, horizon_days from ml.ml_grades where model = $1 and set_at = "
        "(select max(set_at) from ml.ml_grades where model = $1) order by quantile desc",
        [model],
    ).fetchall()
    if not rows:
        return None
    return GradesInForce(
        horizon_days=rows[0][3],
        quantiles={grade: quantile for grade, quantile, *_ in rows},
        bounds={grade: bound for grade, _, bound, _ in rows if bound is not None},
    )


def record_grades(
    connection: Connection,
    version: Candidate,
    quantiles: Mapping[str, float],
    bounds: Mapping[str, float],
    reason: str,
    set_at: datetime,
) -> None:
    """Write new grades of a model; one whose quantile ties with that of a worse one has no bound, and is not given."""
    rows = [
        (version.model, set_at, grade, quantile, bounds.get(grade), version.manifest["horizon_days"], version.version,
         reason)
        for grade, quantile in quantiles.items()
    ]  # fmt: skip
    _insert(connection, "ml_grades", rows)


def regrade(connection: Connection, model: str, version: str, as_of: datetime, bounds: Mapping[str, float]) -> None:
    """Give the predictions of a clock the grades in force, where they were written under others."""
    names = list(bounds)
    places = {name: place for place, name in enumerate(names, start=4)}
    grade = " ".join(f"when probability >= ${places[name]} then '{name}'" for name in names)
    connection.execute(
        f"update ml.ml_predictions set grade = case {grade} end where model = $1 and version = $2 and as_of = $3 "
        f"and grade is distinct from case {grade} end",
        [model, version, as_of, *bounds.values()],
    )


def outside_training(connection: Connection, model: str, version: str, as_of: datetime) -> int:
    """Count the entities that a version has scored at a clock and whose like it has not learnt from."""
    counted: int = connection.execute(
        "select count(distinct lead_id) from ml.ml_predictions "
        "where model = $1 and version = $2 and as_of = $3 and outside_training is not null",
        [model, version, as_of],
    ).fetchall()[0][0]
    return counted


def outside_by_feature(connection: Connection, model: str) -> dict[str, int]:
    """Count the entities that are marked as `outside_training` at the present clock by feature, the commonest first."""
    remarks = connection.execute(
        "select distinct lead_id, predictions.outside_training from ml.ml_predictions as predictions "
        "inner join ml.ml_scoring_logs using (model, version, as_of) where model = $1 "
        "and as_of = (select as_of from raw.extraction) and predictions.outside_training is not null",
        [model],
    ).fetchall()
    return dict(Counter(sorted(feature for _, remark in remarks for feature in named(remark))).most_common())


def why_no_champion(connection: Connection, model: str) -> str:
    """Return the reason of the last promotion decision of a model that has no champion."""
    row = connection.execute(
        "select reason from ml.ml_decisions where model = $1 and kind = 'promotion' order by decided_at desc limit 1",
        [model],
    ).fetchone()
    return "The model has never been trained: run the job whole_loop." if row is None else str(row[0])


def record_drift(
    connection: Connection,
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
    connection: Connection, feature_view: str, as_of: datetime, measured: Iterable[FeatureQuality]
) -> None:
    """Write what was measured of the features of a view, in place of what was there for the same clock."""
    connection.begin()
    connection.execute(
        "delete from ml.ml_feature_quality where feature_view = $1 and as_of = $2", [feature_view, as_of]
    )
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
    connection: Connection,
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


def record_source_deliveries(
    connection: Connection,
    run_id: str,
    as_of: datetime,
    load_number: int,
    deliveries: Iterable[Delivery],
    measured_at: datetime,
) -> None:
    """Write what an extraction's source had delivered, in place of what was there if it differs."""
    rows = [astuple(each) for each in deliveries]
    key = {"as_of": as_of, "load_number": load_number}
    _replace_measurement(connection, "ml_source_deliveries", run_id, key, rows, measured_at)


def record_lateness(
    connection: Connection, run_id: str, as_of: datetime, figures: Iterable[Lateness], measured_at: datetime
) -> None:
    """Write how late facts come at a clock, in place of what was there if it differs."""
    rows = [astuple(each) for each in figures]
    _replace_measurement(connection, "ml_lateness", run_id, {"as_of": as_of}, rows, measured_at)


def _replace_measurement(
    connection: Connection,
    table: str,
    run_id: str,
    key: Mapping[str, object],
    rows: Sequence[tuple[object, ...]],
    measured_at: datetime,
) -> None:
    """Write the rows of a key, given without it, unless they are there: what is measured again keeps its first run."""
    conditions = " and ".join(f"{column} = ${place}" for place, column in enumerate(key, start=1))
    of_key = f"from ml.{table} where {conditions}"
    figures = [name for name in TABLES[table].columns if name not in {"run_id", *key, "measured_at"}]
    known = connection.execute(f"select {', '.join(figures)} {of_key}", [*key.values()])
    if set(known.fetchall()) == set(rows):
        return
    written = [(run_id, *key.values(), *row, measured_at) for row in rows]
    connection.begin()
    connection.execute(f"delete {of_key}", [*key.values()])
    _insert(connection, table, written)
    connection.commit()


def _insert(connection: Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    insert_rows(connection, "ml", table, list(TABLES[table].columns), rows)


def _put(connection: Connection, table: str, row: Mapping[str, object], *, replace: bool = True) -> None:
    """Write a row by its key: in place of the one that is there, or only where there is none."""
    names, of_key = list(row), TABLES[table].key
    places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in of_key)
    connection.execute(
        f"insert into ml.{table} ({', '.join(names)}) values ({places}) "
        f"on conflict ({', '.join(of_key)}) do {f'update set {changed}' if replace else 'nothing'}",
        [*row.values()],
    )


def add_predictions(connection: Connection, predictions: pd.DataFrame, scored_at: datetime) -> int:
    """Add the predictions that are not there yet.

    Parameters
    ----------
    connection : Connection
    predictions : DataFrame
        As `assets.scores.explained` returns them.
    scored_at : datetime

    Returns
    -------
    int
        The number of rows added.
    """
    added = (
        "from new_predictions as new where not exists (select 1 from ml.ml_predictions as old where "
        "old.model = new.model and old.version = new.version and old.lead_id = new.lead_id and old.as_of = new.as_of "
        "and old.outcome = new.outcome)"
    )
    connection.register("new_predictions", predictions)
    connection.begin()
    rows: int = connection.execute(f"select count(*) {added}").fetchall()[0][0]
    # a column without any value has no type of its own
    connection.execute(
        "insert into ml.ml_predictions (model, version, lead_id, as_of, outcome, probability, score, grade, reasons, "
        "scored_at, outside_training) select model, version, lead_id, as_of, outcome, probability, "
        "cast(score as bigint), cast(grade as text), cast(reasons as text), cast($1 as timestamptz), "
        f"cast(outside_training as text) {added}",
        [scored_at],
    )
    connection.commit()
    connection.unregister("new_predictions")
    return rows
