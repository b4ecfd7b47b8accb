"""The extraction: the one entry of this package, from a source to schema ``raw``.

The order of the steps, the clock, and the report; each step's own rules are in the module that it calls.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from assets.source.clock import last_facts
from assets.source.closings import Closings, closings_of
from assets.source.comparison import compare, hash_of, refusal
from assets.source.contract import EARLIER_NAMES, SQL_TYPES, TABLES, SourceContractError, Table
from assets.source.evidence import Earlier, delivered, measure, needs_whole, wanted
from assets.source.formats import UTC_ZONE
from assets.source.functions import create_functions
from assets.source.history import CHANGE_COLUMNS, CHANGES, history_assumptions, write_changes
from assets.source.load import EXTRACTION_COLUMNS, REJECT_COLUMNS, Delta, Wanted, load, open_warehouse
from assets.source.mapping import (
    ChosenMapping,
    Flag,
    Substitute,
    TableBinding,
    TableMapping,
    bind,
    choose_mapping,
    is_another,
    missing_table,
    with_earlier_tables,
)
from assets.source.orphans import refuse_orphans
from assets.source.readers import Source, open_source
from assets.source.reading import shown_column
from assets.source.sql import literals, of_source, one_row, quoted
from assets.source.times import plan_sentence, said_time
from assets.source.unmatched import unmatched
from assets.source.validation import (
    FALSE,
    Validated,
    fact_times,
    resolved,
    set_far_facts_aside,
    uses_clock,
    validate,
    write_rejects,
)
from assets.source.words import MISSING
from models.artifacts import make_folder, read_object, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from assets.source.evidence import Evidence

__all__ = ["ExtractionReport", "SourceContractError", "TableReport", "extract"]

DELETION_MARKS = (
    "deleted", "isdeleted", "deletedat", "deletedon", "deleteddate", "datedeleted", "deletedflag", "isremoved",
    "removedat", "fivetrandeleted", "abcdcdeletedat", "sdcdeletedat", "dltdeletedat", "hsdeleted",
)  # fmt: skip
"""Names, with their letters alone, of columns by which CRMs and pipelines mark rows that are deleted."""
NESTED = ("struct", "list", "large_list", "fixed_size", "map", "binary", "large_binary", "extension")
"""How the types of Parquet begin that may be no values."""
COPY = re.compile(
    r"(copy|kopie|copie|copia) (of|von|de|di) |[ _.\-]*\(?(part|page|teil)?[ _\-]?\d+([ _\-]?of[ _\-]?\d+)?\)?|"
    r"[ _\-]*\(?(copy|kopie|copie|copia|new|neu)\)?( ?\(?\d+\)?)?"
)
"""By what the names of files differ, in lower case, that a browser or an export has written one after the other."""
EDGE = timedelta(microseconds=1)
ACCEPTED = "accepted.json"
"""The file that keeps what a person has accepted until the extraction is complete, for the case that it is killed."""


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """What became of one table.

    ``rows_read`` is the sum of new, changed, unchanged, collapsed and rejected rows.

    Attributes
    ----------
    rows_read, rows_new, rows_changed, rows_unchanged, duplicates_collapsed, rows_rejected : int
        Rows of the source, and what became of them.
    rejects_by_reason : dict of str to int
        Rejected rows by reason code.
    columns_ignored : list of str
        Source columns that were not read.
    pseudonymised : int
        Values that looked like an e-mail address or a telephone number and were replaced.
    free_text_dropped : int
        Values that were taken for message text and left behind.
    missing_words : dict of str to int
        By column, values such as N/A, which say that there is none.
    defaults : dict of str to int
        By column, accepted rows without a value, for which another stands.
    plans : dict of str to int
        By column, its times that are plans, as the status of their rows says.
    dates_only : list of str
        Columns that have dates without a time of day alone.
    rows_by_overlap : int
        New and changed rows before the last watermark that was loaded: the overlap has brought them.
    rows_total : int
        Rows of the table in schema ``raw`` afterwards.
    """

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
    """What an extraction did.

    Attributes
    ----------
    as_of : datetime
        The clock of the extraction, UTC.
    source : str
        The folder, or the address of the database without its password.
    mapping_name, mapping_reason : str
        The source mapping and why it was chosen.
    closing_outcomes, closing_lead_statuses, closing_project_statuses : list of str
        Interaction outcomes, and statuses of leads and projects, that end a lead, in every spelling of the source.
    silence_closes_after_days : int or None
        Days of silence after which a lead counts as closed; None for never.
    horizon_days : dict of str to int
        Default horizon by model, in days.
    assumptions : list of str
        Sentences on every time that the source does not keep, that is a plan, or that is too far from the others, and
        on what the mapping says and the source does not have.
    tables : dict of str to TableReport
        By contract table.
    changes_seen : dict of str to int
        Changes of leads that the extraction itself saw, by column: they are among the rows of ``changes``, and
        not among those that were read.
    accepted : list of str
        Sentences on what the source delivers no more, which a person has accepted.
    notices : list of str
        Sentences on names of an earlier state, which are still read.
    """

    as_of: datetime
    source: str
    mapping_name: str
    mapping_reason: str
    closing_outcomes: list[str]
    closing_lead_statuses: list[str]
    closing_project_statuses: list[str]
    silence_closes_after_days: int | None
    horizon_days: dict[str, int]
    assumptions: list[str]
    tables: dict[str, TableReport]
    changes_seen: dict[str, int]
    accepted: list[str]
    notices: list[str]


def extract(
    *,
    source: str,
    warehouse: str,
    state_dir: Path,
    as_of: datetime | None,
    present: datetime,
    mapping: str | None = None,
    accept: str = "",
    log: Callable[[str], None] | None = None,
) -> ExtractionReport:
    """Bring a CRM's records into schema ``raw`` of the warehouse; a rerun on the same source changes nothing.

    Parameters
    ----------
    source : str
        Folder of CSV or Parquet files, or a ``postgresql://`` address.
    warehouse : str
        ``duckdb:<path>`` or a ``postgresql://`` address.
    state_dir : Path
        Folder for working files.
    as_of : datetime or None
        The clock. None for the default: of a folder the first whole second after the last accepted fact, which is
        none that lies far from the others, of a database the present.
    present : datetime
        The present time; a fact more than a day after it is rejected.
    mapping : str or None
        Name of a shipped mapping or path of a mapping file; None to choose one (`choose_mapping`).
    accept : str
        The beginning of the hash of findings (`hash_of`) with which the extraction may go on; empty for none.
    log : callable or None
        Receives one line per step.

    Raises
    ------
    SourceContractError
        When the source cannot be extracted, or what it delivered before is gone; the warehouse is then as it was.
    """
    say = log or (lambda _: None)
    present, as_of = _utc(present, "present"), None if as_of is None else _utc(as_of, "as_of")
    if as_of is not None and as_of > present + timedelta(days=1):
        raise SourceContractError(
            f"as_of: expected a clock no later than a day after the present ({present:%Y-%m-%dT%H:%M:%SZ}), found "
            f"{as_of:%Y-%m-%dT%H:%M:%SZ}. Nothing is known of then. Correct AS_OF."
        )
    target = open_warehouse(warehouse)
    chosen, reader = _choose(source, mapping)
    chosen = with_earlier_tables(chosen, reader.columns())
    say(f"source {reader.description}: mapping {chosen.mapping.name} ({chosen.reason})")
    bindings = _bindings(chosen, reader)
    with _scratch(state_dir) as connection, ExitStack() as until_loaded:
        existing = until_loaded.enter_context(target.known(connection, _wanted(bindings)))
        earlier = Earlier.of(connection)
        marks = {
            name: mark
            for name, binding in bindings.items()
            if binding is not None and (mark := _mark(connection, binding, earlier)) is not None
        }
        validated = _validated(connection, reader, bindings, marks, present, earlier, say)
        _refuse_no_leads(connection, reader, validated["leads"], bindings["leads"], present)
        refuse_orphans(connection, validated)
        default, far = _default_clock(connection, reader, validated, present, as_of)
        clock = as_of or default
        # a clock before the export must not date back what only the export has told
        seen = max(clock, default)
        load_number = 1 + (one_row(connection, "select max(load_number) from known_extraction")[0] or 0)
        deltas, counts = _deltas(connection, bindings, clock, seen, load_number, existing)
        closings = closings_of(connection, chosen.mapping.closes, chosen.own.closes, validated, earlier)
        history, counts[CHANGES], changes_seen = _history(
            connection, bindings, clock, seen, load_number, existing, closings.lead_statuses
        )
        write_rejects(connection, list(validated.values()), clock)
        evidence = measure(
            connection,
            bindings,
            validated,
            reader.columns(),
            earlier,
            closings,
            chosen.mapping.silence_closes_after_days,
            None if reader.folder is None else default,
            partial(target.stored_rows, connection),
        )
        findings = compare(evidence)
        if findings and not (accept and hash_of(findings, earlier).startswith(accept)):
            raise SourceContractError(refusal(findings, earlier, reader.description, accept))
        is_ahead = _raw_is_ahead(connection)
        accepted = [each.sentence for each in findings]
        note = state_dir / ACCEPTED
        if is_ahead:
            accepted = list(dict.fromkeys([*_noted(note, load_number), *accepted]))
        reasons = _reasons(connection)
        if "rejects" not in existing or _rejects_differ(connection):
            deltas.append(Delta("rejects", "new_rejects", "replace"))
        _keep_reject_times(connection)
        assumptions = [*_assumptions(chosen, bindings), *_values(validated), *far]
        assumptions += [*_beside(reader, bindings), *_deleted(connection, reader, validated)]
        assumptions += _missing_rows(evidence)
        late = _late(connection, bindings, marks)
        assumptions += _of_overlaps(bindings, late)
        assumptions += [*unmatched(connection, chosen.own, bindings, validated, reader), *closings.sentences]
        if as_of is None:
            assumptions += _changes_to_come(connection, clock)
        loaded = bool(deltas or history) or is_ahead
        marker = _marker(
            connection,
            clock,
            load_number,
            reader,
            chosen,
            closings,
            assumptions,
            loaded,
            said=delivered(evidence),
            accepted=accepted,
        )
        # the warehouse must be closed before dlt opens it
        until_loaded.close()
        if accepted:
            replace_file(note, json.dumps({"load_number": load_number, "accepted": accepted}))
        # The history comes first. A lead that is in `raw` but not in the history would pass for one that was always
        # without values; one that is in the history alone is new to the next extraction, and finds its changes there.
        target.rename_earlier()
        say(f"history: {sum(changes_seen.values()):,} changes seen, {counts[CHANGES].new:,} told by the source")
        load(connection, target, state_dir, history)
        say(f"loading {', '.join(delta.table for delta in deltas) or 'nothing: every row is known'}")
        load(connection, target, state_dir, deltas)
        # the row that says what `raw` holds comes last: a killed run leaves the one of the run before
        say(f"clock {clock:%Y-%m-%dT%H:%M:%SZ}{'' if marker else ' (as before)'}")
        load(connection, target, state_dir, marker)
        note.unlink(missing_ok=True)
    return ExtractionReport(
        as_of=clock,
        source=reader.description,
        mapping_name=chosen.mapping.name,
        mapping_reason=chosen.reason,
        closing_outcomes=list(closings.outcomes),
        closing_lead_statuses=list(closings.lead_statuses),
        closing_project_statuses=list(closings.project_statuses),
        silence_closes_after_days=chosen.mapping.silence_closes_after_days,
        horizon_days=dict(chosen.mapping.horizon_days),
        assumptions=assumptions,
        tables={
            name: _table_report(
                name, reader, bindings[name], validated.get(name), counts[name], reasons, late.get(name, (0,))[0]
            )
            for name in TABLES
        },
        changes_seen=changes_seen,
        accepted=accepted,
        notices=list(chosen.notices),
    )


def _utc(moment: datetime, name: str) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{name}: expected a time with its zone, found {moment.isoformat()}. Pass a time in UTC.")
    return moment.astimezone(UTC)


def _choose(source: str, mapping: str | None) -> tuple[ChosenMapping, Source]:
    if "://" in source and mapping is not None:
        # the schema of a database stands in the mapping, which therefore comes first
        chosen = choose_mapping(argument=mapping, folder=None, found={})
        is_named = "schema_" in chosen.own.model_fields_set
        return chosen, open_source(source, schema=chosen.mapping.schema_ if is_named else None)
    reader = open_source(source)
    return choose_mapping(argument=mapping, folder=reader.folder, found=reader.columns()), reader


def _bindings(chosen: ChosenMapping, reader: Source) -> dict[str, TableBinding | None]:
    found = reader.columns()
    bindings: dict[str, TableBinding | None] = {}
    faults: list[SourceContractError] = []
    for name, table in TABLES.items():
        spec = chosen.mapping.tables.get(name, TableMapping())
        source_table = spec.table or name
        if spec.absent:
            bindings[name] = None
            continue
        if source_table not in found:
            if table.optional and spec.table is None:
                bindings[name] = None
                continue
            faults.append(missing_table(name, source_table, found))
            continue
        if name not in chosen.own.tables and is_another(table, found[source_table]):
            bindings[name] = None
            continue
        try:
            bindings[name] = bound = bind(chosen, table, found=found, place=reader.place(source_table))
        except SourceContractError as fault:
            faults.append(fault)
            continue
        # a folder is always read whole
        mark = bound.watermark if reader.folder is None else None
        if mark is not None and isinstance(form := bound.forms[mark], str):
            kind = reader.type_of(source_table, form)
            if kind is not None and not kind.startswith(("timestamp", "date")):
                faults.append(
                    SourceContractError(
                        f"table {name}, {reader.place(source_table)}: expected a watermark that is a time in the "
                        f"database, found {form}, which is {kind}. Name another column in the mapping, or leave the "
                        "watermark out: the table is then read in full."
                    )
                )
    if faults:
        raise SourceContractError("\n".join(map(str, faults)))
    if (history := bindings[CHANGES]) is not None:
        bindings[CHANGES] = replace(history, leads=bindings["leads"])
    return bindings


@contextmanager
def _scratch(state_dir: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    spill = state_dir / "spill"
    make_folder(state_dir)
    # the leavings of a killed run
    shutil.rmtree(spill, ignore_errors=True)
    make_folder(spill)
    connection = duckdb.connect(
        config={"threads": len(os.sched_getaffinity(0)), "temp_directory": str(spill)},
    )
    try:
        connection.execute("set global TimeZone = 'UTC'")
        create_functions(connection)
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def _wanted(bindings: Mapping[str, TableBinding | None]) -> dict[str, Wanted]:
    """Return what an extraction compares with in schema ``raw``."""
    tables: dict[str, Wanted] = {}
    for name, binding in bindings.items():
        table = TABLES[name]
        times = [] if binding is None else [*uses_clock(binding), *([binding.watermark] if binding.watermark else [])]
        compared = wanted(table, binding)
        columns = {
            table.key: "varchar",
            **dict.fromkeys(times, SQL_TYPES["time"]),
            **compared.columns,
            "row_hash": "varchar",
            "load_number": "bigint",
        }
        tables[name] = replace(compared, columns=CHANGE_COLUMNS if name == CHANGES else columns)
    tables["rejects"] = Wanted(
        columns={
            "reject_id": "varchar",
            "table_name": "varchar",
            "reason": "varchar",
            "row": "varchar",
            "extracted_at": "timestamptz",
        }
    )
    tables["extraction"] = Wanted(columns=EXTRACTION_COLUMNS)
    return tables


def _validated(
    connection: DuckDBPyConnection,
    reader: Source,
    bindings: Mapping[str, TableBinding | None],
    marks: Mapping[str, _Mark],
    present: datetime,
    earlier: Earlier,
    say: Callable[[str], None],
) -> dict[str, Validated]:
    readings = {}
    # leads come last: a lead that a live database gains in between is then read before it is missed
    for name, binding in reversed(list(bindings.items())):
        if binding is not None:
            readings[name] = reader.read(
                connection,
                table=name,
                source_table=binding.source_table,
                columns=[*binding.source_columns, *_deletion_marks(reader, binding)],
                since=(marks[name].column, marks[name].since) if name in marks else None,
            )
    validated: dict[str, Validated] = {}
    for name, binding in bindings.items():
        if binding is not None:
            one = validate(
                connection,
                binding,
                readings[name],
                place=reader.place(binding.source_table),
                present=present,
                # a database is read at the present: what it tells has happened by then
                known_by=None if reader.folder is not None else present.replace(microsecond=0) - EDGE,
                earlier_dates=[column for column, midnights in earlier.dates(name).items() if midnights],
            )
            say(f"{name}: {one.rows_read:,} rows read from {one.place}")
            validated[name] = one
    return validated


def _deletion_marks(reader: Source, binding: TableBinding) -> list[str]:
    """Return the columns, which nobody maps, by which a source marks rows as deleted."""
    return [
        column
        for column in reader.columns()[binding.source_table]
        if column not in binding.source_columns
        and re.sub(r"[^a-z]", "", column.lower()) in DELETION_MARKS
        and (kind := reader.type_of(binding.source_table, column)) is not None
        and not kind.startswith(NESTED)
    ]


def _deleted(connection: DuckDBPyConnection, reader: Source, validated: Mapping[str, Validated]) -> Iterator[str]:
    """Yield sentences on rows that the source marks as deleted."""
    no = literals([*FALSE, *MISSING])
    for name, one in validated.items():
        for column in _deletion_marks(reader, one.binding):
            marked, rows = one_row(
                connection,
                f"select count(*) filter (folded(cleaned({of_source(column)})) not in ({no})), count(*) "
                f"from source_{name}",
            )
            if marked:
                yield (
                    f"{name}: {marked:,} of {rows:,} rows that were read are marked as deleted ({column} of "
                    f"{one.place}), and count as all others do. Leave them out of the export, or name a view without "
                    "them in the mapping (table: …)."
                )


def _beside(reader: Source, bindings: Mapping[str, TableBinding | None]) -> Iterator[str]:
    """Yield sentences on files that are not read, and whose names differ from those of tables by a number or so."""
    if reader.folder is None:
        return
    read = {one.source_table.casefold(): name for name, one in bindings.items() if one is not None}
    for table, name in read.items():
        others = [
            reader.place(each)
            for each in reader.columns()
            if each.casefold() not in read and COPY.fullmatch(each.casefold().replace(table, "", 1)) is not None
        ]
        if others:
            yield (
                f"{name}: {reader.place(table)} is read, and {', '.join(others)} beside it "
                f"{'is' if len(others) == 1 else 'are'} not. If they have more of its rows, put the files, and nothing "
                f"else, into a folder {table}.csv (or {table}.parquet)."
            )


@dataclass(frozen=True)
class _Mark:
    """Where the reading of a table begins that has a watermark.

    Attributes
    ----------
    column : str
        Of the source.
    since : datetime
        The value from which rows are read.
    loaded : datetime
        The last value that is stored.
    """

    column: str
    since: datetime
    loaded: datetime


def _mark(connection: DuckDBPyConnection, binding: TableBinding, earlier: Earlier) -> _Mark | None:
    """Return where the reading of a table begins; None to read it whole."""
    name, column = binding.table.name, binding.watermark
    if column is None or not isinstance(form := binding.forms[column], str) or needs_whole(binding, earlier):
        return None
    said = said_time(binding, column, "VARCHAR", f"plain(json_extract_string(row, '$.{column}'))").value
    loaded, rejected, unplaced = one_row(
        connection,
        f"select (select max({column}) from known_{name}), min(t), count(*) filter (t is null) from "
        f"(select {said} as t from known_rejects "
        f"where table_name in ({literals([name, EARLIER_NAMES.get(name, name)])}))",
    )
    # a rejected row whose time is unreadable could be anywhere
    if loaded is None or unplaced:
        return None
    # a time that was ahead then would hide the rows of the days until it; the clock is a whole second
    since = loaded if earlier.as_of is None else min(loaded, earlier.as_of + timedelta(seconds=1))
    if column in earlier.dates(name) or binding.zone(column) != UTC_ZONE:
        # rows of the same date, which is a day of another zone perhaps, may have been added or changed since; and the
        # database compares a time without a zone as if it were UTC
        since = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    # a transaction that began before the last value was read, and was committed after it, has earlier values
    since -= timedelta(minutes=binding.overlap_minutes)
    return _Mark(form, min(since, rejected or since), loaded)


def _late(
    connection: DuckDBPyConnection, bindings: Mapping[str, TableBinding | None], marks: Mapping[str, _Mark]
) -> dict[str, tuple[int, timedelta]]:
    """Count by table the new or changed rows before the last value that was stored, and how far the first lies back."""
    late = {}
    for name, mark in marks.items():
        binding = bindings[name]
        if binding is None:
            continue
        # rows from further back are read again because one was rejected, or for the sake of dates
        overlap = mark.loaded - timedelta(minutes=binding.overlap_minutes)
        before = (
            f"{binding.watermark} >= timestamptz '{overlap.isoformat()}' "
            f"and {binding.watermark} < timestamptz '{mark.loaded.isoformat()}'"
        )
        origin = " and origin = 'source'" if name == CHANGES else ""
        rows, first = one_row(
            connection, f"select count(*), min({binding.watermark}) from delta_{name} where {before}{origin}"
        )
        late[name] = (rows, mark.loaded - first if rows else timedelta(0))
    return late


def _of_overlaps(bindings: Mapping[str, TableBinding | None], late: Mapping[str, tuple[int, timedelta]]) -> list[str]:
    """Return sentences on the rows that only the overlap has brought."""
    return [
        f"{name}: {rows:,} new or changed row{'' if rows == 1 else 's'} lay before the last {binding.watermark} that "
        f"was loaded, by up to {back.total_seconds() / 60:.0f} minutes, and came by the overlap of "
        f"{binding.overlap_minutes} minutes. What is committed later than that is not read: raise overlap_minutes in "
        "the mapping if such rows come from further back."
        for name, (rows, back) in late.items()
        if rows and (binding := bindings[name]) is not None
    ]


def _refuse_no_leads(
    connection: DuckDBPyConnection, reader: Source, leads: Validated, binding: TableBinding | None, present: datetime
) -> None:
    accepted, known = one_row(
        connection,
        "select (select count(*) from typed_leads where check_no is null), (select count(*) from known_leads)",
    )
    # with a watermark a quiet day reads no lead; files are always read whole
    incremental = reader.folder is None and binding is not None and binding.watermark is not None and known > 0
    if accepted == 0 and not incremental:
        reasons = ", ".join(
            f"{count} {leads.checks[number].reason}"
            for number, count in connection.execute(
                "select check_no, count(*) from typed_leads where check_no is not null group by all order by all"
            ).fetchall()
        )
        write_rejects(connection, [leads], present)
        first = connection.execute("select message from rejects order by line nulls last, key limit 1").fetchone()
        raise SourceContractError(
            f"{leads.place}: expected leads, found {leads.rows_read} rows of which none fits"
            + (f" ({reasons})" if reasons else "")
            + ". Check that the export is complete and that its columns are mapped."
            + (f" The first: {first[0]}" if first else "")
        )


def _default_clock(
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
        facts = _facts(validated)
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
        found = last_facts(days)
        end = datetime.combine(found.last_day, time.max, UTC)
        aside = 0 if found.reason is None else set_far_facts_aside(connection, validated, max(end, as_of or end))
        last: datetime = one_row(
            connection, f"select max(t) from ({facts}) where t <= timestamptz '{end.isoformat()}'"
        )[0].astimezone(UTC)
        # a date of today ends tonight: what has not come yet is not known
        clock = min(last.replace(microsecond=0) + timedelta(seconds=1), present.replace(microsecond=0))
        sentence = (
            f"{found.reason} {aside:,} {'row is' if aside == 1 else 'rows are'} set aside for it (far_from_others in "
            f"raw.rejects), and the clock follows the facts before it. If it is right, set a clock after it (AS_OF=…)."
        )
        return clock, [sentence] if aside else []
    return present.replace(microsecond=0), []


def _facts(validated: Mapping[str, Validated]) -> str:
    """Return the SELECT of the time of every fact that was read and accepted."""
    return " union all ".join(
        ["select null::timestamptz as t where false"]
        + [
            f"select unnest([{', '.join(columns)}]) as t from typed_{name} where check_no is null"
            for name, one in validated.items()
            if (columns := fact_times(one.binding))
        ]
    )


def _values(validated: Mapping[str, Validated]) -> list[str]:
    """Return sentences on what is assumed of the values: texts that are none, times and numbers of several meanings."""
    sentences = []
    for name, one in validated.items():
        sentences += [
            f"{name}.{column} says in {count:,} values that there is none (missing): they are left out."
            for column, count in one.missing_words.items()
        ]
        sentences += [
            f"{name}.{column} has no value in {count:,} rows: they count as {one.binding.table.column(column).default}."
            for column, count in one.defaults.items()
        ]
        sentences += [
            f"{name}.{column} {sentence}" for column, points in one.points.items() if (sentence := points.sentence)
        ]
        sentences += [f"{name}.{column} {walls.sentence}" for column, walls in one.walls.items()]
        sentences += [f"{name}.{column} {dates.sentence}" for column, dates in one.dates.items()]
        sentences += [
            plan_sentence(name, one.binding.table.column(column), statuses) for column, statuses in one.plans.items()
        ]
    return sentences


@dataclass(frozen=True)
class _Counts:
    new: int
    changed: int
    unchanged: int
    total: int


def _deltas(
    connection: DuckDBPyConnection,
    bindings: Mapping[str, TableBinding | None],
    clock: datetime,
    seen: datetime,
    load_number: int,
    existing: set[str],
) -> tuple[list[Delta], dict[str, _Counts]]:
    """Create ``delta_<table>``, the rows whose content the warehouse does not hold, for every table.

    ``seen`` is the time from which a fact without a time of its own counts as known. ``load_number`` tells what this
    extraction brought from what was there: clocks do not, for two extractions may have the same.
    """
    deltas: list[Delta] = []
    counts: dict[str, _Counts] = {}
    for name, binding in bindings.items():
        if name == CHANGES:
            continue
        table = TABLES[name]
        connection.execute(
            f"create table delta_{name} as with content as ({_content(table, binding, seen)}), "
            f"hashed as (select *, {_row_hash(table)} as row_hash from content) "
            f"select h.*, timestamptz '{clock.isoformat()}' as extracted_at, {load_number}::bigint as load_number "
            f"from hashed h left join known_{name} k on k.{table.key} = h.{table.key} "
            "where k.row_hash is distinct from h.row_hash"
        )
        accepted = f"(select count(*) from typed_{name} where check_no is null)" if binding is not None else "0"
        changed, delta, known, rows = one_row(
            connection,
            f"select (select count(*) from delta_{name} semi join known_{name} using ({table.key})), "
            f"(select count(*) from delta_{name}), (select count(*) from known_{name}), {accepted}",
        )
        counts[name] = _Counts(delta - changed, changed, rows - delta, known + delta - changed)
        if delta or name not in existing:
            deltas.append(Delta(name, f"delta_{name}", "merge"))
    return deltas, counts


def _history(
    connection: DuckDBPyConnection,
    bindings: Mapping[str, TableBinding | None],
    clock: datetime,
    seen: datetime,
    load_number: int,
    existing: set[str],
    closing_statuses: Sequence[str],
) -> tuple[list[Delta], _Counts, dict[str, int]]:
    """Create the new rows of the history; returns them to be written, their counts, and those seen by column."""
    leads, history = bindings["leads"], bindings[CHANGES]
    if leads is None:
        raise AssertionError("a mapping cannot declare the leads absent")
    changes_seen = write_changes(connection, leads, history, clock, seen, load_number, closing_statuses)
    told, delta, known = one_row(
        connection,
        f"select (select count(*) from told_changes), (select count(*) from delta_{CHANGES}), "
        f"(select count(*) from known_{CHANGES})",
    )
    accepted = 0
    if history is not None:
        (accepted,) = one_row(connection, f"select count(*) from typed_{CHANGES} where check_no is null")
    deltas = [Delta(CHANGES, f"delta_{CHANGES}", "merge")] if delta or CHANGES not in existing else []
    return deltas, _Counts(told, 0, accepted - told, known + delta), changes_seen


def _content(table: Table, binding: TableBinding | None, seen: datetime) -> str:
    if binding is not None:
        return resolved(binding, seen)
    columns = ", ".join(f"null::{SQL_TYPES[column.kind]} as {column.name}" for column in table.columns)
    return f"select {columns} where false"


def _row_hash(table: Table) -> str:
    parts = []
    for column in table.columns:
        value = f"epoch_us({column.name})::varchar" if column.kind == "time" else f"{column.name}::varchar"
        # what is null is left out: a row that a home of before the column holds keeps its hash
        parts.append(f"'{column.name} ' || {value}" if column.added else f"coalesce({value}, chr(30))")
    return f"md5(concat_ws(chr(31), {', '.join(parts)}))"


def _reasons(connection: DuckDBPyConnection) -> dict[str, dict[str, int]]:
    reasons: dict[str, dict[str, int]] = {name: {} for name in TABLES}
    for name, reason, count in connection.execute(
        "select table_name, reason, count(*) from rejects group by all order by table_name, reason"
    ).fetchall():
        reasons[name][reason] = count
    return reasons


def _rejects_differ(connection: DuckDBPyConnection) -> bool:
    return bool(
        one_row(
            connection,
            "select count(*) from rejects r full join known_rejects k on k.reject_id = r.reject_id "
            "where r.reject_id is null or k.reject_id is null",
        )[0]
    )


def _keep_reject_times(connection: DuckDBPyConnection) -> None:
    """Create ``new_rejects``: a reject seen before keeps the clock of the extraction that saw it first."""
    columns = ", ".join(
        "coalesce(k.extracted_at, r.extracted_at) as extracted_at" if name == "extracted_at" else f"r.{quoted(name)}"
        for name in REJECT_COLUMNS
    )
    connection.execute(
        f"create table new_rejects as select {columns} from rejects r "
        "left join known_rejects k on k.reject_id = r.reject_id"
    )


def _assumptions(chosen: ChosenMapping, bindings: Mapping[str, TableBinding | None]) -> list[str]:
    sentences: list[str] = []
    for name, binding in bindings.items():
        if binding is None:
            if not TABLES[name].optional:
                sentences.append(f"The source has no {name}.")
            continue
        for column, form in binding.forms.items():
            where = f"{name}.{column}"
            if isinstance(form, Substitute):
                times = " and ".join(
                    "the extraction that first saw the row" if t == "extraction" else t for t in form.of
                )
                sentences.append(f"{where} is not in the source: the earliest of {times} stands in for it.")
            elif isinstance(form, Flag) and isinstance(form.known, str):
                sentences.append(
                    f"{where} is a flag without a time ({form.flag}): it counts as known from the extraction that "
                    "first saw it, so it is empty for the past."
                )
            elif isinstance(form, Flag) and not isinstance(form.known, str):
                sentences.append(
                    f"{where} is a flag without a time ({form.flag}): it is assumed known {form.known.hours:g} hours "
                    f"after {form.known.after}."
                )
    if (leads := bindings["leads"]) is not None:
        sentences += history_assumptions(leads, bindings[CHANGES])
    if (days := chosen.mapping.silence_closes_after_days) is not None:
        sentences.append(f"A lead counts as closed after {days} days without a fact.")
    return sentences


def _marker(
    connection: DuckDBPyConnection,
    clock: datetime,
    load_number: int,
    reader: Source,
    chosen: ChosenMapping,
    closings: Closings,
    assumptions: Sequence[str],
    loaded: bool,
    *,
    said: str,
    accepted: Sequence[str],
) -> list[Delta]:
    """Create ``new_extraction``; return it to be written when something was loaded, or it says something else.

    ``said`` is what the next extraction compares with. Where nothing but that differs, the extraction keeps its number,
    and what was accepted stands as long as what it brought.
    """
    definition = ", ".join(f"?::{sql_type} as {name}" for name, sql_type in EXTRACTION_COLUMNS.items())
    row: list[Any] = [
        clock,
        load_number,
        reader.description,
        chosen.mapping.name,
        json.dumps(closings.outcomes),
        # nothing is said of what no mapping of an earlier state could say
        json.dumps(closings.lead_statuses) if closings.lead_statuses else None,
        json.dumps(closings.project_statuses) if closings.project_statuses else None,
        chosen.mapping.silence_closes_after_days,
        json.dumps(chosen.mapping.horizon_days, sort_keys=True),
        json.dumps(list(assumptions)),
        said,
        json.dumps(list(accepted)) if accepted else None,
    ]
    connection.execute(f"create table new_extraction as select {definition}", row)
    marker = [Delta("extraction", "new_extraction", "replace")]
    aside = "* exclude (load_number, delivered, accepted)"
    one, differing = one_row(
        connection,
        "select (select count(*) from known_extraction) = 1, (select count(*) from "
        f"(select {aside} from new_extraction except select {aside} from known_extraction))",
    )
    if loaded or accepted or not one or differing:
        return marker
    connection.execute(
        "update new_extraction set load_number = k.load_number, accepted = k.accepted from known_extraction k"
    )
    (same,) = one_row(connection, "select (select delivered from known_extraction) is not distinct from ?", [said])
    return [] if same else marker


def _raw_is_ahead(connection: DuckDBPyConnection) -> bool:
    """Say whether ``raw`` holds rows of an extraction that was killed before it said so."""
    numbers = " union all ".join(f"select load_number from known_{name}" for name in TABLES)
    ahead = f"(select max(load_number) from ({numbers})) > (select max(load_number) from known_extraction)"
    return bool(one_row(connection, f"select coalesce({ahead}, false)")[0])


def _noted(note: Path, load_number: int) -> list[str]:
    """Return what a person had accepted of the extraction of this number, which was killed."""
    try:
        noted = read_object(note)
        return [str(each) for each in noted["accepted"]] if noted["load_number"] == load_number else []
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        return [f"What a person accepted of an extraction that was killed cannot be told: {note} is damaged."]


def _missing_rows(evidence: Evidence) -> list[str]:
    """Return sentences on the stored rows that the source has no more."""
    return [
        f"{each.table}: {each.missing:,} of {each.stored:,} rows that were read before are not in the source any more. "
        "They count as they were when they were last read."
        for each in evidence.tables
        if each.missing > 0
    ] + [
        f"{each.table}: {each.unseen:,} rows have come to {each.place} with a watermark before the last one that was "
        "loaded. The next extraction reads the table whole."
        for each in evidence.tables
        if each.unseen > 0
    ]


def _changes_to_come(connection: DuckDBPyConnection, clock: datetime) -> list[str]:
    """Return a sentence on changes of leads that extractions saw at a clock that was ahead of this one."""
    rows, last = one_row(
        connection,
        f"select count(*), max(known_at) from known_{CHANGES} where origin = 'extraction' "
        f"and known_at > timestamptz '{clock.isoformat()}'",
    )
    if not rows:
        return []
    return [
        f"{rows:,} changes of leads were seen by extractions whose clock was ahead of this one, at the latest "
        f"{last.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}: each counts once the clock has come to the time at which it was "
        "seen."
    ]


def _table_report(
    name: str,
    reader: Source,
    binding: TableBinding | None,
    validated: Validated | None,
    counts: _Counts,
    reasons: Mapping[str, dict[str, int]],
    late: int,
) -> TableReport:
    ignored: list[str] = []
    if binding is not None:
        read = set(binding.source_columns)
        ignored = [shown_column(column) for column in reader.columns()[binding.source_table] if column not in read]
    if validated is not None:
        ignored += [f"changes of {column}" for column in validated.left_behind]
    return TableReport(
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
        rows_by_overlap=late,
        rows_total=counts.total,
    )
