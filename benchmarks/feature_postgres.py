"""The feature view and queries written by hand on PostgreSQL: a server that is started for them, with its memory."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.compiled import DATABASE
from benchmarks.feature_measuring import KEYS, OURS, Taken, assert_equal
from benchmarks.feature_workload import connect, given
from benchmarks.measuring import MeasurementError
from store.warehouse.postgres.scratch import WHOLE_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from benchmarks.compiled import Model
    from store.warehouse.postgres.engine import PostgresConnection

SAMPLE_SECONDS = 0.05
AS_OF_US = "cast(extract(epoch from view.as_of) * 1000000 as bigint)"


class Server:
    """A server with a database, and the memory of its processes.

    Parameters
    ----------
    address : str
    process : psutil.Process
        The first process of the server, which started the others.
    """

    def __init__(self, address: str, process: psutil.Process) -> None:
        self.address = address
        self._process = process

    def connection(self) -> closing[PostgresConnection]:
        """Return a connection to the database, which the context closes."""
        from store.warehouse.postgres.engine import PostgresConnection

        return closing(PostgresConnection(self.address))

    def load(self, path: Path, models: Sequence[Model]) -> None:
        """Copy the CRM's tables, facts and observations of a DuckDB warehouse, and build the views of staging.

        Facts are sorted by lead, as the model that computes them on PostgreSQL writes them.
        """
        with connect(path) as source, self.connection() as target:
            for schema in ("raw", "intermediate", "staging", "features", "by_hand"):
                target.execute(f"create schema {schema}")
            for schema, table in source.execute(
                "select table_schema, table_name from information_schema.tables "
                "where table_schema in ('raw', 'intermediate') and table_type = 'BASE TABLE'"
            ).fetchall():
                order = " order by lead_id, fact_number" if table == "timeline" else ""
                self._ingest(source, schema, table, order)
            for model in given(models):
                if model.schema == "staging":
                    target.execute(f"create view staging.{model.name} as {model.sql}")

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the profile of dbt finds the database."""
        from psycopg2.extensions import parse_dsn

        found = parse_dsn(self.address)
        return {
            "LEADLINE_POSTGRES_HOST": found["host"],
            "LEADLINE_POSTGRES_PORT": found.get("port", "5432"),
            "LEADLINE_POSTGRES_USER": found.get("user", "postgres"),
            "LEADLINE_POSTGRES_PASSWORD": found.get("password", ""),
        }

    def load_raw(self, path: Path) -> None:
        """Copy the CRM's tables of a DuckDB warehouse."""
        with connect(path) as source, self.connection() as target:
            target.execute("create schema raw")
            for (table,) in source.execute(
                "select table_name from information_schema.tables where table_schema = 'raw'"
            ).fetchall():
                self._ingest(source, "raw", table)

    def observe(self, path: Path) -> None:
        """Copy the observations of a DuckDB warehouse, and replace earlier ones."""
        with connect(path) as source, self.connection() as target:
            target.execute("drop table if exists intermediate.observations")
            self._ingest(source, "intermediate", "observations")

    def ours(self, models: Sequence[Model]) -> Taken:
        """Materialize the feature view, and the models that only the view needs."""
        return self._measured(OURS, {f"{each.schema}.{each.name}": (each.materialized, each.sql) for each in models})

    def by_hand(self, name: str, sql: str) -> Taken:
        """Materialize a query written by hand, and compare it with the view."""
        taken = self._measured(f"by_hand.{name}", {f"by_hand.{name}": ("table", sql)})
        with self.connection() as connection:
            assert_equal(connection, f"by_hand.{name}", AS_OF_US)
        return taken

    def _ingest(self, source: DuckDBPyConnection, schema: str, table: str, order: str = "") -> None:
        from adbc_driver_postgresql import dbapi

        rows = source.sql(f"from {schema}.{table}{order}").to_arrow_reader(1_000_000)
        with dbapi.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="create", db_schema_name=schema)
            cursor.execute(f"analyze {schema}.{table}")

    def _measured(self, table: str, queries: dict[str, tuple[str, str]]) -> Taken:
        with self.connection() as connection:
            for name, (kind, _) in reversed(queries.items()):
                connection.execute(f"drop {kind} if exists {name}")
            with self._memory() as peak:
                began = time.perf_counter()
                connection.begin()
                # the same settings for the models and the queries by hand
                for setting in WHOLE_TABLES:
                    connection.execute(setting)
                for name, (kind, sql) in queries.items():
                    connection.execute(f"create {kind} {name} as {sql}")
                    if kind == "table":
                        connection.execute(f"analyze {name}")
                connection.commit()
                seconds = time.perf_counter() - began
            ((found, expected),) = connection.execute(
                f"select (select count(*) from {table}), (select count(*) from intermediate.observations)"
            ).fetchall()
            schema, name = table.split(".")
            columns = connection.execute(
                "select column_name from information_schema.columns where table_schema = $1 and table_name = $2",
                [schema, name],
            ).fetchall()
        if found != expected:
            raise MeasurementError(f"{table}: expected {expected:,} rows, one for each observation, found {found:,}")
        features = len({name for (name,) in columns} - set(KEYS))
        return Taken(seconds=seconds, cpu_seconds=None, peak_bytes=max(peak), features=features)

    @contextmanager
    def _memory(self) -> Iterator[list[int]]:
        """Sample the server's memory while the context lasts; a page that processes share counts once."""
        found, is_over = [0], threading.Event()

        def sample() -> None:
            while not is_over.wait(SAMPLE_SECONDS):
                found.append(sum(_proportional(each) for each in self._process.children(recursive=True)))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            yield found
        finally:
            is_over.set()
            sampler.join()


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Start a server with its files in a folder and its default settings, and stop it at the end."""
    from orchestration.commands.own_server import Server as OwnServer
    from store.warehouse.postgres.engine import PostgresConnection

    started = OwnServer(folder)
    started.start()
    try:
        with closing(PostgresConnection(started.address("postgres"))) as connection:
            connection.execute(f"create database {DATABASE}")
        yield Server(started.address(DATABASE), psutil.Process(started.process_id))
    finally:
        started.leave()


def _proportional(process: psutil.Process) -> int:
    try:
        memory: Any = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(memory, "pss", memory.rss))
