"""The evidence of a comparison: what a source delivers, and what schema ``raw`` holds of it, by key and in figures.

All by SQL over the scratch DuckDB; of a stored row no more is fetched than its key and which columns have a value.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assets.source.contract import EARLIER_NAMES, SQL_TYPES, TABLES
from assets.source.formats import ISO, UTC_ZONE
from assets.source.history import CHANGES
from assets.source.load import Wanted
from assets.source.mapping import FirstOf, Flag, Substitute
from assets.source.reading import shown_column
from assets.source.sql import literal, literals, of_source, one_row
from assets.source.validation import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import timedelta

    from duckdb import DuckDBPyConnection

    from assets.source.closings import Closings
    from assets.source.contract import Table
    from assets.source.mapping import ColumnForm, TableBinding
    from assets.source.validation import Validated

__all__ = [
    "PRIMARY_TIMES",
    "ColumnEvidence",
    "Earlier",
    "Evidence",
    "TableEvidence",
    "WordEvidence",
    "delivered",
    "measure",
    "needs_whole",
    "wanted",
]

PRIMARY_TIMES: Mapping[str, str] = {
    "leads": "created_at",
    "interactions": "occurred_at",
    "appointments": "booked_at",
    "projects": "proposed_at",
}
"""When a row happened, which no honest CRM alters in bulk; a change of the time zone or of the format does."""

SAME_NUMBER = 0.01
"""How far two numbers, or two factors, may be apart as a share to be the same: cents are rounded."""

ALTERED_ROWS = 3
ALTERED_SHARE = 0.05
"""Values are compared of a table of which so many rows, and this share of those read again, have changed."""

TURNS = 3
"""Pairs of words, before and now, that are kept of a column."""

LEAVING = (
    ("appointments", "status", "scheduled"),
    ("appointments", "status", "rescheduled"),
    ("projects", "status", "open"),
)
"""Words that rows leave as time goes by."""

ENDS = "ends"
"""Where `delivered` has the last fact of a folder, beside the tables."""

RULES = 1
"""The number of the rules by which texts are read: it goes up where the same text comes to mean something else."""

AGEING = ("interactions", "appointments")
"""Tables whose old rows a source may let go: no row of them is missed by what came later."""

VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "leads": ("source", "status"),
    "interactions": ("type", "direction", "outcome"),
    "appointments": ("status",),
    "projects": ("status",),
}
"""The columns whose words are counted."""

CLOSING_COLUMNS: Mapping[str, tuple[str, str]] = {
    "outcomes": ("interactions", "outcome"),
    "lead_status": ("leads", "status"),
    "project_status": ("projects", "status"),
}
"""Where the words stand that close a lead, by the key of ``closes`` in a mapping."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What the last extraction left, by `delivered` and the marker.

    Attributes
    ----------
    as_of : datetime or None
        Its clock; None where there was none.
    load_number : int
    mapping : str or None
    closing_outcomes, closing_lead_statuses, closing_project_statuses : tuple of str
    silence_closes_after_days : int or None
    delivered : mapping of str to Any, or None
        By table; None in a warehouse of an earlier version.
    """

    as_of: datetime | None
    load_number: int
    mapping: str | None
    closing_outcomes: tuple[str, ...]
    closing_lead_statuses: tuple[str, ...]
    closing_project_statuses: tuple[str, ...]
    silence_closes_after_days: int | None
    delivered: Mapping[str, Any] | None

    @classmethod
    def of(cls, connection: DuckDBPyConnection) -> Earlier:
        """Read it from ``known_extraction``."""
        row = (
            connection.execute(
                "select as_of, load_number, mapping, closing_outcomes, closing_lead_statuses, "
                "closing_project_statuses, silence_closes_after_days, delivered from known_extraction"
            ).fetchone()
            or (None,) * 8
        )
        return cls(
            as_of=row[0],
            load_number=row[1] or 0,
            mapping=row[2],
            closing_outcomes=tuple(json.loads(row[3] or "[]")),
            closing_lead_statuses=tuple(json.loads(row[4] or "[]")),
            closing_project_statuses=tuple(json.loads(row[5] or "[]")),
            silence_closes_after_days=row[6],
            delivered=None if row[7] is None else _present_names(json.loads(row[7])),
        )

    def dates(self, table: str) -> Mapping[str, bool]:
        """Return the columns of a table that had dates without a time of day, and whether those at midnight were."""
        found: Mapping[str, bool] = (self.delivered or {}).get(table, {}).get("dates", {})
        return found


@dataclass(frozen=True, kw_only=True)
class ColumnEvidence:
    """A column of a table, then and now.

    Attributes
    ----------
    column : str
    before, now : str or None
        How it was and is read; None where the source has (or, of an earlier version, may have had) nothing.
    stored : int
        Stored rows with a value.
    again : int
        Of these, rows that were read again.
    lost : int
        Of these, rows that have no value any more.
    no_words : int
        Of these, rows whose value is a word for a missing one, such as N/A.
    found : int
        Rows read that have a value.
    fresh : int
        Of these, rows that are new or have changed.
    short : int
        Of a table read in part: values that are stored and that the source has not, beyond the rows that it has not.
    short_before : int
        The same at the last extraction.
    plans : int
        Of a time: values that the source has and that have not happened, by the status of their rows.
    altered : int
        Rows read again that had another value. Of a status without those that it leaves as time goes by (`LEAVING`).
        Counted where many rows have changed; else 0, as are the following.
    turned : tuple of (str, str, int)
        Of a word: the most frequent pairs of words, before and now, with their rows.
    scaled : int
        Of a number: rows of these whose number has changed by the same factor as most of them.
    factor : float or None
        That factor.
    zeroed : int
        Of a number: rows that had none before and have 0 now.
    """

    column: str
    before: str | None
    now: str | None
    stored: int
    again: int
    lost: int
    found: int
    fresh: int
    short: int = 0
    short_before: int = 0
    plans: int = 0
    altered: int = 0
    turned: tuple[tuple[str, str, int], ...] = ()
    scaled: int = 0
    factor: float | None = None
    zeroed: int = 0
    no_words: int = 0


@dataclass(frozen=True, kw_only=True)
class WordEvidence:
    """How many stored rows, and rows read, have a word."""

    column: str
    word: str
    stored: int
    found: int


@dataclass(frozen=True, kw_only=True)
class TableEvidence:
    """A table, then and now.

    Attributes
    ----------
    table : str
    place : str or None
        File or database table; None where the source has none.
    whole : bool
        Whether it was read whole.
    described : bool
        Whether the last extraction wrote down how it read the columns.
    stored : int
        Stored rows.
    read : int
        Rows read that fit.
    present : int
        Rows of the source: of a table read whole those that fit.
    missing, missing_before : int
        Stored rows that the source has not, now and at the last extraction. Interactions and appointments that are
        older than all that it has are none: an export of the last months lets them go.
    rows : int
        Rows of the source, with those that do not fit.
    rules : str or None
        How the values of all columns are read.
    unseen : int
        Of a table read in part: rows at least that have come to the source since and were not among those read.
    fewer : int or None
        Rows fewer than at the last extraction, where the key is derived from a plan: what is moved has another key, and
        is missing under the old one. None elsewhere.
    rejected : int
        Of those missing, rows that are there and were rejected.
    rejected_as : str or None
        The most frequent reason, and its column.
    unfit, unfit_before : int
        Rows of the source that do not fit, other than orphans, now and at the last extraction.
    unfit_as : str or None
        Their reasons, and the message on the first.
    again : int
        Stored rows that were read again; of a table read in part all that are stored.
    changed : int
        Rows read again that have changed.
    moved : int
        Of these, rows whose primary time has moved.
    shift : timedelta or None
        By how much, at the median.
    unread : tuple of str
        Columns of the source that are not read.
    columns : tuple of ColumnEvidence
    words : tuple of WordEvidence
        Of a table read whole.
    rekeyed, rekeyed_before : int
        Rows read whose key is stored as an earlier version read it, now and at the last extraction: a contact in the
        clear, or with blanks that nobody sees.
    dates : mapping of str to bool
        Columns that have, or had, dates without a time of day, and whether values at midnight are dates as well.
    """

    table: str
    place: str | None
    whole: bool = True
    described: bool = True
    stored: int = 0
    read: int = 0
    present: int = 0
    missing: int = 0
    missing_before: int = 0
    rows: int = 0
    rules: str | None = None
    fewer: int | None = None
    unseen: int = 0
    rejected: int = 0
    rejected_as: str | None = None
    unfit: int = 0
    unfit_before: int = 0
    unfit_as: str | None = None
    again: int = 0
    changed: int = 0
    moved: int = 0
    shift: timedelta | None = None
    unread: tuple[str, ...] = ()
    columns: tuple[ColumnEvidence, ...] = ()
    words: tuple[WordEvidence, ...] = ()
    rekeyed: int = 0
    rekeyed_before: int = 0
    dates: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an extraction would overwrite.

    Attributes
    ----------
    tables : tuple of TableEvidence
    reopened : mapping of (str, str) to int
        Words that ended a lead and do so no more, with the stored rows that have them: by the key of ``closes`` in the
        mapping, and the word.
    silence_before, silence_now : int or None
        Days of silence after which a lead counts as closed.
    ended, ends : datetime or None
        The last fact of a folder at the last extraction and now; None where it is not known, and of a database.
    """

    tables: tuple[TableEvidence, ...]
    reopened: Mapping[tuple[str, str], int]
    silence_before: int | None = None
    silence_now: int | None = None
    ended: datetime | None = None
    ends: datetime | None = None


