"""Lock tables of a PostgreSQL database that others read, in short attempts; name the sessions that hold them."""

import time
from collections.abc import Callable, Sequence

from store.warehouse.connection import Connection

LOCK_ATTEMPTS, LOCK_SECONDS, PAUSE_SECONDS = 15, 3, 5
"""Number of attempts to lock tables, their length, and the pause between two: two minutes in all. New readers wait only
until the end of an attempt."""

HELD = ("55P03", "40P01")
"""Codes of PostgreSQL: a lock timeout, and a deadlock with a session that holds one table and waits for another."""


def shut_out_readers(connection: Connection, schema: str, names: Sequence[str], warn: Callable[[str], None]) -> None:
    """Lock tables against readers; a failed attempt does not undo earlier statements of the transaction."""
    from adbc_driver_manager import Error

    if not names:
        return
    listed = ", ".join(f"{schema}.{name}" for name in names)
    # PostgreSQL applies the timeout to each table
    connection.execute(f"set local lock_timeout = '{LOCK_SECONDS * 1000 // len(names)}ms'")
    # the database may have a limit that would end this transaction during a pause
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
    """Return a sentence that names the sessions that hold tables of a schema."""
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
