"""The warehouse: connections to it, and what the last extraction left for everything after it to read."""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import dagster as dg

from assets.addresses import without_password
from assets.faults import WarehouseDamagedError, damaged_warehouse
from assets.source.contract import EARLIER_NAMES, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from duckdb import DuckDBPyConnection

Opened = TypeVar("Opened")

PATIENCE_SECONDS = 120
"""How long a file is waited for that another process holds: so long may the dbt of a killed run live on."""

STEP_RETRIES, STEP_RETRY_SECONDS = 2, 5
"""Of a step that has lost its connection to a database."""


FEATURE_CLOCK = ("features", "feature_clock")
CLOCKS = (("raw", "extraction"), FEATURE_CLOCK)
"""The tables that say of which clock facts and features are."""


class WarehouseBusyError(RuntimeError):
    """The warehouse is held by another process; the message names it and says what to do."""


class NoExtractionError(RuntimeError):
    """Nothing has been extracted yet."""


class StaleFeaturesError(RuntimeError):
    """Features and labels are not those of the last extraction."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The commit marker of the last extraction.

    Attributes
    ----------
    as_of : datetime
        The clock, UTC.
    load_number : int
        The last extraction that brought something, counted from 1; 0 in a warehouse from before they were counted.
    source, mapping : str
    closing_outcomes, closing_lead_statuses, closing_project_statuses : list of str
        What ends a lead, beside a won project.
    silence_closes_after_days : int or None
    horizon_days : dict of str to int
        The mapping's default horizons by model.
    assumptions : list of str
    accepted : list of str
        What the source delivers no more, and a person has accepted.
    """

    as_of: datetime
    load_number: int
    source: str
    mapping: str
    closing_outcomes: list[str]
    silence_closes_after_days: int | None
    horizon_days: dict[str, int]
    assumptions: list[str]
    accepted: list[str] = field(default_factory=list)
    closing_lead_statuses: list[str] = field(default_factory=list)
    closing_project_statuses: list[str] = field(default_factory=list)


class Connection(Protocol):
    """A connection to a warehouse, of either engine: DuckDB's own, or `assets.postgres.PostgresConnection`.

    Parameters of a statement are ``$1``, ``$2`` …, and its SQL is what both engines understand.
    """

    def execute(self, query: str, parameters: Any = ..., /) -> Any:
        """Run a statement; what it returns has ``fetchall()``, ``fetchone()`` and ``df()``."""

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


