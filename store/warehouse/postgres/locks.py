"""How tables of a PostgreSQL database are locked that others read: in attempts, which end, and with their names."""

import time
from collections.abc import Callable, Sequence

from store.warehouse.connection import Connection

LOCK_ATTEMPTS, LOCK_SECONDS, PAUSE_SECONDS = 15, 3, 5
"""How often tables are tried to be locked, how long each attempt may take, and the pause between two: two minutes in
all. Readers who come during an attempt wait until it ends."""

HELD = ("55P03", "40P01")
"""Codes of PostgreSQL: no lock in time, and a deadlock, for who waits for two tables may hold one of them."""


def shut_out_readers(connection: Connection, schema: str, names: Sequence[str], warn: Callable[[str], None]) -> None:
    """Lock tables against readers; an attempt that fails undoes nothing that was done before in the transaction."""
    from adbc_driver_manager import Error

    if not names:
        return
    listed = ", ".join(f"{schema}.{name}" for name in names)
    # PostgreSQL applies it to each table
    connection.execute(f"set local lock_timeout = '{LOCK_SECONDS * 1000 // len(names)}ms'")
    # the database may have a limit that ends idle transactions of readers
    connection.execute("set local idle_in_transaction_session_timeout = 0")
    connection.execute("savepoint filled")
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            connection.execute(f"lock table {listed} in access exclusive mode")
            return
        except Error as error:
            if error.sqlstate not in HELD or attempt == LOCK_ATTEMPTS:
                raise
            connection.execute("rollback to savepoint filled")
        if attempt == 1:
            warn(f"{held_by(connection, schema)} Trying {LOCK_ATTEMPTS - 1} times more, {PAUSE_SECONDS} seconds apart.")
        time.sleep(PAUSE_SECONDS)


def held_by(connection: Connection, schema: str) -> str:
    """Say which sessions hold tables of a schema that are to be replaced or altered."""
    found = connection.execute(
        "select distinct activity.pid, cast(activity.usename as text) from pg_locks as locks "
        "inner join pg_class as c on locks.relation = c.oid inner join pg_namespace as n on c.relnamespace = n.oid "
        "inner join pg_stat_activity as activity on locks.pid = activity.pid "
        "where n.nspname = $1 and locks.granted and activity.datname = current_database() "
        "and activity.pid <> pg_backend_pid() order by 1",
        [schema],
    ).fetchall()
    holders = ", ".join(f"pid {pid} ({user})" for pid, user in found) or "sessions that have ended meanwhile"
    return f"schema {schema}: expected to replace its tables, found them held by {holders}."
