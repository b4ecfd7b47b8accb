"""Tables of the ledger, derived from their fields. Writes are keyed and transactional: a rerun adds nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from store.warehouse.connection import Connection, insert_rows

T = TypeVar("T")

KEY = "key"

Key = Annotated[T, KEY]
"""The type of a field that belongs to the primary key."""

SQL_TYPES = {str: "text", datetime: "timestamptz", int: "bigint", float: "double precision", bool: "boolean"}

RENAMED = {"check": "check_name"}
"""Columns of fields whose names are reserved words of SQL."""

fields_of = partial(get_type_hints, include_extras=True)
"""Returns the fields of a dataclass with their types, as `table` takes them."""


@dataclass(frozen=True, kw_only=True)
class LedgerTable:
    """A table of schema ``ml``.

    Attributes
    ----------
    name : str
    columns : mapping of str to str
        Types by name, in order.
    nullable : tuple of str
        Columns that may be null. A column that was added later is null in earlier rows.
    key : tuple of str
        The columns of its primary key; empty where the writer itself keeps rows unique.
    """

    name: str
    columns: Mapping[str, str]
    nullable: tuple[str, ...]
    key: tuple[str, ...]

    def definition(self) -> str:
        """Return the columns and the key as ``create table`` takes them."""
        parts = [f"{name} {kind}{'' if name in self.nullable else ' not null'}" for name, kind in self.columns.items()]
        return ", ".join([*parts, *([f"primary key ({', '.join(self.key)})"] if self.key else [])])


def table(name: str, **fields: Any) -> LedgerTable:
    """Return the table whose rows have these fields.

    Parameters
    ----------
    name : str
    **fields : type
        A type of Python, a `Key` of one, or a union of a type and None for a column that may be null.
    """
    parts = {RENAMED.get(field, field): get_args(kind) or (kind,) for field, kind in fields.items()}
    return LedgerTable(
        name=name,
        columns={column: SQL_TYPES[kind] for column, (kind, *_) in parts.items()},
        nullable=tuple(column for column, marks in parts.items() if NoneType in marks),
        key=tuple(column for column, marks in parts.items() if KEY in marks),
    )


def put(connection: Connection, into: LedgerTable, row: Mapping[str, object], *, replace: bool = True) -> None:
    """Write a row; if its key exists already, replace that row or, without `replace`, keep it."""
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    changed = ", ".join(f"{name} = excluded.{name}" for name in row if name not in into.key)
    connection.execute(
        f"insert into ml.{into.name} ({', '.join(row)}) values ({places}) "
        f"on conflict ({', '.join(into.key)}) do {f'update set {changed}' if replace else 'nothing'}",
        [*row.values()],
    )


def replace_measurement(
    connection: Connection, into: LedgerTable, looked_at: Mapping[str, object], figures: Iterable[object], **run: object
) -> None:
    """Write the figures of a measurement in place of earlier ones; equal earlier figures stay, with their run.

    Parameters
    ----------
    connection : Connection
    into : LedgerTable
    looked_at : mapping of str to object
        The part of the key that names the measurement, such as model and clock.
    figures : iterable of dataclass
        The rest of each row.
    **run : object
        ``run_id`` and ``measured_at``, where the table has them.
    """
    rows = [tuple(vars(figure).values()) for figure in figures]
    measured = [name for name in into.columns if name not in {*looked_at, *run}]
    conditions = " and ".join(f"{name} = ${place}" for place, name in enumerate(looked_at, start=1))
    of_look, values = f"from ml.{into.name} where {conditions}", [*looked_at.values()]
    if set(connection.execute(f"select {', '.join(measured)} {of_look}", values).fetchall()) == set(rows):
        return
    connection.begin()
    connection.execute(f"delete {of_look}", values)
    names = [*looked_at, *run, *measured]
    insert_rows(connection, "ml", into.name, names, [(*values, *run.values(), *row) for row in rows])
    connection.commit()
