"""Queries written by hand for forty features of the view: the fastest forms known on each engine.

All queries compute the same columns, named as in the view: nine counts in four windows, and days since the last fact of
four kinds. They read the same tables as the view, `intermediate.timeline` and `intermediate.observations`.
"""

from __future__ import annotations

DAY_US = 86_400_000_000
WINDOWS = {"7d": 7, "30d": 30, "90d": 90, "lifetime": None}
COUNTS = {
    "facts": "1 = 1",
    "interactions": "fact = 'interaction'",
    "calls": "fact = 'interaction' and interaction_type = 'call'",
    "emails": "fact = 'interaction' and interaction_type = 'email'",
    "meetings": "fact = 'interaction' and interaction_type = 'meeting'",
    "web_visits": "fact = 'interaction' and interaction_type = 'web'",
    "notes": "fact = 'interaction' and interaction_type = 'note'",
    "inbound": "fact = 'interaction' and direction = 'inbound'",
    "outbound": "fact = 'interaction' and direction = 'outbound'",
}
SINCE = {"fact": "facts", "call": "calls", "inbound": "inbound", "outbound": "outbound"}
FORTY = (
    *(f"{name}_count_{window}" for window in WINDOWS for name in COUNTS),
    *(f"days_since_last_{name}" for name in SINCE),
)
PACK = 3
"""Counts in one BIGINT, of 20 bits each: no lead has a million facts."""
BITS = 20

_BY_OBSERVATION = (
    "from intermediate.observations inner join {facts} on observations.lead_id = {facts}.lead_id "
    "and known_us < as_of_us group by observations.lead_id, as_of_us"
)


def joined() -> str:
    """Return the plain form: one join, one conditional aggregate per feature."""
    counts = [
        f"count(case when {condition}{_within(days)} then 1 end) as {name}_count_{window}"
        for window, days in WINDOWS.items()
        for name, condition in COUNTS.items()
    ]
    days = [_days_since(f"max(case when {COUNTS[kind]} then known_us end)", name) for name, kind in SINCE.items()]
    return (
        f"select observations.lead_id, as_of_us, {', '.join(counts + days)} "
        f"{_BY_OBSERVATION.format(facts='intermediate.timeline').replace('intermediate.timeline.', 'timeline.')}"
    )


def packed(number: str = "bigint") -> str:
    """Return the join with three counts in each sum, as digits to the base 2^20; it runs on DuckDB and PostgreSQL.

    Parameters
    ----------
    number : str
        Type of the numbers that are summed; ``double precision`` is exact below 2^53 and so needs smaller digits.
    """
    bits = BITS if number == "bigint" else 17
    sums = [
        f"cast(sum({_case(days, f'pack{place}')}) as bigint) as pack{place}_{window}"
        for window, days in WINDOWS.items()
        for place in range(_packs())
    ]
    last = [f"max(last_{name}) as last_{name}" for name in SINCE]
    columns = [
        f"coalesce({_digit(f'pack{place // PACK}_{window}', place % PACK, bits)}, 0) as {name}_count_{window}"
        for window in WINDOWS
        for place, name in enumerate(COUNTS)
    ]
    return (
        f"with facts as (select lead_id, known_us, {_packed_facts(number, bits)} from intermediate.timeline), "
        f"sums as (select observations.lead_id, as_of_us, {', '.join(sums + last)} "
        f"{_BY_OBSERVATION.format(facts='facts')}) "
        f"select lead_id, as_of_us, {', '.join(columns + [_days_since(f'last_{name}', name) for name in SINCE])} "
        "from sums"
    )


def running() -> str:
    """Return running sums of packed counts over a lead's facts, and ASOF joins to both ends of each window.

    The cost is linear in facts and observations, whatever their density; only DuckDB has ASOF joins.
    """
    # the default frame of an ordered window includes ties, so that any of several rows at one time has the whole sum
    sums = [f"cast(sum(pack{place}) over lead_so_far as bigint) as pack{place}" for place in range(_packs())]
    last = [f"max(last_{name}) over lead_so_far as last_{name}" for name in SINCE]
    packs = ", ".join(f"pack{place}" for place in range(_packs()))
    columns = []
    for window, days in WINDOWS.items():
        for place, name in enumerate(COUNTS):
            now = _digit(f"now.pack{place // PACK}", place % PACK, BITS)
            edge = _digit(f"edge_{days}.pack{place // PACK}", place % PACK, BITS)
            columns.append(f"{now if days is None else f'{now} - coalesce({edge}, 0)'} as {name}_count_{window}")
    edges = " ".join(
        f"asof left join (select lead_id, known_us, {packs} from so_far) as edge_{days} "
        f"on observations.lead_id = edge_{days}.lead_id and edge_{days}.known_us < as_of_us - {days * DAY_US}"
        for days in WINDOWS.values()
        if days is not None
    )
    return (
        f"with facts as (select lead_id, known_us, {_packed_facts('bigint', BITS)} from intermediate.timeline), "
        f"so_far as materialized (select lead_id, known_us, {', '.join(sums + last)} from facts "
        "window lead_so_far as (partition by lead_id order by known_us)) "
        "select observations.lead_id, as_of_us, "
        f"{', '.join(columns + [_days_since(f'last_{name}', name) for name in SINCE])} "
        "from intermediate.observations "
        f"asof join so_far as now on observations.lead_id = now.lead_id and now.known_us < as_of_us {edges}"
    )


def of_the_view(view: str, as_of_us: str) -> str:
    """Return a query that selects only the forty features of the view; engines do not compute the other columns.

    Parameters
    ----------
    view : str
        The view's query.
    as_of_us : str
        Microseconds since 1970 of ``view.as_of``, in the engine's SQL.
    """
    return f"select lead_id, {as_of_us} as as_of_us, {', '.join(FORTY)} from ({view}) as view"


def _packs() -> int:
    return -(-len(COUNTS) // PACK)


def _packed_facts(number: str, bits: int) -> str:
    conditions = list(COUNTS.values())
    packs = [
        f"cast({' + '.join(terms)} as {number}) as pack{place}"
        for place in range(_packs())
        if (
            terms := [
                f"case when {condition} then {1 << bits * digit} else 0 end"
                for digit, condition in enumerate(conditions[place * PACK : (place + 1) * PACK])
            ]
        )
    ]
    last = [f"case when {COUNTS[kind]} then known_us end as last_{name}" for name, kind in SINCE.items()]
    return ", ".join(packs + last)


def _within(days: int | None) -> str:
    return "" if days is None else f" and known_us >= as_of_us - {days * DAY_US}"


def _case(days: int | None, value: str) -> str:
    return value if days is None else f"case when known_us >= as_of_us - {days * DAY_US} then {value} end"


def _digit(packed_sum: str, place: int, bits: int) -> str:
    return f"(({packed_sum} >> {bits * place}) & {(1 << bits) - 1})"


def _days_since(last_us: str, name: str) -> str:
    return f"cast(as_of_us - {last_us} as double precision) / {DAY_US} as days_since_last_{name}"
