"""Measure how far a champion's present data are from those of its training, and gather the evidence for retraining."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from models.decisions.drift import (
    MEASURED_ON_LABELS,
    DriftEvidence,
    Performance,
    Reference,
    measure_performance,
)
from models.decisions.retraining import AGE, RetrainEvidence, onset_of
from models.declaring.declaration import ModelDeclaration
from models.tasks.task import Predictions
from models.versions.candidate import TRUTH, Candidate
from store.ledger.champions import learnt_otherwise, lost_features, withdrawn_features
from store.measuring.distributions import distances
from store.warehouse.connection import Connection, Readable

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection


OBSERVATION_KIND = "observation_kind"


Looks = list[tuple[datetime, tuple[str, ...]]]
"""Clocks with the checks that failed at each, the earliest first."""


def reference(declaration: ModelDeclaration, champion: Candidate) -> Reference:
    """Return the reference of a champion: the times of its training, and its performance on its held-out rows."""
    held_out = champion.held_out()
    return Reference(
        trained_at=datetime.fromisoformat(champion.manifest["as_of"]),
        last_as_of=datetime.fromisoformat(champion.manifest["last_as_of"]),
        performance=_performance(declaration, champion, held_out, held_out[TRUTH], champion.task.stored_columns),
    )


def measure_drift(
    connection: "DuckDBPyConnection",
    declaration: ModelDeclaration,
    champion: Candidate,
    *,
    clock: datetime,
    reference: Reference,
) -> DriftEvidence:
    """Measure the drift of a champion at a clock.

    A temporary table of the connection keeps the predictions, so that a caller who measures several clocks predicts
    each observation once. The features must not be built again while the connection is open.

    Parameters
    ----------
    connection : DuckDBPyConnection
        To a warehouse whose features and labels were built at `clock` or later. Only temporary tables are written.
    declaration : ModelDeclaration
    champion : Candidate
    clock : datetime
        UTC; later observations and labels are ignored.
    reference : Reference
        The reference of this champion.

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
        predictions=tuple(distances(connection, "drift_predicted", dict.fromkeys(champion.task.columns, "number"))),
        performance=_performance(declaration, champion, matured, matured["observed"], champion.task.columns),
        ranking=champion.task.ranking,
        new_labels=matured_labels(connection, declaration, champion, since=reference.last_as_of, clock=clock),
    )


def matured_labels(
    connection: Readable,
    declaration: ModelDeclaration,
    champion: Candidate,
    *,
    since: datetime,
    clock: datetime,
) -> int:
    """Count the labels of observations after `since`, over the champion's horizon, that have matured by the clock."""
    of_scope = f"inner join {declaration.scoped_view} as features using ({declaration.feature_view.key}, as_of) "
    return connection.execute(
        f"select count(*) from labels.{declaration.label} as labels {of_scope if declaration.scope else ''}"
        "where as_of > $1 and matures_at <= $2 and matures_at = as_of + $3 * interval '1 day'",
        [since, clock, champion.manifest["horizon_days"]],
    ).fetchall()[0][0]


