"""A shape, and the writing of an export in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

_HISTORIES = """
    alter table projects rename column stage to deal_stage;
    alter table projects rename column expected_close_at to planned_close_at;
    create table histories as
    select project_id, column_name, value, changed_at from changes where project_id is not null;
    delete from changes where project_id is not null;
    alter table changes drop column project_id
"""
_NO_HISTORIES = """
    alter table projects add column deal_stage varchar;
    alter table projects add column planned_close_at timestamptz;
    create table histories (project_id varchar, column_name varchar, value varchar, changed_at timestamptz)
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The tables of another CRM.

    Attributes
    ----------
    name : str
        The name, which is that of the shipped mapping that reads the shape.
    tables : dict of str to str
        By table, in their order: a query of DuckDB over the simulated tables (``leads``, ``interactions``,
        ``appointments``, ``projects``, ``changes``) and over ``shaped.<table>`` for the tables before. ``changes`` has
        the histories of leads alone; those of deals are in ``histories`` (``project_id``, ``column_name``, ``value``,
        ``changed_at``), which is empty if the simulation keeps none. ``projects`` then has no ``deal_stage`` and no
        ``planned_close_at``.
    mapping : str or None
        The text of the ``mapping.yml`` that is written beside the tables; None for none.
    file_format : str or None
        ``csv`` if the other CRM exports nothing else; None for the format that is asked for.
    """

    name: str
    tables: Mapping[str, str]
    mapping: str | None = None
    file_format: str | None = None

    def write(self, export: Path, file_format: str) -> dict[str, int]:
        """Replace the simulated tables of an export by those of the shape.

        Parameters
        ----------
        export : Path
            A folder with the simulated tables as Parquet.
        file_format : {"parquet", "csv"}

        Returns
        -------
        dict of str to int
            Rows by table.
        """
        kind = self.file_format or file_format
        rows = {}
        simulated = sorted(export.glob("*.parquet"))
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("set TimeZone = 'UTC'; create schema shaped")
            for path in simulated:
                connection.from_parquet(str(path)).create(path.stem)
            connection.execute(_HISTORIES if "stage" in connection.table("projects").columns else _NO_HISTORIES)
            for name, query in self.tables.items():
                connection.execute(f'create table shaped."{name}" as {query}')
            # the file names of a CRM may equal those of the simulation, so these go first
            for path in simulated:
                path.unlink()
            for name in self.tables:
                table = connection.table(f'shaped."{name}"')
                rows[name] = len(table)
                target = str(export / f"{name}.{kind}")
                if kind == "csv":
                    table.write_csv(target)
                else:
                    table.write_parquet(target)
        return rows
