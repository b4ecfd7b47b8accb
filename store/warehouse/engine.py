"""What an engine must supply: connections, and where the readers of a warehouse find the marts and get new ones.

`store.warehouse.warehouse` lists the engines that there are.
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
"""Tables to which builds add rows and never change one, and the columns by which a row is known: those that are never
null, which an engine can hash, and the others."""


def is_same_row(name: str, columns: Iterable[str]) -> str:
    """Return when a row of an append-only table that is published is one that was built, as a condition in SQL.

    Parameters
    ----------
    name : str
    columns : iterable of str
        Those that both have: an earlier state may lack one.
    """
    there, (never_null, others) = set(columns), APPEND_ONLY[name]
    return " and ".join(
        [f"published.{each} = built.{each}" for each in never_null]
        + [f"published.{each} is not distinct from built.{each}" for each in others if each in there]
    )


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The marts of one place.

    Attributes
    ----------
    as_of : str or None
        The latest clock of the scores, in ISO 8601; None where no entity is listed.
    rows : mapping of str to int
        Rows by table; those that are not there are left out.
    columns : mapping of str to list of str
        Columns by table.
    scored : mapping of str to int
        Listed entities that have a score, by model.
    versions : mapping of str to list of str
        Versions behind these scores, by model.
    reasons : mapping of str to str
        Why a model has not scored, where the table says so.
    history : list of [str, str or None, ..., int]
        Rows of the history by clock and the version of each model; None where only their number is known.
    """

    as_of: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    scored: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, list[str]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    history: list[list[Any]] | None = None

    def completed_by(self, earlier: Standing) -> Standing:
        """Return the same with what an earlier record knows of the tables that are not there."""
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
        """Return the same with the columns that another standing has of a table as well."""
        columns = list(dict.fromkeys([*other.columns.get(name, ()), *self.columns.get(name, ())]))
        return replace(self, columns={**self.columns, name: columns})


@dataclass(frozen=True, kw_only=True)
class Found:
    """What readers have.

    Attributes
    ----------
    standing : Standing
    lost : int or None
        Rows of its history that a publication would take from them; None where they cannot be counted.
    problem : str or None
        What is missing or cannot be read, in a sentence.
    """

    standing: Standing
    lost: int | None = None
    problem: str | None = None


class Readers(ABC):
    """Where the readers of a warehouse find the marts, and how they get new ones.

    Attributes
    ----------
    place : str
        The file or the schema.
    where : str
        The same, with the database of a schema.
    role : str or None
        The role by which a database lets them read.
    after_loss : str
        What becomes of the history that they have when the warehouse is lost, as the end of a sentence.
    """

    place: str
    where: str
    role: ClassVar[str | None] = None
    after_loss: ClassVar[str]

    @abstractmethod
    def found(self, connection: Connection, names: Sequence[str], last: Standing) -> Found:
        """Measure what readers have.

        Parameters
        ----------
        connection : Connection
        names : sequence of str
            The marts.
        last : Standing
            What the home remembers of the last publication.
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
        """Give readers the marts that dbt has built, in one act.

        Parameters
        ----------
        connection : Connection
        names : sequence of str
            The marts. What else lies beside them is left alone: a dbt that was killed may have left some.
        last : Standing
            What the home remembers of the last publication.
        review : callable
            Gets the connection, what readers have, and what they would have. What it raises leaves everything as it
            was.
        warn : callable
            Receives a sentence for people.

        Returns
        -------
        tuple of Standing and mapping of str to object
            What readers have now, and where it lies.
        """

    def take_back(
        self,
        connection: Connection,  # noqa: ARG002 - of the shared interface
        required: Callable[[], Sequence[str]],  # noqa: ARG002 - of the shared interface
        warn: Callable[[str], None],  # noqa: ARG002 - of the shared interface
    ) -> int:
        """Add rows of the published history to that of a warehouse which has lost them, and count them.

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
    """Count what the marts hold, of the warehouse itself or of a file that is attached to it.

    Tables that are not there are left out.
    """
    found = {name: list(column_types(connection, schema, name, catalog=catalog)) for name in names}
    columns = {name: listed for name, listed in found.items() if listed}
    place = schema if catalog is None else f"{catalog}.{schema}"
    rows = {name: connection.execute(f'select count(*) from {place}."{name}"').fetchall()[0][0] for name in columns}
    scored, versions, reasons = {}, {}, {}
    listed = columns.get(SCORES, [])
    for model, of_model in SCORED.models.items():
        if of_model.score in listed and of_model.version in listed:
            of = f"from {place}.{SCORES}"
            ((scored[model],),) = connection.execute(f"select count({of_model.score}) {of}").fetchall()
            behind = connection.execute(
                f"select distinct {of_model.version} {of} where {of_model.version} is not null order by 1"
            )
            versions[model] = [each for (each,) in behind.fetchall()]
        if of_model.reason in listed:
            ((said,),) = connection.execute(f"select max({of_model.reason}) from {place}.{SCORES}").fetchall()
            if said is not None:
                reasons[model] = said
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
    """Return the versions that the ledger of a warehouse has, each with its model."""
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
    """Tables cannot be altered, for others build on them or hold them; the message says who, and what to do."""


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

    def canonical(self, environment: Mapping[str, str]) -> str:  # noqa: ARG002 - of the shared interface
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

    def is_lost(self, error: Exception) -> bool:  # noqa: ARG002 - of the shared interface
        """Say whether an error means that a connection is lost, and may come back."""
        return False

    def is_interrupted(self, error: Exception) -> bool:  # noqa: ARG002 - of the shared interface
        """Say whether a driver has raised an error in place of the interruption by Ctrl-C."""
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
