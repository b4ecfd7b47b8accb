"""The interface of an engine: connections to a warehouse, and the readers of its marts.

`store.warehouse.warehouse` lists the engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from models.declared.registry import SCORED
from store.warehouse.connection import Connection, Readable, column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


SCORES, HISTORY = SCORED.name, SCORED.history

APPEND_ONLY = {HISTORY: ((SCORED.entity.key, "as_of"), tuple(SCORED.all_versions.values()))}
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
    as_of : str or None
        The latest clock of the scores, in ISO 8601; None if no entity is listed.
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
    history : list of [str, str or None, ..., int]
        Rows of the history by clock and the version of each model; None if only their number is known.
    """

    as_of: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    scored: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, list[str]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    history: list[list[Any]] | None = None

    def completed_by(self, earlier: Standing) -> Standing:
        """Return this standing, completed by an earlier one for tables that do not exist now."""
        scores, history = (earlier if name not in self.rows else self for name in (SCORES, HISTORY))
        return Standing(
            as_of=scores.as_of,
            rows={**earlier.rows, **self.rows},
            columns={**earlier.columns, **self.columns},
            scored=scores.scored,
            versions=scores.versions,
            reasons=scores.reasons,
            history=history.history,
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
    lost : int or None
        Rows of the published history that a publication would lose; None if they cannot be counted.
    problem : str or None
        A sentence about a missing or unreadable publication.
    """

    standing: Standing
    lost: int | None = None
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
        required: Callable[[], Sequence[str]],  # noqa: ARG002 - of the shared interface
        warn: Callable[[str], None],  # noqa: ARG002 - of the shared interface
    ) -> int:
        """Add rows of the published history to a warehouse that has lost them; return their number.

        Parameters
        ----------
        connection : Connection
        required : callable
            Returns the columns that are never null.
        warn : callable
            Receives a sentence for people.
        """
        return 0


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
    scored, versions, reasons = {}, {}, {}
    listed = columns.get(SCORES, [])
    for model, of_model in SCORED.models.items():
        if of_model.score in listed and of_model.version in listed:
            source = f"from {place}.{SCORES}"
            ((scored[model],),) = connection.execute(f"select count({of_model.score}) {source}").fetchall()
            version_rows = connection.execute(
                f"select distinct {of_model.version} {source} where {of_model.version} is not null order by 1"
            )
            versions[model] = [each for (each,) in version_rows.fetchall()]
        if of_model.reason in listed:
            ((reason,),) = connection.execute(f"select max({of_model.reason}) from {place}.{SCORES}").fetchall()
            if reason is not None:
                reasons[model] = reason
    clock = None
    if "as_of" in listed:
        ((clock,),) = connection.execute(f"select max(as_of) from {place}.{SCORES}").fetchall()
    return Standing(
        as_of=_in_utc(clock),
        rows=rows,
        columns=columns,
        scored=scored,
        versions=versions,
        reasons=reasons,
        history=_by_clock(connection, place) if HISTORY in columns else None,
    )


def known_versions(connection: Readable) -> frozenset[tuple[str, str]]:
    """Return model and version of each version in the ledger of a warehouse."""
    if not table_exists(connection, "ml", "ml_models"):
        return frozenset()
    return frozenset(connection.execute("select model, version from ml.ml_models").fetchall())


def _by_clock(connection: Readable, place: str) -> list[list[Any]]:
    keys = ", ".join(str(number + 1) for number in range(1 + len(SCORED.versions)))
    found = connection.execute(
        f"select as_of, {', '.join(SCORED.versions)}, count(*) from {place}.{HISTORY} group by {keys} order by {keys}"
    ).fetchall()
    return [[_in_utc(as_of), *rest] for as_of, *rest in found]


def _in_utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


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
