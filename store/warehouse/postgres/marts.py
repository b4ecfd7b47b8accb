"""The marts of a PostgreSQL database: the publication of a build in schema ``marts``, and the role of its readers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.warehouse.connection import Connection
from store.warehouse.engine import APPEND_ONLY, HISTORIES, Found, Readers, Standing, is_same_row, measure_standing
from store.warehouse.postgres import locks

READER = "leadline_reader"
"""A role without login that may only read the published tables; grant it to users who log in."""

OTHER_DATABASES = (
    "revoke connect, temporary on database postgres from public",
    "revoke connect, temporary on database template1 from public",
)
"""Statements that keep readers of Leadline's own server out of its other databases."""


def confined(database: str) -> tuple[str, ...]:
    """Return statements that revoke, in one database, the rights that PostgreSQL grants to every user.

    Leadline runs them only in the database of its own server. In any other database the administrator decides.
    """
    return (
        f"revoke temporary on database {database} from public",
        "revoke create on schema public from public",
        "revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public",
        "revoke execute on function pg_logical_emit_message(boolean, text, text, boolean), "
        "pg_logical_emit_message(boolean, text, bytea, boolean) from public",
    )


class MartsHeldError(RuntimeError):
    """Other sessions hold tables that a publication replaces; the message says who, and what to do."""


