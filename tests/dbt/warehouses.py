"""Warehouses for the tests of the dbt project: the same few operations on DuckDB and on PostgreSQL."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import duckdb

from tests.dbt.random_crm import COLUMNS, Crm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
DBT_PROJECT = ROOT / "dbt_project"

Row = tuple[Any, ...]

_PARSED: dict[tuple[str, str], Any] = {}
"""The project as dbt has parsed it, by the engine and the name of the database, which is all that it knows of one."""


class Warehouse(ABC):
    """A warehouse that dbt builds in.

    Attributes
    ----------
    target : str
        The output of ``dbt_project/profiles.yml``.
    database : str
        The name of the database, which stands in the SQL.
    environment : dict of str to str
        The variables that the profile reads.
    """

    target: str
    database: str
    environment: dict[str, str]

    @abstractmethod
    def execute(self, *statements: str) -> None:
        """Run statements in one connection."""

    @abstractmethod
    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, which have all columns of the table."""

    @abstractmethod
    def table(self, query: str) -> tuple[list[str], list[Row]]:
        """Return the columns and rows of a query, with times in UTC."""

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query."""
        return self.table(query)[1]

    def records(self, query: str, *key: str) -> dict[Row, dict[str, Any]]:
        """Return the rows of a query as dictionaries by their key."""
        columns, rows = self.table(query)
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        keyed = {tuple(row[name] for name in key): row for row in named}
        assert len(keyed) == len(rows), f"{query}: {key} is not unique"
        return keyed

    def load(self, crm: Crm) -> None:
        """Replace schema ``raw`` by a CRM, without the rules of the source contract."""
        self.execute("drop schema if exists raw cascade", "create schema raw")
        for table, columns in COLUMNS.items():
            self.execute(f"create table raw.{table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
            self.insert(f"raw.{table}", [tuple(row.get(name) for name in columns) for row in crm[table]])
        self.execute("create table raw.source_ids (lead_id text, source_id text)")

    def load_predictions(
        self, predictions: Sequence[Row], champions: Sequence[Row], unscored: Sequence[Row] = ()
    ) -> None:
        """Replace schema ``ml`` by predictions, champions, and by model and clock why leads have no score."""
        self.execute(
            "drop schema if exists ml cascade",
            "create schema ml",
            "create table ml.ml_predictions (model text, version text, entity text, entity_id text, "
            "as_of timestamptz, target text, value double precision, score bigint, grade text, reasons text, "
            "scored_at timestamptz, outside_training text, chosen boolean)",
            "create table ml.ml_scoring_logs (model text, as_of timestamptz, unscored_reason text)",
            "create table ml.ml_champions (model text, version text, promoted_at timestamptz)",
        )
        self.insert("ml.ml_predictions", predictions)
        self.insert("ml.ml_champions", champions)
        self.insert("ml.ml_scoring_logs", unscored)

    def dbt(
        self, command: str, scratch: Path, variables: Mapping[str, Any], *arguments: str, parse: bool = False
    ) -> None:
        """Run dbt in this process and fail with its messages where it fails.

        Parameters
        ----------
        command : str
        scratch : Path
            Folder for what dbt writes.
        variables : mapping of str to object
        *arguments : str
        parse : bool
            Whether dbt parses the project for this call, as it must where tests read variables. Without that a call
            takes a third of the time: the project is parsed once for all warehouses of an engine.
        """
        from dbt.cli.main import dbtRunner

        call = [command, "--target", self.target, "--project-dir", DBT_PROJECT, "--profiles-dir", DBT_PROJECT]
        call += ["--target-path", scratch / self.target, "--log-path", scratch / "logs", "--quiet"]
        call += ["--vars", _yaml(variables)]
        with (
            mock.patch.dict(os.environ, {**self.environment, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}),
            _own_logging(),
        ):
            project = self.target, self.database
            if not parse and project not in _PARSED:
                _PARSED[project] = dbtRunner().invoke(["parse", *map(str, call[1:])]).result
            manifest = None if parse else _PARSED[project]
            result = dbtRunner(manifest=manifest).invoke([*map(str, call), *arguments])
        nodes = getattr(result.result, "results", None) or []
        # what was skipped because of a failure says nothing of its own
        failed = [f"{each.node.name}: {each.message}" for each in nodes if each.status in ("error", "fail")]
        assert result.success, f"dbt {command}: {result.exception or failed}"
        assert nodes, f"dbt {command} {arguments} selected nothing"


class DuckDB(Warehouse):
    """A DuckDB file in a folder."""

    target = "duckdb"
    database = "warehouse"

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{self.database}.duckdb"
        self.environment = {"LEADLINE_DUCKDB_PATH": str(self.path)}

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the file as dbt does, with times in UTC."""
        # dbt cannot open the file while a connection is open
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set TimeZone = 'UTC'")
            yield connection

    def execute(self, *statements: str) -> None:
        """Run statements in one connection."""
        with self.opened() as connection:
            for statement in statements:
                connection.execute(statement)

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, which have all columns of the table."""
        with self.opened() as connection:
            connection.begin()
            # one statement for many rows: each takes a millisecond
            for start in range(0, len(rows), 500):
                some = rows[start : start + 500]
                places = ", ".join(f"({', '.join('?' * len(row))})" for row in some)
                connection.execute(f"insert into {table} values {places}", [value for row in some for value in row])
            connection.commit()

    def table(self, query: str) -> tuple[list[str], list[Row]]:
        """Return the columns and rows of a query, with times in UTC."""
        with self.opened() as connection:
            result = connection.execute(query)
            return [column[0] for column in result.description or ()], result.fetchall()


class Postgres(Warehouse):
    """A database of a running PostgreSQL server, at a ``postgresql://`` address."""

    target = "postgres"

    def __init__(self, address: str) -> None:
        from sqlalchemy import make_url

        self.address = address
        url = make_url(address)
        self.database = url.database or "postgres"
        # a server that listens on a Unix socket alone has its directory in the query
        host = url.query.get("host") or url.host
        self.environment = {
            "LEADLINE_POSTGRES_HOST": str(host),
            "LEADLINE_POSTGRES_PORT": str(url.port or 5432),
            "LEADLINE_POSTGRES_USER": url.username or "postgres",
            "LEADLINE_POSTGRES_PASSWORD": url.password or "",
            "LEADLINE_POSTGRES_DATABASE": self.database,
        }

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        import psycopg2

        with (
            closing(psycopg2.connect(self.address, options="-c timezone=UTC")) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    def execute(self, *statements: str) -> None:
        """Run statements in one connection."""
        with self._cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, which have all columns of the table."""
        from psycopg2.extras import execute_values

        with self._cursor() as cursor:
            execute_values(cursor, f"insert into {table} values %s", rows, page_size=1000)

    def table(self, query: str) -> tuple[list[str], list[Row]]:
        """Return the columns and rows of a query, with times in UTC."""
        with self._cursor() as cursor:
            cursor.execute(query)
            return [column.name for column in cursor.description], cursor.fetchall()


def tables(warehouse: Warehouse, schemas: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the tables of the schemas, each with its columns and their types, in order."""
    listed = ", ".join(f"'{schema}'" for schema in schemas)
    found: dict[str, list[tuple[str, str]]] = {}
    for schema, table, column, kind in warehouse.rows(
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        f"where table_schema in ({listed}) order by table_schema, table_name, ordinal_position"
    ):
        found.setdefault(f"{schema}.{table}", []).append((column, kind))
    return found


def _yaml(variables: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(variables), default_flow_style=True)


@contextmanager
def _own_logging() -> Iterator[None]:
    """Give the root logger back as it was: dbt adds handlers to it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
