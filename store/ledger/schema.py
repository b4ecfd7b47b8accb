"""The tables of the ledger, and the migration of a ledger of an earlier release."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.declared import earlier
from store.ledger import champions, decisions, measurements, predictions, versions
from store.warehouse.connection import Connection
from store.warehouse.warehouse import Warehouse

TABLES = (
    versions.VERSIONS,
    versions.TRAININGS,
    decisions.DECISIONS,
    champions.CHAMPION_HISTORY,
    predictions.PREDICTIONS,
    predictions.GRADES,
    predictions.SCORINGS,
    measurements.FEATURE_QUALITY,
    measurements.DRIFT,
    measurements.SOURCE_HEALTH,
    measurements.SOURCE_DELIVERIES,
    measurements.LATENESS,
)


@contextmanager
def ledger(warehouse: Warehouse) -> Iterator[Connection]:
    """Open a warehouse as `Warehouse.connect` does, with the tables of the ledger as this release has them."""
    with warehouse.connect() as connection:
        ensure(connection)
        yield connection


def ensure(connection: Connection) -> None:
    """Create the tables that are missing, and give those of an earlier release the columns and keys that they lack.

    One transaction does all: if it is killed, nothing has changed, and the next call starts again.

    Raises
    ------
    AlterationRefusedError
        If objects of others depend on a dropped table, or another session holds a lock on a table.
    """
    columns = _by_table(connection, "columns")
    keys = _by_table(connection, "key_column_usage")
    if all(
        {*each.columns} <= {*columns.get(each.name, ())} and keys.get(each.name, []) == [*each.key] for each in TABLES
    ):
        return
    existing = [each.name for each in TABLES if each.name in columns]
    # champions of an earlier release have no predecessors
    starts_history = champions.CHAMPION_HISTORY.name not in columns and "ml_champions" in columns
    rekeyed = [each.name for each in TABLES if each.name in columns and keys.get(each.name, []) != [*each.key]]
    with connection.altering("ml", existing, replaced=["ml_champions"] if starts_history else [], rekeyed=rekeyed):
        connection.execute("create schema if not exists ml")
        for name, renamed in earlier.COLUMNS.items():
            for old, new in renamed.items():
                if old in columns.get(name, ()):
                    connection.execute(f"alter table ml.{name} rename column {old} to {new}")
        for table in TABLES:
            connection.execute(f"create table if not exists ml.{table.name} ({table.definition()})")
            for column in table.nullable:
                kind = table.columns[column]
                connection.execute(f"alter table ml.{table.name} add column if not exists {column} {kind}")
            if table.name in rekeyed:
                connection.change_key("ml", table.name, table.key, table.definition())
        connection.execute(
            "update ml.ml_predictions set entity = $1, origin = $2 where entity is null",
            [earlier.ENTITY, predictions.BATCH],
        )
        if starts_history:
            connection.execute(
                f"insert into ml.ml_champion_history ({', '.join(champions.CHAMPION_HISTORY.columns)}) "
                f"select model, 1, '{champions.PROMOTED}', version, artifact, manifest_sha256, promoted_at, "
                "promoted_at from ml.ml_champions"
            )
            connection.execute("drop table ml.ml_champions")
        connection.execute(f"create or replace view ml.ml_champions as {champions.PRESENT}")


def _by_table(connection: Connection, view: str) -> dict[str, list[str]]:
    """Return the columns of the tables of schema ``ml`` that a view of the information schema lists, in order."""
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(
        f"select table_name, column_name from information_schema.{view} where table_schema = 'ml' "
        "and table_catalog = current_database() order by ordinal_position"
    ).fetchall():
        found.setdefault(table, []).append(column)
    return found
