"""The default clock of a folder: it follows the last fact, but ignores facts so late that they look mistyped."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate

from duckdb import DuckDBPyConnection

from store.source.checking.validation import Validated, set_far_facts_aside
from store.source.contract import SourceContractError
from store.source.reading.sources import Source
from store.source.sql import one_row

MIN_DAYS = 20
"""Days with facts that are needed to judge a gap."""

TIMES_LONGEST = 3
"""A gap counts only if it is more than so many times as long as the longest pause before it."""

LONG_GAP = 100
"""Days of a summer break: after a longer gap, facts are far if a hundred times as many lie before it."""

SHORT_GAP = 7
"""Days of the shortest gap that counts: facts after it are far if five thousand times as many lie before it."""

ONE_ROW = 2
"""Facts that one mistyped row may have, such as the creation and the change of a lead."""

ENOUGH = 100
"""With so many facts before it, a gap shorter than a summer break makes a single row after it look mistyped."""


def last_facts(days: Sequence[tuple[date, int]]) -> tuple[date, str | None]:
    """Decide which of the last facts look mistyped: a few facts after a gap that is long for this company.

    A gap counts if it is more than three times as long as every pause before it, and the facts after it are few
    compared with those of as many days before it. After more than a summer break that is at most one in a hundred, or a
    single row. After a shorter gap it is at most one in five thousand, or a single row against `ENOUGH` facts. A
    company with facts on fewer than twenty days is not judged.

    The first row after a holiday may therefore wait for the next one, and a note says so; a mistyped date that moved
    the clock would go unnoticed.

    Parameters
    ----------
    days : sequence of (date, int)
        The days with facts, in order, and the number of facts on each; at least one day.

    Returns
    -------
    tuple of date and str or None
        The last day that the clock follows, and the reason to ignore later facts; None if there are no later facts.
    """
    totals = [0, *accumulate(count for _, count in days)]
    longest = 0
    for place in range(1, len(days)):
        day, last = days[place][0], days[place - 1][0]
        gap = (day - last).days
        after = totals[-1] - totals[place]
        if place >= MIN_DAYS and gap >= SHORT_GAP and gap > TIMES_LONGEST * longest:
            # the period before the gap is as long as the gap and the days after it together
            first = bisect_left(
                days, last.toordinal() - (days[-1][0] - last).days, key=lambda each: each[0].toordinal()
            )
            before_gap = totals[place] - totals[first]
            one_row_alone = ONE_ROW if gap > LONG_GAP or before_gap >= ENOUGH else 0
            few = max(one_row_alone, before_gap // (100 if gap > LONG_GAP else 5000))
            if after <= few:
                facts, pause = "fact lies" if after == 1 else "facts lie", "day" if longest == 1 else "days"
                reason = (
                    f"{after:,} {facts} after a gap of {gap} days ({last} to {day}); the longest pause before it is "
                    f"{longest} {pause}, and as many days before it have {before_gap:,} facts."
                )
                return last, reason
        longest = max(longest, gap)
    return days[-1][0], None


def default_clock(
    connection: DuckDBPyConnection,
    reader: Source,
    validated: Mapping[str, Validated],
    present: datetime,
    as_of: datetime | None,
) -> tuple[datetime, list[str]]:
    """Return the default clock, and a sentence if it does not follow the last fact.

    Facts that are far from the others are set aside, except those before a clock that a person has set (`as_of`).
    """
    if reader.folder is not None:
        facts = " union all ".join(
            ["select null::timestamptz as t where false"]
            + [
                f"select unnest([{', '.join(columns)}]) as t from typed_{name} where check_no is null"
                for name, one in validated.items()
                if (columns := one.binding.clock_facts)
            ]
        )
        days = connection.execute(
            f"select timezone('UTC', t)::date as day, count(*) from ({facts}) where t is not null "
            "group by all order by day"
        ).fetchall()
        if not days:
            if as_of is not None:
                return as_of, []
            raise SourceContractError(
                f"source {reader.description}: expected a time at which something happened, to tell when the export "
                "was made, found none in any row. Map a column with times, or set the clock (AS_OF=…): all facts of "
                "the export are then known from that time."
            )
        last_day, reason = last_facts(days)
        end = datetime.combine(last_day, time.max, UTC)
        set_aside = 0 if reason is None else set_far_facts_aside(connection, validated, max(end, as_of or end))
        last: datetime = one_row(
            connection, f"select max(t) from ({facts}) where t <= timestamptz '{end.isoformat()}'"
        )[0].astimezone(UTC)
        # a fact dated today counts from tonight, so the clock is limited to the present
        clock = min(last.replace(microsecond=0) + timedelta(seconds=1), present.replace(microsecond=0))
        sentence = (
            f"{reason} {set_aside:,} {'row is' if set_aside == 1 else 'rows are'} set aside for it (far_from_others in "
            f"raw.rejects), and the clock follows the facts before it. If it is right, set a clock after it (AS_OF=…)."
        )
        return clock, [sentence] if set_aside else []
    return present.replace(microsecond=0), []
