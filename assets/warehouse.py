"""The warehouse: connections to it, and what the last extraction left for everything after it to read."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from duckdb import DuckDBPyConnection

Opened = TypeVar("Opened")

PATIENCE_SECONDS = 120
"""How long a file is waited for that another process holds: so long may the dbt of a killed run live on."""


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
    source, mapping : str
    closing_outcomes : list of str
    silence_closes_after_days : int or None
    horizon_days : dict of str to int
        The mapping's default horizons by model.
    assumptions : list of str
    """

    as_of: datetime
    source: str
    mapping: str
    closing_outcomes: list[str]
    silence_closes_after_days: int | None
    horizon_days: dict[str, int]
    assumptions: list[str]


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The DuckDB file that the pipeline writes."""

    path: str

    @property
    def address(self) -> str:
        """The warehouse as an address."""
        return f"duckdb:{self.path}"

    @contextmanager
    def connect(self) -> Iterator[DuckDBPyConnection]:
        """Open the warehouse with its session in UTC, and close it again: dbt cannot open a file that Python holds.

        Raises
        ------
        WarehouseBusyError
            If another process still holds the file after two minutes.
        """
        import duckdb

        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        connection = patiently(self.path, lambda: duckdb.connect(self.path))
        try:
            connection.execute("set TimeZone = 'UTC'")
            # it would draw itself between the lines of a run
            connection.execute("set enable_progress_bar = false")
            yield connection
        finally:
            connection.close()

    def extraction(self) -> Extraction:
        """Return what the last extraction left.

        Raises
        ------
        NoExtractionError
            If nothing has been extracted.
        """
        with self.connect() as connection:
            if not table_exists(connection, "raw", "extraction"):
                raise NoExtractionError(
                    f"{self.path}: expected an extraction in raw.extraction, found none. "
                    "Materialize the crm assets first, or run `make run`."
                )
            row = connection.execute(
                "select as_of, source, mapping, closing_outcomes, silence_closes_after_days, horizon_days, assumptions "
                "from raw.extraction"
            ).fetchone()
        if row is None:
            raise NoExtractionError(
                f"{self.path}: raw.extraction is empty, so the last extraction did not finish. "
                "Materialize the crm assets again; nothing that was loaded is lost."
            )
        return Extraction(
            as_of=row[0],
            source=row[1],
            mapping=row[2],
            closing_outcomes=json.loads(row[3]),
            silence_closes_after_days=row[4],
            horizon_days=json.loads(row[5]),
            assumptions=json.loads(row[6]),
        )

    def built_extraction(self) -> Extraction:
        """Return what the last extraction left, once features and labels are built at its clock.

        Raises
        ------
        StaleFeaturesError
            If they were built at another clock, or not at all: scores of one moment would be published as of another.
        """
        extraction = self.extraction()
        with self.connect() as connection:
            found = None
            if table_exists(connection, "features", "feature_clock"):
                found = connection.execute("select as_of from features.feature_clock").fetchone()
        if found is None or found[0] != extraction.as_of:
            raise StaleFeaturesError(
                f"{self.path}: expected features and labels built at the clock of the last extraction, "
                f"{extraction.as_of.isoformat()}, found {found[0].isoformat() if found else 'none'}. "
                "Materialize features and labels again."
            )
        return extraction

    def row_counts(self, tables: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Count the rows of the tables, each a schema and a name."""
        with self.connect() as connection:
            return {
                (schema, name): connection.execute(f'select count(*) from "{schema}"."{name}"').fetchall()[0][0]
                for schema, name in tables
            }


def table_exists(connection: DuckDBPyConnection, schema: str, name: str) -> bool:
    """Say whether there is such a table or view."""
    found = connection.execute(
        "select 1 from information_schema.tables where table_schema = ? and table_name = ?", [schema, name]
    ).fetchone()
    return found is not None


def patiently(path: str, opened: Callable[[], Opened]) -> Opened:
    """Open a DuckDB file, and wait while another process holds it.

    Raises
    ------
    WarehouseBusyError
        If another process still holds the file after two minutes.
    """
    import duckdb

    for second in range(PATIENCE_SECONDS + 1):
        if second:
            time.sleep(1)
        try:
            return opened()
        except duckdb.IOException as error:
            if "lock" not in str(error):
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
