"""Measurements of the source, of features and of champions. Those of one clock are replaced as a whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from models.decisions.drift import DriftEvidence, Verdict
from store.ledger.table import Key, fields_of, replace_measurement, table
from store.warehouse.connection import Connection

LOOK = "looked_at"
"""A name in the column of the check: its row says that the source was measured, even if no check had enough rows."""


@dataclass(frozen=True, kw_only=True)
class SourceFigure:
    """One figure of one check: of a table, a feed or a column.

    Attributes
    ----------
    check, subject : str
    value, threshold : float
    failed : bool
    rows_reference, rows_current : int
        Rows that it was measured on; for the check ``volume``, expected and found rows.
    """

    check: Key[str]
    subject: Key[str]
    value: float
    threshold: float
    failed: bool
    rows_reference: int
    rows_current: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A count of rows that a source delivered in some days up to a clock.

    Attributes
    ----------
    table_name : str
        Name of a `store.measuring.source_deliveries.Watched`.
    subject : str
        A feed, or a column of categories.
    column_name : str
        A column whose values were counted; empty for the rows of a feed.
    category : str
        A value of a column of categories, else empty.
    rows, nulls : int
        Rows, and rows without a value. For a category, the rows of all time.
    days : float
        Length of the period.
    """

    table_name: Key[str]
    subject: Key[str]
    column_name: Key[str]
    category: Key[str]
    rows: int
    nulls: int
    days: float


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """The lateness of one kind of facts.

    Attributes
    ----------
    measure : {"recording", "extraction"}
        Time until the CRM recorded the fact, or until an extraction after the first one brought it.
    table_name : str
        Table of schema ``raw``.
    type : str
        Type of the interactions; empty for other tables.
    rows : int
        Rows measured.
    median_days, p90_days, p99_days, max_days : float
        Quantiles of the lateness.
    share_over_1d, share_over_7d, share_over_30d : float
        Shares of the rows that come later than so many days.
    """

    measure: Key[str]
    table_name: Key[str]
    type: Key[str]
    rows: int
    median_days: float
    p90_days: float
    p99_days: float
    max_days: float
    share_over_1d: float
    share_over_7d: float
    share_over_30d: float


@dataclass(frozen=True, kw_only=True)
class FeatureQuality:
    """The quality of one feature, over all rows of its view unless an attribute says otherwise.

    Attributes
    ----------
    feature, feature_group : str
        The column, and its group in the dbt project.
    rows : int
    completeness : float
        Share of the rows with a value, after imputation by the view; 1 where there are no rows.
    incomplete : bool
        Whether too many rows have no value.
    constant : bool
        Whether no two rows differ.
    most_correlated_with : str or None
        The other feature with the strongest correlation. None for text, and where no correlation is defined.
    correlation : float or None
        That correlation, between ranks, over the sample; -1 to 1.
    redundant : bool
        Whether the other feature orders the rows almost the same way, or the other way round.
    minimum, maximum : float or None
        For numbers and booleans; false is 0 and true is 1.
    lower_bound, upper_bound : float or None
        Quantiles `store.measuring.feature_quality.OUTLIER_BOUNDS` of the values in the sample.
    outlier_share : float or None
        Share of the values outside these bounds.
    """

    feature: Key[str]
    feature_group: str
    rows: int
    completeness: float
    incomplete: bool
    constant: bool
    most_correlated_with: str | None
    correlation: float | None
    redundant: bool
    minimum: float | None
    maximum: float | None
    lower_bound: float | None
    upper_bound: float | None
    outlier_share: float | None


@dataclass(frozen=True, kw_only=True)
class DriftFigure:
    """One figure of a check of drift, with its bound if it has one."""

    check: Key[str]
    feature: Key[str]
    statistic: Key[str]
    value: float
    threshold: float | None
    failed: bool
    rows_reference: int
    rows_current: int


FEATURE_QUALITY = table("ml_feature_quality", feature_view=Key[str], as_of=Key[datetime], **fields_of(FeatureQuality))

DRIFT = table(
    "ml_drift_logs",
    run_id=str, model=Key[str], version=Key[str], as_of=Key[datetime], **fields_of(DriftFigure), measured_at=datetime,
)  # fmt: skip

SOURCE_HEALTH = table(
    "ml_source_health", run_id=str, as_of=Key[datetime], **fields_of(SourceFigure), measured_at=datetime
)

SOURCE_DELIVERIES = table(
    "ml_source_deliveries",
    run_id=str, as_of=Key[datetime], load_number=Key[int], **fields_of(Delivery), measured_at=datetime,
)  # fmt: skip

LATENESS = table("ml_lateness", run_id=str, as_of=Key[datetime], **fields_of(Lateness), measured_at=datetime)


def record_source_health(
    connection: Connection, run_id: str, as_of: datetime, figures: Iterable[SourceFigure], measured_at: datetime
) -> None:
    """Write the figures of the source at a clock, and a row `LOOK`."""
    looked = SourceFigure(
        check=LOOK, subject="", value=0.0, threshold=0.0, failed=False, rows_reference=0, rows_current=0
    )
    replace_measurement(
        connection, SOURCE_HEALTH, {"as_of": as_of}, [looked, *figures], run_id=run_id, measured_at=measured_at
    )


def record_drift(
    connection: Connection,
    run_id: str,
    evidence: DriftEvidence,
    verdicts: Iterable[Verdict],
    measured_at: datetime,
) -> None:
    """Write every figure of a measurement of a champion at a clock.

    A check has failed if one of its rows has. Without enough evidence no row fails.
    """
    judged = {verdict.check: verdict for verdict in verdicts}
    figures = []
    for check, distances in (("features", evidence.features), ("predictions", evidence.predictions)):
        # None without enough evidence
        bound = judged[check].threshold
        for each in distances:
            for statistic, value in each.statistics().items():
                decides = statistic == "psi" and each.column not in judged[check].shown_only
                figures.append(
                    DriftFigure(
                        check=check, feature=each.column, statistic=statistic, value=value,
                        threshold=bound if decides else None,
                        failed=decides and bound is not None and value > bound,
                        rows_reference=each.rows_reference, rows_current=each.rows_current,
                    )
                )  # fmt: skip
    for check in ("performance", "champion_age"):
        verdict = judged[check]
        found: dict[str, tuple[float, float | None, bool]] = {
            name: (value, None, False) for name, value in verdict.figures.items()
        }
        if verdict.value is not None:
            found["deciding"] = (verdict.value, verdict.threshold, verdict.failed)
        figures += [
            DriftFigure(
                check=check, feature="", statistic=name, value=value, threshold=threshold, failed=failed,
                rows_reference=evidence.reference.performance.rows, rows_current=evidence.performance.rows,
            )
            for name, (value, threshold, failed) in found.items()
        ]  # fmt: skip
    of_look = {"model": evidence.model, "version": evidence.version, "as_of": evidence.as_of}
    replace_measurement(connection, DRIFT, of_look, figures, run_id=run_id, measured_at=measured_at)
