"""A DuckDB file as a warehouse, which only one process can open at a time; its scratch space is in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from store.addresses import AddressError, refuse_characters
from store.faults import WarehouseDamagedError, damaged_warehouse
from store.warehouse.connection import Connection, Name, Place, Readable, Scratch, World, refused
from store.warehouse.duckdb.marts import FileReaders
from store.warehouse.engine import Engine, Excerpt, Readers, WarehouseBusyError

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

LOG = logging.getLogger(__name__)
Opened = TypeVar("Opened")

LOG_BEGINS = b"\x64\x00\x62"
"""First bytes of a log of DuckDB (``.wal``): an entry that states its version."""

PATIENCE_SECONDS = 120
"""How long to wait for a file that another process holds: the dbt of a killed run may live on so long."""


class _Place(Place):
    """A database in memory that is attached to a connection."""

    def __init__(self, connection: Readable, name: str, prefix: str) -> None:
        super().__init__(connection, name, prefix)
        connection.execute(f"attach ':memory:' as \"{name}\"")

    def schema(self, name: str) -> str:
        return f'"{self.name}"."{name}"'

    def drop(self) -> None:
        self.connection.execute(f'detach "{self.name}"')


class _World(World):
    """A separate database in memory, which can read neither files nor other databases.

    It has the name of the warehouse's database, so that compiled SQL runs unchanged.
    """

    def __init__(self, warehouse: DuckDBPyConnection) -> None:
        import duckdb

        self._warehouse = warehouse
        self._name: str = warehouse.execute("select current_database()").fetchall()[0][0]
        self._world: DuckDBPyConnection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "enable_external_access": "false",
            },
        )
        for statement in (
            f"attach ':memory:' as \"{self._name}\"",
            f'use "{self._name}"',
            "set TimeZone = 'UTC'",
            "set enable_progress_bar = false",
            # SQL must not read variables of this process as tables
            "set python_enable_replacements = false",
            "set lock_configuration = true",
        ):
            self._world.execute(statement)

    def fill(self, name: Name, columns: Mapping[str, str], query: str) -> None:
        types = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
        self._create(name, f"table {self.relation(name)} ({types})")
        self._world.register("incoming", self._warehouse.sql(query).to_arrow_table())
        self._world.execute(f"insert into {self.relation(name)} select * from incoming")
        self._world.unregister("incoming")

    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        import duckdb

        try:
            self._create(name, f"{kind} {self.relation(name)} as {query}")
        except (
            duckdb.DataError, duckdb.IntegrityError, duckdb.NotSupportedError, duckdb.ProgrammingError,
            duckdb.PermissionException,
        ) as error:  # fmt: skip
            raise refused(name, error) from error

    def take(self, name: Name, other: World, condition: str) -> None:
        rows = other.rows(f"select * from {other.relation(name)} where {condition}")
        self._world.register("incoming", rows)
        self._create(name, f"table {self.relation(name)} as select * from incoming")
        self._world.unregister("incoming")

    def relation(self, name: Name) -> str:
        return f'"{self._name}"."{name[0]}"."{name[1]}"'

    def rows(self, query: str) -> pa.Table:
        return self._world.sql(query).to_arrow_table()

    def close(self) -> None:
        self._world.close()

    def _create(self, name: Name, definition: str) -> None:
        self._world.execute(f'create schema if not exists "{name[0]}"')
        self._world.execute(f"create {definition}")


class MemoryScratch(Scratch):
    """Databases in memory."""

    dialect = "duckdb"
    max_facts = 400_000
    places = _Place

    def __init__(self, connection: DuckDBPyConnection, prefix: str) -> None:
        super().__init__(connection, prefix)
        self.opened = connection

    @contextmanager
    def world(self) -> Iterator[World]:
        """Make a separate database in memory."""
        world = _World(self.opened)
        try:
            yield world
        finally:
            world.close()


class DuckDBConnection:
    """A connection of DuckDB, with the other methods of `Connection`.

    Parameters
    ----------
    opened : DuckDBPyConnection
    """

    def __init__(self, opened: DuckDBPyConnection) -> None:
        self.opened = opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self.opened, name)

    def append(self, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Append rows by one statement."""
        places = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
        self.opened.execute(
            f"insert into {schema}.{table} ({', '.join(columns)}) values {places}",
            [value for row in rows for value in row],
        )

    @contextmanager
    def altering(
        self,
        schema: str,  # noqa: ARG002 - of the shared interface
        tables: Collection[str],  # noqa: ARG002 - of the shared interface
        replaced: Collection[str] = (),  # noqa: ARG002 - of the shared interface
        rekeyed: Collection[str] = (),  # noqa: ARG002 - of the shared interface
    ) -> Iterator[None]:
        """Run a transaction: no other process has the file open, and DuckDB has no dependencies on a table."""
        self.begin()
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def change_key(
        self,
        schema: str,
        table: str,
        key: Sequence[str],  # noqa: ARG002 - of the shared interface
        definition: str,
    ) -> None:
        """Make the table again with the new key, because DuckDB cannot change the key of a table."""
        self.opened.execute(f"create table {schema}.{table}_anew ({definition})")
        self.opened.execute(f"insert into {schema}.{table}_anew by name select * from {schema}.{table}")
        self.opened.execute(f"drop table {schema}.{table}")
        self.opened.execute(f"alter table {schema}.{table}_anew rename to {table}")

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as an Arrow table."""
        return self.opened.sql(query).to_arrow_table()

    @contextmanager
    def scratch(
        self,
        prefix: str,
        reads: Collection[Name] = (),  # noqa: ARG002 - of the shared interface
    ) -> Iterator[Scratch]:
        """Make databases in memory; no other process can write the file meanwhile."""
        yield MemoryScratch(self.opened, prefix)


def opened(path: str = ":memory:") -> DuckDBPyConnection:
    """Open a file, or a database in memory, with its session in UTC."""
    import duckdb

    connection = duckdb.connect(path)
    connection.execute("set TimeZone = 'UTC'")
    # the bar would appear between the lines of a run's log
    connection.execute("set enable_progress_bar = false")
    return connection


def patiently(path: str, open_it: Callable[[], Opened]) -> Opened:
    """Open a DuckDB file, and wait while another process holds it.

    Raises
    ------
    WarehouseBusyError
        If another process still holds the file after two minutes.
    WarehouseDamagedError
        If the file or its log is damaged.
    """
    import duckdb

    _refuse_unlike(path)
    for second in range(PATIENCE_SECONDS + 1):
        if second:
            time.sleep(1)
        try:
            return open_it()
        except duckdb.Error as error:
            if "lock on file" not in str(error):
                _refuse_damaged(path, error)
                raise
            busy = error
        if second == 1:
            LOG.warning(f"{path} is held by another process, waiting for {PATIENCE_SECONDS} seconds: {busy}")
    raise WarehouseBusyError(
        f"{path}: expected to open the warehouse, found it held by another process. Close that process; readers should "
        f"open the published snapshot, which never blocks and is never blocked. DuckDB says: {busy}"
    ) from busy


@dataclass(frozen=True)
class DuckDB(Engine):
    """The engine of ``duckdb:<path>``."""

    is_file = True
    marts = "marts"

    @property
    def shown(self) -> str:
        """The path of the file."""
        return self.address.partition(":")[2]

    def canonical(self, environment: Mapping[str, str]) -> str:  # noqa: ARG002 - of the shared interface
        """Return the address with the absolute path."""
        try:
            path = str(Path(self.shown).expanduser().resolve())
        except RuntimeError:
            raise AddressError(
                f"expected duckdb:<path of a file>, found {self.address}, which begins with the home of a user whom "
                "this machine does not know. Correct it."
            ) from None
        refuse_characters(path, "?\\")
        return f"duckdb:{path}"

    def environment(self) -> dict[str, str]:
        """Return the variables of dbt's profile: the target, and the path of the file."""
        return {"LEADLINE_DBT_TARGET": "duckdb", "LEADLINE_DUCKDB_PATH": self.shown}

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open the file, once no other process holds it."""
        with self._open() as connection:
            yield DuckDBConnection(connection)

    def analyze(
        self,
        excerpts: Sequence[Excerpt],  # noqa: ARG002 - of the shared interface
    ) -> AbstractContextManager[DuckDBPyConnection]:
        """Open the file itself, with all its tables; only temporary tables may be written."""
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[DuckDBPyConnection]:
        import duckdb

        Path(self.shown).parent.mkdir(parents=True, exist_ok=True)
        connection = patiently(self.shown, partial(opened, self.shown))
        try:
            yield connection
        except duckdb.Error as error:
            _refuse_damaged(self.shown, error)
            raise
        except RuntimeError as error:
            # DuckDB raises this error in place of the one of a signal handler
            if str(error) == "Query interrupted":
                raise KeyboardInterrupt from error
            raise
        finally:
            connection.close()

    def readers(self, published: Path, group: str | None = None) -> Readers:
        """Return the file that readers open."""
        return FileReaders(published, group)


def _refuse_unlike(path: str) -> None:
    """Refuse a path on which DuckDB would wait for ever, and a damaged log, which DuckDB would drop silently."""
    problem, log = None, Path(f"{path}.wal")
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        problem = f"{path} is not a valid DuckDB database file, but a pipe or a device"
    else:
        first_bytes = b""
        # a process that writes may remove the log meanwhile
        with suppress(FileNotFoundError, IsADirectoryError), log.open("rb") as file:
            first_bytes = file.read(len(LOG_BEGINS))
        if first_bytes and first_bytes != LOG_BEGINS:
            problem = f"failure while replaying WAL file {log}: it does not begin as one"
    if problem is not None:
        raise WarehouseDamagedError(damaged_warehouse(path, problem))


def _refuse_damaged(path: str, error: Exception) -> None:
    if (damaged := damaged_warehouse(path, str(error))) is not None:
        raise WarehouseDamagedError(damaged) from error
