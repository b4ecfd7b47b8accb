"""The interface of an engine: connections to a warehouse, and the readers of its marts.

`store.warehouse.warehouse` lists the engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from models.declared.registry import SCORED_TABLES
from models.declaring.scored_table import ScoredTable
from store.warehouse.connection import Connection, Readable, column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


HISTORIES = {each.history: each for each in SCORED_TABLES.values()}
"""The scored tables, by the names of their histories."""

APPEND_ONLY = {
    name: ((each.entity.key, "as_of"), tuple(each.all_versions.values())) for name, each in HISTORIES.items()
}
"""Tables to which builds only add rows, and the columns that identify a row: those that are never null, which an engine
can hash, and the others."""


def is_same_row(name: str, columns: Iterable[str]) -> str:
    """Return the SQL condition that a published row of an append-only table is the same as a built one.

    Parameters
    ----------
    name : str
    columns : iterable of str
        The columns that both tables have: one of an earlier release may lack some.
    """
    shared, (never_null, nullable) = set(columns), APPEND_ONLY[name]
    return " and ".join(
        [f"published.{each} = built.{each}" for each in never_null]
        + [f"published.{each} is not distinct from built.{each}" for each in nullable if each in shared]
    )


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The standing of the marts in one place: their rows, columns, scores and versions.

    Attributes
    ----------
    as_of : mapping of str to str
        The latest clock of each scored table, in ISO 8601; without tables that list no entity.
    rows : mapping of str to int
        Rows by table, without tables that do not exist.
    columns : mapping of str to list of str
        Columns by table.
    scored : mapping of str to int
        Listed entities that have a score, by model.
    versions : mapping of str to list of str
        Versions of these scores, by model.
    reasons : mapping of str to str
        Why a model has not scored, by model, if the table has a reason.
    history : mapping of str to list of [str, str or None, ..., int]
        Rows of each history by clock and the version of each model; without histories of which only the number of rows
        is known.
    """

    as_of: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    scored: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, list[str]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    history: Mapping[str, list[list[Any]]] = field(default_factory=dict)

    def completed_by(self, earlier: Standing) -> Standing:
        """Return this standing, completed by an earlier one for tables that do not exist now."""
        gone = [table for name, table in SCORED_TABLES.items() if name not in self.rows]
        models = {model for table in gone for model in table.models}

        def completed(now: Mapping[str, Any], before: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
            return {**{name: each for name, each in before.items() if name in names}, **now}

        return Standing(
            as_of=completed(self.as_of, earlier.as_of, {each.name for each in gone}),
            rows={**earlier.rows, **self.rows},
            columns={**earlier.columns, **self.columns},
            scored=completed(self.scored, earlier.scored, models),
            versions=completed(self.versions, earlier.versions, models),
            reasons=completed(self.reasons, earlier.reasons, models),
            history=completed(self.history, earlier.history, HISTORIES.keys() - self.rows.keys()),
        )

    def with_columns_of(self, other: Standing, name: str) -> Standing:
        """Return this standing with the columns of a table in another standing added."""
        columns = list(dict.fromkeys([*other.columns.get(name, ()), *self.columns.get(name, ())]))
        return replace(self, columns={**self.columns, name: columns})


@dataclass(frozen=True, kw_only=True)
class Found:
    """The published marts, as found.

    Attributes
    ----------
    standing : Standing
    lost : mapping of str to int
        Rows of each published history that a publication would lose; without histories of which they cannot be counted.
    problem : str or None
        A sentence about a missing or unreadable publication.
    """

    standing: Standing
    lost: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None


class Readers(ABC):
    """The readers of a warehouse: the place where they find the marts, and the act of publishing new ones.

    Attributes
    ----------
    place : str
        The file or the schema.
    where : str
        The same, with the database of a schema.
    role : str or None
        The role of the database that may read.
    after_loss : str
        The end of a sentence about the published history after the loss of the warehouse.
    """

    place: str
    where: str
    role: ClassVar[str | None] = None
    after_loss: ClassVar[str]

    @abstractmethod
    def found(self, connection: Connection, names: Sequence[str], last: Standing) -> Found:
        """Measure the published marts.

        Parameters
        ----------
        connection : Connection
        names : sequence of str
            The marts.
        last : Standing
            The record of the home about the last publication.
        """

    @abstractmethod
    def replace(
        self,
        connection: Connection,
        names: Sequence[str],
        last: Standing,
        review: Callable[[Connection, Found, Standing], None],
        warn: Callable[[str], None],
    ) -> tuple[Standing, Mapping[str, Any]]:
        """Publish the marts that dbt has built, in one act.

        Parameters
        ----------
        connection : Connection
        names : sequence of str
            The marts. Other tables beside them are ignored: a killed dbt may have left some.
        last : Standing
            The record of the home about the last publication.
        review : callable
            Gets the connection, the published marts and the standing of the new ones. If it raises an error, nothing
            is changed.
        warn : callable
            Receives a sentence for people.

        Returns
        -------
        tuple of Standing and mapping of str to object
            The standing of the published marts, and metadata about their place.
        """

    def take_back(
        self,
        connection: Connection,  # noqa: ARG002 - of the shared interface
        required: Callable[[str], Sequence[str]],  # noqa: ARG002 - of the shared interface
        warn: Callable[[str], None],  # noqa: ARG002 - of the shared interface
    ) -> dict[str, int]:
        """Add rows of the published histories to a warehouse that has lost them; return their number by history.

        Parameters
        ----------
        connection : Connection
        required : callable
            Returns the columns of a history that are never null.
        warn : callable
            Receives a sentence for people.
        """
        return {}


def measure_standing(
    connection: Readable, names: Iterable[str], *, schema: str = "marts", catalog: str | None = None
) -> Standing:
    """Measure the marts of the warehouse itself, or of a file that is attached to it.

    Tables that do not exist are left out.
    """
    found = {name: list(column_types(connection, schema, name, catalog=catalog)) for name in names}
    columns = {name: listed for name, listed in found.items() if listed}
    place = schema if catalog is None else f"{catalog}.{schema}"
    rows = {name: connection.execute(f'select count(*) from {place}."{name}"').fetchall()[0][0] for name in columns}
    clocks, scored, versions, reasons = {}, {}, {}, {}
    for name, table in SCORED_TABLES.items():
        listed, source = columns.get(name, []), f"from {place}.{name}"
        for model, of_model in table.models.items():
            if of_model.score in listed and of_model.version in listed:
                ((scored[model],),) = connection.execute(f"select count({of_model.score}) {source}").fetchall()
                version_rows = connection.execute(
                    f"select distinct {of_model.version} {source} where {of_model.version} is not null order by 1"
                )
                versions[model] = [each for (each,) in version_rows.fetchall()]
            if of_model.reason in listed:
                ((reason,),) = connection.execute(
                    f"select max({of_model.reason}) {source} where {of_model.reason} <> $1", [table.out_of_scope]
                ).fetchall()
                if reason is not None:
                    reasons[model] = reason
        if "as_of" in listed:
            ((clock,),) = connection.execute(f"select max(as_of) {source}").fetchall()
            if clock is not None:
                clocks[name] = _in_utc(clock)
    return Standing(
        as_of=clocks,
        rows=rows,
        columns=columns,
        scored=scored,
        versions=versions,
        reasons=reasons,
        history={
            name: _by_clock(connection, f"{place}.{name}", table)
            for name, table in HISTORIES.items()
            if name in columns
        },
    )


def known_versions(connection: Readable) -> frozenset[tuple[str, str]]:
    """Return model and version of each version in the ledger of a warehouse."""
    if not table_exists(connection, "ml", "ml_models"):
        return frozenset()
    return frozenset(connection.execute("select model, version from ml.ml_models").fetchall())


def _by_clock(connection: Readable, history: str, table: ScoredTable) -> list[list[Any]]:
    keys = ", ".join(str(number + 1) for number in range(1 + len(table.versions)))
    found = connection.execute(
        f"select as_of, {', '.join(table.versions)}, count(*) from {history} group by {keys} order by {keys}"
    ).fetchall()
    return [[None if as_of is None else _in_utc(as_of), *rest] for as_of, *rest in found]


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


class WarehouseBusyError(RuntimeError):
    """The warehouse is held by another process; the message names it and says what to do."""


class AlterationRefusedError(RuntimeError):
    """Tables cannot be altered, because others depend on them or lock them; the message says who, and what to do."""


class WarehouseUnavailableError(RuntimeError):
    """The database does not answer; the message names it, without its password, and says what to do."""


@dataclass(frozen=True)
class Excerpt:
    """The part of a table of the warehouse that is read.

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
        Whether the warehouse is a file: only one process can open it at a time, and readers get a copy.
    marts : str
        The schema in which dbt builds the marts; another one than ``marts`` if readers read that schema.
    """

    address: str
    is_file: ClassVar[bool]
    marts: ClassVar[str]

    @property
    @abstractmethod
    def shown(self) -> str:
        """The address without a password, for messages."""

    def canonical(self, environment: Mapping[str, str]) -> str:  # noqa: ARG002 - of the shared interface
        """Return the address in the form that every client of the warehouse reads alike.

        Parameters
        ----------
        environment : mapping of str to str
            Environment variables, which may fill in parts that the address lacks.

        Raises
        ------
        AddressError
            If the address cannot be written in this form.
        """
        return self.address

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the variables of dbt's profile: the target of the engine, and the parts of the address."""

    @abstractmethod
    def connect(self) -> AbstractContextManager[Connection]:
        """Open the warehouse with its session in UTC; close it at the end, as dbt cannot open a file that is open here.

        Raises
        ------
        WarehouseBusyError
            If another process still holds it after two minutes.
        WarehouseDamagedError
            If its file is damaged.
        WarehouseUnavailableError
            If its database does not answer.
        """

    def is_lost(self, error: Exception) -> bool:  # noqa: ARG002 - of the shared interface
        """Say whether an error means that the connection is lost, so that a later attempt may succeed."""
        return False

    def is_interrupted(self, error: Exception) -> bool:  # noqa: ARG002 - of the shared interface
        """Say whether a driver has raised this error in place of the interruption by Ctrl-C."""
        return False

    @abstractmethod
    def analyze(self, excerpts: Sequence[Excerpt]) -> AbstractContextManager[DuckDBPyConnection]:
        """Open DuckDB with at least these excerpts of tables, under their names.

        Raises
        ------
        WarehouseBusyError, WarehouseDamagedError, WarehouseUnavailableError
            As `connect`.
        """

    @abstractmethod
    def readers(self, published: Path, group: str | None = None) -> Readers:
        """Return the readers of the marts.

        Parameters
        ----------
        published : Path
            The file that they open, if the engine is a file.
        group : str, optional
            The group that may read this file; by default its owner alone.
        """
