"""Owners: the rows whose overwritten values the history keeps, and the rows that the rows of a table are about."""

from collections.abc import Iterable

from store.source.contract import TABLES
from store.source.record import Table

OWNER_KEYS = ("lead_id", "project_id", "customer_id")
"""The columns by which a change names its owner. That of a project has the lead of the project as well."""

OWNER = "coalesce(project_id, customer_id, lead_id)"
"""The key of the owner of a change, as SQL."""


def owner_table(prefix: str = "") -> str:
    """Return SQL for the table of the owner of a change, whose columns have a prefix."""
    return (
        f"case when {prefix}project_id is not null then 'projects' "
        f"when {prefix}customer_id is not null then 'customers' else 'leads' end"
    )


def is_of(table: str) -> str:
    """Return SQL for whether a change is of a row of a table."""
    return f"{owner_table()} = '{table}'"


def tables_about(table: Table) -> list[Table]:
    """Return the tables one of which a row names."""
    return [TABLES[name] for name in (table.of, *table.or_of) if name is not None]


def owners_first(names: Iterable[str]) -> list[str]:
    """Return names of tables in an order in which all rows that a table is about come before it."""
    return sorted(names, key=lambda name: TABLES[name].of is not None and TABLES[name].begins is None)


def begun_by(table: Table) -> list[Table]:
    """Return the tables of which a row begins a row of this one that is not there."""
    return [each for each in TABLES.values() if each.begins == table.name]


def known_keys(table: Table) -> str:
    """Compose the SELECT of the keys of a table's rows: read, stored, or begun by a row of another table."""
    return " union all ".join(
        f"select {table.key} from typed_{name} where check_no is null union all select {table.key} from known_{name}"
        for name in (table.name, *(each.name for each in begun_by(table)))
    )
