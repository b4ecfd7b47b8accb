"""The marts of a PostgreSQL database: how a build reaches its readers, and the role by which they read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from assets.warehouse import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from assets.warehouse import Connection, Warehouse

READER = "leadline_reader"
"""A role without login that can read schema ``marts`` and nothing else; give it to those who log in."""

APPEND_ONLY = {
    "lead_score_history": (
        "published.lead_id = built.lead_id and published.as_of = built.as_of "
        "and published.conversion_model_version is not distinct from built.conversion_model_version "
        "and published.action_model_version is not distinct from built.action_model_version"
    )
}
"""Tables to which builds add rows and never change one, and when a row that is published is one that was built."""

LOCK_ATTEMPTS, LOCK_SECONDS, PAUSE_SECONDS = 15, 3, 5
"""Of a publication that an open transaction of a reader holds up, two minutes in all. Readers who come while it waits
for a table wait too, but no longer than it does."""

_HELD = ("55P03", "40P01")
"""Codes of PostgreSQL: no lock in time, and a deadlock, for who waits for two tables may hold one of them."""


class MartsHeldError(RuntimeError):
    """Readers hold tables that are to be swapped; the message says who, and what to do."""


def publish(warehouse: Warehouse, warn: Callable[[str], None]) -> dict[str, int]:
    """Replace the tables of schema ``marts`` by those that dbt has built, in one transaction.

    A table is swapped for its successor. Where somebody has built a view on it, its rows are replaced instead, for a
    swap would drop the view; an append-only table gets the rows that it lacks. A swap waits for the open transactions
    that have read the table, and is tried again where they last.

    Parameters
    ----------
    warehouse : Warehouse
        A PostgreSQL database.
    warn : callable
        Receives a sentence where the role of the readers cannot be made, and where a table is held.

    Returns
    -------
    dict of str to int
        Rows by table.

    Raises
    ------
    MartsHeldError
        If a table is still held after two minutes; nothing has changed.
    """
    from adbc_driver_manager import Error

    built = warehouse.marts
    with warehouse.connect() as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "select table_name from information_schema.tables where table_schema = $1 order by table_name", [built]
            ).fetchall()
        ]
        can_read = _ensure_reader(connection, warn)
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                _publish_all(connection, built, tables, can_read=can_read)
                break
            except Error as error:
                if error.sqlstate not in _HELD:
                    raise
                connection.rollback()
                held = f"schema marts: expected to swap its tables, found them held by {_holders(connection)}."
                if attempt == LOCK_ATTEMPTS:
                    raise MartsHeldError(
                        f"{held} Nothing has changed: readers see the marts of before. Let these sessions end their "
                        "transactions, or end them by `select pg_terminate_backend(<pid>)`, and publish again."
                    ) from error
                if attempt == 1:
                    warn(f"{held} Trying {LOCK_ATTEMPTS - 1} times more, {PAUSE_SECONDS} seconds apart.")
                time.sleep(PAUSE_SECONDS)
        return {name: connection.execute(f"select count(*) from marts.{name}").fetchall()[0][0] for name in tables}


def _publish_all(connection: Connection, built: str, tables: Sequence[str], *, can_read: bool) -> None:
    connection.begin()
    connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
    connection.execute("create schema if not exists marts")
    # readers are shut out only when all successors are filled
    for name in [name for name in tables if not _is_refilled(connection, built, name)]:
        connection.execute(f"drop table if exists marts.{name}")
        connection.execute(f"alter table marts.{name}__next rename to {name}")
    if can_read:
        connection.execute(f"grant usage on schema marts to {READER}")
        connection.execute(f"grant select on all tables in schema marts to {READER}")
        connection.execute(f"alter default privileges in schema marts grant select on tables to {READER}")
    connection.commit()


def _is_refilled(connection: Connection, built: str, name: str) -> bool:
    """Bring the rows into the table itself, where it has to stay, or else into a successor; say which of the two."""
    columns = columns_of(connection, "marts", name)
    same = columns == columns_of(connection, built, name)
    listed = ", ".join(f'"{column}"' for column in columns)
    if same and name in APPEND_ONLY:
        connection.execute(
            f"insert into marts.{name} ({listed}) select {listed} from {built}.{name} as built "
            f"where not exists (select 1 from marts.{name} as published where {APPEND_ONLY[name]})"
        )
        return True
    if same and _has_dependents(connection, name):
        connection.execute(f"delete from marts.{name}")
        connection.execute(f"insert into marts.{name} ({listed}) select {listed} from {built}.{name}")
        return True
    connection.execute(f"create table marts.{name}__next (like {built}.{name} including all)")
    connection.execute(f"insert into marts.{name}__next select * from {built}.{name}")
    # that of the table itself does not come along
    comment = connection.execute("select obj_description(to_regclass($1))", [f"{built}.{name}"]).fetchall()[0][0]
    if comment is not None:
        escaped = comment.replace("'", "''")
        connection.execute(f"comment on table marts.{name}__next is '{escaped}'")
    return False


def _holders(connection: Connection) -> str:
    found = connection.execute(
        "select distinct activity.pid, cast(activity.usename as text) from pg_locks as locks "
        "inner join pg_class as c on locks.relation = c.oid inner join pg_namespace as n on c.relnamespace = n.oid "
        "inner join pg_stat_activity as activity on locks.pid = activity.pid "
        "where n.nspname = 'marts' and locks.granted and activity.datname = current_database() "
        "and activity.pid <> pg_backend_pid() order by 1"
    ).fetchall()
    return ", ".join(f"pid {pid} ({user})" for pid, user in found) or "sessions that have ended meanwhile"


def _has_dependents(connection: Connection, name: str) -> bool:
    return (
        connection.execute(
            "select 1 from pg_depend as d inner join pg_rewrite as r on d.objid = r.oid "
            "inner join pg_class as c on d.refobjid = c.oid inner join pg_namespace as n on c.relnamespace = n.oid "
            "where n.nspname = 'marts' and c.relname = $1 and d.classid = 'pg_rewrite'::regclass limit 1",
            [name],
        ).fetchone()
        is not None
    )


def _ensure_reader(connection: Connection, warn: Callable[[str], None]) -> bool:
    """Create the role where it is missing; say whether it is there."""
    if connection.execute("select 1 from pg_roles where rolname = $1", [READER]).fetchone() is not None:
        return True
    allowed = connection.execute("select rolcreaterole or rolsuper from pg_roles where rolname = current_user")
    if not allowed.fetchall()[0][0]:
        warn(
            f"expected the role {READER}, found none, and the user of the pipeline may not create roles: let an "
            f"administrator run `create role {READER} nologin`; the next run grants it schema marts."
        )
        return False
    connection.execute(f"create role {READER} nologin")
    return True