def wanted(table: Table, binding: TableBinding | None) -> Wanted:
    """Return what `measure` needs of a table of schema ``raw``, beside what others need of it."""
    primary = PRIMARY_TIMES.get(table.name)
    # a history is never overwritten: of its rows it is known who told them
    return Wanted(
        columns={} if primary is None or binding is None else {primary: SQL_TYPES["time"]},
        filled=() if table.name == CHANGES else _compared(table),
        words=VOCABULARIES.get(table.name, ()),
        defaults={column.name: column.default for column in table.columns if column.default is not None},
    )


def _compared(table: Table) -> tuple[str, ...]:
    return tuple(name for name in table.column_names if name != table.key)


def measure(
    connection: DuckDBPyConnection,
    bindings: Mapping[str, TableBinding | None],
    validated: Mapping[str, Validated],
    found: Mapping[str, Sequence[str]],
    earlier: Earlier,
    closings: Closings,
    silence_closes_after_days: int | None,
    ends: datetime | None,
    stored_rows: Callable[[str, Sequence[str]], None],
) -> Evidence:
    """Measure what the rows read would overwrite; without an earlier extraction there is nothing to measure.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``typed_<table>``, ``delta_<table>``, ``known_<table>``, ``known_words`` and
        ``rejects``.
    bindings, validated
        By contract table.
    found : mapping of str to sequence of str
        Columns by table of the source.
    earlier : Earlier
    closings, silence_closes_after_days
        Of the mapping.
    ends : datetime or None
        The last fact of a folder.
    stored_rows : callable
        Creates ``stored_<table>`` with some columns of a table of schema ``raw``.
    """
    tables = tuple(
        _table(connection, TABLES[name], binding, validated.get(name), found, earlier, stored_rows)
        for name, binding in bindings.items()
    )
    return Evidence(
        tables=tables,
        reopened={
            **_reopened(connection, "outcomes", earlier.closing_outcomes, closings.outcomes),
            **_reopened(connection, "lead_status", earlier.closing_lead_statuses, closings.lead_statuses),
            **_reopened(connection, "project_status", earlier.closing_project_statuses, closings.project_statuses),
        },
        silence_before=earlier.silence_closes_after_days,
        silence_now=silence_closes_after_days,
        ended=None if (ended := (earlier.delivered or {}).get(ENDS)) is None else datetime.fromisoformat(ended),
        ends=ends,
    )