@dataclass(frozen=True)
class Excerpt:
    """What is read of a table of the warehouse.

    Attributes
    ----------
    schema, table : str
    columns : sequence of str or None
        None for all.
    where : str or None
        A condition in SQL that both engines understand; None for all rows.
    """

    schema: str
    table: str
    columns: Sequence[str] | None = None
    where: str | None = None


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The database that the pipeline writes: a DuckDB file, or a PostgreSQL database.

    Parameters
    ----------
    address : str
        ``duckdb:<path>`` or ``postgresql://…``.
    """

    address: str

    @property
    def is_file(self) -> bool:
        """Whether it is a DuckDB file, which one process can hold at a time."""
        return self.address.startswith("duckdb:")

    @property
    def path(self) -> str:
        """The DuckDB file."""
        return self.address.removeprefix("duckdb:")

    @property
    def shown(self) -> str:
        """The warehouse, fit to be shown: without a password."""
        return self.path if self.is_file else without_password(self.address)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open the warehouse with its session in UTC, and close it again: dbt cannot open a file that Python holds.

        Raises
        ------
        WarehouseBusyError
            If another process still holds the file after two minutes.
        WarehouseDamagedError
            If the file is damaged.
        WarehouseUnavailableError
            If the database does not answer, or the connection to it is lost outside a step of a run.
        dagster.RetryRequested
            If the connection is lost in a step.
        """
        if self.is_file:
            with self._file() as connection:
                yield connection
            return
        from assets.postgres import PostgresConnection

        with closing(PostgresConnection(self.address)) as opened, self._may_be_lost():
            yield opened

    @contextmanager
    def analyze(self, *excerpts: Excerpt) -> Iterator[DuckDBPyConnection]:
        """Open tables of the warehouse for analysis in DuckDB's SQL, under their names.

        A DuckDB file is opened itself, with all that is in it. Of a PostgreSQL database the excerpts are copied into
        memory, and nothing else is there. Nothing that is written is kept but in temporary tables of the connection.

        Raises
        ------
        WarehouseBusyError, WarehouseDamagedError, WarehouseUnavailableError, dagster.RetryRequested
            As `connect`; a connection is there to be lost while the excerpts are copied.
        """
        if self.is_file:
            with self._file() as connection:
                yield connection
            return
        import duckdb

        from assets.postgres import copy_into

        with duckdb.connect() as memory:
            memory.execute("set TimeZone = 'UTC'")
            memory.execute("set enable_progress_bar = false")
            with self._may_be_lost():
                for each in excerpts:
                    copy_into(self.address, memory, each.schema, each.table, each.columns, each.where)
            yield memory

    @contextmanager
    def _may_be_lost(self) -> Iterator[None]:
        """Have a step that loses its connection run again; whoever is no step is told that it was lost."""
        from assets.postgres import WarehouseUnavailableError, is_lost_connection

        try:
            yield
        except Exception as error:
            if not is_lost_connection(error):
                raise
            if not _in_a_step():
                raise WarehouseUnavailableError(
                    f"warehouse {self.shown}: expected a connection that lasts, found it lost: {str(error).strip()}. "
                    "Check that the server runs and can be reached, and ask again."
                ) from error
            # every write is keyed and a transaction: the step can be run again from its beginning
            raise dg.RetryRequested(max_retries=STEP_RETRIES, seconds_to_wait=STEP_RETRY_SECONDS) from error

    @contextmanager
    def _file(self) -> Iterator[DuckDBPyConnection]:
        import duckdb

        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        connection = patiently(self.path, lambda: duckdb.connect(self.path))
        try:
            connection.execute("set TimeZone = 'UTC'")
            # it would draw itself between the lines of a run
            connection.execute("set enable_progress_bar = false")
            yield connection
        except duckdb.Error as error:
            _refuse_damaged(self.path, error)
            raise
        finally:
            connection.close()

    def extraction(self, within: Connection | None = None) -> Extraction:
        """Return what the last extraction left.

        Parameters
        ----------
        within : Connection, optional
            A connection to this warehouse that is open, to read in its transaction.

        Raises
        ------
        NoExtractionError
            If nothing has been extracted.
        """
        with self.connect() if within is None else nullcontext(within) as connection:
            if not table_exists(connection, "raw", "extraction"):
                raise NoExtractionError(
                    f"{self.shown}: expected an extraction in raw.extraction, found none. "
                    "Materialize the crm assets first, or run `make run`."
                )
            columns = columns_of(connection, "raw", "extraction")
            # a warehouse of an earlier version lacks these
            added = ("load_number", "accepted", "closing_lead_statuses", "closing_project_statuses")
            listed = ", ".join(name if name in columns else "null" for name in added)
            row = connection.execute(
                "select as_of, source, mapping, closing_outcomes, silence_closes_after_days, horizon_days, "
                f"assumptions, {listed} from raw.extraction"
            ).fetchone()
        if row is None:
            raise NoExtractionError(
                f"{self.shown}: raw.extraction is empty, so the last extraction did not finish. "
                "Materialize the crm assets again; nothing that was loaded is lost."
            )
        return Extraction(
            as_of=row[0],
            load_number=row[7] or 0,
            source=row[1],
            mapping=row[2],
            closing_outcomes=json.loads(row[3]),
            silence_closes_after_days=row[4],
            horizon_days=json.loads(row[5]),
            assumptions=json.loads(row[6]),
            accepted=json.loads(row[8] or "[]"),
            closing_lead_statuses=json.loads(row[9] or "[]"),
            closing_project_statuses=json.loads(row[10] or "[]"),
        )

    def built_extraction(self, within: Connection | None = None) -> Extraction:
        """Return what the last extraction left, once features and labels are built from it.

        Parameters
        ----------
        within : Connection, optional
            A connection to this warehouse that is open, to read in its transaction.

        Raises
        ------
        StaleFeaturesError
            If they were built from another extraction or not at all, or a later one has begun to bring rows: views of
            these would stand beside tables without them.
        """
        with self.connect() if within is None else nullcontext(within) as connection:
            extraction = self.extraction(connection)
            built = None
            if columns := columns_of(connection, *FEATURE_CLOCK):
                counted = "load_number" if "load_number" in columns else "0"
                built = connection.execute(f"select as_of, {counted} from features.feature_clock").fetchone()
            ahead = [
                name
                for name in (*TABLES, *EARLIER_NAMES.values())
                if _brought_after(connection, name, extraction.load_number)
            ]
        expected = (
            f"{self.shown}: expected features and labels built from the last extraction, number "
            f"{extraction.load_number} as of {extraction.as_of.isoformat()}, found"
        )
        if built is None or (built[0], built[1] or 0) != (extraction.as_of, extraction.load_number):
            found = "none" if built is None else f"those of number {built[1] or 0} as of {built[0].isoformat()}"
            raise StaleFeaturesError(f"{expected} {found}. Materialize features and labels again.")
        if ahead:
            raise StaleFeaturesError(
                f"{expected} rows of a later one in {', '.join(f'raw.{name}' for name in ahead)}: it is under way, or "
                "did not end. Wait until its run has ended, or materialize the crm assets, features and labels again."
            )
        return extraction

    @property
    def marts(self) -> str:
        """The schema in which dbt builds the marts: readers of a PostgreSQL database get complete ones."""
        return "marts" if self.is_file else "marts_unpublished"

    def row_counts(self, tables: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Count the rows of the tables that dbt built, each a layer and a name."""
        with self.connect() as connection:
            return {
                (layer, name): connection.execute(
                    f'select count(*) from "{self.marts if layer == "marts" else layer}"."{name}"'
                ).fetchall()[0][0]
                for layer, name in tables
            }


def _in_a_step() -> bool:
    try:
        dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return False
    return True


def _brought_after(connection: Connection, table: str, load_number: int) -> bool:
    # rows of an earlier version have no number
    if "load_number" not in columns_of(connection, "raw", table):
        return False
    found = connection.execute(f"select 1 from raw.{table} where load_number > $1 limit 1", [load_number])
    return found.fetchone() is not None


def table_exists(connection: Connection, schema: str, name: str) -> bool:
    """Say whether there is such a table or view."""
    return bool(columns_of(connection, schema, name))


def columns_of(connection: Connection, schema: str, name: str) -> list[str]:
    """Return the columns of a table or view in their order; none where it is not there."""
    return list(column_types(connection, schema, name))


def column_types(connection: Connection, schema: str, name: str, *, catalog: str | None = None) -> dict[str, str]:
    """Return the columns of a table or view in their order, with their types; none where it is not there.

    Parameters
    ----------
    connection : Connection
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
    from assets.postgres import PostgresConnection

    if not rows:
        return
    if isinstance(connection, PostgresConnection):
        connection.append(schema, table, columns, rows)
        return
    places = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
    connection.execute(
        f"insert into {schema}.{table} ({', '.join(columns)}) values {places}",
        [value for row in rows for value in row],
    )


def _refuse_damaged(path: str, error: Exception) -> None:
    damaged = damaged_warehouse(path, str(error))
    if damaged is not None:
        raise WarehouseDamagedError(damaged) from error


def patiently(path: str, opened: Callable[[], Opened]) -> Opened:
    """Open a DuckDB file, and wait while another process holds it.

    Raises
    ------
    WarehouseBusyError
        If another process still holds the file after two minutes.
    WarehouseDamagedError
        If it is damaged.
    """
    import duckdb

    for second in range(PATIENCE_SECONDS + 1):
        if second:
            time.sleep(1)
        try:
            return opened()
        except duckdb.Error as error:
            if not isinstance(error, duckdb.IOException) or "lock" not in str(error):
                _refuse_damaged(path, error)
                raise
            busy = error
        if second == 1:
            dg.get_dagster_logger().warning(
                f"{path} is held by another process, waiting for {PATIENCE_SECONDS} seconds: {busy}"
            )
    raise WarehouseBusyError(
        f"{path}: expected to open the warehouse, found it held by another process. Close that process; readers should "
        f"open the published snapshot, which never blocks and is never blocked. DuckDB says: {busy}"
    ) from busy
