"""The health of the source: whether the CRM's feeds still deliver what they delivered when the champions were trained.

What fails here asks for a person and forbids retraining. Only columns of the source are looked at: the share of nulls
in a feature moves with the world, that in a column of the source when somebody or something stops filling it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.compiled import microseconds
from assets.drift import check_result
from assets.ml_tables import ensure, record_source_health
from assets.resources import WAREHOUSE_POOL, Clock, CrmSource
from assets.warehouse import Excerpt, Warehouse
from models.drift import Verdict
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from assets.warehouse import Connection

CHECKS = {
    "data_age": "Every busy table has a recent fact.",
    "volume": "Every busy feed brings about as many rows as before.",
    "nulls": "No column of the source has become empty.",
    "categories": "The source uses the categories that it used before.",
}
"""The checks, with what holds when they pass."""

KEY = ["source_health", "crm"]


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """What is looked at in a staging table.

    Attributes
    ----------
    name : str
        For people.
    staging : str
        The table.
    known : str
        The column with the time at which a row became known, in microseconds since 1970.
    feed : str
        SQL expression of the feed that a row belongs to; a feed can break alone.
    aged : bool
        Whether the age of its last fact is looked at.
    filled : tuple of str
        Columns whose share of nulls is looked at, feed by feed.
    categories : tuple of str
        Columns whose values are looked at.
    """

    name: str
    staging: str
    known: str
    feed: str
    aged: bool = True
    filled: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


TABLES = (
    SourceTable(
        name="leads",
        staging="stg_leads",
        known="known_us",
        feed="'leads'",
        filled=("lead_source", "property_value", "zip_code"),
        categories=("lead_source",),
    ),
    SourceTable(
        name="interactions",
        staging="stg_interactions",
        known="known_us",
        feed="'interactions: ' || concat_ws(' ', interaction_type, direction)",
        filled=("outcome", "performed_by"),
        categories=("interaction_type", "outcome"),
    ),
    SourceTable(name="appointments", staging="stg_appointments", known="booked_us", feed="'appointments'"),
    SourceTable(name="projects", staging="stg_projects", known="proposed_us", feed="'projects'", filled=("value",)),
    # what comes later to a row that is there already comes by a feed of its own, such as the tracking of e-mails
    SourceTable(name="openings", staging="stg_interactions", known="opened_us", feed="'openings'", aged=False),
    SourceTable(name="answers", staging="stg_interactions", known="responded_us", feed="'answers'", aged=False),
    SourceTable(
        name="appointment ends", staging="stg_appointments", known="ended_us", feed="'appointment ends'", aged=False
    ),
    SourceTable(name="project ends", staging="stg_projects", known="closed_us", feed="'project ends'", aged=False),
)

STAGING = sorted({table.staging for table in TABLES})


@dataclass(frozen=True, kw_only=True)
class SourcePolicy:
    """When a source counts as broken.

    The bounds are far from what a quiet company does and near to what a broken feed does: a false alarm costs a
    person's morning, and stops the retraining of every model. Small feeds are left out by the minimum counts: of 50
    expected rows 13 come by chance less than once in a million weeks.

    Parameters
    ----------
    reference_days : int
        Length of the reference period. It ends when the oldest champion was trained, for that is the source which the
        champions know; a period that slid along would take a feed that broke three months ago for normal.
    max_age_days : float
        How old the last fact of a busy table may be.
    volume_days : int
        Days over which rows are counted: a whole week, for weekends are quiet.
    min_volume_ratio : float
        Least rows of a feed, as a share of those that its rate in the reference period leads to expect.
    min_expected_rows : int
        Rows in `volume_days` that make a feed, or a table, a busy one.
    recent_days : int
        Days over which null shares and categories are looked at.
    max_null_rise : float
        How much the share of nulls of a column may rise.
    max_new_categories : float
        Greatest share of rows with a value that no row before had.
    min_rows : int
        Rows that null shares and categories need.
    """

    reference_days: int = 90
    max_age_days: float = 3.0
    volume_days: int = 7
    min_volume_ratio: float = 0.25
    min_expected_rows: int = 50
    recent_days: int = 14
    max_null_rise: float = 0.2
    max_new_categories: float = 0.05
    min_rows: int = 100


POLICY = SourcePolicy()


@dataclass(frozen=True, kw_only=True)
class SourceFigure:
    """One figure of one check: of a table, a feed or a column.

    Attributes
    ----------
    check, subject : str
    value, threshold : float
    failed : bool
    rows_reference, rows_current : int
        Rows that it was measured on; for the volume the expected and the found ones.
    """

    check: str
    subject: str
    value: float
    threshold: float
    failed: bool
    rows_reference: int
    rows_current: int


def measure(
    connection: "DuckDBPyConnection",
    *,
    clock: datetime,
    trained_at: datetime | None,
    accepted_since: datetime | None = None,
    policy: SourcePolicy = POLICY,
) -> list[SourceFigure]:
    """Measure the health of the source at a clock, over every row of the staging tables that was known by then.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Of a warehouse whose staging was filled at `clock` or later.
    clock : datetime
        UTC.
    trained_at : datetime or None
        The clock at which the oldest champion was trained; None while there is none, and the reference period ends
        where the recent one begins.
    accepted_since : datetime or None
        From when on a person has found the source to be as it should: nothing before is held against it.
    policy : SourcePolicy

    Returns
    -------
    list of SourceFigure
        What is too small to judge is left out.
    """
    first = min(
        (
            moment
            for table in TABLES
            for (moment,) in connection.execute(f"select min({table.known}) from staging.{table.staging}").fetchall()
            if moment is not None
        ),
        default=None,
    )
    if first is None:
        return []
    if accepted_since is not None:
        first = max(first, microseconds(accepted_since))
        trained_at = None if trained_at is None or trained_at < accepted_since else trained_at
    feeds = _Spans.until(clock, policy.volume_days, trained_at, policy, first)
    columns = _Spans.until(clock, policy.recent_days, trained_at, policy, first)
    figures = [figure for table in TABLES for figure in _traffic(connection, table, feeds, policy)]
    figures += [figure for table in TABLES for figure in _nulls(connection, table, columns, policy)]
    figures += [figure for table in TABLES for figure in _new_categories(connection, table, columns, policy)]
    return figures


def judge(figures: list[SourceFigure]) -> tuple[Verdict, ...]:
    """Return the verdict of every check in `CHECKS`, in that order."""
    return tuple(_verdict(name, [each for each in figures if each.check == name]) for name in CHECKS)


def oldest_training(connection: "Connection") -> datetime | None:
    """Return the clock at which the oldest champion was last trained, or None while there is no champion.

    To train a model anew, also where it gives the same version, says that the source is fit to learn from.
    """
    oldest: datetime | None = connection.execute(
        "select min(trained_at) from (select model, max(coalesce(logs.as_of, versions.last_as_of)) as trained_at "
        "from ml.ml_champions as champions inner join ml.ml_models as versions using (model, version) "
        "left join ml.ml_training_logs as logs using (model, version) group by model) as trainings"
    ).fetchall()[0][0]
    return oldest


@dataclass(frozen=True, kw_only=True)
class _Spans:
    """The two periods that are compared, in microseconds since 1970; each without its start and with its end."""

    reference_start: int
    reference_end: int
    current_start: int
    current_end: int

    @classmethod
    def until(
        cls, clock: datetime, days: int, trained_at: datetime | None, policy: SourcePolicy, first: int
    ) -> "_Spans":
        """Return the last days until the clock, and the reference period before them."""
        start = clock - timedelta(days=days)
        end = start if trained_at is None else min(start, trained_at)
        return cls(
            reference_start=max(first - 1, microseconds(end - timedelta(days=policy.reference_days))),
            reference_end=microseconds(end),
            current_start=microseconds(start),
            current_end=microseconds(clock),
        )

    @property
    def ratio(self) -> float:
        """Length of the current period as a share of that of the reference period; 0 where there is none."""
        length = self.reference_end - self.reference_start
        return (self.current_end - self.current_start) / length if length > 0 else 0.0

    def reference(self, known: str) -> str:
        """Return the condition of the reference period."""
        return f"({known} > {self.reference_start} and {known} <= {self.reference_end})"

    def current(self, known: str) -> str:
        """Return the condition of the current period."""
        return f"({known} > {self.current_start} and {known} <= {self.current_end})"


def _traffic(
    connection: "DuckDBPyConnection", table: SourceTable, spans: _Spans, policy: SourcePolicy
) -> Iterator[SourceFigure]:
    known = table.known
    rows = connection.execute(
        f"select {table.feed} as feed, count(*) filter (where {spans.reference(known)}), "
        f"count(*) filter (where {spans.current(known)}), max({known}) filter (where {known} <= {spans.current_end}) "
        f"from staging.{table.staging} group by feed order by feed"
    ).fetchall()
    expected_rows = sum(before for _, before, *_ in rows) * spans.ratio
    if table.aged and expected_rows >= policy.min_expected_rows:
        age = (spans.current_end - max(last for *_, last in rows if last is not None)) / 86_400_000_000
        yield SourceFigure(
            check="data_age", subject=table.name, value=age, threshold=policy.max_age_days,
            failed=age > policy.max_age_days, rows_reference=round(expected_rows),
            rows_current=sum(now for _, _, now, _ in rows),
        )  # fmt: skip
    for feed, before, now, _ in rows:
        expected = before * spans.ratio
        if expected >= policy.min_expected_rows:
            yield SourceFigure(
                check="volume", subject=feed, value=now / expected, threshold=policy.min_volume_ratio,
                failed=now / expected < policy.min_volume_ratio, rows_reference=round(expected), rows_current=now,
            )  # fmt: skip


def _nulls(
    connection: "DuckDBPyConnection", table: SourceTable, spans: _Spans, policy: SourcePolicy
) -> Iterator[SourceFigure]:
    if not table.filled:
        return
    before, now = spans.reference(table.known), spans.current(table.known)
    shares = ", ".join(
        f"avg(cast({name} is null as int)) filter (where {period})" for name in table.filled for period in (before, now)
    )
    for feed, rows_before, rows_now, *found in connection.execute(
        f"select {table.feed} as feed, count(*) filter (where {before}), count(*) filter (where {now}), {shares} "
        f"from staging.{table.staging} group by feed order by feed"
    ).fetchall():
        if min(rows_before, rows_now) < policy.min_rows:
            continue
        for position, name in enumerate(table.filled):
            rise = found[2 * position + 1] - found[2 * position]
            yield SourceFigure(
                check="nulls", subject=f"{feed}, {name}", value=rise, threshold=policy.max_null_rise,
                failed=rise > policy.max_null_rise, rows_reference=rows_before, rows_current=rows_now,
            )  # fmt: skip


def _new_categories(
    connection: "DuckDBPyConnection", table: SourceTable, spans: _Spans, policy: SourcePolicy
) -> Iterator[SourceFigure]:
    before, now = spans.reference(table.known), spans.current(table.known)
    for name in table.categories:
        # a value that any row before the recent ones had is known, however long ago
        rows_before, rows_now, new = connection.execute(
            f"select coalesce(sum(before), 0), coalesce(sum(now), 0), "
            f"coalesce(sum(now) filter (where {name} is not null and not known), 0) from ("
            f"select {name}, count(*) filter (where {before}) as before, count(*) filter (where {now}) as now, "
            f"min({table.known}) <= {spans.reference_end} as known from staging.{table.staging} group by {name})"
        ).fetchall()[0]
        if min(rows_before, rows_now) >= policy.min_rows:
            share = float(new / rows_now)
            yield SourceFigure(
                check="categories", subject=f"{table.name}, {name}", value=share, threshold=policy.max_new_categories,
                failed=share > policy.max_new_categories, rows_reference=int(rows_before), rows_current=int(rows_now),
            )  # fmt: skip


def _verdict(check: str, figures: list[SourceFigure]) -> Verdict:
    if not figures:
        return Verdict(
            check=check, failed=False, statement="Not enough evidence: nothing in the source has rows enough."
        )
    failed = [each for each in figures if each.failed]
    # of the volume less is worse, of the others more
    sign = -1 if check == "volume" else 1
    worst = max(failed or figures, key=lambda each: (sign * each.value, each.subject))
    named = ", ".join(f"{each.subject} {each.value:.2f}" for each in failed) if failed else "none"
    return Verdict(
        check=check,
        failed=bool(failed),
        statement=(
            f"Beyond the bound of {worst.threshold:g}: {named}; of {len(figures)} looked at, {worst.subject} is the "
            f"furthest, at {worst.value:.2f}."
        ),
        value=worst.value,
        threshold=worst.threshold,
        subject=worst.subject,
        figures={"failed": len(failed), "measured": len(figures)},
    )


@dg.asset(
    key=KEY,
    deps=[
        *(["staging", name] for name in STAGING),
        *(["champion", name] for name in DECLARATIONS),
    ],
    group_name="drift",
    kinds={"duckdb"},
    owners=["team:data-engineering"],
    description=(
        "Whether the CRM's feeds deliver what they delivered when the champions were trained: age, volume, nulls and "
        "new categories, in ml.ml_source_health. What fails asks for a person, and no model is retrained meanwhile."
    ),
    check_specs=[dg.AssetCheckSpec(name, asset=KEY, description=holds) for name, holds in CHECKS.items()],
    pool=WAREHOUSE_POOL,
)
def source_health(
    context: dg.AssetExecutionContext, warehouse: Warehouse, clock: Clock, crm_source: CrmSource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Measure the source and judge it."""
    as_of = warehouse.built_extraction().as_of
    with warehouse.connect() as connection:
        ensure(connection)
        trained_at = oldest_training(connection)
    with warehouse.analyze(*(Excerpt("staging", name) for name in STAGING)) as analysis:
        figures = measure(analysis, clock=as_of, trained_at=trained_at, accepted_since=crm_source.accepted_since_moment)
    with warehouse.connect() as connection:
        record_source_health(connection, context.run_id, as_of, figures, clock.present())
    verdicts = judge(figures)
    rows = [
        f"| {each.check} | {each.subject} | {each.value:.3f} | {each.threshold:g} | {'failed' if each.failed else ''} |"
        for each in figures
    ]
    for verdict in verdicts:
        (context.log.warning if verdict.failed else context.log.info)(f"{verdict.check}: {verdict.statement}")
    yield dg.MaterializeResult(
        metadata={
            "clock": dg.MetadataValue.timestamp(as_of),
            "failed": ", ".join(each.check for each in verdicts if each.failed) or "none",
            "figures": dg.MetadataValue.md(
                "\n".join(["| check | of | value | bound | |", "|---|---|---|---|---|", *rows])
            ),
        },
        # what fails here asks for a person
        check_results=[check_result(KEY, verdict, dg.AssetCheckSeverity.ERROR) for verdict in verdicts],
    )
