"""What the source delivers and what is stored of it, as records: of this extraction, and of the one before."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from duckdb import DuckDBPyConnection

from store.source.contract import EARLIER_NAMES
from store.source.mapping.binding import TableBinding
from store.source.mapping.forms import ColumnForm, FirstOf, Flag, Substitute
from store.source.values.functions import ISO, UTC_ZONE

ENDS = "ends"
"""The key under which `delivered` keeps the last fact of a folder."""

RULES = 1
"""The number of the rules by which texts are read: it goes up where the same text comes to mean something else."""


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
        Values that are stored and that the source lacks, beyond those of rows that it lacks; counted for a table that
        is read in part.
    short_before : int
        The same at the last extraction.
    plans : int
        For a time, values of the source that have not happened, by the status of their rows.
    altered : int
        Rows read again that had another value, without words that rows leave as time goes by. Counted where many rows
        have changed; else 0, as are the following.
    turned : tuple of (str, str, int)
        For a column of words, the most frequent pairs of words, before and now, with their rows.
    scaled : int
        For a number, rows of these whose number has changed by the same factor as most of them.
    factor : float or None
        That factor.
    zeroed : int
        For a number, rows that had none before and have 0 now.
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
        Rows fewer than at the last extraction, where the key is derived from a plan: a row whose plan is moved gets
        another key, and is missing under the old one. None elsewhere.
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


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What the last extraction left, by `delivered` and the marker.

    Attributes
    ----------
    as_of : datetime or None
        Its clock; None where there was none.
    load_number : int
    closes : mapping of str to sequence of str
        The words that closed a lead, by the key of ``closes`` in a mapping.
    silence_closes_after_days : int or None
    delivered : mapping of str to Any, or None
        By table; None in a warehouse of an earlier version.
    """

    as_of: datetime | None
    load_number: int
    closes: Mapping[str, Sequence[str]]
    silence_closes_after_days: int | None
    delivered: Mapping[str, Any] | None

    @classmethod
    def of(cls, connection: DuckDBPyConnection) -> "Earlier":
        """Read it from ``known_extraction``."""
        row = (
            connection.execute(
                "select as_of, load_number, silence_closes_after_days, delivered, closing_outcomes, "
                "closing_lead_statuses, closing_project_statuses from known_extraction"
            ).fetchone()
            or (None,) * 7
        )
        return cls(
            as_of=row[0],
            load_number=row[1] or 0,
            closes={
                key: json.loads(words or "[]")
                for key, words in zip(("outcomes", "lead_status", "project_status"), row[4:], strict=True)
            },
            silence_closes_after_days=row[2],
            delivered=None if row[3] is None else _present_names(json.loads(row[3])),
        )

    def dates(self, table: str) -> Mapping[str, bool]:
        """Return the columns of a table that had dates without a time of day, and whether those at midnight were."""
        return (self.delivered or {}).get(table, {}).get("dates", {})


def _present_names(delivered: dict[str, Any]) -> dict[str, Any]:
    names = {earlier: name for name, earlier in EARLIER_NAMES.items()}
    return {names.get(table, table): said for table, said in delivered.items()}


def needs_whole(binding: TableBinding, earlier: Earlier) -> bool:
    """Say whether a table with a watermark has to be read whole: it is read otherwise than before, or rows were missed.

    What is not read again would stay as the earlier mapping has read it.
    """
    last = (earlier.delivered or {}).get(binding.table.name, {})
    columns = [column for column in binding.forms if column != binding.table.key]
    now = {column: said for column in columns if (said := reading_of(column, binding)) is not None}
    before = {column: said for column, said in last.get("columns", {}).items() if column in now}
    is_missed = last.get("unseen") or last.get("rules") != rules_of(binding)
    return is_missed or (bool(before) and any(now[column] != before.get(column) for column in now))


def rules_of(binding: TableBinding) -> str:
    """Return how texts are read, whatever column they stand in: the rules of this version, and words for nothing."""
    return f"{RULES} {hashlib.sha256(json.dumps(sorted(binding.missing)).encode()).hexdigest()[:8]}"


def reading_of(column: str, binding: TableBinding) -> str | None:
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
