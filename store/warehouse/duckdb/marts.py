"""The marts of a DuckDB file: the copy that readers open, and the history that a new warehouse takes back from it."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.artifacts import make_folder, set_aside
from store.permissions import open_to_group
from store.warehouse.connection import Connection, column_types, columns_of, table_exists
from store.warehouse.engine import HISTORIES, Found, Readers, Standing, is_same_row, measure_standing

READABLE_FROM = "v1.2.0"
"""The earliest DuckDB that can read the published file. By default, files of DuckDB 2 need DuckDB 2."""

PUBLISHED = "leadline_published"
"""The name of the published file in a connection to the warehouse; no warehouse has this name."""


@contextmanager
def attached(connection: Connection, path: Path) -> Iterator[str | None]:
    """Attach the published file for reading, as `PUBLISHED`; yield why it cannot be read, or None.

    If somebody has opened the file for writing, a copy is attached: readers never block the pipeline.
    """
    copy = path.with_name(f".{path.name}.compared")
    problem = _attach(connection, path, copy)
    try:
        yield problem
    finally:
        if problem is None:
            connection.execute(f"detach {PUBLISHED}")
        copy.unlink(missing_ok=True)


def _attach(connection: Connection, path: Path, copy: Path) -> str | None:
    import duckdb

    if not (path.is_file() or path.is_dir()):
        return f"{path}: expected the last publication, found no file."
    attach = f"attach ? as {PUBLISHED} (read_only)"
    try:
        try:
            connection.execute(attach, [str(path)])
        except duckdb.IOException as error:
            if "lock on file" not in str(error):
                raise
            shutil.copyfile(path, copy)
            connection.execute(attach, [str(copy)])
    except duckdb.Error as error:
        return _unreadable(path, error)
    return None


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path}: expected the last publication, found a file that cannot be read ({error})."


class FileReaders(Readers):
    """Readers of a file; an open file stays readable while a new one replaces it.

    Parameters
    ----------
    path : Path
    group : str, optional
        The group that may read it; by default its owner alone.
    """

    after_loss = "the history of scores there is taken back"

    def __init__(self, path: Path, group: str | None = None) -> None:
        self.place = self.where = str(path)
        self._path = path
        self._group = group

    def found(
        self,
        connection: Connection,
        names: Sequence[str],
        last: Standing,  # noqa: ARG002 - of the shared interface
    ) -> Found:
        """Measure the published file, and count the rows of its histories that those in the warehouse lack."""
        import duckdb

        with attached(connection, self._path) as problem:
            if problem is not None:
                return Found(standing=Standing(), problem=problem)
            try:
                found = measure_standing(connection, names, catalog=PUBLISHED)
                compared = [
                    name for name in HISTORIES if name in found.rows and table_exists(connection, "marts", name)
                ]
                return Found(standing=found, lost={name: _lost_rows(connection, name) for name in compared})
            except duckdb.Error as error:
                return Found(standing=Standing(), problem=_unreadable(self._path, error))

    def replace(
        self,
        connection: Connection,
        names: Sequence[str],
        last: Standing,
        review: Callable[[Connection, Found, Standing], None],
        warn: Callable[[str], None],  # noqa: ARG002 - of the shared interface
    ) -> tuple[Standing, Mapping[str, Any]]:
        """Swap the file for a copy of the marts."""
        import duckdb

        make_folder(self._path.parent)
        unfinished = self._path.with_name(f".{self._path.name}.unfinished")
        _remove(unfinished)
        built = measure_standing(connection, names)
        review(connection, self.found(connection, names, last), built)
        try:
            copy_marts(connection, names, unfinished)
        except duckdb.Error:
            # a half-written copy would use space on a full disk
            _remove(unfinished)
            raise
        open_to_group(unfinished, self._group)
        if self._path.is_dir():
            set_aside(self._path)
        # readers who have opened the old file keep it; new readers open the new one
        unfinished.replace(self._path)
        return built, {"path": self._path, "size_bytes": self._path.stat().st_size}

    def take_back(
        self, connection: Connection, required: Callable[[str], Sequence[str]], warn: Callable[[str], None]
    ) -> dict[str, int]:
        """Add rows of the published file if it can be read; if not, the next publication reports it."""
        import duckdb

        with attached(connection, self._path) as problem:
            try:
                return {} if problem is not None else take_back(connection, required)
            except duckdb.Error as error:
                warn(f"{self._path}: expected the published history, found that it cannot be read ({error}).")
                return {}


def _remove(unfinished: Path) -> None:
    for leftover in (unfinished, *unfinished.parent.glob(f"{unfinished.name}.wal*")):
        if leftover.is_dir():
            set_aside(leftover)
        leftover.unlink(missing_ok=True)


def take_back(connection: Connection, required: Callable[[str], Sequence[str]]) -> dict[str, int]:
    """Add rows of the attached published histories to the histories of a warehouse that has lost them.

    A warehouse without any rows of a history takes all of them. Another one, such as one from a backup, takes only rows
    that its ledger does not know: rows that the ledger knows and the history lacks were removed on purpose.

    Parameters
    ----------
    connection : Connection
    required : callable
        Returns the columns of a history that are never null.

    Returns
    -------
    dict of str to int
        The number of rows added, by history.
    """
    connection.begin()
    try:
        taken = {name: _take_back(connection, name, required) for name in HISTORIES}
    except Exception:
        connection.rollback()
        raise
    connection.commit()
    return taken


def _take_back(connection: Connection, name: str, required: Callable[[str], Sequence[str]]) -> int:
    published = column_types(connection, "marts", name, catalog=PUBLISHED)
    existing = columns_of(connection, "marts", name)
    if not published:
        return 0
    if not existing:
        connection.execute("create schema if not exists marts")
        connection.execute(f"create table marts.{name} as from {PUBLISHED}.marts.{name}")
        for column in required(name):
            connection.execute(f'alter table marts.{name} alter column "{column}" set not null')
        return _count(connection, name)
    count_before = _count(connection, name)
    lost = _lacking(connection, name)
    if count_before:
        lost = f"{lost} and {_not_of_this_ledger(connection, name)}"
    if not _lost_rows(connection, name) or connection.execute(f"select 1 {lost} limit 1").fetchone() is None:
        return 0
    for column, kind in published.items():
        if column not in existing:
            connection.execute(f'alter table marts.{name} add column "{column}" {kind}')
    connection.execute(f"insert into marts.{name} by name select published.* {lost}")
    return _count(connection, name) - count_before


def _lacking(connection: Connection, name: str) -> str:
    return (
        f"from {PUBLISHED}.marts.{name} as published "
        f"where not exists (select 1 from marts.{name} as built where {is_same_row(name, _both(connection, name))})"
    )


def _both(connection: Connection, name: str) -> list[str]:
    """Return the columns that a built and a published history have."""
    published = column_types(connection, "marts", name, catalog=PUBLISHED)
    return [column for column in columns_of(connection, "marts", name) if column in published]


def _not_of_this_ledger(connection: Connection, name: str) -> str:
    """Return the condition that this warehouse did not write a published row: its ledger lacks the clock or version."""
    shared = _both(connection, name)
    other_versions = (
        f"(published.{version} is not null and not exists (select 1 from ml.ml_models as versions "
        f"where versions.model = '{model}' and versions.version = published.{version}))"
        for model, version in HISTORIES[name].all_versions.items()
        if version in shared
    )
    scored = "not exists (select 1 from ml.ml_scoring_logs as logs where logs.as_of = published.as_of)"
    return f"({' or '.join([scored, *other_versions])})"


def _lost_rows(connection: Connection, name: str) -> int:
    shared, table = _both(connection, name), HISTORIES[name]
    keys = ", ".join(["as_of", *(each for each in table.all_versions.values() if each in shared)])
    of_each = f"select {keys}, count(*), bit_xor(hash({table.entity.key})) from {{}}.{name} group by all"
    # most nights no clock has lost rows; comparing counts and hashes takes a tenth of the time
    differ = f"{of_each.format(f'{PUBLISHED}.marts')} except {of_each.format('marts')} limit 1"
    if connection.execute(differ).fetchone() is None:
        return 0
    return int(connection.execute(f"select count(*) {_lacking(connection, name)}").fetchall()[0][0])


def _count(connection: Connection, name: str) -> int:
    return int(connection.execute(f"select count(*) from marts.{name}").fetchall()[0][0])


def copy_marts(connection: Connection, names: Sequence[str], path: Path) -> None:
    """Copy marts with their comments into a new file for readers.

    Parameters
    ----------
    connection : Connection
    names : sequence of str
        The marts. Other tables of the schema are ignored: a killed dbt may have left some.
    path : Path
    """
    described = (
        "schema_name = 'marts' and database_name = current_database() and comment is not null "
        "and list_contains($1, table_name)"
    )
    comments = connection.execute(
        f"select 'table', table_name, null, comment from duckdb_tables() where {described} union all "
        f"select 'column', table_name, column_name, comment from duckdb_columns() where {described}",
        [names],
    ).fetchall()
    connection.execute(f"attach ? as snapshot (storage_version '{READABLE_FROM}')", [str(path)])
    try:
        connection.execute("create schema snapshot.marts")
        for name in names:
            connection.execute(f'create table snapshot.marts."{name}" as from marts."{name}"')
        for kind, table, column, comment in comments:
            name = f'"{table}"' if column is None else f'"{table}"."{column}"'
            text = comment.replace("'", "''")
            connection.execute(f"comment on {kind} snapshot.marts.{name} is '{text}'")
    finally:
        connection.execute("detach snapshot")