def _present_names(delivered: dict[str, Any]) -> dict[str, Any]:
    names = {earlier: name for name, earlier in EARLIER_NAMES.items()}
    return {names.get(table, table): said for table, said in delivered.items()}


def _reopened(
    connection: DuckDBPyConnection, key: str, before: Sequence[str], now: Sequence[str]
) -> dict[tuple[str, str], int]:
    """Count the stored rows with words that closed leads and do so no more."""
    listed = ", ".join(literal(each) for each in before if each not in now) or "null"
    table, column = CLOSING_COLUMNS[key]
    query = (
        f"select word, rows from known_words where table_name = '{table}' and column_name = '{column}' "
        f"and word in ({listed}) order by word"
    )
    if key == "lead_status":
        # a status that leads have had closes them, whether or not they have it now
        query = (
            f"select value, count(distinct lead_id) from known_{CHANGES} where column_name = 'status' "
            f"and value in ({listed}) group by value order by value"
        )
    return {(key, word): rows for word, rows in connection.execute(query).fetchall()}


def _table(
    connection: DuckDBPyConnection,
    table: Table,
    binding: TableBinding | None,
    validated: Validated | None,
    found: Mapping[str, Sequence[str]],
    earlier: Earlier,
    stored_rows: Callable[[str, Sequence[str]], None],
) -> TableEvidence:
    name, key = table.name, table.key
    described = earlier.delivered is not None
    last: Mapping[str, Any] = (earlier.delivered or {}).get(name, {})
    # what extractions saw of leads themselves was never in the source's history
    known = f"(from known_{name} where origin = 'source')" if name == CHANGES else f"known_{name}"
    missing_before = last.get("missing", 0)
    (stored,) = one_row(connection, f"select count(*) from {known}")
    if binding is None or validated is None:
        return TableEvidence(
            table=name, place=None, described=described, stored=stored, missing=stored, missing_before=missing_before
        )
    compared = () if name == CHANGES else _compared(table)
    accepted = f"(select {key} from typed_{name} where check_no is null)"
    bits = "".join(
        f", coalesce(sum((filled >> {bit}) & 1), 0)::bigint, "
        f"coalesce(sum((filled >> {bit}) & 1) filter (read), 0)::bigint"
        for bit in range(len(compared))
    )
    again, *shares = one_row(
        connection,
        f"select count(*) filter (read){bits} from (select k.*, t.{key} is not null as read from {known} k "
        f"left join {accepted} t on t.{key} = k.{key})",
    )
    (read,) = one_row(connection, f"select count(*) from {accepted}")
    part = validated.reading.part
    whole = part is None
    present = read if part is None else part.rows
    missing, fewer, unseen = stored - again, None, 0
    if part is not None:
        missing = max(0, stored - present)
        # of a history other columns are left behind, which the source counts
        if "rows" in last and name != CHANGES:
            # rejected rows are read again until they are mended
            names = literals([name, EARLIER_NAMES.get(name, name)])
            rejects, rejects_before = one_row(
                connection,
                f"select (select count(*) from typed_{name} where check_no is not null), "
                f"(select count(*) from known_rejects where table_name in ({names}))",
            )
            expected = last["rows"] + read - again + rejects - rejects_before
            # rows that do not fit are present and not stored: as many of those that do may be gone unseen
            missing = max(missing, missing_before + expected - present)
            unseen = max(0, present - expected)
    elif _may_move(table, binding):
        fewer = max(0, last.get("rows", stored) - validated.rows_read)
    if whole and name in AGEING and missing > 0:
        primary = PRIMARY_TIMES[name]
        (aged,) = one_row(
            connection,
            f"select count(*) from {known} where {primary} < "
            f"(select min({primary}) from typed_{name} where check_no is null)",
        )
        missing -= aged
    rejected, rejected_as = 0, None
    if missing > 0 and whole:
        (rejected,) = one_row(
            connection,
            f"select count(*) from {known} k where {key} in (select {key} from typed_{name} where check_no is not null)"
            f" and {key} not in {accepted}",
        )
    if rejected:
        (number,) = one_row(
            connection,
            f"select mode(check_no) from typed_{name} where {key} in (select {key} from {known}) "
            f"and {key} not in {accepted}",
        )
        rejected_as = f"{validated.checks[number].reason} in {validated.checks[number].column}"
    changed, moved, shift, *deltas = _changes(connection, binding, compared, earlier.dates(name))
    altered: Mapping[str, Mapping[str, Any]] = {}
    if changed >= ALTERED_ROWS and changed >= ALTERED_SHARE * again:
        stored_rows(name, [key, *compared])
        altered = _altered(connection, binding, compared, earlier.dates(name))
    return TableEvidence(
        table=name,
        place=validated.place,
        whole=whole,
        described=described,
        stored=stored,
        read=read,
        present=present,
        missing=missing,
        missing_before=missing_before,
        rows=validated.rows_read if part is None else present,
        rules=_rules(binding),
        fewer=fewer,
        unseen=unseen,
        rejected=rejected,
        rejected_as=rejected_as,
        **_unfit(connection, name),
        again=again if whole else stored,
        changed=changed,
        moved=moved,
        shift=shift,
        unread=tuple(
            shown_column(column) for column in found[binding.source_table] if column not in binding.source_columns
        ),
        columns=tuple(
            replace(
                _column(
                    column,
                    binding,
                    validated,
                    last,
                    missing,
                    shares[2 * bit : 2 * bit + 2],
                    deltas[4 * bit : 4 * bit + 4],
                ),
                **altered.get(column, {}),
            )
            for bit, column in enumerate(compared)
        ),
        words=tuple(_words(connection, name)) if whole and stored else (),
        rekeyed=_rekeyed(connection, binding) if stored else 0,
        rekeyed_before=last.get("rekeyed", 0),
        dates={**earlier.dates(name), **{column: found.midnights for column, found in validated.dates.items()}},
    )


