"""The engines that there are."""

from __future__ import annotations

from store.addresses import SCHEMES
from store.warehouse.duckdb.engine import DuckDB
from store.warehouse.engine import Engine
from store.warehouse.postgres.engine import Postgres

ENGINES: dict[str, type[Engine]] = {"duckdb:": DuckDB, **dict.fromkeys(SCHEMES, Postgres), "postgres": Postgres}
"""By the beginning of an address. ``postgres`` alone is Leadline's own server, which has an address once it runs."""


def engine_of(address: str) -> Engine:
    """Return the engine of a warehouse.

    Raises
    ------
    ValueError
        If no engine has such addresses; the message shows the scheme alone, because an address may hold a password.
    """
    for scheme, engine in ENGINES.items():
        if address.startswith(scheme):
            return engine(address)
    raise ValueError(
        f"warehouse: expected duckdb:<path> or postgresql://…, found {address.split(':', 1)[0]!r}. "
        "Correct the warehouse's address."
    )


def is_address(text: str) -> bool:
    """Say whether a text is the address of a warehouse."""
    return text.startswith(tuple(scheme for scheme in ENGINES if ":" in scheme))
