"""What is new: the rows whose content the warehouse does not hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.checking.typed import resolved
from store.source.contract import CHANGES, TABLES
from store.source.loading.history import write_changes
from store.source.loading.stored import Delta
from store.source.mapping.binding import TableBinding
from store.source.record import SQL_TYPES, Table
from store.source.sql import one_row


@dataclass(frozen=True)
class Counts:
    """Rows that are new, have changed, or have not, and those of the table afterwards."""

    new: int
    changed: int
    unchanged: int
    total: int


def write_deltas(
    connection: DuckDBPyConnection,
    bindings: Mapping[str, TableBinding | None],
    clock: datetime,
    seen: datetime,
    load_number: int,
    existing: set[str],
) -> tuple[list[Delta], dict[str, Counts]]:
    """Create ``delta_<table>``, the rows whose content the warehouse does not hold, for every table.

    ``seen`` is the time from which a fact without a time of its own counts as known. ``load_number`` tells what this
    extraction brought from what was there: clocks do not, for two extractions may have the same.
    """
    deltas: list[Delta] = []
    counts: dict[str, Counts] = {}
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
    seen: datetime,
    load_number: int,
    existing: set[str],
    closing_statuses: Sequence[str],
) -> tuple[list[Delta], Counts, dict[str, int]]:
    """Create the new rows of the history; returns them to be written, their counts, and those seen by column."""
    changes_seen = write_changes(connection, leads, history, clock, seen, load_number, closing_statuses)
    told, delta, known, accepted = one_row(
        connection,
        f"select (select count(*) from told_changes), (select count(*) from delta_{CHANGES}), "
        f"(select count(*) from known_{CHANGES}), {_accepted(CHANGES, history)}",
    )
    deltas = [Delta(CHANGES, f"delta_{CHANGES}", "merge")] if delta or CHANGES not in existing else []
    return deltas, Counts(told, 0, accepted - told, known + delta), changes_seen


def _accepted(table: str, binding: TableBinding | None) -> str:
    """Return SQL for the number of rows of a table that were read and fit."""
    return "0" if binding is None else f"(select count(*) from typed_{table} where check_no is null)"


def _content(table: Table, binding: TableBinding | None, seen: datetime) -> str:
    if binding is not None:
        return resolved(binding, seen)
    columns = ", ".join(f"null::{SQL_TYPES[column.kind]} as {column.name}" for column in table.columns)
    return f"select {columns} where false"


def _row_hash(table: Table) -> str:
    parts = []
    for column in table.columns:
        value = f"epoch_us({column.name})::varchar" if column.kind == "time" else f"{column.name}::varchar"
        # an added column that is null is left out: rows from before it keep their hash
        parts.append(f"'{column.name} ' || {value}" if column.added else f"coalesce({value}, chr(30))")
    return f"md5(concat_ws(chr(31), {', '.join(parts)}))"