def _unfit(connection: DuckDBPyConnection, name: str) -> dict[str, Any]:
    of = f"table_name in ({literals([name, EARLIER_NAMES.get(name, name)])}) and reason <> 'orphan'"
    reasons = connection.execute(
        f"select reason, count(*) from rejects where {of} group by reason order by 2 desc, 1"
    ).fetchall()
    if not reasons:
        return {}
    (before,) = one_row(connection, f"select count(*) from known_rejects where {of}")
    (first,) = one_row(connection, f"select message from rejects where {of} order by line nulls last, key limit 1")
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return {
        "unfit": sum(count for _, count in reasons),
        "unfit_before": before,
        "unfit_as": f"{listed}. The first: {first.rstrip('.')}",
    }


def _may_move(table: Table, binding: TableBinding) -> bool:
    """Say whether the key of a table is derived from a plan, which people move."""
    return any(column.planned and binding.forms[column.name] in binding.derive_from for column in table.columns)


def _changes(
    connection: DuckDBPyConnection, binding: TableBinding, compared: Sequence[str], dates: Collection[str]
) -> tuple[Any, ...]:
    """Return rows changed and moved, by how much, and of each column: values lost, found, before, and lost to a word.

    `dates` are the columns that had dates at the last extraction: the end of the same day is no other time.
    """
    if not compared:
        return (0, 0, None)
    table = binding.table
    primary = PRIMARY_TIMES[table.name]
    figures = ""
    for bit, column in enumerate(compared):
        had, has = f"(k.filled >> {bit}) & 1 = 1", f"d.{column} is not null"
        if (default := table.column(column).default) is not None:
            has = f"d.{column} <> {literal(default)}"
        word = f"(t.missing_words >> {table.column_names.index(column)}) & 1 = 1"
        figures += (
            f", count(*) filter ({had} and not ({has})), count(*) filter ({has}), count(*) filter ({had}), "
            f"count(*) filter ({had} and not ({has}) and {word})"
        )
    moved = _moved(primary, binding.zone(primary), dates).format(before=f"k.{primary}", now=f"d.{primary}")
    # all that is not in the delta is as it was
    return one_row(
        connection,
        f"select count(k.{table.key}), count(*) filter ({moved}), "
        f"to_microseconds((median(epoch_us(d.{primary}) - epoch_us(k.{primary})) filter ({moved}))::bigint){figures} "
        f"from delta_{table.name} d left join known_{table.name} k on k.{table.key} = d.{table.key} "
        f"left join (select {table.key} as typed_key, missing_words from typed_{table.name} where check_no is null "
        f"and missing_words <> 0) t on t.typed_key = d.{table.key}",
    )


