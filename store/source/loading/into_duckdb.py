"""A DuckDB file as the warehouse of an extraction."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from store.source.contract import EARLIER_NAMES, SourceContractError
from store.source.loading.stored import RAW, WORD_COLUMNS, Wanted, counted_words, definition_of, keep_words, renames
from store.source.sql import literal, quoted
from store.warehouse.duckdb.engine import patiently


class DuckdbTarget:
    """A DuckDB file as a warehouse."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def known(self, connection: DuckDBPyConnection, wanted: Mapping[str, Wanted]) -> Iterator[set[str]]:
        """Expose tables of ``raw`` as ``known_<table>`` while the context lasts; yields those that exist.

        Parameters
        ----------
        connection : DuckDBPyConnection
            The scratch database.
        wanted : mapping of str to Wanted
            By table. A table that does not exist is exposed empty.
        """
        existing: set[str] = set()
        stored_as: dict[str, str] = {}
        attached = self._path.exists()
        if attached:
            attach = f"attach {literal(str(self._path))} as warehouse (read_only)"
            patiently(str(self._path), lambda: connection.execute(attach))
            stored_as = self._stored_as(
                {
                    name
                    for (name,) in connection.execute(
                        "select table_name from duckdb_tables() where database_name = 'warehouse' "
                        f"and schema_name = {literal(RAW)}"
                    ).fetchall()
                }
            )
            existing = set(stored_as)
        try:
            connection.execute(f"create table known_words ({definition_of(WORD_COLUMNS)})")
            for table, want in wanted.items():
                if table in existing:
                    stored = {
                        name
                        for (name,) in connection.execute(
                            "select column_name from duckdb_columns() where database_name = 'warehouse' "
                            f"and schema_name = {literal(RAW)} and table_name = {literal(stored_as[table])}"
                        ).fetchall()
                    }
                    # a warehouse of an earlier version lacks the columns that have been added since
                    listed = [
                        quoted(name) if name in stored else f"cast(null as {kind}) as {quoted(name)}"
                        for name, kind in want.columns.items()
                    ]
                    if want.filled:
                        listed.append(f"{want.mask(stored)} as filled")
                    place = f"warehouse.{RAW}.{stored_as[table]}"
                    connection.execute(f"create view known_{table} as select {', '.join(listed)} from {place}")
                    for column in stored.intersection(want.words):
                        keep_words(
                            connection, table, column, connection.execute(counted_words(place, column)).fetchall()
                        )
                else:
                    connection.execute(f"create table known_{table} ({want.definition})")
            yield existing
        finally:
            for (stored,) in connection.execute(
                "select view_name from duckdb_views() where not internal and starts_with(view_name, 'stored_')"
            ).fetchall():
                connection.execute(f"drop view {stored}")
            for table in wanted:
                connection.execute(f"drop {'view' if table in existing else 'table'} if exists known_{table}")
            connection.execute("drop table if exists known_words")
            if attached:
                connection.execute("detach warehouse")

    def stored_rows(self, connection: DuckDBPyConnection, table: str, columns: Sequence[str]) -> None:
        """Expose columns of a table of ``raw`` that exists as ``stored_<table>``, in the context of `known`."""
        place = f"warehouse.{RAW}.{table}"
        stored = {name for name, *_ in connection.execute(f"describe {place}").fetchall()}
        listed = [quoted(name) if name in stored else f"null as {quoted(name)}" for name in columns]
        connection.execute(f"create view stored_{table} as select {', '.join(listed)} from {place}")

    def _stored_as(self, tables: Collection[str]) -> dict[str, str]:
        """Return under which name schema ``raw`` has each table: one that has its earlier name is renamed later."""
        stored_as = {name: name for name in tables}
        for name, earlier in EARLIER_NAMES.items():
            if earlier not in stored_as:
                continue
            if name in stored_as:
                raise SourceContractError(
                    f"warehouse: expected {RAW}.{name}, found {RAW}.{earlier}, its earlier name, as well: an earlier "
                    f"state of Leadline has written to this warehouse since. What {RAW}.{name} holds is complete up to "
                    f"then: drop {RAW}.{earlier}, or bring the warehouse back from a backup."
                )
            stored_as[name] = stored_as.pop(earlier)
        return stored_as

    def rename_earlier(self) -> None:
        """Give tables of schema ``raw`` their present names, each in one transaction: no row is copied or lost."""
        import duckdb

        if not self._path.exists():
            return
        with patiently(str(self._path), lambda: duckdb.connect(str(self._path))) as connection:
            for earlier, statements in renames():
                found = connection.execute(
                    f"select 1 from duckdb_tables() where schema_name = {literal(RAW)} "
                    f"and table_name = {literal(earlier)}"
                ).fetchone()
                if found is not None:
                    connection.begin()
                    for statement in statements:
                        connection.execute(statement)
                    connection.commit()

    def destination(self) -> Any:
        """Return the dlt destination."""
        from dlt.destinations import duckdb

        self._path.parent.mkdir(parents=True, exist_ok=True)
        # replacing from the staging schema is one transaction: a killed run leaves the old rows, not none
        return duckdb(credentials=str(self._path), replace_strategy="insert-from-staging")
