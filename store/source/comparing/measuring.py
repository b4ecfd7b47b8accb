"""Measure the evidence of a comparison: the rows that a source delivers, and those that schema ``raw`` holds.

All figures are SQL over the scratch DuckDB. A stored row is fetched only as its key and the set of filled columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from duckdb import DuckDBPyConnection

from models.declaring.attribute import STORED
from store.source.checking.rejects import REJECT_COLUMNS
from store.source.checking.typed import identity
from store.source.checking.validation import Validated
from store.source.comparing.altered import ALTERED_ROWS, ALTERED_SHARE, altered_columns, changes_of
from store.source.comparing.closings import CLOSING_COLUMNS, Closings
from store.source.comparing.evidence import (
    ENDS,
    AttributeEvidence,
    ColumnEvidence,
    Earlier,
    Evidence,
    TableEvidence,
    WordEvidence,
    reading_of,
    rules_of,
)
from store.source.contract import CHANGES, EARLIER_NAMES, TABLES
from store.source.loading import source_ids
from store.source.loading.deltas import CHANGE_COLUMNS
from store.source.loading.stored import EXTRACTION_COLUMNS, Wanted
from store.source.mapping.binding import TableBinding
from store.source.owners import OWNER, owner_table
from store.source.reading.tables import shown_column
from store.source.record import SQL_TYPES, Table
from store.source.sql import of_source, one_row
from store.sql import literal, literals


def wanted(bindings: Mapping[str, TableBinding | None]) -> dict[str, Wanted]:
    """Return the columns of schema ``raw`` that an extraction needs for its comparison, by table."""
    rejects = ("reject_id", "table_name", "reason", "row", "extracted_at")
    tables = {
        "rejects": Wanted(columns={name: REJECT_COLUMNS[name] for name in rejects}),
        "extraction": Wanted(columns=EXTRACTION_COLUMNS),
        source_ids.TABLE: Wanted(columns=source_ids.COLUMNS),
        # the history is never overwritten, so it is needed whole
        CHANGES: Wanted(columns=CHANGE_COLUMNS),
    }
    for name, binding in bindings.items():
        table = TABLES[name]
        if name != CHANGES:
            mark = None if binding is None else binding.watermark
            times = (*(() if binding is None else binding.clock_times), *filter(None, [mark]), table.occurred)
            tables[name] = Wanted(
                columns={
                    table.key: "varchar",
                    # a change of a project has the lead of the project, and a transaction begins a customer
                    **({"lead_id": "varchar"} if name == "projects" else {}),
                    **({TABLES[table.begins].key: "varchar"} if table.begins is not None else {}),
                    **dict.fromkeys(times, SQL_TYPES["time"]),
                    **{column.name: "varchar" for column in table.columns if column.codes is not None},
                    "row_hash": "varchar",
                    "load_number": "bigint",
                },
                filled=table.column_names[1:],
                words=table.words_kept,
                defaults={column.name: column.default for column in table.columns if column.default is not None},
            )
    return tables


def measure_evidence(
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
    """Measure the stored data that the rows read would overwrite; without an earlier extraction all counts are 0.

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
        As the mapping states them.
    ends : datetime or None
        The last fact of a folder.
    stored_rows : callable
        Creates ``stored_<table>`` with some columns of a table of schema ``raw``.
    """
    return Evidence(
        tables=tuple(
            _table(connection, TABLES[name], binding, validated.get(name), found, earlier, stored_rows)
            for name, binding in bindings.items()
        ),
        reopened={
            (key, word): rows
            for key, words in closings.words.items()
            for word, rows in _reopened(connection, key, earlier.closes[key], words)
        },
        silence_before=earlier.silence_closes_after_days,
        silence_now=silence_closes_after_days,
        ended=None if (ended := (earlier.delivered or {}).get(ENDS)) is None else datetime.fromisoformat(ended),
        ends=ends,
        attributes=tuple(_attributes(connection, bindings, validated, earlier)),
    )


def _attributes(
    connection: DuckDBPyConnection,
    bindings: Mapping[str, TableBinding | None],
    validated: Mapping[str, Validated],
    earlier: Earlier,
) -> Iterator[AttributeEvidence]:
    if not earlier.attributes:
        return
    last = (
        f"select {OWNER} as owner, {owner_table()} as of_table, column_name, "
        f"arg_max(coalesce(value, chr(30)), (known_at, change_id)) as last_value from known_{CHANGES} "
        f"where starts_with(column_name, {literal(STORED)}) group by all"
    )
    connection.execute(f"create temp table last_attributes as from ({last}) where last_value <> chr(30)")
    counted = "select of_table, column_name, count(*) from last_attributes group by all"
    stored = {(table, name): rows for table, name, rows in connection.execute(counted).fetchall()}
    for name, binding in bindings.items():
        before = [each for each in earlier.attributes if each.entity == name and not each.is_gone]
        if not before or binding is None:
            continue
        read = [each.stored for each in binding.attributes if each.stored in {one.stored for one in before}]
        key = binding.table.key
        again = {
            column: (rows, lost, altered)
            for column, rows, lost, altered in connection.execute(
                "select l.column_name, count(*), count(*) filter (a.value is null), "
                "count(*) filter (a.value <> l.last_value) from last_attributes l "
                f"join typed_{name} t on t.{key} = l.owner and t.check_no is null left join attributes_{name} a "
                f"on a.record = t.record and a.column_name = l.column_name where l.of_table = '{name}' "
                f"and l.column_name in ({literals(read)}) group by all"
            ).fetchall()
        }
        for each in before:
            rows, lost, altered = again.get(each.stored, (0, 0, 0))
            yield AttributeEvidence(
                table=name,
                name=each.name,
                label=each.label,
                place=validated[name].place,
                is_read=each.stored in read,
                stored=stored.get((name, each.stored), 0),
                again=rows,
                lost=lost,
                altered=altered,
            )
    connection.execute("drop table last_attributes")


def _reopened(
    connection: DuckDBPyConnection, key: str, before: Sequence[str], now: Sequence[str]
) -> list[tuple[str, int]]:
    listed = ", ".join(literal(each) for each in before if each not in now) or "null"
    table, column = CLOSING_COLUMNS[key]
    query = (
        f"select word, rows from known_words where table_name = '{table}' and column_name = '{column}' "
        f"and word in ({listed}) order by word"
    )
    if key == "lead_status":
        # a closing status that a lead once had closes it, even if it has another one now
        query = (
            f"select value, count(distinct lead_id) from known_{CHANGES} where column_name = 'status' "
            f"and value in ({listed}) group by value order by value"
        )
    return connection.execute(query).fetchall()


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
    # changes that an extraction saw by itself were never in the source's history
    known = f"(from known_{name} where origin = 'source')" if name == CHANGES else f"known_{name}"
    missing_before = last.get("missing", 0)
    (stored,) = one_row(connection, f"select count(*) from {known}")
    if binding is None or validated is None:
        return TableEvidence(
            table=name, place=None, described=described, stored=stored, missing=stored, missing_before=missing_before
        )
    compared = () if name == CHANGES else table.column_names[1:]
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
        # not for a history: its count includes rows of columns that are left behind
        if "rows" in last and name != CHANGES:
            # rejected rows are read again until they are corrected
            names = literals([name, EARLIER_NAMES.get(name, name)])
            rejects, rejects_before = one_row(
                connection,
                f"select (select count(*) from typed_{name} where check_no is not null), "
                f"(select count(*) from known_rejects where table_name in ({names}))",
            )
            expected = last["rows"] + read - again + rejects - rejects_before
            # rejected rows are present but not stored, and could hide as many missing rows
            missing = max(missing, missing_before + expected - present)
            unseen = max(0, present - expected)
    elif any(column.planned and binding.forms[column.name] in binding.derive_from for column in table.columns):
        # a key that is derived from a plan changes when people move the plan
        fewer = max(0, last.get("rows", stored) - validated.rows_read)
    if whole and table.ages and missing > 0:
        (aged,) = one_row(
            connection,
            f"select count(*) from {known} where {table.occurred} < "
            f"(select min({table.occurred}) from typed_{name} where check_no is null)",
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
    changed, moved, shift, *deltas = changes_of(connection, binding, compared, earlier.dates(name))
    altered: Mapping[str, Mapping[str, Any]] = {}
    if changed >= ALTERED_ROWS and changed >= ALTERED_SHARE * again:
        stored_rows(name, [key, *compared])
        altered = altered_columns(connection, binding, compared, earlier.dates(name))
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
        rules=rules_of(binding),
        fewer=fewer,
        unseen=unseen,
        rejected=rejected,
        rejected_as=rejected_as,
        **_unfit(connection, name),
        again=again if whole else stored,
        changed=changed,
        moved=moved,
        shift=shift,
        unread=tuple(shown_column(column) for column in found[binding.source_table] if not binding.is_read(column)),
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
        words=tuple(_words(connection, table)) if whole and stored else (),
        rekeyed=_rekeyed(connection, binding) if stored else 0,
        rekeyed_before=last.get("rekeyed", 0),
        dates={**earlier.dates(name), **{column: found.midnights for column, found in validated.dates.items()}},
    )


def _unfit(connection: DuckDBPyConnection, name: str) -> dict[str, Any]:
    where = f"table_name in ({literals([name, EARLIER_NAMES.get(name, name)])}) and reason <> 'orphan'"
    counted = f"select reason, count(*) from rejects where {where} group by reason order by 2 desc, 1"
    if not (reasons := connection.execute(counted).fetchall()):
        return {}
    (unfit_before,) = one_row(connection, f"select count(*) from known_rejects where {where}")
    (first,) = one_row(connection, f"select message from rejects where {where} order by line nulls last, key limit 1")
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return {
        "unfit": sum(count for _, count in reasons),
        "unfit_before": unfit_before,
        "unfit_as": f"{listed}. The first: {first.rstrip('.')}",
    }


def _rekeyed(connection: DuckDBPyConnection, binding: TableBinding) -> int:
    """Count the rows read that are stored under a key of an earlier release, and have another key now."""
    form, table = binding.forms[binding.table.key], binding.table
    if binding.derive_from:
        old, new = (identity(binding, cleaned) for cleaned in ("cleaned_before", "cleaned"))
        return one_row(
            connection,
            f"select count(*) from (select {old} as old, {new} as new from source_{table.name}) "
            f"where old <> new and old || '-1' in (select {table.key} from known_{table.name})",
        )[0]
    if not isinstance(form, str):
        return 0
    before = f"contact_free_before(cleaned_before(s.{of_source(form)}))"
    return one_row(
        connection,
        f"select count(distinct k.{table.key}) from (select {before} as old, t.{table.key} as new from "
        f"source_{table.name} s join typed_{table.name} t on t.record = s.record where t.check_no is null) "
        f"join known_{table.name} k on k.{table.key} = old where new <> old",
    )[0]


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
    # the column of a plan also holds values from another column of the source
    keeps_plans = any(each.plan == column for each in binding.table.columns)
    if part is not None and isinstance(form, str) and not keeps_plans:
        short = max(0, stored - part.values[form] - missing)
    return ColumnEvidence(
        column=column,
        before=last.get("columns", {}).get(column),
        now=reading_of(column, binding),
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


def _words(connection: DuckDBPyConnection, table: Table) -> Iterator[WordEvidence]:
    for column in table.words_kept:
        for word, stored, found in connection.execute(
            f"with found as (select {column} as word, count(*) as rows from typed_{table.name} where check_no is null "
            f"and {column} is not null group by 1), stored as (select word, rows from known_words where table_name = "
            f"{literal(table.name)} and column_name = {literal(column)}) select word, coalesce(s.rows, 0), "
            "coalesce(f.rows, 0) from stored s full join found f using (word) order by word"
        ).fetchall():
            yield WordEvidence(column=column, word=word, stored=stored, found=found)