def _altered(
    connection: DuckDBPyConnection, binding: TableBinding, compared: Sequence[str], dates: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return by column how many of the rows that have changed had another value, and what is known of that.

    The rows as they were stand in ``stored_<table>``.
    """
    table = binding.table
    joined = f"delta_{table.name} d join stored_{table.name} s on s.{table.key} = d.{table.key}"
    altered: dict[str, dict[str, Any]] = {}
    for column in map(table.column, compared):
        name = column.name
        if column.kind == "number":
            # cents are rounded
            differs = f"abs(d.{name} - s.{name}) > {SAME_NUMBER} * s.{name}"
            rows, zeroed, factor, scaled = one_row(
                connection,
                f"with pairs as (select d.{name} as now, s.{name} as before, {differs} as differs from {joined}), "
                "ratios as (select now / before as ratio from pairs where differs and before <> 0), "
                "middle as (select median(ratio) as factor from ratios) select "
                "(select count(*) filter (differs) from pairs), "
                "(select count(*) filter (before is null and now = 0) from pairs), any_value(factor), "
                f"count(*) filter (abs(ratio - factor) <= {SAME_NUMBER} * factor) from ratios, middle",
            )
            altered[name] = {"altered": rows, "zeroed": zeroed, "scaled": scaled, "factor": factor}
            continue
        differs = f"d.{name} <> s.{name}"
        if column.kind == "time":
            differs = _moved(name, binding.zone(name), dates).format(before=f"s.{name}", now=f"d.{name}")
        if leaving := [word for of, where, word in LEAVING if (of, where) == (table.name, name)]:
            differs += f" and s.{name} not in ({literals(leaving)})"
        (rows,) = one_row(connection, f"select count(*) filter ({differs}) from {joined}")
        altered[name] = {"altered": rows}
        if rows and name in VOCABULARIES.get(table.name, ()):
            altered[name]["turned"] = tuple(
                connection.execute(
                    f"select s.{name}, d.{name}, count(*) from {joined} where {differs} group by all "
                    f"order by 3 desc, 1, 2 limit {TURNS}"
                ).fetchall()
            )
    return altered


def _moved(column: str, zone: str, dates: Collection[str]) -> str:
    """Return SQL, with places for ``before`` and ``now``, for whether a time is another one than it was.

    The end of the same day is none, where it was a date: that was stored as the beginning of its day, or as the moment
    of that day at which it was read.
    """
    day = 24 * 3600 * 1_000_000
    now, before = (_wall_us(each, zone) for each in ("{now}", "{before}"))
    was_date = "true" if column in dates else f"{before} % {day} = 0"
    return (
        f"({{now}} <> {{before}} and not ({now} % {day} = {day - 1} and {was_date} "
        f"and {now} // {day} = {before} // {day}))"
    )


def _wall_us(moment: str, zone: str) -> str:
    return f"epoch_us({moment})" if zone == UTC_ZONE else f"epoch_us(timezone({literal(zone)}, {moment}))"


def _rekeyed(connection: DuckDBPyConnection, binding: TableBinding) -> int:
    """Return how many rows read are stored under the key as an earlier version read it, and have another one now."""
    form, table = binding.forms[binding.table.key], binding.table
    if binding.derive_from:
        old, new = (identity(binding.derive_from, cleaned) for cleaned in ("cleaned_before", "cleaned"))
        (rows,) = one_row(
            connection,
            f"select count(*) from (select {old} as old, {new} as new from source_{table.name}) "
            f"where old <> new and old || '-1' in (select {table.key} from known_{table.name})",
        )
        return int(rows)
    if not isinstance(form, str):
        return 0
    before = f"contact_free_before(cleaned_before(s.{of_source(form)}))"
    (rows,) = one_row(
        connection,
        f"select count(distinct k.{table.key}) from (select {before} as old, t.{table.key} as new from "
        f"source_{table.name} s join typed_{table.name} t on t.record = s.record where t.check_no is null) "
        f"join known_{table.name} k on k.{table.key} = old where new <> old",
    )
    return int(rows)


def _column(
    column: str,
    binding: TableBinding,
    validated: Validated,
    last: Mapping[str, Any],
    missing: int,
    shares: Sequence[int],
    deltas: Sequence[int],
) -> ColumnEvidence:
    (stored, again), (lost, fresh, before_changed, no_words) = shares, deltas
    short = 0
    part, form = validated.reading.part, binding.forms[column]
    # of the column of a plan rows have values that stand in another one in the source
    keeps_plans = any(each.plan == column for each in binding.table.columns)
    if part is not None and isinstance(form, str) and not keeps_plans:
        short = max(0, stored - part.values[form] - missing)
    return ColumnEvidence(
        column=column,
        before=last.get("columns", {}).get(column),
        now=_reading(column, binding),
        stored=stored,
        again=again,
        lost=lost,
        no_words=no_words,
        found=fresh + again - before_changed,
        fresh=fresh,
        short=short,
        short_before=last.get("short", {}).get(column, 0),
        plans=sum(validated.plans.get(column, {}).values()),
    )


def _words(connection: DuckDBPyConnection, table: str) -> Iterator[WordEvidence]:
    for column in VOCABULARIES.get(table, ()):
        for word, stored, found in connection.execute(
            f"with found as (select {column} as word, count(*) as rows from typed_{table} where check_no is null and "
            f"{column} is not null group by 1), stored as (select word, rows from known_words where table_name = "
            f"{literal(table)} and column_name = {literal(column)}) select word, coalesce(s.rows, 0), "
            "coalesce(f.rows, 0) from stored s full join found f using (word) order by word"
        ).fetchall():
            yield WordEvidence(column=column, word=word, stored=stored, found=found)


def needs_whole(binding: TableBinding, earlier: Earlier) -> bool:
    """Say whether a table with a watermark has to be read whole: it is read otherwise than before, or rows were missed.

    What is not read again would stay as the earlier mapping has read it.
    """
    last = (earlier.delivered or {}).get(binding.table.name, {})
    columns = [column for column in binding.forms if column != binding.table.key]
    now = {column: said for column in columns if (said := _reading(column, binding)) is not None}
    before = {column: said for column, said in last.get("columns", {}).items() if column in now}
    if last.get("unseen") or last.get("rules") != _rules(binding):
        return True
    return bool(before) and any(now[column] != before.get(column) for column in now)


def _rules(binding: TableBinding) -> str:
    """Return how texts are read, whatever column they stand in: the rules of this version, and words for nothing."""
    return f"{RULES} {hashlib.sha256(json.dumps(sorted(binding.missing)).encode()).hexdigest()[:8]}"


def _reading(column: str, binding: TableBinding) -> str | None:
    """Return how a column is read, as a person would say it; None where the source has nothing."""
    form = binding.forms[column]
    if (said := _said(form)) is None:
        return None
    values, unit = binding.values.get(column), binding.units.get(column)
    if values:
        # which words stand for which, without all of them
        content = json.dumps(dict(sorted(values.items())))
        said += f" by the value map {hashlib.sha256(content.encode()).hexdigest()[:8]}"
    if unit is not None:
        said += f" times {unit:f}"
    if binding.table.column(column).kind == "time" and isinstance(form, str):
        if (formats := binding.formats(column)) != (ISO,):
            said += f" as {' or '.join(formats)}"
        if (zone := binding.zone(column)) != UTC_ZONE:
            said += f" in {zone}"
    if (spelled := binding.numbers.get(column)) is not None:
        said += f" as {json.dumps(spelled.model_dump(), sort_keys=True)}"
    return said


def _said(form: ColumnForm | None) -> str | None:
    if isinstance(form, Substitute):
        return f"the earliest of {', '.join(form.of)}"
    if isinstance(form, Flag):
        known = form.known if isinstance(form.known, str) else f"{form.known.hours:g} hours after {form.known.after}"
        return f"the flag {form.flag.strip().lower()!r}, known from {known}"
    if isinstance(form, FirstOf):
        return f"the first of {', '.join(name.strip().lower() for name in form.first_of)}"
    return None if form is None else repr(form.strip().lower())


def delivered(evidence: Evidence) -> str:
    """Return what the next extraction compares with, as JSON: how columns are read, and what the source lacks."""
    return json.dumps(
        {
            each.table: {
                "columns": {column.column: column.now for column in each.columns if column.now is not None},
                "missing": each.missing,
                "rows": each.rows,
                "rules": each.rules,
                **({"unseen": each.unseen} if each.unseen else {}),
                "short": {column.column: column.short for column in each.columns if column.short},
                "dates": dict(each.dates),
                "rekeyed": each.rekeyed,
            }
            for each in evidence.tables
            if each.place is not None or each.missing
        }
        | ({} if evidence.ends is None else {ENDS: evidence.ends.isoformat()}),
        sort_keys=True,
    )
