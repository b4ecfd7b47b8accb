"""A connection to a warehouse, and questions that every engine answers alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from store.warehouse.scratch import Name, Readable, Scratch

if TYPE_CHECKING:
    import pyarrow as pa


class Connection(Readable, Protocol):
    """A connection to a warehouse, of any engine."""

    def begin(self) -> Any:
        """Begin a transaction."""

    def commit(self) -> Any:
        """Commit the transaction."""

    def rollback(self) -> Any:
        """Undo the transaction."""

    def register(self, name: str, frame: Any, /) -> Any:
        """Make a frame a table of this connection."""

    def unregister(self, name: str, /) -> Any:
        """Drop the table of a frame."""

    def append(self, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Append rows, of which there are some, to a table."""

    def change_key(self, schema: str, table: str, key: Sequence[str], definition: str) -> None:
        """Give a table another primary key, in the transaction that is open; no row is lost.

        Parameters
        ----------
        schema, table : str
        key : sequence of str
            The columns of the key.
        definition : str
            All columns of the table, and the key, as ``create table`` has them.
        """

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as Arrow has them."""

    def scratch(self, prefix: str, reads: Collection[Name] = ()) -> AbstractContextManager[Scratch]:
        """Make scratch space beside the tables of the warehouse, of which nothing is left afterwards.

        Nothing else writes by this connection meanwhile.

        Parameters
        ----------
        prefix : str
            The beginning of the names of its places.
        reads : collection of Name
            What is read of the warehouse, so far as it is there: all of one state of it.
        """


def table_exists(connection: Readable, schema: str, name: str) -> bool:
    """Say whether there is such a table or view."""
    return bool(columns_of(connection, schema, name))


def columns_of(connection: Readable, schema: str, name: str) -> list[str]:
    """Return the columns of a table or view in their order; none where it is not there."""
    return list(column_types(connection, schema, name))


def column_types(connection: Readable, schema: str, name: str, *, catalog: str | None = None) -> dict[str, str]:
    """Return the columns of a table or view in their order, with their types; none where it is not there.

    Parameters
    ----------
    connection : Readable
    schema, name : str
    catalog : str, optional
        A database that is attached; by default the warehouse itself.
    """
    found = connection.execute(
        "select column_name, data_type from information_schema.columns where table_schema = $1 and table_name = $2 "
        f"and table_catalog = {'current_database()' if catalog is None else repr(catalog)} order by ordinal_position",
        [schema, name],
    ).fetchall()
    return dict(found)


def insert_rows(
    connection: Connection, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows at once: a hundred small statements took longer than the measuring that they wrote down."""
    if rows:
        connection.append(schema, table, columns, rows)
