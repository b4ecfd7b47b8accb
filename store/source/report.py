"""The report of an extraction: the counts of each table, and sentences about assumptions and ignored data."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from duckdb import DuckDBPyConnection

from models.declaring.attribute import Attribute
from store.source.checking.checks import FALSE
from store.source.checking.times import plan_sentence
from store.source.checking.validation import Validated
from store.source.comparing.evidence import Evidence
from store.source.contract import CHANGES, TABLES
from store.source.loading.deltas import Counts, history_assumptions
from store.source.mapping.binding import TableBinding
from store.source.mapping.forms import ChosenMapping, Flag, Substitute
from store.source.opening import owners_in
from store.source.reading.rows import BYTES, NESTED
from store.source.reading.sources import Source
from store.source.reading.tables import shown_column
from store.source.record import Column
from store.source.sql import of_source, one_row
from store.source.values.texts import MISSING
from store.sql import literals

DELETION_MARKS = (
    "deleted", "isdeleted", "deletedat", "deletedon", "deleteddate", "datedeleted", "deletedflag", "isremoved",
    "removedat", "fivetrandeleted", "abcdcdeletedat", "sdcdeletedat", "dltdeletedat", "hsdeleted",
)  # fmt: skip
"""Names, without other signs than letters, of columns by which CRMs and pipelines mark deleted rows."""

COPY = re.compile(
    r"(copy|kopie|copie|copia) (of|von|de|di) |[ _.\-]*\(?(part|page|teil)?[ _\-]?\d+([ _\-]?of[ _\-]?\d+)?\)?|"
    r"[ _\-]*\(?(copy|kopie|copie|copia|new|neu)\)?( ?\(?\d+\)?)?"
)
"""Additions to a file name, in lower case, by which browsers and exports number their files."""


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """The counts of one table.

    ``rows_read`` is the sum of new, changed, unchanged, collapsed and rejected rows.

    Attributes
    ----------
    is_there : bool
        Whether the source has the table.
    rows_read, rows_new, rows_changed, rows_unchanged, duplicates_collapsed, rows_rejected : int
        Numbers of rows.
    rejects_by_reason : dict of str to int
        Rejected rows by reason code.
    columns_ignored : list of str
        Source columns that were not read.
    pseudonymised : int
        Values that looked like an e-mail address or a telephone number and were replaced.
    free_text_dropped : int
        Values that counted as free text and were not loaded.
    missing_words : dict of str to int
        By column, the number of words for a missing value, such as N/A.
    defaults : dict of str to int
        By column, the number of accepted rows without a value, which get the default.
    plans : dict of str to int
        By column, the number of times that are plans by the status of their rows.
    dates_only : list of str
        Columns in which every value is a date without a time of day.
    rows_by_overlap : int
        New and changed rows before the last loaded watermark, which only the overlap has brought.
    rows_total : int
        Rows of the table in schema ``raw`` after the extraction.
    """

    is_there: bool
    rows_read: int
    rows_new: int
    rows_changed: int
    rows_unchanged: int
    duplicates_collapsed: int
    rows_rejected: int
    rejects_by_reason: dict[str, int]
    columns_ignored: list[str]
    pseudonymised: int
    free_text_dropped: int
    missing_words: dict[str, int]
    defaults: dict[str, int]
    plans: dict[str, int]
    dates_only: list[str]
    rows_by_overlap: int
    rows_total: int


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """The report of an extraction.

    Attributes
    ----------
    as_of : datetime
        The clock of the extraction, UTC.
    source : str
        The folder, or the address of the database without its password.
    mapping_name, mapping_reason : str
        The source mapping and why it was chosen.
    assumptions : list of str
        Sentences about times that the source does not keep, that are plans or too far from the others, and about
        entries of the mapping that match nothing in the source.
    tables : dict of str to TableReport
        By contract table.
    changes_seen : dict of str to int
        Changes that the extraction itself saw, by column: they count among the rows of ``changes``, but not
        among the rows read.
    accepted : list of str
        Sentences about lost data that a person has accepted.
    notices : list of str
        Sentences about names of an earlier release, which are still read.
    source_ids : int
        Leads whose own keys are kept beside their pseudonyms.
    unread : list of str
        Files or tables of the source that nothing reads.
    unread_columns : dict of str to list of str
        By file or table that is joined or a part of a union: the columns that nothing reads.
    attributes : list of Attribute
    """

    as_of: datetime
    source: str
    mapping_name: str
    mapping_reason: str
    assumptions: list[str]
    tables: dict[str, TableReport]
    changes_seen: dict[str, int]
    accepted: list[str]
    notices: list[str]
    source_ids: int
    unread: list[str]
    unread_columns: dict[str, list[str]]
    attributes: list[Attribute]


def table_report(
    name: str,
    reader: Source,
    binding: TableBinding | None,
    validated: Validated | None,
    counts: Counts,
    reasons: Mapping[str, dict[str, int]],
    by_overlap: int,
) -> TableReport:
    """Return the counts of a table."""
    ignored: list[str] = []
    if binding is not None:
        found = reader.columns()[binding.source_table]
        ignored = [shown_column(column) for column in found if not binding.is_read(column)]
    if validated is not None:
        ignored += [f"changes of {column}" for column in validated.left_behind]
    return TableReport(
        is_there=binding is not None,
        rows_read=validated.rows_read if validated else 0,
        rows_new=counts.new,
        rows_changed=counts.changed,
        rows_unchanged=counts.unchanged,
        duplicates_collapsed=validated.duplicates_collapsed if validated else 0,
        rows_rejected=sum(reasons[name].values()),
        rejects_by_reason=reasons[name],
        columns_ignored=ignored,
        pseudonymised=validated.pseudonymised if validated else 0,
        free_text_dropped=validated.free_text_dropped if validated else 0,
        missing_words=dict(validated.missing_words) if validated else {},
        defaults=dict(validated.defaults) if validated else {},
        plans={name: sum(by.values()) for name, by in validated.plans.items()} if validated else {},
        dates_only=[name for name, found in validated.dates.items() if found.dates == found.values]
        if validated
        else [],
        rows_by_overlap=by_overlap,
        rows_total=counts.total,
    )


def value_sentences(validated: Mapping[str, Validated]) -> Iterator[str]:
    """Yield sentences about assumptions on values: missing words, dates, times without a zone, numbers."""
    for name, one in validated.items():
        table = one.binding.table
        sentences = [
            *(
                (column, f"says in {count:,} values that there is none (missing): they are left out.")
                for column, count in one.missing_words.items()
            ),
            *(
                (column, f"has no value in {count:,} rows: they count as {_default_of(table.column(column))}.")
                for column, count in one.defaults.items()
            ),
            *((column, points.sentence) for column, points in one.points.items()),
            *((column, walls.sentence) for column, walls in one.walls.items()),
            *((column, dates.sentence) for column, dates in one.dates.items()),
            *((column, plan_sentence(table.column(column), statuses)) for column, statuses in one.plans.items()),
        ]
        yield from (f"{name}.{column} {sentence}" for column, sentence in sentences if sentence is not None)


def _default_of(column: Column) -> str:
    if column.default_below_zero is None:
        return str(column.default)
    number, value = column.default_below_zero
    return f"{column.default}, or as {value} where the {number} is negative"


def closing_sentences(
    connection: DuckDBPyConnection, validated: Mapping[str, Validated], clock: datetime
) -> Iterator[str]:
    """Yield a sentence if customers can close and none has, or if some are still to close."""
    if (
        (one := validated.get("customers")) is None
        or not one.binding.reads("closed_at")
        or one.reading.part is not None
    ):
        return
    # an end of a row that is set aside is one as well
    ends, to_come, early = one_row(
        connection,
        "select count(closed_at), "
        f"count(*) filter (check_no is null and closed_at >= timestamptz '{clock.isoformat()}'), "
        "count(*) filter (check_no is null and closed_at < created_at) from typed_customers",
    )
    if early:
        yield (
            f"customers.closed_at lies before created_at in {early:,} row{'' if early == 1 else 's'}: these customers "
            "have closed when they began."
        )
    if to_come:
        yield (
            f"customers.closed_at lies at or after the clock in {to_come:,} row{'' if to_come == 1 else 's'}: an end "
            "ends nothing before it comes, and does not move the clock."
        )
    if not ends:
        yield (
            "customers.closed_at has no value: customers count as having contracts, none of which has ended. If they "
            "have no contracts, say so in the mapping (customers: {columns: {closed_at: {absent: true}}})."
        )


def spelling_sentences(connection: DuckDBPyConnection, validated: Mapping[str, Validated]) -> Iterator[str]:
    """Yield a sentence about customers that only their transactions begin, and whose keys differ in case alone."""
    for one in validated.values():
        if one.binding.table.begins is None:
            continue
        name, key = one.binding.table.name, TABLES[one.binding.table.begins].key
        keys, shown = one_row(
            connection,
            f"select coalesce(sum(spellings), 0), min(shown) from (select count(*) as spellings, "
            f"min({key}) || ' and ' || max({key}) as shown from (select distinct {key} from typed_{name} "
            f"where check_no is null) group by folded({key}) having count(*) > 1)",
        )
        if keys:
            yield (
                f"{name}.{key}: {keys:,} keys differ from another one in upper and lower case alone, such as {shown}. "
                "They are different customers here; if they are not, export one spelling."
            )


def zone_sentences(chosen: ChosenMapping, validated: Mapping[str, Validated]) -> Iterator[str]:
    """Yield a sentence about times that name no zone, if the mapping does not say which one is theirs."""
    columns = [f"{name}.{column}" for name, one in validated.items() for column in one.without_zone]
    if columns and "time_zone" not in chosen.mapping.model_fields_set:
        yield (
            f"Times that name no time zone count as UTC ({', '.join(columns)}). If they are of another one, state it "
            "in the mapping (time_zone)."
        )


def mapping_sentences(chosen: ChosenMapping, bindings: Mapping[str, TableBinding | None]) -> Iterator[str]:
    """Yield sentences about assumptions of a mapping: absent tables, times and flags, and silence."""
    if bindings["leads"] is None:
        yield "The source has customers alone, and no leads."
    for name, binding in bindings.items():
        if binding is None:
            if not TABLES[name].optional and bindings["leads"] is not None:
                yield f"The source has no {name}."
            continue
        if binding.derives_itself:
            yield (
                f"{name}.{binding.table.key} is not in the source: it is made of {', '.join(binding.derive_from)}, and "
                "equal rows are numbered. Rows that were recorded twice count twice."
            )
        for column, form in binding.forms.items():
            place = f"{name}.{column}"
            if isinstance(form, Substitute):
                times = " and ".join(
                    "the extraction that first saw the row" if t == "extraction" else t for t in form.of
                )
                yield f"{place} is not in the source: the earliest of {times} stands in for it."
            elif isinstance(form, Flag) and isinstance(form.known, str):
                yield (
                    f"{place} is a flag without a time ({form.flag}): it counts as known from the extraction that "
                    "first saw it, so it is empty for the past."
                )
            elif isinstance(form, Flag) and not isinstance(form.known, str):
                yield (
                    f"{place} is a flag without a time ({form.flag}): it is assumed known {form.known.hours:g} hours "
                    f"after {form.known.after}."
                )
    yield from history_assumptions(owners_in(bindings), bindings[CHANGES])
    if (days := chosen.mapping.silence_closes_after_days) is not None:
        yield f"A lead counts as closed after {days} days without a fact."


def missing_row_sentences(evidence: Evidence) -> list[str]:
    """Return sentences about stored rows that the source lacks, and about rows that were not read."""
    return [
        f"{each.table}: {each.missing:,} of {each.stored:,} rows that were read before are not in the source any more. "
        "They keep their last values."
        for each in evidence.tables
        if each.missing > 0
    ] + [
        f"{each.table}: {each.unseen:,} rows have come to {each.place} with a watermark before the last one that was "
        "loaded. The next extraction reads the table whole."
        for each in evidence.tables
        if each.unseen > 0
    ]


def changes_to_come(connection: DuckDBPyConnection, clock: datetime) -> Iterator[str]:
    """Yield a sentence about changes that extractions saw at a later clock than this one."""
    rows, last = one_row(
        connection,
        f"select count(*), max(known_at) from known_{CHANGES} where origin = 'extraction' "
        f"and known_at > timestamptz '{clock.isoformat()}'",
    )
    if rows:
        yield (
            f"{rows:,} changes were seen by extractions with a later clock than this one, the last at "
            f"{last.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}: each counts once the clock has reached the time at which it "
            "was seen."
        )


def deletion_marks(reader: Source, binding: TableBinding) -> list[str]:
    """Return the columns without a mapping by which a source marks rows as deleted."""
    return [
        column
        for column in reader.columns()[binding.source_table]
        if not binding.is_read(column)
        and re.sub(r"[^a-z]", "", column.lower()) in DELETION_MARKS
        and (kind := reader.type_of(binding.source_table, column)) is not None
        and not kind.startswith((*NESTED, *BYTES))
    ]


def deleted_sentences(
    connection: DuckDBPyConnection, reader: Source, validated: Mapping[str, Validated]
) -> Iterator[str]:
    """Yield sentences about rows that the source marks as deleted."""
    no = literals([*FALSE, *MISSING])
    for name, one in validated.items():
        for column in deletion_marks(reader, one.binding):
            marked, rows = one_row(
                connection,
                f"select count(*) filter (folded(cleaned({of_source(column)})) not in ({no})), count(*) "
                f"from source_{name}",
            )
            if marked:
                yield (
                    f"{name}: {marked:,} of {rows:,} rows that were read are marked as deleted ({column} of "
                    f"{one.place}), and count like all others. Leave them out by where in the mapping."
                )


def unread_file_sentences(reader: Source, bindings: Mapping[str, TableBinding | None]) -> Iterator[str]:
    """Yield sentences about files that are not read although they look like numbered copies or parts of a table."""
    if reader.folder is None:
        return
    read = {one.source_table.casefold(): name for name, one in bindings.items() if one is not None}
    for table, name in read.items():
        if files := [
            reader.place(each)
            for each in reader.columns()
            if each.casefold() not in read and COPY.fullmatch(each.casefold().replace(table, "", 1)) is not None
        ]:
            yield (
                f"{name}: {reader.place(table)} is read, and {', '.join(files)} beside it "
                f"{'is' if len(files) == 1 else 'are'} not. If they have more of its rows, put the files, and nothing "
                f"else, into a folder {table}.csv (or {table}.parquet)."
            )
