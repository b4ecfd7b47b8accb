"""A PostgreSQL server with an empty database, for sources and warehouses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, create_engine, text

from store.source.loading.load import database_url


class Server:
    """A server with an empty database."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._engine = create_engine(database_url(address), connect_args={"options": "-c timezone=UTC"})

    def do(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def session(self) -> Connection:
        """Return a session with a transaction of its own."""
        return self._engine.connect()

    def empty(self) -> None:
        """Drop what the test before made."""
        self.do(
            "drop schema if exists raw cascade", "drop schema if exists raw_staging cascade",
            "drop schema public cascade", "create schema public",
        )  # fmt: skip

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