def _gather(
    connection: "DuckDBPyConnection",
    declaration: ModelDeclaration,
    champion: Candidate,
    clock: datetime,
    reference: Reference,
) -> None:
    """Make ``drift_rows``: the observations of both windows, and those with an outcome that the champion did not learn.

    The observations of kind ``clock`` are left out: they are a census of the open entities, which no other moment has.
    """
    view = declaration.feature_view
    features = ", ".join(f'features."{name}"' for name in champion.features)
    census = f"and {OBSERVATION_KIND} <> 'clock'" if OBSERVATION_KIND in view.not_features else ""
    observed = declaration.task.observed_sql(f"labels.{declaration.label_column}")
    connection.execute(
        f"""
        create or replace temp table drift_rows as
        select
            features.{view.key}, features.as_of,
            features.as_of > $trained_at - to_days($window) and features.as_of <= $trained_at as is_reference,
            features.as_of > $clock - to_days($window) and features.as_of <= $clock as is_current,
            cast({observed} as varchar) as observed, {features}
        from {declaration.scoped_view} as features
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

    from models.learning.fitting import predict
    from models.learning.frames import model_input

    view = declaration.feature_view
    table = f'"drift_predictions_{champion.model}_{champion.version}"'
    columns = ", ".join(f"{name} double" for name in champion.task.columns)
    connection.execute(f"create temp table if not exists {table} ({view.key} varchar, as_of timestamptz, {columns})")
    missing = connection.execute(
        f"select * from drift_rows anti join {table} using ({view.key}, as_of) order by {view.key}, as_of"
    ).df()
    if missing.empty:
        return table
    values = predict(champion.pipeline, model_input(missing, champion.features), champion.task)
    predicted = pd.DataFrame(values, columns=champion.task.columns)
    predicted.insert(0, view.key, missing[view.key])
    predicted.insert(1, "as_of", missing["as_of"])
    connection.register("drift_predicted_now", predicted)
    connection.execute(f"insert into {table} select * from drift_predicted_now")
    connection.unregister("drift_predicted_now")
    return table


def _performance(
    declaration: ModelDeclaration,
    champion: Candidate,
    rows: "pd.DataFrame",
    observed: "pd.Series",
    columns: list[str],
) -> Performance:
    predictions = Predictions(
        task=champion.task,
        truth=champion.task.truth(observed),
        predicted=rows[columns].to_numpy(dtype="float64"),
        group=rows[champion.key].factorize()[0],
    )
    return measure_performance(predictions, declaration.drift.min_positives)


class MeasurementMissingError(RuntimeError):
    """A measurement that a decision needs is missing at its clock."""


def gather_retrain_evidence(
    connection: Connection,
    declaration: ModelDeclaration,
    champion: Candidate | None,
    *,
    clock: datetime,
    feature_code: str | None,
    in_flight: bool,
) -> RetrainEvidence:
    """Gather the evidence for a decision on retraining, from the measurements in schema ``ml`` up to a clock.

    Raises
    ------
    MeasurementMissingError
        If the champion has not been measured at the clock: the decision would rest on another day.
    """
    model = declaration.name
    source = _looks(
        connection,
        "select as_of, check_name, bool_or(failed) from ml.ml_source_health where as_of <= $1 "
        "group by as_of, check_name",
        [clock],
    )
    if not any(moment == clock for moment, _ in source):
        raise MeasurementMissingError(
            f"ml.ml_source_health: expected a measurement of the source at {clock.isoformat()}, found "
            f"{f'the last one at {source[-1][0].isoformat()}' if source else 'none'}. Materialize "
            "source_health/crm first."
        )
    failed_source_checks = _failed_at(source, clock)
    source_onset = onset_of((moment, bool(checks)) for moment, checks in source)
    if champion is None:
        return RetrainEvidence(
            model=model, version="", as_of=clock, trained_at=None, last_trained_at=None,
            horizon_days=declaration.horizon_days, failed_source_checks=failed_source_checks,
            source_onset=source_onset, in_flight=in_flight,
        )  # fmt: skip
    trained_at = datetime.fromisoformat(champion.manifest["as_of"])
    last_trained_at = connection.execute(
        "select max(as_of) from ml.ml_training_logs where model = $1 and as_of <= $2", [model, clock]
    ).fetchall()[0][0]
    code = connection.execute(
        "select feature_code from ml.ml_training_logs where model = $1 and version = $2 and as_of <= $3 "
        "and feature_code is not null order by as_of desc limit 1",
        [model, champion.version, clock],
    ).fetchone()
    trained_code = None if code is None else code[0]
    last_trained_at = max(last_trained_at or trained_at, trained_at)
    looks = _looks(
        connection,
        "select as_of, check_name, bool_or(failed) from ml.ml_drift_logs "
        "where model = $1 and version = $2 and as_of <= $3 group by as_of, check_name",
        [model, champion.version, clock],
    )
    # if its features or their SQL have changed, a champion cannot be measured; the decision needs no measurement then
    gone_features = lost_features(connection, champion, declaration.feature_view)
    late_features = withdrawn_features(connection, champion)
    otherwise = learnt_otherwise(connection, champion, declaration.feature_view.entity)
    rewritten = [gone_features, late_features, otherwise, trained_code is not None and trained_code != feature_code]
    if not any(rewritten) and not any(moment == clock for moment, _ in looks):
        raise MeasurementMissingError(
            f"ml.ml_drift_logs: expected a measurement of {model} {champion.version} at {clock.isoformat()}, found "
            f"{f'the last one at {looks[-1][0].isoformat()}' if looks else 'none'}. Materialize drift/{model} first."
        )
    failed_checks = _failed_at(looks, clock)
    # the last training has answered the failures before it
    onset = onset_of((moment, bool(set(checks) - {AGE})) for moment, checks in looks if moment > last_trained_at)
    last_as_of = datetime.fromisoformat(champion.manifest["last_as_of"])
    labels_since_onset = 0
    if onset is not None and MEASURED_ON_LABELS in failed_checks:
        labels_since_onset = connection.execute(
            "select coalesce(max(rows_current), 0) from ml.ml_drift_logs "
            "where model = $1 and version = $2 and as_of = $3 and check_name = $4",
            [model, champion.version, clock, MEASURED_ON_LABELS],
        ).fetchall()[0][0]
    elif onset is not None:
        labels_since_onset = matured_labels(connection, declaration, champion, since=onset, clock=clock)
    return RetrainEvidence(
        model=model,
        version=champion.version,
        as_of=clock,
        trained_at=trained_at,
        last_trained_at=last_trained_at,
        horizon_days=champion.manifest["horizon_days"],
        failed_source_checks=failed_source_checks,
        source_onset=source_onset,
        feature_code=feature_code,
        feature_code_trained=trained_code,
        gone_features=tuple(gone_features),
        withdrawn_features=tuple(late_features),
        learnt_otherwise=otherwise,
        failed_checks=failed_checks,
        onset=onset,
        new_labels=matured_labels(connection, declaration, champion, since=last_as_of, clock=clock),
        labels_since_onset=labels_since_onset,
        in_flight=in_flight,
    )


def _looks(connection: Connection, query: str, parameters: list[Any]) -> Looks:
    found: dict[datetime, list[str]] = {}
    for moment, check, failed in connection.execute(query, parameters).fetchall():
        found.setdefault(moment, []).extend([check] if failed else [])
    return [(moment, tuple(sorted(checks))) for moment, checks in sorted(found.items())]


def _failed_at(looks: Looks, clock: datetime) -> tuple[str, ...]:
    return next((checks for moment, checks in looks if moment == clock), ())
