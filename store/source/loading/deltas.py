"""The new rows: those whose content the warehouse does not hold, and the history of overwritten columns of leads.

The history in ``raw.changes`` is append-only. It has two origins: the CRM's own history, if the source has one, and the
comparison of each lead with its last change in the history. The comparison fills the gaps of the CRM's history: after
an extraction, the last change of each lead and column has the value of the lead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.checking.typed import resolved
from store.source.contract import CHANGES, FROM_CREATION, OVERWRITTEN, TABLES
from store.source.loading.stored import Delta
from store.source.mapping.binding import TableBinding
from store.source.record import SQL_TYPES, Table
from store.source.sql import one_row
from store.sql import literal, literals

CHANGE_COLUMNS = {
    **{column.name: SQL_TYPES[column.kind] for column in TABLES[CHANGES].columns},
    "known_at": "timestamptz",
    "origin": "varchar",
    "extracted_at": "timestamptz",
    "load_number": "bigint",
}
"""The columns of ``raw.changes``.

The columns of the contract (``changed_at`` is null if an extraction saw the change); the time at which the value became
known; its origin, ``source`` or ``extraction``; and clock and number of the extraction that wrote it.
"""


def write_changes(
    connection: DuckDBPyConnection,
    leads: TableBinding,
    history: TableBinding | None,
    clock: datetime,
    seen_at: datetime,
    load_number: int,
    closing_statuses: Sequence[str] = (),
) -> dict[str, int]:
    """Create ``delta_changes``, the changes that ``known_changes`` does not hold.

    Leads are compared with the history and not with ``raw.leads``, which is loaded later: after a killed extraction the
    two may differ.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``typed_leads``, ``known_leads``, ``known_changes`` and, where the source has a
        history, ``typed_changes``.
    leads : TableBinding
    history : TableBinding or None
        None if the source has none.
    clock : datetime
        Clock of the extraction.
    seen_at : datetime
        The time from which the values of the extraction count as known.
    load_number : int
        Number of the extraction.
    closing_statuses : sequence of str
        Statuses that close a lead. Such a status became known just before `seen_at`, so that the lead is not open at
        that clock.

    Returns
    -------
    dict of str to int
        The changes that the extraction itself saw, by column; columns that the source lacks are left out.
    """
    columns = shown_columns(leads)
    contract = ", ".join(TABLES[CHANGES].column_names)
    nothing = f"select {contract}, known_at, origin from known_{CHANGES} where false"
    from_source = nothing
    if history is not None:
        from_source = (
            f"select {contract}, changed_at as known_at, 'source' as origin "
            f"from ({resolved(history, seen_at)}) anti join known_{CHANGES} using (change_id)"
        )
    connection.execute(f"create table told_changes as {from_source}")
    connection.execute(
        f"create table seen_changes as {_seen_changes(columns, seen_at, closing_statuses) if columns else nothing}"
    )
    connection.execute(
        f"create table delta_{CHANGES} as select *, timestamptz '{clock.isoformat()}' as extracted_at, "
        f"{load_number}::bigint as load_number from (from told_changes union all by name from seen_changes)"
    )
    by_column = "select column_name, count(*) from seen_changes group by all"
    return dict.fromkeys(columns, 0) | dict(connection.execute(by_column).fetchall())


def _seen_changes(columns: Sequence[str], seen_at: datetime, closing_statuses: Sequence[str]) -> str:
    """Compose the SELECT of a change for each lead and column whose value differs from its last change."""
    values = " union all ".join(
        f"select lead_id, created_at, {literal(name)} as column_name, cast({name} as varchar) as value "
        "from typed_leads where check_no is null"
        for name in columns
    )
    # without a history so far, every lead counts as new
    is_entered = (
        f"column_name in ({literals(FROM_CREATION)}) and last_known_at is null and (lead_id not in "
        "(select lead_id from known_leads) or not exists (select 1 from known_changes))"
    )
    now = f"timestamptz '{seen_at.isoformat()}'"
    before = f"{now} - to_microseconds(1)"
    is_closing = f"(column_name = 'status' and value in ({literals(closing_statuses)}))"
    return f"""
        with changes as (
            select lead_id, column_name, value, known_at, change_id, origin from known_changes
            union all
            select lead_id, column_name, value, known_at, change_id, origin from told_changes
        ),
        last_changes as (
            select lead_id, column_name, value as last_value, known_at as last_known_at, origin as last_origin
            from changes
            qualify row_number() over (partition by lead_id, column_name order by known_at desc, change_id desc) = 1
        ),
        compared as (
            select * from ({values}) left join last_changes using (lead_id, column_name)
        ),
        differing as (
            select lead_id, column_name, value, case
                when {is_entered} then created_at
                -- the new change must be the last one, even if this extraction has an earlier clock
                else greatest(case when {is_closing} then {before} else {now} end, last_known_at + to_microseconds(1))
            end as known_at
            from compared where value is distinct from last_value
            union all
            -- a status that the mapping has made a closing one since is moved to just before the clock that saw it
            select lead_id, column_name, value, {before} as known_at
            from compared where {is_closing} and value = last_value and last_origin = 'extraction'
            and last_known_at = {now}
        )
        select
            'extraction-' || md5(
                concat_ws(chr(31), lead_id, column_name, epoch_us(known_at), coalesce(value, chr(30)))
            ) as change_id,
            lead_id, column_name, value, null::timestamptz as changed_at, null::varchar as project_id,
            known_at, 'extraction' as origin
        from differing
        where change_id not in (select change_id from known_changes)"""


def shown_columns(leads: TableBinding) -> list[str]:
    """Return the overwritten columns that the source has."""
    return [name for name in OVERWRITTEN if leads.forms[name] is not None]


def history_assumptions(leads: TableBinding, history: TableBinding | None) -> Iterator[str]:
    """Yield sentences about assumptions on the history of the leads."""
    names = shown_columns(leads)
    if names and history is None:
        yield (
            f"The source keeps no history of {', '.join(f'leads.{name}' for name in names)}: a change counts as known "
            "from the extraction that first saw it."
        )
    if assumed := [name for name in names if name in FROM_CREATION]:
        listed = " and ".join(f"leads.{name}" for name in assumed)
        unless = "" if history is None else ", unless its history has another value"
        yield (
            f"The value of {listed} that the first extraction of a lead shows is assumed known from the lead's "
            f"creation{unless}."
        )


@dataclass(frozen=True)
class Counts:
    """Numbers of new, changed and unchanged rows, and of all rows of the table after the load."""

    new: int
    changed: int
    unchanged: int
    total: int


def write_deltas(
    connection: DuckDBPyConnection,
    bindings: Mapping[str, TableBinding | None],
    clock: datetime,
    seen_at: datetime,
    load_number: int,
    existing: set[str],
) -> tuple[list[Delta], dict[str, Counts]]:
    """Create ``delta_<table>``, the rows whose content the warehouse does not hold, for every table.

    ``seen_at`` is the time from which a fact without a time of its own counts as known. ``load_number`` marks the rows
    of this extraction; a clock cannot, because two extractions may have the same clock.
    """
    deltas: list[Delta] = []
    counts: dict[str, Counts] = {}
    for name, binding in bindings.items():
        if name == CHANGES:
            continue
        table = TABLES[name]
        connection.execute(
            f"create table delta_{name} as with content as ({_content(table, binding, seen_at)}), "
            f"hashed as (select *, {_row_hash(table)} as row_hash from content) "
            f"select h.*, timestamptz '{clock.isoformat()}' as extracted_at, {load_number}::bigint as load_number "
            f"from hashed h left join known_{name} k on k.{table.key} = h.{table.key} "
            "where k.row_hash is distinct from h.row_hash"
        )
        changed, delta, known, rows = one_row(
            connection,
            f"select (select count(*) from delta_{name} semi join known_{name} using ({table.key})), "
            f"(select count(*) from delta_{name}), (select count(*) from known_{name}), {_accepted(name, binding)}",
        )
        counts[name] = Counts(delta - changed, changed, rows - delta, known + delta - changed)
        if delta or name not in existing:
            deltas.append(Delta(name, f"delta_{name}", "merge"))
    return deltas, counts


def write_history(
    connection: DuckDBPyConnection,
    leads: TableBinding,
    history: TableBinding | None,
    clock: datetime,
    seen_at: datetime,
    load_number: int,
    existing: set[str],
    closing_statuses: Sequence[str],
) -> tuple[list[Delta], Counts, dict[str, int]]:
    """Create the new rows of the history; return their delta, their counts, and the changes seen by column."""
    changes_seen = write_changes(connection, leads, history, clock, seen_at, load_number, closing_statuses)
    from_source, delta, known, accepted = one_row(
        connection,
        f"select (select count(*) from told_changes), (select count(*) from delta_{CHANGES}), "
        f"(select count(*) from known_{CHANGES}), {_accepted(CHANGES, history)}",
    )
    deltas = [Delta(CHANGES, f"delta_{CHANGES}", "merge")] if delta or CHANGES not in existing else []
    return deltas, Counts(from_source, 0, accepted - from_source, known + delta), changes_seen


def _accepted(table: str, binding: TableBinding | None) -> str:
    return "0" if binding is None else f"(select count(*) from typed_{table} where check_no is null)"


def _content(table: Table, binding: TableBinding | None, seen_at: datetime) -> str:
    if binding is not None:
        return resolved(binding, seen_at)
    columns = ", ".join(f"null::{SQL_TYPES[column.kind]} as {column.name}" for column in table.columns)
    return f"select {columns} where false"


def _row_hash(table: Table) -> str:
    parts = []
    for column in table.columns:
        value = f"epoch_us({column.name})::varchar" if column.kind == "time" else f"{column.name}::varchar"
        # an added column that is null is left out: rows stored before it was added keep their hash
        parts.append(f"'{column.name} ' || {value}" if column.added else f"coalesce({value}, chr(30))")
    return f"md5(concat_ws(chr(31), {', '.join(parts)}))"
