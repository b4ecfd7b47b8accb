"""Sources: their tables, as relations of one scratch DuckDB.

A source is a folder of files or a PostgreSQL database. Its reader fetches only the columns that it is asked for, judges
nothing but the structure of a file, and leaves each table as the relation ``source_<table>``: the running number of the
row in ``record``, and the columns under the names that `of_source` gives them.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from duckdb import DuckDBPyConnection

from store.addresses import AddressError, described, is_database
from store.source.contract import SourceContractError
from store.source.reading.databases import DatabaseSource
from store.source.reading.folders import FolderSource
from store.source.reading.tables import Reading, Tables


class Source(Protocol):
    """Where the tables come from."""

    @property
    def description(self) -> str:
        """The address without its password."""

    @property
    def folder(self) -> Path | None:
        """The folder, when it is one."""

    def columns(self) -> Tables:
        """Return the columns by table."""

    def place(self, source_table: str) -> str:
        """Return the name of a table as a person would look for it."""

    def type_of(self, source_table: str, column: str) -> str | None:
        """Return the type of a column, as the source names it; None of one that may not be read."""

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None,
    ) -> Reading:
        """Create the relation ``source_<table>``; ``since`` bounds a column of a database from below."""


def open_source(address: str, *, schema: str | None = None) -> Source:
    """Return the reader for an address: a ``postgresql://`` URL or a folder.

    Raises
    ------
    SourceContractError
        When there is no such folder or database, or it cannot be read.
    """
    if is_database(address):
        return DatabaseSource(address, description=describe(address), schema=schema)
    return FolderSource(Path(address))


def describe(address: str) -> str:
    """Return how a source is named in what is stored and shown: the folder in full, or the address with no password.

    Raises
    ------
    SourceContractError
        When an address cannot be read.
    """
    if "://" not in address:
        return str(Path(address).resolve())
    try:
        return described(address)
    except AddressError as error:
        raise SourceContractError(f"source: {error}") from None
