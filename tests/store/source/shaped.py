"""A simulated CRM in the shape of another one, and beside it the tables of the contract that it was made from."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb

from simulation import simulate
from simulation.world import COMPANIES, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEADS = 300
MONTHS = 12
NO_FAULTS = Faults(duplicate=0, conflict=0, orphan=0, unknown_type=0)
"""Rows that do not fit are the matter of other tests; what is recorded late stays."""


def export(folder: Path, shape: str) -> Path:
    """Write the simulated CRM in a shape, and once more in that of the contract; return the first folder."""
    company = replace(COMPANIES["default"], faults=NO_FAULTS)
    for each, out in (("contract", folder / "contract"), (shape, folder / "shaped")):
        simulate(out, LEADS, months=MONTHS, company=company, shape=each, progress=False)
    return folder / "shaped"


@contextmanager
def compared(folder: Path, warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the simulated tables in schema ``made``, and what was extracted in ``read.raw``."""
    with duckdb.connect() as connection:
        connection.execute(f"set TimeZone = 'UTC'; create schema made; attach '{warehouse}' as read (read_only)")
        for path in sorted((folder / "contract").glob("*.parquet")):
            connection.execute(f"create view made.{path.stem} as from read_parquet('{path}')")
        yield connection


def differing(connection: duckdb.DuckDBPyConnection, made: str, read: str) -> tuple[list[object], list[object]]:
    """Return the rows, with their number, that only one of two queries has."""
    return (
        connection.execute(f"({made}) except all ({read})").fetchall(),
        connection.execute(f"({read}) except all ({made})").fetchall(),
    )


SAME: tuple[list[object], list[object]] = ([], [])
