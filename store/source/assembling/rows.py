"""The rows that expressions are computed over: a source table or a relation that was assembled before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from store.source.mapping.expressions import Each
from store.source.reading.tables import find_column
from store.source.sql import of_source, quoted
from store.sql import literal


@dataclass(frozen=True)
class Found:
    """The place of a value: a column of the rows, and the path within it."""

    column: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """Rows as a relation of the scratch database, whose columns are named by `of_source`.

    Attributes
    ----------
    relation : str
        Its name in the scratch database.
    source_table : str
        The source table, or the contract table that was assembled.
    place : str
        File, database table or query, for messages.
    columns : sequence of str
        The columns that it has, under the names that the mapping uses.
    real : mapping of str to str
        The names in the source of columns that the mapping calls otherwise.
    each : Each or None
        The column whose parts make a row each.
    is_said : bool
        Whether the columns are texts, null where a value is missing.
    used : dict of str to bool
        The columns that were asked for; true if a path within one was asked for.
    texts : dict of str to None
        The columns that were asked for as texts: the relation has each of them a second time, by `said_column`.
    """

    relation: str
    source_table: str
    place: str
    columns: Sequence[str]
    real: Mapping[str, str] = field(default_factory=dict)
    each: Each | None = None
    is_said: bool = False
    used: dict[str, bool] = field(default_factory=dict)
    texts: dict[str, None] = field(default_factory=dict)

    @property
    def slot(self) -> str:
        """The name by which the reader makes the rows, as ``source_<slot>``."""
        return self.relation.removeprefix("rows_")

    @property
    def is_whole(self) -> bool:
        """Whether each row is one row of the source."""
        return self.each is None

    def query(self) -> str:
        """Return a query of the rows over ``source_<slot>``."""
        columns = {column: of_source(self.real.get(column, column)) for column in self.used}
        rows = f"source_{self.slot}"
        record = "record"
        if self.each is not None and (found := self.find(self.each.column)) is not None:
            parts = f"string_split(coalesce(cast({columns[found.column]} as varchar), ''), {literal(self.each.at)})"
            columns[found.column] = "part"
            record = "row_number() over (order by record, place) - 1"
            # an empty part beside others is no value
            rows = (
                f"(select *, unnest({parts}) as part, generate_subscripts({parts}, 1) as place from {rows}) "
                "where place = 1 or said(part) is not null"
            )
        listed = "".join(f", {value} as {of_source(column)}" for column, value in columns.items())
        said = "".join(f", said({columns[column]}) as {said_column(column)}" for column in self.texts)
        return f"select {record} as record{listed}{said} from {rows}"

    def text(self, alias: str, found: Found) -> str:
        """Return SQL of a value as text, null where it is missing."""
        if found.path:
            return f"said({reference(alias, found)})"
        if self.is_said:
            return reference(alias, found)
        self.texts[found.column] = None
        return f"{alias}.{said_column(found.column)}"

    def find(self, name: str) -> Found | None:
        """Return the place of a value by its name, and note that the column is used; None if there is none."""
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            column = find_column(".".join(parts[:end]), self.columns, self.source_table)
            if column is not None:
                self.used[column] = self.used.get(column, False) or end < len(parts)
                return Found(column, tuple(parts[end:]))
        return None


def said_column(column: str) -> str:
    """Return the quoted name of a column of rows as text, null where a value is missing."""
    return quoted(f"said {column}")


def reference(alias: str, found: Found) -> str:
    """Return SQL of a value, as it is in the source."""
    column = f"{alias}.{of_source(found.column)}"
    if not found.path:
        return column
    steps = "".join(f"[{part}]" if part.isdecimal() else f".{json.dumps(part)}" for part in found.path)
    text = f"cast({column} as varchar)"
    return f"case when json_valid({text}) then json_extract_string({text}, {literal(f'${steps}')}) end"
