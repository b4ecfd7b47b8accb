"""What a retraining is decided on, from the measurements in schema ``ml``."""

from datetime import datetime
from typing import Any

from models.decisions.drift import MEASURED_ON_LABELS
from models.decisions.retraining import AGE, RetrainEvidence, onset_of
from models.declaring.declaration import ModelDeclaration
from models.versions.candidate import Candidate
from store.measuring.drift import matured_labels
from store.warehouse.tables import Connection

Looks = list[tuple[datetime, tuple[str, ...]]]
"""Clocks with the checks that failed at each, the earliest first."""


class MeasurementMissingError(RuntimeError):
    """What a decision needs has not been measured at its clock."""


def gather_retrain_evidence(
    connection: Connection,
    declaration: ModelDeclaration,
    champion: Candidate | None,
    *,
    clock: datetime,
    feature_code: str | None,
    in_flight: bool,
) -> RetrainEvidence:
    """Gather what a retraining is decided on, from the measurements in schema ``ml`` up to a clock.

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
    # a champion whose features were rewritten cannot be measured any more, which is decided on all the same
    rewritten = trained_code is not None and trained_code != feature_code
    if not rewritten and not any(moment == clock for moment, _ in looks):
        raise MeasurementMissingError(
            f"ml.ml_drift_logs: expected a measurement of {model} {champion.version} at {clock.isoformat()}, found "
            f"{f'the last one at {looks[-1][0].isoformat()}' if looks else 'none'}. Materialize drift/{model} first."
        )
    failed_checks = _failed_at(looks, clock)
    # what was found before the last training has been answered by it
    onset = onset_of((moment, bool(set(checks) - {AGE})) for moment, checks in looks if moment > last_trained_at)
    last_as_of = datetime.fromisoformat(champion.manifest["last_as_of"])
    labels_since_onset = 0
    if onset is not None and MEASURED_ON_LABELS in failed_checks:
        labels_since_onset = _evaluated_rows(connection, champion, clock)
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
        failed_checks=failed_checks,
        onset=onset,
        new_labels=matured_labels(connection, declaration, champion, since=last_as_of, clock=clock),
        labels_since_onset=labels_since_onset,
        in_flight=in_flight,
    )


def _looks(connection: Connection, query: str, parameters: list[Any]) -> Looks:
    """Return the looks of a query for clock, check, and whether it failed."""
    found: dict[datetime, list[str]] = {}
    for moment, check, failed in connection.execute(query, parameters).fetchall():
        found.setdefault(moment, []).extend([check] if failed else [])
    return [(moment, tuple(sorted(checks))) for moment, checks in sorted(found.items())]


def _failed_at(looks: Looks, clock: datetime) -> tuple[str, ...]:
    return next((checks for moment, checks in looks if moment == clock), ())


def _evaluated_rows(connection: Connection, champion: Candidate, clock: datetime) -> int:
    rows: int = connection.execute(
        "select coalesce(max(rows_current), 0) from ml.ml_drift_logs "
        "where model = $1 and version = $2 and as_of = $3 and check_name = $4",
        [champion.model, champion.version, clock, MEASURED_ON_LABELS],
    ).fetchall()[0][0]
    return rows
