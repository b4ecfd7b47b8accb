"""The default clock of a folder: which of its last facts are so far from the others that they pass for mistyped."""

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
"""Days with facts that it takes to say how far apart they are."""

TIMES_LONGEST = 3
"""How many times the longest pause before it a gap must be."""

LONG_GAP = 100
"""Days of a summer's pause: after a longer gap a fact is far from the others if they are a hundred times as many."""

SHORT_GAP = 7
"""Days of the shortest gap that counts: the others must then be five thousand times as many, or the fact one alone."""

ONE_ROW = 2
"""Times that one mistyped row may have, such as when a lead was created and changed."""

ENOUGH = 100
"""Facts before a gap of less than a summer's pause that let a single row after it pass for mistyped."""


def last_facts(days: Sequence[tuple[date, int]]) -> tuple[date, str | None]:
    """Decide which facts at the end are mistyped: few, after a gap that is long for this company.

    A gap counts when it is three times as long as every pause before it, and the facts after it are next to nothing
    beside those of as many days before it: at most one in a hundred, or one row alone, after more than a summer's
    pause; at most one in five thousand, or one row alone beside `ENOUGH` facts, after a shorter one. A company with
    facts on fewer than twenty days is too young to be judged.

    So the first row after a holiday waits for the next one. That is said, and a clock that a mistyped date moves is
    not.

    Parameters
    ----------
    days : sequence of (date, int)
        The days on which something happened, in order, and how many facts there are on each; at least one.

    Returns
    -------
    tuple of date and str or None
        The last day that the clock follows, and why the facts after it are far from the others; None where there are
        none.
    """
    totals = [0, *accumulate(count for _, count in days)]
    longest = 0
    for place in range(1, len(days)):
        day, before = days[place][0], days[place - 1][0]
        gap = (day - before).days
        after = totals[-1] - totals[place]
        if place >= MIN_DAYS and gap >= SHORT_GAP and gap > TIMES_LONGEST * longest:
            # as many days before the gap as the gap and what follows it are long
            first = bisect_left(
                days, before.toordinal() - (days[-1][0] - before).days, key=lambda each: each[0].toordinal()
            )
            beside = totals[place] - totals[first]
            one_row_alone = ONE_ROW if gap > LONG_GAP or beside >= ENOUGH else 0
            few = max(one_row_alone, beside // (100 if gap > LONG_GAP else 5000))
            if after <= few:
                facts, pause = "fact lies" if after == 1 else "facts lie", "day" if longest == 1 else "days"
                reason = (
                    f"{after:,} {facts} after a gap of {gap} days ({before} to {day}); the longest pause before it is "
                    f"{longest} {pause}, and as many days before it have {beside:,} facts."
                )
                return before, reason
        longest = max(longest, gap)
    return days[-1][0], None


def default_clock(
    connection: DuckDBPyConnection,
    reader: Source,
    validated: Mapping[str, Validated],
    present: datetime,
    as_of: datetime | None,
) -> tuple[datetime, list[str]]:
    """Return the default clock, and a sentence where it does not follow the last fact.

    Facts that are far from the others are set aside, but for those before a clock that somebody asks for: they know
    that it has come to that.
    """
    if reader.folder is not None:
        facts = " union all ".join(
            ["select null::timestamptz as t where false"]
            + [
                f"select unnest([{', '.join(columns)}]) as t from typed_{name} where check_no is null"
                for name, one in validated.items()
                if (columns := one.binding.fact_times)
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
                "was made, found none in any row. Map a column with times, or set the clock (AS_OF=…): all that the "
                "export shows is then known from it."
            )
        last_day, reason = last_facts(days)
        end = datetime.combine(last_day, time.max, UTC)
        aside = 0 if reason is None else set_far_facts_aside(connection, validated, max(end, as_of or end))
        last: datetime = one_row(
            connection, f"select max(t) from ({facts}) where t <= timestamptz '{end.isoformat()}'"
        )[0].astimezone(UTC)
        # a date of today ends tonight: what has not come yet is not known
        clock = min(last.replace(microsecond=0) + timedelta(seconds=1), present.replace(microsecond=0))
        sentence = (
            f"{reason} {aside:,} {'row is' if aside == 1 else 'rows are'} set aside for it (far_from_others in "
            f"raw.rejects), and the clock follows the facts before it. If it is right, set a clock after it (AS_OF=…)."
        )
        return clock, [sentence] if aside else []
    return present.replace(microsecond=0), []
