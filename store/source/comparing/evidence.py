"""The evidence of a comparison, as records: rows that the source delivers, and rows that are stored."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from duckdb import DuckDBPyConnection

from models.declaring.attribute import Attribute
from store.source.contract import AMOUNTS, EARLIER_NAMES
from store.source.mapping.binding import TableBinding
from store.source.mapping.forms import ColumnForm, FirstOf, Flag, Substitute
from store.source.values.functions import ISO, UTC_ZONE

ENDS = "ends"
"""The key under which `delivered` keeps the last fact of a folder."""

RULES = 1
"""The number of the rules by which texts are read: it must rise when the same text gets another meaning."""


@dataclass(frozen=True, kw_only=True)
class ColumnEvidence:
    """A column of a table, at the last extraction and now.

    Attributes
    ----------
    column : str
    before, now : str or None
        How it was and is read; None if the source has no such column, or an earlier release did not record it.
    stored : int
        Stored rows with a value.
    again : int
        Rows among `stored` that were read again.
    lost : int
        Rows among `again` that have no value any more.
    no_words : int
        Rows among `lost` that now hold a word for a missing value, such as N/A.
    found : int
        Rows read that have a value.
    fresh : int
        Rows among `found` that are new or have changed.
    short : int
        Stored values that the source lacks, beyond those of missing rows; counted for a table that is read in part.
    short_before : int
        The same at the last extraction.
    plans : int
        For a time, values that are plans by the status of their rows.
    altered : int
        Rows read again that had another value, without words that rows leave as time goes by. Counted if many rows
        have changed; else 0, as are the following.
    turned : tuple of (str, str, int)
        For a column of words, the most frequent pairs of words, before and now, with their rows.
    scaled : int
        For a number, the rows whose number has changed by the same factor as most of them.
    factor : float or None
        That factor.
    zeroed : int
        For a number, rows that had no value before and have 0 now.
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
    """A word of a column, with the numbers of stored rows and of rows read that have it."""

    column: str
    word: str
    stored: int
    found: int


