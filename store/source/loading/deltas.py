"""The new rows: those whose content the warehouse does not hold, and the history of overwritten columns.

The history in ``raw.changes`` is append-only. It has two origins: the CRM's own history, if the source has one, and the
comparison of each row of its owners (leads, projects, customers) with its last changes in the history. The comparison
fills the gaps of the CRM's history: after an extraction, the last change of each row and column has the value of the
row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckdb import DuckDBPyConnection

from models.decisions.later_changes import FIRST_DAYS
from models.declaring.attribute import Attribute
from store.source.checking.typed import resolved, stored_name, stored_text
from store.source.contract import CHANGES, FROM_CREATION, OVERWRITTEN, TABLES
from store.source.loading.stored import Delta
from store.source.mapping.binding import BoundAttribute, TableBinding
from store.source.owners import OWNER, OWNER_KEYS, is_of, owner_table
from store.source.record import SQL_TYPES, Column, Table
from store.source.sql import one_row
from store.sql import literals

WITHDRAWN = "withdrawn-"
"""The beginning of the key of a change that takes back a first value, and of one that tells it again from the
extraction on. In the order of bytes it follows the beginning of every other change that an extraction has seen."""

BACKDATED = f"value is not null and known_at < extracted_at - to_days({FIRST_DAYS})"
"""Whether a change that an extraction has seen is a first value that counts as known before it, as SQL."""

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
    owners: Sequence[TableBinding],
    history: TableBinding | None,
    clock: datetime,
    seen_at: datetime,
    load_number: int,
    closing_statuses: Sequence[str] = (),
    read_before: Sequence[Attribute] = (),
) -> dict[str, int]:
    """Create ``delta_changes``, the changes that ``known_changes`` does not hold.

    Rows are compared with the history and not with their tables in ``raw``, which are loaded later: after a killed
    extraction they may differ.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``typed_<table>`` and ``known_<table>`` of the owners, ``known_changes`` and, where
        the source has a history, ``typed_changes``.
    owners : sequence of TableBinding
        Leads, projects and customers, those that the source has.
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
    read_before : sequence of Attribute
        Those that an earlier extraction has read: a stored row without a value of one had none then. First values of
        withdrawn ones count as known from the extraction that saw them.

    Returns
    -------
    dict of str to int
        The changes that the extraction itself saw, by column; columns that the source lacks are left out.
    """
    contract = ", ".join(TABLES[CHANGES].column_names)
    nothing = f"select {contract}, known_at, origin from known_{CHANGES} where false"
    from_source = nothing
    if history is not None:
        from_source = (
            f"select {contract}, changed_at as known_at, 'source' as origin "
            f"from ({resolved(history, seen_at)}) anti join known_{CHANGES} using (change_id)"
        )
    connection.execute(f"create table told_changes as {from_source}")
    shown = {owner.table.name: kept_columns(owner) for owner in owners}
    present = [_present_values(owner, columns) for owner in owners if (columns := shown[owner.table.name])]
    seen = _seen_changes(present, seen_at, closing_statuses, read_before) if present else nothing
    connection.execute(f"create table seen_changes as {seen}")
    withdrawn = "".join(f" union all by name {select}" for select in _withdrawals(read_before))
    connection.execute(
        f"create table delta_{CHANGES} as select *, timestamptz '{clock.isoformat()}' as extracted_at, "
        f"{load_number}::bigint as load_number from (from told_changes union all by name from seen_changes{withdrawn})"
    )
    counted = f"select {owner_table()}, column_name, count(*) from seen_changes group by all"
    by_column = {(table, name): rows for table, name, rows in connection.execute(counted).fetchall()}
    return {
        name if table == "leads" else f"{table}.{name}": by_column.get((table, name), 0)
        for table, columns in shown.items()
        for name in map(stored_name, columns)
    }


def _present_values(owner: TableBinding, columns: Sequence[Column | BoundAttribute]) -> str:
    """Compose the SELECT of the present values of a table, one row per row and column.

    ``from_creation`` says whether a first value counts from the creation of the row.
    """
    table = owner.table
    # a change of a project has the lead of the project; one of a customer has the customer alone
    own = [key for key in OWNER_KEYS if key == table.key or (key == "lead_id" and table.of == "leads")]
    keys, listed_keys = (
        ", ".join(own),
        ", ".join(key if key in own else f"null::varchar as {key}" for key in OWNER_KEYS),
    )
    entered = [
        stored_name(each)
        for each in columns
        if (each.known == "creation" if isinstance(each, BoundAttribute) else each.name in FROM_CREATION[table.name])
    ]
    rows = f"(select record, {keys}, {table.occurred} from typed_{table.name} where check_no is null)"
    parts = []
    if contract := [each for each in columns if isinstance(each, Column)]:
        texts = ", ".join(f"{stored_text(each, each.name)} as kept_{each.name}" for each in contract)
        listed = ", ".join(f"kept_{each.name} as {each.name}" for each in contract)
        parts.append(
            f"select * from (select record, {keys}, {table.occurred}, {texts} from typed_{table.name} "
            f"where check_no is null) unpivot include nulls (value for column_name in ({listed}))"
        )
    if attributes := [each.stored for each in columns if isinstance(each, BoundAttribute)]:
        parts.append(
            f"select rows.*, names.column_name, a.value from {rows} rows "
            f"cross join (select unnest([{literals(attributes)}]) as column_name) names left join "
            f"attributes_{table.name} a on a.record = rows.record and a.column_name = names.column_name"
        )
    return (
        f"select '{table.name}' as owner_table, {listed_keys}, "
        f"{table.occurred} as began_at, column_name, value, "
        f"column_name in ({literals(entered)}) as from_creation, "
        f"{table.key} in (select {table.key} from known_{table.name}) as is_stored from ({' union all '.join(parts)})"
    )


def _seen_changes(
    present: Sequence[str], seen_at: datetime, closing_statuses: Sequence[str], read_before: Sequence[Attribute]
) -> str:
    """Compose the SELECT of a change for each row and column whose value differs from its last change."""
    read = literals([f"{each.entity} {each.stored}" for each in read_before])
    # a column that no extraction has read counts as new in every row
    is_entered = (
        "from_creation and last_known_at is null and (not is_stored or not "
        f"(owner_table || ' ' || column_name in ({read}) "
        f"or (owner_table, column_name) in (select ({owner_table()}, column_name) from known_changes)))"
    )
    now = f"timestamptz '{seen_at.isoformat()}'"
    before = f"{now} - to_microseconds(1)"
    is_closing = f"(column_name = 'status' and value in ({literals(closing_statuses)}))"
    columns = f"{', '.join(OWNER_KEYS)}, column_name, value"
    return f"""
        with changes as (
            select {columns}, known_at, change_id, origin from known_changes
            union all
            select {columns}, known_at, change_id, origin from told_changes
        ),
        last_changes as (
            select {OWNER} as owner, {owner_table()} as owner_table, column_name,
                value as last_value, known_at as last_known_at, origin as last_origin
            from changes
            qualify row_number() over (
                partition by owner, owner_table, column_name order by known_at desc, change_id desc
            ) = 1
        ),
        compared as (
            select * from (
                select *, {OWNER} as owner from ({" union all ".join(present)})
            ) left join last_changes using (owner, owner_table, column_name)
        ),
        differing as (
            select {columns}, case
                when {is_entered} then began_at
                -- the new change must be the last one, even if this extraction has an earlier clock
                else greatest(case when {is_closing} then {before} else {now} end, last_known_at + to_microseconds(1))
            end as known_at
            from compared where value is distinct from last_value
            union all
            -- a status that the mapping has made a closing one since is moved to just before the clock that saw it
            select {columns}, {before} as known_at
            from compared where {is_closing} and value = last_value and last_origin = 'extraction'
            and last_known_at = {now}
        )
        select
            'extraction-' || md5(
                concat_ws(chr(31), {", ".join(OWNER_KEYS)}, column_name, epoch_us(known_at), coalesce(value, chr(30)))
            ) as change_id, {columns}, null::timestamptz as changed_at, known_at, 'extraction' as origin
        from differing
        where change_id not in (select change_id from known_changes)"""


def _withdrawals(attributes: Sequence[Attribute]) -> Iterator[str]:
    """Compose SELECTs of changes by which first values of withdrawn attributes count from their extraction on."""
    for table in OVERWRITTEN:
        if not (names := [each.stored for each in attributes if each.withdrawn and each.entity == table]):
            continue
        # a first value is known before the extraction, a seen change at it or later
        backdated = (
            f"select *, max(greatest(known_at, extracted_at)) over (partition by load_number) as seen_at "
            f"from known_{CHANGES} where origin = 'extraction'"
        )
        first = (
            f"from ({backdated}) where {is_of(table)} and column_name in ({literals(names)}) "
            f"and {BACKDATED} and not starts_with(change_id, '{WITHDRAWN}')"
        )
        same = f"{', '.join(OWNER_KEYS)}, column_name, null::timestamptz as changed_at, 'extraction' as origin"
        for key, value, known_at in (("", "null::varchar", "known_at"), ("-seen", "value", "seen_at")):
            yield (
                f"select * from (select '{WITHDRAWN}' || md5(change_id || '{key}') as change_id, {value} as value, "
                f"{known_at} as known_at, {same} {first}) anti join known_{CHANGES} using (change_id)"
            )


def kept_columns(owner: TableBinding) -> list[Column | BoundAttribute]:
    """Return the overwritten columns and attributes that the source has."""
    table = owner.table
    names = [name for name in OVERWRITTEN[table.name] if _is_shown(owner, name)]
    return [*map(table.column, names), *owner.attributes]


def _is_shown(owner: TableBinding, name: str) -> bool:
    # a planned closing may stand in the column of the closing
    return owner.forms[name] is not None or any(
        column.plan == name and owner.forms[column.name] is not None for column in owner.table.columns
    )


def history_assumptions(owners: Sequence[TableBinding], history: TableBinding | None) -> Iterator[str]:
    """Yield sentences about assumptions on the history of overwritten columns."""
    names = [
        (f"{owner.table.name}.{each.name}", each.name in FROM_CREATION[owner.table.name])
        for owner in owners
        for each in kept_columns(owner)
        if isinstance(each, Column)
    ]
    if names and history is None:
        yield (
            f"The source keeps no history of {', '.join(name for name, _ in names)}: a change counts as known "
            "from the extraction that first saw it."
        )
    if assumed := [name for name, is_entered in names if is_entered]:
        unless = "" if history is None else ", unless its history has another value"
        yield (
            f"The first value of {', '.join(assumed)} that an extraction shows is assumed known from the creation of "
            f"its row{unless}."
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
    owners: Sequence[TableBinding],
    history: TableBinding | None,
    clock: datetime,
    seen_at: datetime,
    load_number: int,
    existing: set[str],
    closing_statuses: Sequence[str],
    read_before: Sequence[Attribute],
) -> tuple[list[Delta], Counts, dict[str, int]]:
    """Create the new rows of the history; return their delta, their counts, and the changes seen by column."""
    changes_seen = write_changes(
        connection, owners, history, clock, seen_at, load_number, closing_statuses, read_before
    )
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
