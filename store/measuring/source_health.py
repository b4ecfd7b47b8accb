"""Measure and judge whether the source still delivers as before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from models.decisions.drift import Verdict
from store.features.compiled import microseconds
from store.ledger.measurements import SourceFigure
from store.measuring.source_deliveries import (
    WATCHED,
    Delivered,
    Watched,
    bound_of_facts,
)
from store.warehouse.connection import Connection

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHECKS = {
    "data_age": "Every busy table has a recent fact.",
    "volume": "Every busy feed brings about as many rows as before.",
    "nulls": "No column of the source has become empty.",
    "categories": "The source uses the categories that it used before.",
}
"""The checks, with what holds when they pass."""


@dataclass(frozen=True, kw_only=True)
class SourcePolicy:
    """The bounds beyond which a source counts as broken.

    Even quiet weeks of a company stay within the bounds, because a false alarm costs a person's morning and stops the
    retraining of every model. The minimum counts leave out small feeds: where 50 rows are expected, chance alone gives
    13 or fewer less than once in a million weeks.

    Parameters
    ----------
    reference_days : int
        Length of the reference period. It ends when the oldest champion was trained, because the champions learnt from
        that source. A sliding period would accept a feed that broke three months ago as normal.
    max_age_days : float
        Greatest age of the last fact of a busy table.
    volume_days : int
        Days over which rows are counted: a whole week, because weekends are quiet.
    min_volume_ratio : float
        Least rows of a feed, as a share of the rows expected from its rate in the reference period.
    min_expected_rows : int
        Expected rows in `volume_days` from which a feed or a table counts as busy.
    recent_days : int
        Days over which null shares and categories are checked.
    max_null_rise : float
        Greatest rise of the share of nulls of a column.
    max_new_categories : float
        Greatest share of rows with a value that no earlier row had.
    min_rows : int
        Least rows for checks of null shares and categories.
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


def measure_source_health(
    connection: "DuckDBPyConnection",
    *,
    clock: datetime,
    trained_at: datetime | None,
    accepted_since: datetime | None = None,
    earlier: Delivered | None = None,
    single_export: bool = False,
    policy: SourcePolicy = POLICY,
) -> list[SourceFigure]:
    """Measure the health of the source at a clock, over every row of the staging tables that was known by then.

    Parameters
    ----------
    connection : DuckDBPyConnection
        To a warehouse whose staging was filled at `clock` or later.
    clock : datetime
        UTC.
    trained_at : datetime or None
        The clock at which the oldest champion was trained. None without a champion: the reference period then ends
        where the recent one begins.
    accepted_since : datetime or None
        The time from which a person has accepted the source; everything before is ignored.
    earlier : Delivered or None
        The stored deliveries of the reference period; None where the rows themselves can still be counted.
    single_export : bool
        Whether the source has given only one export: age and volume are then not measured, because feeds of an export
        end at different times.
    policy : SourcePolicy

    Returns
    -------
    list of SourceFigure
        Without feeds and columns that have too few rows.
    """
    if (first := bound_of_facts(connection, "min")) is None:
        return []
    if accepted_since is not None:
        earlier = None if earlier is None or earlier.as_of < accepted_since else earlier
        first = max(first, microseconds(accepted_since))
        trained_at = None if trained_at is None or trained_at < accepted_since else trained_at
    feeds = _Spans.until(clock, policy.volume_days, trained_at, policy, first)
    columns = _Spans.until(clock, policy.recent_days, trained_at, policy, first)
    figures: list[SourceFigure] = []
    if not single_export:
        figures += [figure for table in WATCHED for figure in _traffic(connection, table, feeds, earlier, policy)]
    figures += [figure for table in WATCHED for figure in _nulls(connection, table, columns, earlier, policy)]
    figures += [figure for table in WATCHED for figure in _new_categories(connection, table, columns, earlier, policy)]
    return figures