@dataclass(frozen=True, kw_only=True)
class TableEvidence:
    """A table, at the last extraction and now.

    Attributes
    ----------
    table : str
    place : str or None
        File or database table; None if the source has none.
    whole : bool
        Whether it was read whole.
    described : bool
        Whether the last extraction recorded how it read the columns.
    stored : int
        Stored rows.
    read : int
        Rows read that fit.
    present : int
        Rows of the source; for a table read whole, only those that fit.
    missing, missing_before : int
        Stored rows that the source lacks, now and at the last extraction. Interactions and appointments that are older
        than all rows of the source do not count, because an export may hold only the last months.
    rows : int
        Rows of the source, with those that do not fit.
    rules : str or None
        How the values of all columns are read.
    unseen : int
        For a table read in part: the least number of new rows in the source that were not read.
    fewer : int or None
        If the key is derived from a plan, how many rows fewer the source has than at the last extraction: a row whose
        plan moves gets another key, and counts as missing under the old one. Otherwise None.
    rejected : int
        Rows among `missing` that the source has, but that were rejected.
    rejected_as : str or None
        The most frequent reason, and its column.
    unfit, unfit_before : int
        Rows of the source that do not fit, other than orphans, now and at the last extraction.
    unfit_as : str or None
        Their reasons, and the message of the first.
    again : int
        Stored rows that were read again; for a table read in part, all stored rows.
    changed : int
        Rows read again that have changed.
    moved : int
        Rows among `changed` whose primary time has moved.
    shift : timedelta or None
        The median of these moves.
    unread : tuple of str
        Columns of the source that are not read.
    columns : tuple of ColumnEvidence
    words : tuple of WordEvidence
        Only for a table read whole.
    rekeyed, rekeyed_before : int
        Rows read whose key is stored as an earlier release read it, now and at the last extraction: as a plain contact,
        or with invisible blanks.
    dates : mapping of str to bool
        Columns that have, or had, dates without a time of day, and whether values at midnight count as dates.
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
class AttributeEvidence:
    """An attribute, at the last extraction and now.

    Attributes
    ----------
    table, name : str
    label : str
        Its column, as it was called at the last extraction.
    place : str
        File or database table.
    is_read : bool
        Whether it is read now.
    stored : int
        Rows whose last value in the history is one.
    again : int
        Rows among `stored` that were read again.
    lost, altered : int
        Rows among `again` that have no value now, and another one.
    """

    table: str
    name: str
    label: str
    place: str
    is_read: bool
    stored: int
    again: int = 0
    lost: int = 0
    altered: int = 0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The evidence on stored data that an extraction would overwrite.

    Attributes
    ----------
    tables : tuple of TableEvidence
    reopened : mapping of (str, str) to int
        Stored rows with a word that closed a lead and does so no more, by the key of ``closes`` in the mapping and the
        word.
    silence_before, silence_now : int or None
        Days of silence after which a lead counts as closed.
    ended, ends : datetime or None
        The last fact of a folder at the last extraction and now; None if unknown, and for a database.
    attributes : tuple of AttributeEvidence
        Those of the last extraction.
    """

    tables: tuple[TableEvidence, ...]
    reopened: Mapping[tuple[str, str], int]
    silence_before: int | None = None
    silence_now: int | None = None
    ended: datetime | None = None
    ends: datetime | None = None
    attributes: tuple[AttributeEvidence, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The record of the last extraction, from the marker and `delivered`.

    Attributes
    ----------
    as_of : datetime or None
        Its clock; None where there was none.
    load_number : int
    closes : mapping of str to sequence of str
        The words that closed a lead, by the key of ``closes`` in a mapping.
    silence_closes_after_days : int or None
    delivered : mapping of str to Any, or None
        The content of `delivered`; None in a warehouse of an earlier release.
    value_currency : str or None
        The currency of all amounts; None if the source told none.
    attributes : tuple of Attribute
    left_columns : mapping of str to sequence of str
        By table, the columns of which `attributes: auto` has ever found that they are no attributes.
    """

    as_of: datetime | None
    load_number: int
    closes: Mapping[str, Sequence[str]]
    silence_closes_after_days: int | None
    delivered: Mapping[str, Any] | None
    value_currency: str | None = None
    attributes: tuple[Attribute, ...] = ()
    left_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: DuckDBPyConnection) -> "Earlier":
        """Read the record from ``known_extraction``."""
        row = (
            connection.execute(
                "select as_of, load_number, silence_closes_after_days, delivered, closing_outcomes, "
                "closing_lead_statuses, closing_project_statuses, value_currency, attributes, left_columns "
                "from known_extraction"
            ).fetchone()
            or (None,) * 10
        )
        return cls(
            as_of=row[0],
            load_number=row[1] or 0,
            closes={
                key: json.loads(words or "[]")
                for key, words in zip(("outcomes", "lead_status", "project_status"), row[4:7], strict=True)
            },
            silence_closes_after_days=row[2],
            delivered=None if row[3] is None else _present_names(json.loads(row[3])),
            value_currency=row[7],
            attributes=tuple(map(Attribute.of_json, json.loads(row[8] or "[]"))),
            left_columns=json.loads(row[9] or "{}"),
        )

    def dates(self, table: str) -> Mapping[str, bool]:
        """Return the columns of a table that had dates without a time of day, and whether midnights were dates."""
        return (self.delivered or {}).get(table, {}).get("dates", {})


def _present_names(delivered: dict[str, Any]) -> dict[str, Any]:
    names = {earlier: name for name, earlier in EARLIER_NAMES.items()}
    return {names.get(table, table): content for table, content in delivered.items()}


def needs_whole(binding: TableBinding, earlier: Earlier) -> bool:
    """Say whether a table with a watermark has to be read whole: its reading has changed, or rows were missed.

    Otherwise rows that are not read again would stay as the earlier mapping has read them.
    """
    last = (earlier.delivered or {}).get(binding.table.name, {})
    columns = [column for column in binding.forms if column != binding.table.key]
    now = {column: reading for column in columns if (reading := reading_of(column, binding)) is not None}
    before = {column: reading for column, reading in last.get("columns", {}).items() if column in now}
    is_missed = last.get("unseen") or last.get("rules") != rules_of(binding)
    return is_missed or (bool(before) and any(now[column] != before.get(column) for column in now))


def rules_of(binding: TableBinding) -> str:
    """Return how texts of all columns are read: the rules of this release, and the words for missing values."""
    return f"{RULES} {hashlib.sha256(json.dumps(sorted(binding.missing)).encode()).hexdigest()[:8]}"


def reading_of(column: str, binding: TableBinding) -> str | None:
    """Return in words how a column is read; None if the source has no such column. The text is stored and compared."""
    form = binding.forms[column]
    if (description := _form_description(form)) is None:
        return None
    if binding.origin:
        description += f" {binding.origin}"
    values, unit = binding.values.get(column), binding.units.get(column)
    if values:
        # the hash identifies the map without listing its words
        content = json.dumps(dict(sorted(values.items())))
        description += f" by the value map {hashlib.sha256(content.encode()).hexdigest()[:8]}"
    if unit is not None:
        description += f" times {unit:f}"
    if binding.currency is not None and column in AMOUNTS.get(binding.table.name, ()):
        description += f" {binding.currency.reading}"
    if binding.table.column(column).kind == "time" and isinstance(form, str):
        if (formats := binding.formats(column)) != (ISO,):
            description += f" as {' or '.join(formats)}"
        if (zone := binding.zone(column)) != UTC_ZONE:
            description += f" in {zone}"
    if (spelled := binding.numbers.get(column)) is not None:
        description += f" as {json.dumps(spelled.model_dump(), sort_keys=True)}"
    return description


def _form_description(form: ColumnForm | None) -> str | None:
    if isinstance(form, Substitute):
        return f"the earliest of {', '.join(form.of)}"
    if isinstance(form, Flag):
        known = form.known if isinstance(form.known, str) else f"{form.known.hours:g} hours after {form.known.after}"
        return f"the flag {form.flag.strip().lower()!r}, known from {known}"
    if isinstance(form, FirstOf):
        return f"the first of {', '.join(name.strip().lower() for name in form.first_of)}"
    return None if form is None else repr(form.strip().lower())


def delivered(evidence: Evidence) -> str:
    """Return the record for the next comparison, as JSON: how columns are read, and which rows the source lacks."""
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
