"""What an engine must supply; `store.warehouse.engines` lists those that there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from store.warehouse.readers import Readers
from store.warehouse.tables import Connection

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class WarehouseBusyError(RuntimeError):
    """The warehouse is held by another process; the message names it and says what to do."""


class WarehouseUnavailableError(RuntimeError):
    """The database does not answer; the message names it, without its password, and says what to do."""


@dataclass(frozen=True)
class Excerpt:
    """What is read of a table of the warehouse.

    Attributes
    ----------
    schema, table : str
    columns : sequence of str or None
        None for all.
    where : str or None
        A condition in SQL that every engine understands; None for all rows.
    """

    schema: str
    table: str
    columns: Sequence[str] | None = None
    where: str | None = None


@dataclass(frozen=True)
class Engine(ABC):
    """An engine, and the address of a warehouse on it.

    Attributes
    ----------
    address : str
    is_file : bool
        Whether it is a file: one process holds it at a time, and readers get a file as well.
    marts : str
        The schema in which dbt builds the marts: where readers have those of schema ``marts``, it is another one.
    """

    address: str
    is_file: ClassVar[bool]
    marts: ClassVar[str]

    @property
    @abstractmethod
    def shown(self) -> str:
        """The address, fit to be shown: without a password."""

    def canonical(self, environment: Mapping[str, str]) -> str:
        """Return the address as every client of the warehouse reads it alike.

        Parameters
        ----------
        environment : mapping of str to str
            May say what the address does not.

        Raises
        ------
        AddressError
            If there is no such form.
        """
        del environment
        return self.address

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return what dbt's profile reads: the target of the engine, and its parts."""

    @abstractmethod
    def connect(self) -> AbstractContextManager[Connection]:
        """Open the warehouse with its session in UTC, and close it again: dbt cannot open a file that Python holds.

        Raises
        ------
        WarehouseBusyError
            If another process still holds it after two minutes.
        WarehouseDamagedError
            If it is a damaged file.
        WarehouseUnavailableError
            If it does not answer.
        """

    def is_lost(self, error: Exception) -> bool:
        """Say whether an error means that a connection is lost, and may come back."""
        del error
        return False

    def is_interrupted(self, error: Exception) -> bool:
        """Say whether a driver has raised an error in place of the interruption by Ctrl-C."""
        del error
        return False

    @abstractmethod
    def analyze(self, excerpts: Sequence[Excerpt]) -> AbstractContextManager[DuckDBPyConnection]:
        """Open excerpts of tables, at least, under their names in DuckDB.

        Raises
        ------
        WarehouseBusyError, WarehouseDamagedError, WarehouseUnavailableError
            As `connect`.
        """

    @abstractmethod
    def readers(self, published: Path, group: str | None = None) -> Readers:
        """Return where readers find the marts.

        Parameters
        ----------
        published : Path
            The file that they open, of an engine that is a file.
        group : str, optional
            The group that may read this file; by default its owner alone.
        """