class MartsRefusedError(RuntimeError):
    """The built marts cannot replace the published ones; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Mart:
    """A mart: its published and its built table.

    Attributes
    ----------
    name : str
    published, built : mapping of str to str
        The SQL type of each column; empty if the table does not exist.
    views : sequence of str
        The views of others on the published table.
    """

    name: str
    published: Mapping[str, str]
    built: Mapping[str, str]
    views: Sequence[str]

    @property
    def stays(self) -> bool:
        """Whether the published table stays and gets new rows: replacing it would drop views, or old rows."""
        return bool(self.published) and (self.name in APPEND_ONLY or bool(self.views))

    @property
    def added(self) -> dict[str, str]:
        """The built columns that the published table lacks."""
        return {column: kind for column, kind in self.built.items() if column not in self.published}


def refusal(mart: Mart) -> str | None:
    """Return why a mart cannot be published, and what to do; None if it can.

    A table that stays can gain columns. Its columns cannot get another type, because values would be cast silently. It
    cannot lose columns that a view may select. A history keeps columns that are no longer built, as dbt does.
    """
    if not mart.built:
        return f"marts.{mart.name}: expected that dbt has built it, found no such table. Materialize the marts again."
    if not mart.stays:
        return None
    retyped = {column: kind for column, kind in mart.built.items() if mart.published.get(column, kind) != kind}
    differences = [f"{column} is {mart.published[column]} and was built as {kind}" for column, kind in retyped.items()]
    if mart.name not in APPEND_ONLY:
        differences += [f"{column} is built no more" for column in mart.published if column not in mart.built]
    if not differences:
        return None
    views = ", ".join(mart.views)
    if mart.name in APPEND_ONLY:
        reason = "to which rows are added"
        changed = ", ".join(f'alter column "{column}" type {kind}' for column, kind in retyped.items())
        remedy = f"Run `alter table marts.{mart.name} {changed}`" + (f", for which {views} must go" if views else "")
    else:
        reason = f"because {views} would go with it"
        remedy = f"Drop {views}"
    return (
        f"marts.{mart.name}: expected columns of the types of the published table, which cannot be swapped, {reason}; "
        f"found that {'; '.join(differences)}. {remedy}, and publish again"
        + (", then create the views anew." if views else ".")
    )


class DatabaseReaders(Readers):
    """Readers of schema ``marts`` of a database.

    Parameters
    ----------
    shown : str
        The database, without a password.
    built : str
        The schema in which dbt builds the marts.
    """

    role = READER
    after_loss = "new scores are added to its history"

    def __init__(self, shown: str, built: str) -> None:
        self.place = "schema marts"
        self.where = f"{shown}, schema marts"
        self._shown = shown
        self._built = built

    def found(self, connection: Connection, names: Sequence[str], last: Standing) -> Found:
        """Measure schema ``marts``; a history there only gains rows and columns, so it loses none."""
        found = measure_standing(connection, names)
        missing = [name for name in found.completed_by(last).rows if name not in found.rows]
        problem = f"{self._shown}: expected the last publication, found no {' and no '.join(missing)} in schema marts."
        lost = {name: 0 for name in HISTORIES if name in found.rows}
        return Found(standing=found, lost=lost, problem=problem if missing else None)

    def replace(
        self,
        connection: Connection,
        names: Sequence[str],
        last: Standing,
        review: Callable[[Connection, Found, Standing], None],
        warn: Callable[[str], None],
    ) -> tuple[Standing, Mapping[str, Any]]:
        """Replace the tables by those that dbt has built, in one transaction.

        A table is swapped for the new one. If others have a view on it, its rows are replaced instead, because a swap
        would drop the view. An append-only table gets the rows that it lacks. A swap waits for open transactions that
        have read the table, and is tried again if they last. `warn` gets a sentence if the role of the readers cannot
        be made, or a table is held.

        Raises
        ------
        MartsRefusedError
            If a table with views of others has changed so that the views would break; nothing has changed.
        MartsHeldError
            If a table is still held after two minutes; nothing has changed.
        """
        from adbc_driver_manager import Error

        can_read = _ensure_reader(connection, warn)
        # a transaction of the driver ends at its first error and has no savepoints
        connection.execute("begin")
        marts = [
            Mart(
                name=name,
                published=_types(connection, f"marts.{name}"),
                built=_types(connection, f"{self._built}.{name}"),
                views=_views_on(connection, name),
            )
            for name in sorted(names)
        ]
        if refused := [reason for mart in marts if (reason := refusal(mart)) is not None]:
            raise MartsRefusedError("\n".join([*refused, "Nothing has changed: readers see the marts of before."]))
        found = self.found(connection, names, last)
        built = measure_standing(connection, names, schema=self._built)
        kept = built
        for name in HISTORIES:
            kept = kept.with_columns_of(found.standing, name) if name in found.standing.rows else kept
        review(connection, found, kept)
        try:
            _replace(connection, self._built, marts, warn)
            if can_read:
                _grant(connection, marts)
            connection.execute("commit")
        except Error as error:
            if error.sqlstate not in locks.HELD:
                raise
            connection.execute("rollback")
            raise MartsHeldError(
                f"{locks.held_by(connection, 'marts')} Nothing has changed: readers see the marts of before. Let "
                "these sessions end their transactions, or end them by `select pg_terminate_backend(<pid>)`, and "
                "publish again."
            ) from error
        return measure_standing(connection, names), {"schema": self.where}


def _replace(connection: Connection, built: str, marts: Sequence[Mart], warn: Callable[[str], None]) -> None:
    connection.execute("create schema if not exists marts")
    # waiting to write rows does not block readers, so one wait may be as long as all attempts
    connection.execute(f"set local lock_timeout = '{locks.LOCK_ATTEMPTS * locks.LOCK_SECONDS}s'")
    # tables are filled first, so that readers are shut out only for the swap
    for mart in marts:
        if not mart.stays:
            connection.execute(f"create table marts.{mart.name}__next (like {built}.{mart.name} including all)")
            connection.execute(f"insert into marts.{mart.name}__next select * from {built}.{mart.name}")
        elif not mart.added:
            _bring_rows(connection, built, mart)
    locks.shut_out_readers(
        connection, "marts", [mart.name for mart in marts if mart.published and (mart.added or not mart.stays)], warn
    )
    for mart in marts:
        if not mart.stays:
            connection.execute(f"drop table if exists marts.{mart.name}")
            connection.execute(f"alter table marts.{mart.name}__next rename to {mart.name}")
        elif mart.added:
            columns = ", ".join(f'add column "{column}" {kind}' for column, kind in mart.added.items())
            connection.execute(f"alter table marts.{mart.name} {columns}")
            _bring_rows(connection, built, mart)
        _describe(connection, built, mart.name)


def _bring_rows(connection: Connection, built: str, mart: Mart) -> None:
    columns = ", ".join(f'"{column}"' for column in mart.built)
    rows = f"insert into marts.{mart.name} ({columns}) select {columns} from {built}.{mart.name} as built"
    if mart.name in APPEND_ONLY:
        connection.execute(
            f"{rows} where not exists (select 1 from marts.{mart.name} as published "
            f"where {is_same_row(mart.name, mart.built)})"
        )
    else:
        connection.execute(f"delete from marts.{mart.name}")
        connection.execute(rows)


def _describe(connection: Connection, built: str, name: str) -> None:
    published = _comments(connection, f"marts.{name}")
    for column, comment in _comments(connection, f"{built}.{name}").items():
        if published[column] != comment:
            described = f'column marts.{name}."{column}"' if column else f"table marts.{name}"
            text = "null" if comment is None else "'" + comment.replace("'", "''") + "'"
            connection.execute(f"comment on {described} is {text}")


def _comments(connection: Connection, relation: str) -> dict[str, str | None]:
    """Return the comment of each column of a table, and under an empty name that of the table itself."""
    commented = (
        "select '', obj_description(to_regclass($1), 'pg_class') union all "
        "select cast(attname as text), col_description(attrelid, attnum) from pg_attribute "
        "where attrelid = to_regclass($1) and attnum > 0 and not attisdropped"
    )
    return dict(connection.execute(commented, [relation]).fetchall())


def _types(connection: Connection, relation: str) -> dict[str, str]:
    found = connection.execute(
        "select cast(attname as text), format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum",
        [relation],
    ).fetchall()
    return dict(found)


def _views_on(connection: Connection, name: str) -> list[str]:
    found = connection.execute(
        "select distinct n.nspname || '.' || v.relname from pg_depend as d "
        "inner join pg_rewrite as r on d.objid = r.oid inner join pg_class as v on r.ev_class = v.oid "
        "inner join pg_namespace as n on v.relnamespace = n.oid "
        "where d.refobjid = to_regclass($1) and d.classid = 'pg_rewrite'::regclass and v.oid <> d.refobjid order by 1",
        [f"marts.{name}"],
    ).fetchall()
    return [view for (view,) in found]


def _grant(connection: Connection, marts: Sequence[Mart]) -> None:
    connection.execute(f"grant usage on schema marts to {READER}")
    # the schema may also hold tables of others, who grant their rights themselves
    for mart in marts:
        connection.execute(f"grant select on marts.{mart.name} to {READER}")


def _ensure_reader(connection: Connection, warn: Callable[[str], None]) -> bool:
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
