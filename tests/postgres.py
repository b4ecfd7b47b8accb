"""A real PostgreSQL server for tests: the one at ``LEADLINE_TEST_POSTGRES``, or one that the tests start themselves."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg2

from orchestration.commands.own_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.warehouse.warehouse import Warehouse

GIVEN = "LEADLINE_TEST_POSTGRES"
"""Address of a server on which the tests may create databases and roles."""

_USED: set[str] = set()
"""Databases of this process. A name is used again, because dbt parses the project once for each."""


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """Keep the server of a home running."""
    started = Server(home)
    started.start()
    try:
        yield started
    finally:
        started.leave()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start a server with its files in a folder, unless the environment names one; yield its address."""
    if address := os.environ.get(GIVEN):
        yield address
        return
    with serving(folder) as started:
        yield started.address("postgres")


@contextmanager
def database(address: str, *, copy_of: str | None = None, options: str = "") -> Iterator[str]:
    """Create a database on a server, empty or as a copy, and drop it at the end; yield its address."""
    name = next(name for number in count() if (name := f"test_{os.getpid()}_{number}") not in _USED)
    _USED.add(name)
    _run(address, f"create database {name}" + (f" template {copy_of}" if copy_of else "") + options)
    try:
        before, mark, query = address.partition("?")
        scheme, rest = before.split("://", 1)
        yield f"{scheme}://{rest.split('/', 1)[0]}/{name}{mark}{query}"
    finally:
        _run(address, f"drop database if exists {name} with (force)")
        _USED.remove(name)


def _run(address: str, statement: str) -> None:
    with closing(psycopg2.connect(address)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def execute(warehouse: Warehouse, *statements: str) -> None:
    """Run statements on a warehouse, each a transaction of its own."""
    with warehouse.connect() as connection:
        for statement in statements:
            connection.execute(statement)


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on a warehouse."""
    with warehouse.connect() as connection:
        return connection.execute(query).fetchall()