def own_clock(connection: "DuckDBPyConnection", as_of: datetime) -> datetime:
    """Return the clock of an export: the first whole second after its last fact, if that is before `as_of`.

    The end of an export is not a feed that has stopped, even if its rows are scored much later.
    """
    if (last := bound_of_facts(connection, "max")) is None:
        return as_of
    return min(as_of, datetime.fromtimestamp(last // 1_000_000 + 1, UTC))


def judge_source_health(figures: list[SourceFigure]) -> tuple[Verdict, ...]:
    """Return the verdict of every check in `CHECKS`, in that order."""
    return tuple(_verdict(name, [each for each in figures if each.check == name]) for name in CHECKS)


def oldest_training(connection: Connection) -> datetime | None:
    """Return the clock at which the oldest champion was last trained, or None while there is no champion.

    A new training counts even if it gives the same version: it shows that the source was fit to learn from.
    """
    return connection.execute(
        "select min(trained_at) from (select model, max(coalesce(logs.as_of, versions.last_as_of)) as trained_at "
        "from ml.ml_champions as champions inner join ml.ml_models as versions using (model, version) "
        "left join ml.ml_training_logs as logs using (model, version) group by model) as trainings"
    ).fetchall()[0][0]


@dataclass(frozen=True, kw_only=True)
class _Spans:
    """The two periods that are compared, in microseconds since 1970; each excludes its start and includes its end."""

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
        """Length of the current period divided by that of the reference period; 0 where the latter is empty."""
        length = self.reference_end - self.reference_start
        return (self.current_end - self.current_start) / length if length > 0 else 0.0

    def reference(self, known: str) -> str:
        """Return the condition of the reference period."""
        return f"({known} > {self.reference_start} and {known} <= {self.reference_end})"

    def current(self, known: str) -> str:
        """Return the condition of the current period."""
        return f"({known} > {self.current_start} and {known} <= {self.current_end})"


def _traffic(
    connection: "DuckDBPyConnection",
    table: Watched,
    spans: _Spans,
    earlier: Delivered | None,
    policy: SourcePolicy,
) -> Iterator[SourceFigure]:
    known, ratio = table.known, spans.ratio
    found = {
        feed: (before, now, last)
        for feed, before, now, last in connection.execute(
            f"select {table.feed} as feed, count(*) filter (where {spans.reference(known)}), "
            f"count(*) filter (where {spans.current(known)}), "
            f"max({known}) filter (where {known} <= {spans.current_end}) from staging.{table.staging} group by feed"
        ).fetchall()
    }
    rows_before = {feed: before for feed, (before, *_) in found.items()}
    if earlier is not None:
        # stored deliveries also have feeds of which no row is left
        rows_before = {feed: rows for (name, feed), rows in earlier.rows.items() if name == table.name}
        ratio = policy.volume_days / earlier.days if earlier.days > 0 else 0.0
    rows_now = {feed: now for feed, (_, now, _) in found.items()}
    last_known = max((last for *_, last in found.values() if last is not None), default=None)
    expected_rows = sum(rows_before.values()) * ratio
    if table.aged and expected_rows >= policy.min_expected_rows and last_known is not None:
        age = (spans.current_end - last_known) / 86_400_000_000
        yield SourceFigure(
            check="data_age", subject=table.name, value=age, threshold=policy.max_age_days,
            failed=age > policy.max_age_days, rows_reference=round(expected_rows), rows_current=sum(rows_now.values()),
        )  # fmt: skip
    for feed, before in sorted(rows_before.items()):
        expected, now = before * ratio, rows_now.get(feed, 0)
        if expected >= policy.min_expected_rows:
            yield SourceFigure(
                check="volume", subject=feed, value=now / expected, threshold=policy.min_volume_ratio,
                failed=now / expected < policy.min_volume_ratio, rows_reference=round(expected), rows_current=now,
            )  # fmt: skip


def _nulls(
    connection: "DuckDBPyConnection",
    table: Watched,
    spans: _Spans,
    earlier: Delivered | None,
    policy: SourcePolicy,
) -> Iterator[SourceFigure]:
    if not table.filled:
        return
    before, now = spans.reference(table.known), spans.current(table.known)
    empty = ", ".join(
        f"count(*) filter (where {name} is null and {period})" for name in table.filled for period in (before, now)
    )
    for feed, all_before, all_now, *found in connection.execute(
        f"select {table.feed} as feed, count(*) filter (where {before}), count(*) filter (where {now}), {empty} "
        f"from staging.{table.staging} group by feed order by feed"
    ).fetchall():
        for position, name in enumerate(table.filled):
            rows_before, empty_before = all_before, found[2 * position]
            if earlier is not None:
                rows_before, empty_before = earlier.nulls.get((feed, name), (0, 0))
            if min(rows_before, all_now) < policy.min_rows:
                continue
            rise = found[2 * position + 1] / all_now - empty_before / rows_before
            yield SourceFigure(
                check="nulls", subject=f"{feed}, {name}", value=rise, threshold=policy.max_null_rise,
                failed=rise > policy.max_null_rise, rows_reference=rows_before, rows_current=all_now,
            )  # fmt: skip


def _new_categories(
    connection: "DuckDBPyConnection",
    table: Watched,
    spans: _Spans,
    earlier: Delivered | None,
    policy: SourcePolicy,
) -> Iterator[SourceFigure]:
    before, now = spans.reference(table.known), spans.current(table.known)
    for name in table.categories:
        # every value from before the recent period counts as known, however old
        counts = connection.execute(
            f"select {name}, count(*) filter (where {before}), count(*) filter (where {now}), "
            f"min({table.known}) <= {spans.reference_end} from staging.{table.staging} group by {name}"
        ).fetchall()
        rows_before = sum(rows for _, rows, _, _ in counts)
        rows_now = sum(rows for _, _, rows, _ in counts)
        known = {value for value, _, _, is_known in counts if is_known}
        # deliveries have no values of a column with too many values
        if earlier is not None and (table.name, name) in earlier.categories:
            known = set(earlier.categories[table.name, name])
            rows_before = sum(rows for (table_name, _), rows in earlier.rows.items() if table_name == table.name)
        if min(rows_before, rows_now) >= policy.min_rows:
            new = sum(rows for value, _, rows, _ in counts if value is not None and value not in known)
            share = new / rows_now
            yield SourceFigure(
                check="categories", subject=f"{table.name}, {name}", value=share, threshold=policy.max_new_categories,
                failed=share > policy.max_new_categories, rows_reference=rows_before, rows_current=rows_now,
            )  # fmt: skip


def _verdict(check: str, figures: list[SourceFigure]) -> Verdict:
    if not figures:
        return Verdict(
            check=check,
            failed=False,
            statement="Not enough evidence: no feed or column has enough rows, or there is only one export.",
        )
    failed = [each for each in figures if each.failed]
    # a small volume is bad, large values of the other checks are bad
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
