"""Tables of a PostgreSQL database that are altered, which others read, build on and have rights on."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from store.warehouse.connection import Connection
from store.warehouse.engine import AlterationRefusedError
from store.warehouse.postgres.locks import HELD, held_by, shut_out_readers


@contextmanager
def altering(
    connection: Connection, schema: str, tables: Collection[str], replaced: Collection[str], rekeyed: Collection[str]
) -> Iterator[None]:
    """Alter tables in one transaction, as `store.warehouse.connection.Connection.altering` has it."""
    from adbc_driver_manager import Error

    if blocked := [each for name in replaced for each in _built_on(connection, f"{schema}.{name}", key=False)]:
        raise AlterationRefusedError(_refusal(schema, replaced, blocked))
    if blocked := [each for name in rekeyed for each in _built_on(connection, f"{schema}.{name}", key=True)]:
        raise AlterationRefusedError(_refusal(schema, rekeyed, blocked))
    # the driver's own transactions end with their first error, and know no savepoints
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
    what = ", ".join(f"{schema}.{name}" for name in names)
    others = ", ".join(dict.fromkeys(blocked))
    return (
        f"{what}: expected nothing of others that is built on it, for this state of Leadline makes it anew, found "
        f"{others}. Keep the definition (`pg_get_viewdef` of a view), drop {others}, run the same command again, and "
        "create it anew; nothing has changed."
    )


def _built_on(connection: Connection, relation: str, *, key: bool) -> list[str]:
    """Return what others have built on a table, or on its primary key."""
    keys = "from pg_constraint where conrelid = to_regclass($1) and contype = 'p'"
    of = f"in (select oid {keys} union all select conindid {keys})" if key else "= to_regclass($1)"
    found = connection.execute(
        "select distinct coalesce((select cast(cast(r.ev_class as regclass) as text) from pg_rewrite as r "
        "where d.classid = cast('pg_rewrite' as regclass) and r.oid = d.objid), "
        "pg_describe_object(d.classid, d.objid, d.objsubid)) "
        f"from pg_depend as d where d.refobjid {of} and d.deptype = 'n' order by 1",
        [relation],
    ).fetchall()
    return [name for (name,) in found]


def _grants(connection: Connection, relation: str) -> list[str]:
    """Return the statements that give others the rights to read that they have on a table and on columns of it."""
    given = (
        "select {column}, case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, "
        "a.is_grantable from {table}, aclexplode({acl}) as a "
        "where {oid} = to_regclass($1) and a.privilege_type = 'SELECT' and a.grantee <> {owner}"
    )
    owner = "(select relowner from pg_class where oid = to_regclass($1))"
    whole = given.format(column="null", table="pg_class", acl="relacl", oid="pg_class.oid", owner=owner)
    parts = given.format(column="quote_ident(attname)", table="pg_attribute", acl="attacl", oid="attrelid", owner=owner)
    return [
        f"grant select{f' ({column})' if column else ''} on {relation} to {role}{' with grant option' if more else ''}"
        for column, role, more in connection.execute(f"{whole} union all {parts}", [relation]).fetchall()
    ]
