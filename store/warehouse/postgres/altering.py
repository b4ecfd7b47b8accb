"""Alter tables of a PostgreSQL database on which others depend, have locks or have rights."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from store.warehouse.connection import Connection
from store.warehouse.engine import AlterationRefusedError
from store.warehouse.postgres.locks import HELD, held_by, shut_out_readers


@contextmanager
def altering(
    connection: Connection, schema: str, tables: Collection[str], replaced: Collection[str], rekeyed: Collection[str]
) -> Iterator[None]:
    """Alter tables in one transaction, as `store.warehouse.connection.Connection.altering` specifies."""
    from adbc_driver_manager import Error

    if blocked := [each for name in replaced for each in _built_on(connection, f"{schema}.{name}", key=False)]:
        raise AlterationRefusedError(_refusal(schema, replaced, blocked))
    if blocked := [each for name in rekeyed for each in _built_on(connection, f"{schema}.{name}", key=True)]:
        raise AlterationRefusedError(_refusal(schema, rekeyed, blocked))
    # a transaction of the driver ends at its first error and has no savepoints
    connection.execute("begin")
    try:
        shut_out_readers(connection, schema, sorted({*tables, *replaced}), lambda _: None)
        rights = [grant for name in replaced for grant in _grants(connection, f"{schema}.{name}")]
        yield
        for grant in rights:
            connection.execute(grant)
        connection.execute("commit")
    except Error as error:
        if error.sqlstate not in HELD:
            raise
        connection.execute("rollback")
        raise AlterationRefusedError(
            f"{held_by(connection, schema)} Nothing has changed. Let these sessions end their transactions, or end "
            "them by `select pg_terminate_backend(<pid>)`, and run the same command again."
        ) from error


def _refusal(schema: str, names: Collection[str], blocked: Collection[str]) -> str:
    tables = ", ".join(f"{schema}.{name}" for name in names)
    others = ", ".join(dict.fromkeys(blocked))
    return (
        f"{tables}: expected no objects of others that depend on it, because this release of Leadline replaces it, "
        f"found {others}. Keep the definition (`pg_get_viewdef` of a view), drop {others}, run the same command again, "
        "and create it again; nothing has changed."
    )


def _built_on(connection: Connection, relation: str, *, key: bool) -> list[str]:
    """Return the names of objects that depend on a table, or on its primary key."""
    keys = "from pg_constraint where conrelid = to_regclass($1) and contype = 'p'"
    condition = f"in (select oid {keys} union all select conindid {keys})" if key else "= to_regclass($1)"
    found = connection.execute(
        "select distinct coalesce((select cast(cast(r.ev_class as regclass) as text) from pg_rewrite as r "
        "where d.classid = cast('pg_rewrite' as regclass) and r.oid = d.objid), "
        "pg_describe_object(d.classid, d.objid, d.objsubid)) "
        f"from pg_depend as d where d.refobjid {condition} and d.deptype = 'n' order by 1",
        [relation],
    ).fetchall()
    return [name for (name,) in found]


def _grants(connection: Connection, relation: str) -> list[str]:
    """Return the statements that grant again the rights to read that others have on a table and its columns."""
    query = (
        "select {column}, case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, "
        "a.is_grantable from {table}, aclexplode({acl}) as a "
        "where {oid} = to_regclass($1) and a.privilege_type = 'SELECT' and a.grantee <> {owner}"
    )
    owner = "(select relowner from pg_class where oid = to_regclass($1))"
    whole = query.format(column="null", table="pg_class", acl="relacl", oid="pg_class.oid", owner=owner)
    parts = query.format(column="quote_ident(attname)", table="pg_attribute", acl="attacl", oid="attrelid", owner=owner)
    return [
        f"grant select{f' ({column})' if column else ''} on {relation} to {role}{' with grant option' if more else ''}"
        for column, role, more in connection.execute(f"{whole} union all {parts}", [relation]).fetchall()
    ]
