"""Schema ``raw`` as it was at a moment, and as it might have been: queries that change what must not matter.

A row is a fact with the moment at which it was known, and *parts* that were added to it later by overwriting it: an
e-mail is sent at one time and answered at another. What is known of each table of the source contract is declared here
once, in `TABLES`. The queries are the same text on both engines, and chance comes from hashes of keys: the same seed
gives the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from assets.compiled import timestamp_literal

Query = Callable[[str, Sequence[str]], str]
"""From a table of schema ``raw`` and its columns, in order, to the query that stands in for it."""

SUCCESS = "'won'"
"""The end of a project that closes its lead, as SQL."""

EDGE = timedelta(microseconds=1)
DAY = timedelta(days=1)


class UndeclaredTableError(LookupError):
    """The feature store reads a table of which nothing says when its rows were known."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is added to a row by overwriting it.

    Attributes
    ----------
    time : str
        The column that says when; null until then.
    before : mapping of str to str
        The columns that are overwritten with it, and what they hold until then, as SQL.
    drawn : mapping of str to sequence of str
        What these columns may hold afterwards, as SQL.
    """

    time: str
    before: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Records:
    """What is known of a table of schema ``raw``.

    Attributes
    ----------
    key : str
    occurred : str
        The column with the time of the fact.
    recorded : str or None
        The column with the time at which it was stored, where there is one; it may be null.
    drawn : mapping of str to sequence of str
        What columns of a fact may hold in place of what they do, as SQL.
    kept : tuple of str
        Of these the columns that stay where the past changes: what comes later rests on them, such as whether a lead
        is still open.
    parts : tuple of Part
    overwritten : mapping of str to str
        Columns that hold today's value and have no time of their own, and what stands for the value of then, as SQL.
    """

    key: str
    occurred: str
    recorded: str | None = None
    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    overwritten: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> str:
        """When the fact of a row was known."""
        if self.recorded is None:
            return self.occurred
        return f"greatest({self.occurred}, coalesce({self.recorded}, {self.occurred}))"

    @property
    def last_known(self) -> str:
        """When the last part of a row was known."""
        parts = [f"coalesce({part.time}, {self.occurred})" for part in self.parts]
        return f"greatest({', '.join([self.known, *parts])})"


def _texts(*values: str) -> tuple[str, ...]:
    return tuple(f"'{value}'" for value in values)


_TYPES = _texts("call", "email", "sms", "meeting", "web", "proposal", "note")
_ENDS = _texts("completed", "no_show", "cancelled", "rescheduled")

TABLES: Mapping[str, Records] = {
    "leads": Records(
        key="lead_id",
        occurred="created_at",
        drawn={"source": ("(select min(source) from {table})", "'proof'")},
        overwritten={
            "status": "null",
            "assigned_to": "null",
            "updated_at": "created_at",
            "property_value": "null",
            "zip_code": "null",
        },
    ),
    "interactions": Records(
        key="interaction_id",
        occurred="occurred_at",
        recorded="recorded_at",
        drawn={
            "type": _TYPES,
            "direction": _texts("inbound", "outbound", "outbound", "internal"),
            "performed_by": (
                "(select min(performed_by) from {table})", "(select max(performed_by) from {table})", "null"
            ),
            "outcome": ("null", "'proof'", "(select min(outcome) from {table})", "(select max(outcome) from {table})"),
        },
        kept=("outcome",),
        parts=(Part(time="opened_at"), Part(time="responded_at")),
    ),
    "appointments": Records(
        key="appointment_id",
        occurred="booked_at",
        parts=(Part(time="ended_at", before={"status": "'scheduled'"}, drawn={"status": _ENDS}),),
        overwritten={"scheduled_at": "booked_at"},
    ),
    "projects": Records(
        key="project_id",
        occurred="proposed_at",
        drawn={"value": ("null", "77", "123456")},
        kept=("value",),
        parts=(
            Part(
                time="closed_at",
                before={"status": "'open'"},
                drawn={"status": (SUCCESS, SUCCESS, *_texts("lost", "cancelled"))},
            ),
        ),
        overwritten={"cost": "null"},
    ),
    # of the columns that a CRM overwrites; a price is a number
    "lead_changes": Records(
        key="change_id", occurred="known_at", drawn={"value": ("null", *_texts("1", "77", "123456"))}
    ),
}  # fmt: skip
"""What there is to know of each table of the source contract."""


def records_of(table: str) -> Records:
    """Return what is known of a table.

    Raises
    ------
    UndeclaredTableError
        If nothing is.
    """
    if table not in TABLES:
        raise UndeclaredTableError(
            f"raw.{table}: expected a table of {sorted(TABLES)}, found another that the feature store reads. Say in "
            "assets/counterfactuals.py when its rows are known; without that nothing can be proved of it."
        )
    return TABLES[table]


def removed(moment: datetime, table: str, columns: Sequence[str]) -> str:
    """Return a table as it was just before a moment: no fact, and no part of one, that was known then or later."""
    records, at = records_of(table), timestamp_literal(moment)
    then: dict[str, str] = dict(records.overwritten)
    for part in records.parts:
        early = f"{part.time} < {at}"
        then[part.time] = f"case when {early} then {part.time} end"
        then |= {name: f"case when {early} then {name} else {value} end" for name, value in part.before.items()}
    return f"select {_selected(columns, then)} from {_raw(table)} where {records.known} < {at}"


def scrambled(moment: datetime, seed: str, table: str, columns: Sequence[str]) -> str:
    """Return a table with another future from a moment on: other times, kinds, values, ends, and states of today.

    What is known before the moment is as it was. Of the facts that are not, a good third is known exactly then, and
    some say that they happened days before.
    """
    records, at = records_of(table), timestamp_literal(moment)
    draw = _Draw()
    later = [f"({at} + {draw.hours()} * interval '1 hour')" for _ in range(2 + len(records.parts))]
    future = f"{records.known} >= {at}"

    def changed(name: str, value: str) -> str:
        return f"case when {future} then {value} else {name} end"

    then = {name: changed(name, draw.one_of(_in_table(values, table))) for name, values in records.drawn.items()}
    occurred = later[0]
    if records.recorded is not None:
        # as if stored long after it happened
        early = f"({at} - {draw.hours()} * interval '1 hour')"
        occurred = f"case when {draw.digit()} < 5 then {early} else {later[0]} end"
        then[records.recorded] = changed(records.recorded, later[1])
    then[records.occurred] = changed(records.occurred, occurred)
    for part, time in zip(records.parts, later[2:], strict=True):
        open_then = f"({future} or {part.time} is null or {part.time} >= {at})"
        drawn = f"{draw.digit()} < 10"
        then[part.time] = f"case when not {open_then} then {part.time} when {drawn} then {time} end"
        then |= {
            name: f"case when not {open_then} then {name} when {drawn} then {draw.one_of(values)} "
            f"else {part.before[name]} end"
            for name, values in part.drawn.items()
        }
    for name in records.overwritten:
        then[name] = _overwritten(name, draw, at)
    return f"select {_selected(columns, then)} from {_hashed(records, table, columns, seed)}"


def past_changed(moment: datetime, seed: str, table: str, columns: Sequence[str]) -> str:
    """Return a table with another past up to a moment, and with the same leads, open as long as they were.

    Kinds and values of what was known and over before the moment change, but for those that close a lead, and a quarter
    of it moves to the last microsecond.
    """
    records, at = records_of(table), timestamp_literal(moment)
    draw = _Draw()
    past = f"{records.last_known} < {at}"
    if table == "leads":
        return f"select {_selected(columns, {})} from {_raw(table)}"
    then = {
        name: f"case when {past} then {draw.one_of(_in_table(values, table))} else {name} end"
        for name, values in records.drawn.items()
        if name not in records.kept
    }
    for part in records.parts:
        for name, values in part.drawn.items():
            # a success is what closes a lead
            other = draw.one_of([value for value in values if value != SUCCESS])
            over = f"{past} and {part.time} is not null and {name} <> {SUCCESS}"
            then[name] = f"case when {over} then {other} else {name} end"
    moves, edge = f"{past} and {draw.digit()} < 4", timestamp_literal(moment - EDGE)
    for time in (records.occurred, records.recorded):
        if time is not None:
            then[time] = f"case when {moves} then {edge} else {time} end"
    for part in records.parts:
        then[part.time] = f"case when {moves} and {part.time} is not null then {edge} else {part.time} end"
    return f"select {_selected(columns, then)} from {_hashed(records, table, columns, seed)}"


def forgotten(moment: datetime, days: int, seed: str, table: str, columns: Sequence[str]) -> str:
    """Return a table with what was known in the days before a moment, and with nothing that was known before or later.

    Leads stay, and a quarter of what was known before these days moves to the microsecond before they begin.
    """
    records = records_of(table)
    end, start = timestamp_literal(moment), timestamp_literal(moment - days * DAY)
    if table == "leads":
        return f"select {_selected(columns, {})} from {_raw(table)}"
    edge = timestamp_literal(moment - days * DAY - EDGE)
    over = f"{records.last_known} < {start}"
    then = {
        name: f"case when {over} then {edge} else {name} end"
        for name in (records.occurred, records.recorded)
        if name is not None
    }
    for part in records.parts:
        then[part.time] = f"case when {over} and {part.time} is not null then {edge} else {part.time} end"
    return (
        f"select {_selected(columns, then)} from {_hashed(records, table, columns, seed)} "
        f"where {records.known} < {end} and ({records.last_known} >= {start} or {_Draw().digit()} < 4)"
    )


class _Draw:
    """Chance as SQL: digits of the hash of a row, each used once before it is used again."""

    def __init__(self) -> None:
        self._used = 0

    def digit(self) -> str:
        """Return a number from 0 to 15."""
        self._used += 1
        return f"(position(substr(drawn, {(self._used - 1) % 32 + 1}, 1) in '0123456789abcdef') - 1)"

    def hours(self) -> str:
        """Return a number of hours: 0 in a good third of the rows, otherwise up to ten days."""
        digit = self.digit()
        return f"(case when {digit} < 6 then 0 else {digit} * (1 + {self.digit()}) end)"

    def one_of(self, values: Sequence[str]) -> str:
        """Return one of some values."""
        chosen = f"mod({self.digit()}, {len(values)})"
        cases = " ".join(f"when {place} then {value}" for place, value in enumerate(values))
        return f"case {chosen} {cases} end"


def _overwritten(name: str, draw: _Draw, at: str) -> str:
    if name.endswith("_at"):
        return f"({at} + {draw.hours()} * interval '1 hour')"
    is_number = name in ("cost", "property_value")
    return draw.one_of(("null", "12345") if is_number else _texts("won", "lost", "new", "proof"))


def _in_table(values: Sequence[str], table: str) -> list[str]:
    return [value.format(table=_raw(table)) for value in values]


def _selected(columns: Sequence[str], then: Mapping[str, str]) -> str:
    """Return what is selected for the columns; bookkeeping of the extraction, which the future overwrites, is null."""
    expressions = {name: "null" if name in BOOKKEEPING else then.get(name, name) for name in columns}
    # a bare null has no type, or another than the column
    typed = {name: f"nullif({name}, {name})" if value == "null" else value for name, value in expressions.items()}
    return ", ".join(name if value == name else f"{value} as {name}" for name, value in typed.items())


BOOKKEEPING = ("row_hash", "extracted_at", "load_number")
"""Columns of the extraction, which tell of a row's latest state."""


def _hashed(records: Records, table: str, columns: Sequence[str], seed: str) -> str:
    return f"(select {', '.join(columns)}, md5({records.key} || '{seed}') as drawn from {_raw(table)}) as hashed"


def _raw(table: str) -> str:
    """Return the relation as compiled SQL names it, for `assets.compiled.Place` to translate."""
    return f'"warehouse"."raw"."{table}"'
