"""`extract`, the entry of this package, brings a source into schema ``raw``.

This module holds the order of the steps, the clock and the report. The modules that it calls hold the rules.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from duckdb import DuckDBPyConnection

from models.artifacts import make_folder, read_object, replace_file
from models.declaring.attribute import Attribute
from store.source.assembling.source import AssembledSource, create_said
from store.source.attributes.choosing import attribute_sentences, decided, gone, has_new_attributes, with_kinds
from store.source.attributes.later_changes import with_later_changes
from store.source.checking.clock import default_clock
from store.source.checking.currencies import convert
from store.source.checking.rejects import (
    refuse_no_rows,
    refuse_orphans,
    rejects_by_reason,
    write_new_rejects,
    write_rejects,
)
from store.source.checking.validation import Validated, create_absent, leave_unknown_keys_out, validate
from store.source.comparing.closings import Closings, closed_rows, closings_of
from store.source.comparing.comparison import compare, hash_of, refusal
from store.source.comparing.evidence import Earlier, delivered
from store.source.comparing.measuring import measure_evidence, wanted
from store.source.comparing.watermarks import Watermark, overlap_sentences, rows_by_overlap, watermark_of
from store.source.contract import CHANGES, TABLES, SourceContractError
from store.source.faults import Faults
from store.source.loading.deltas import write_deltas, write_history
from store.source.loading.load import load, open_warehouse
from store.source.loading.source_ids import lacks_ids, write_source_ids
from store.source.loading.stored import Delta, make_marker, raw_is_ahead
from store.source.mapping.binding import TableBinding, with_owners
from store.source.mapping.forms import ChosenMapping
from store.source.mapping.without_times import CAVEAT, CLOCK, refuse_none_won
from store.source.opening import bindings_of, customers_close, entities_in, open_mapped, owners_in
from store.source.owners import owners_first
from store.source.reading.tables import Reading, shown_column
from store.source.report import (
    ExtractionReport,
    changes_to_come,
    closing_sentences,
    deleted_sentences,
    deletion_marks,
    mapping_sentences,
    missing_row_sentences,
    spelling_sentences,
    table_report,
    unread_file_sentences,
    value_sentences,
    zone_sentences,
)
from store.source.sql import one_row
from store.source.unmatched import unmatched
from store.source.values.functions import create_functions

ACCEPTED = "accepted.json"
"""The file that keeps the accepted findings until the extraction is complete, in case it is killed."""


def extract(
    *,
    source: str,
    warehouse: str,
    state_dir: Path,
    as_of: datetime | None,
    present: datetime,
    models: Collection[str],
    mapping: str | None = None,
    in_home: Path | None = None,
    accept: str = "",
    source_ids: bool = False,
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
        The clock. None for the default: for a database the present; for a folder the first whole second after the last
        accepted fact that is not far from the others, or the present if that is earlier.
    present : datetime
        The present time; a fact more than a day after it is rejected.
    models : collection of str
        Names of the models, for which a mapping may set a horizon.
    mapping : str or None
        Name of a shipped mapping or path of a mapping file; None to choose one (`choose_mapping`).
    in_home : Path or None
        The mapping in the home, which need not exist; None if the home has none for this source.
    accept : str
        The extraction goes on despite findings whose hash (`hash_of`) begins with this; empty for none.
    source_ids : bool
        Whether the source's own keys of leads are kept where the keys are pseudonyms.
    log : callable or None
        Receives one line per step.

    Raises
    ------
    SourceContractError
        If the source cannot be extracted, or lacks data that it delivered before; the warehouse is not changed then.
    """
    say = log or (lambda _: None)
    present, as_of = _utc(present, "present"), None if as_of is None else _utc(as_of, "as_of")
    if as_of is not None and as_of > present + timedelta(days=1):
        raise SourceContractError(
            f"as_of: expected a clock no later than a day after the present ({present:%Y-%m-%dT%H:%M:%SZ}), found "
            f"{as_of:%Y-%m-%dT%H:%M:%SZ}. Nothing is known of that time yet. Correct AS_OF."
        )
    target = open_warehouse(warehouse)
    chosen, reader = open_mapped(source, mapping, models, in_home)
    if chosen.mapping.without_times is not None:
        as_of = CLOCK
    say(f"source {reader.description}: mapping {chosen.mapping.name} ({chosen.reason})")
    bindings = bindings_of(chosen, reader)
    with _scratch(state_dir) as connection, ExitStack() as until_loaded:
        create_said(connection, chosen.mapping.missing)
        existing = until_loaded.enter_context(target.known(connection, wanted(bindings)))
        earlier = Earlier.of(connection)
        no_longer: list[str] = []
        if chosen.mapping.without_times is None:
            earlier, no_longer = with_later_changes(connection, earlier)
        marks = {
            name: mark
            for name, binding in bindings.items()
            if binding is not None and (mark := watermark_of(connection, binding, earlier)) is not None
        }
        if source_ids and lacks_ids(connection):
            marks.pop("leads", None)
        for binding in owners_in(bindings):
            # rows that are not read again would have no values
            if has_new_attributes(binding, earlier.attributes):
                marks.pop(binding.table.name, None)
        readings = _readings(connection, reader, bindings, marks)
        of_attributes, left_columns = _with_attributes(connection, bindings, readings, earlier)
        validated = _validated(connection, reader, bindings, readings, present, earlier, say)
        refuse_no_rows(connection, reader, validated, present)
        refuse_none_won(connection, chosen.mapping)
        faults = Faults()
        with faults.collected():
            refuse_orphans(connection, validated)
        with faults.collected():
            default, far_facts = default_clock(connection, reader, validated, present, as_of)
        faults.refuse()
        unknown_keys = list(leave_unknown_keys_out(connection, validated))
        clock = as_of or default
        # facts count as seen at the default clock, even if a person sets an earlier one
        seen_at = max(clock, default)
        converted = convert(connection, chosen.mapping.currency, validated, earlier.value_currency)
        load_number = 1 + (one_row(connection, "select max(load_number) from known_extraction")[0] or 0)
        deltas, counts = write_deltas(connection, bindings, clock, seen_at, load_number, existing)
        closings = closings_of(connection, chosen.mapping.closes, chosen.own.closes, validated, earlier)
        attributes = _attributes(connection, chosen, bindings, earlier, closings, seen_at)
        history, counts[CHANGES], changes_seen = write_history(
            connection,
            owners_in(bindings),
            bindings[CHANGES],
            clock,
            seen_at,
            load_number,
            existing,
            closings.words["lead_status"],
            earlier.attributes,
        )
        write_rejects(connection, list(validated.values()), clock)
        evidence = measure_evidence(
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
        is_ahead = raw_is_ahead(connection)
        accepted = [each.sentence for each in findings]
        note = state_dir / ACCEPTED
        if is_ahead:
            accepted = list(dict.fromkeys([*noted(note, load_number), *accepted]))
        reasons = rejects_by_reason(connection)
        if write_new_rejects(connection) or "rejects" not in existing:
            deltas.append(Delta("rejects", "new_rejects", "replace"))
        deltas += write_source_ids(connection, validated.get("leads"), existing, keep=source_ids)
        (kept_ids,) = one_row(connection, "select count(*) from new_source_ids")
        by_overlap = rows_by_overlap(connection, bindings, marks)
        assumptions = [
            *mapping_sentences(chosen, bindings),
            *reader.notes,
            *(note for one in validated.values() for note in one.reading.notes),
            *value_sentences(validated),
            *zone_sentences(chosen, validated),
            *closing_sentences(connection, validated, clock),
            *spelling_sentences(connection, validated),
            *converted.sentences,
            *far_facts,
            *unknown_keys,
            *unread_file_sentences(reader, bindings),
            *deleted_sentences(connection, reader, validated),
            *missing_row_sentences(evidence),
            *overlap_sentences(bindings, by_overlap),
            *unmatched(connection, chosen.own, bindings, validated, reader),
            *closings.sentences,
            *of_attributes,
            *attribute_sentences(connection, bindings, attributes),
            *no_longer,
            *(changes_to_come(connection, clock) if as_of is None else ()),
        ]
        kept_attributes = [*attributes, *gone(attributes, earlier.attributes)]
        closing_leads, closing_projects = closings.words["lead_status"], closings.words["project_status"]
        is_new = make_marker(
            connection,
            {
                "as_of": clock,
                "load_number": load_number,
                "source": reader.description,
                "mapping": chosen.mapping.name,
                "closing_outcomes": json.dumps(closings.words["outcomes"]),
                # null if the mapping names no such status, and in older warehouses
                "closing_lead_statuses": json.dumps(closing_leads) if closing_leads else None,
                "closing_project_statuses": json.dumps(closing_projects) if closing_projects else None,
                "silence_closes_after_days": chosen.mapping.silence_closes_after_days,
                "horizon_days": json.dumps(chosen.mapping.horizon_days, sort_keys=True),
                "value_currency": converted.currency,
                "attributes": json.dumps([each.as_json() for each in kept_attributes]) if kept_attributes else None,
                "left_columns": json.dumps(left_columns) if left_columns else None,
                "caveat": None if chosen.mapping.without_times is None else CAVEAT,
                "entities": json.dumps(entities_in(bindings)),
                "customers_close": customers_close(bindings),
                "assumptions": json.dumps(assumptions),
                "delivered": delivered(evidence),
                "accepted": json.dumps(accepted) if accepted else None,
            },
            loaded=bool(deltas or history) or is_ahead,
        )
        # the warehouse must be closed before dlt opens it
        until_loaded.close()
        if accepted:
            replace_file(note, json.dumps({"load_number": load_number, "accepted": accepted}))
        # The history is loaded first, because the load may be killed in between: the next extraction can use the
        # history of a lead that is new to it, but a lead without a history would look as if it never had values.
        target.bring_up_to_date()
        say(f"history: {sum(changes_seen.values()):,} changes seen, {counts[CHANGES].new:,} from the source's history")
        load(connection, target, state_dir, history)
        say(f"loading {', '.join(delta.table for delta in deltas) or 'nothing: every row is known'}")
        load(connection, target, state_dir, deltas)
        # the marker is written last: a killed extraction leaves the marker of the one before
        say(f"clock {clock:%Y-%m-%dT%H:%M:%SZ}{'' if is_new else ' (as before)'}")
        if is_new:
            target.write_marker(connection)
        note.unlink(missing_ok=True)
    bound = [one.source_table for one in bindings.values() if one is not None]
    return ExtractionReport(
        as_of=clock,
        source=reader.description,
        mapping_name=chosen.mapping.name,
        mapping_reason=chosen.reason,
        assumptions=assumptions,
        tables={
            name: table_report(
                name, reader, bindings[name], validated.get(name), counts[name], reasons, by_overlap.get(name, (0,))[0]
            )
            for name in TABLES
        },
        changes_seen=changes_seen,
        accepted=accepted,
        notices=list(chosen.notices),
        source_ids=kept_ids,
        attributes=attributes,
        unread=reader.unread(bound),
        unread_columns={
            place: list(map(shown_column, columns)) for place, columns in reader.unread_columns(bound).items()
        },
    )


def _utc(moment: datetime, name: str) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{name}: expected a time with its zone, found {moment.isoformat()}. Pass a time in UTC.")
    return moment.astimezone(UTC)


@contextmanager
def _scratch(state_dir: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    spill = state_dir / "spill"
    make_folder(state_dir)
    # files that a killed extraction has left
    shutil.rmtree(spill, ignore_errors=True)
    make_folder(spill)
    connection = duckdb.connect(
        config={"threads": len(os.sched_getaffinity(0)), "temp_directory": str(spill)},
    )
    try:
        connection.execute("set global TimeZone = 'UTC'")
        # a join for each list of words would cost more than its comparisons
        connection.execute("set disabled_optimizers = 'in_clause'")
        create_functions(connection)
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def _readings(
    connection: DuckDBPyConnection,
    reader: AssembledSource,
    bindings: Mapping[str, TableBinding | None],
    marks: Mapping[str, Watermark],
) -> dict[str, Reading]:
    faults = Faults()
    readings: dict[str, Reading] = {}
    # leads are read last: then they include leads that were added to a live database while other tables were read
    for name in reversed(owners_first(bindings)):
        if (binding := bindings[name]) is not None:
            with faults.collected():
                columns = [*binding.source_columns, *binding.free, *deletion_marks(reader, binding)]
                readings[name] = reader.read(
                    connection,
                    table=name,
                    source_table=binding.source_table,
                    columns=list(dict.fromkeys(columns)),
                    since=(marks[name].column, marks[name].since) if name in marks else None,
                )
    faults.refuse()
    return readings


def _with_attributes(
    connection: DuckDBPyConnection,
    bindings: dict[str, TableBinding | None],
    readings: Mapping[str, Reading],
    earlier: Earlier,
) -> tuple[list[str], dict[str, list[str]]]:
    """Give the bindings their attributes, with the kinds of these.

    Return sentences about columns that are left out, and the names of those that extractions have ever left.
    """
    sentences: list[str] = []
    left_columns = {name: set(columns) for name, columns in earlier.left_columns.items()}
    for binding in owners_in(bindings):
        name = binding.table.name
        bindings[name], found, left = with_kinds(connection, binding, readings[name], earlier.attributes)
        sentences += found
        left_columns.setdefault(name, set()).update(left)
    if (history := bindings[CHANGES]) is not None:
        bindings[CHANGES] = with_owners(history, owners_in(bindings))
    return sentences, {name: sorted(columns) for name, columns in left_columns.items() if columns}


def _attributes(
    connection: DuckDBPyConnection,
    chosen: ChosenMapping,
    bindings: dict[str, TableBinding | None],
    earlier: Earlier,
    closings: Closings,
    seen_at: datetime,
) -> list[Attribute]:
    """Decide from when on the first values of attributes count as known, and put that into the bindings."""
    attributes: list[Attribute] = []
    always = "" if chosen.mapping.without_times is None else "the set has no times"
    for binding in owners_in(bindings):
        name = binding.table.name
        if binding.attributes:
            closed = closed_rows(name, bindings, closings, seen_at)
            bindings[name], found = decided(connection, binding, earlier, closed, seen_at, always)
            attributes += found
    return attributes


def _validated(
    connection: DuckDBPyConnection,
    reader: AssembledSource,
    bindings: Mapping[str, TableBinding | None],
    readings: Mapping[str, Reading],
    present: datetime,
    earlier: Earlier,
    say: Callable[[str], None],
) -> dict[str, Validated]:
    create_absent(connection, bindings)
    validated: dict[str, Validated] = {}
    for name in owners_first(bindings):
        if (binding := bindings[name]) is not None:
            one = validate(
                connection,
                binding,
                readings[name],
                place=reader.place(binding.source_table),
                present=present,
                # a database is read at the present: its facts have happened by then
                known_by=None
                if reader.folder is not None
                else present.replace(microsecond=0) - timedelta(microseconds=1),
                earlier_dates=[column for column, midnights in earlier.dates(name).items() if midnights],
            )
            say(f"{name}: {one.rows_read:,} rows read from {one.place}")
            validated[name] = one
    return validated


def noted(note: Path, load_number: int) -> list[str]:
    """Return the findings that a person had accepted for the extraction of this number, which was killed."""
    try:
        content = read_object(note)
        return [str(each) for each in content["accepted"]] if content["load_number"] == load_number else []
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        return [f"A person accepted findings of an extraction that was killed; they are lost, as {note} is damaged."]
