"""The stored rows of schema ``raw``, read from either engine, and the marker: a row about the last extraction."""

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from duckdb import DuckDBPyConnection

from store.source.contract import EARLIER_NAMES, TABLES
from store.source.record import SQL_TYPES
from store.source.sql import one_row, quoted
from store.sql import literal

BATCH_ROWS = 100_000


def quiet_dlt() -> None:
    """Silence dlt's log; dlt also raises the errors that it logs."""
    # dlt configures its logger from this variable, which overrides its configuration and the level set here
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    logging.getLogger("dlt").setLevel(logging.CRITICAL)


RAW = "raw"

EXTRACTION_COLUMNS = {
    "as_of": "timestamptz",
    "load_number": "bigint",
    "source": "varchar",
    "mapping": "varchar",
    "closing_outcomes": "varchar",
    "closing_lead_statuses": "varchar",
    "closing_project_statuses": "varchar",
    "silence_closes_after_days": "bigint",
    "horizon_days": "varchar",
    "value_currency": "varchar",
    "attributes": "varchar",
    "left_columns": "varchar",
    "caveat": "varchar",
    "entities": "varchar",
    "customers_close": "boolean",
    "assumptions": "varchar",
    "delivered": "varchar",
    "accepted": "varchar",
}

WORD_COLUMNS = {"table_name": "varchar", "column_name": "varchar", "word": "varchar", "rows": "bigint"}

MOST_WORDS = 1_000
"""The most frequent words of a column are counted, up to this number: each row may hold another text."""


@dataclass(frozen=True)
class Delta:
    """A relation of the scratch database that is loaded into schema ``raw``.

    Attributes
    ----------
    table : str
        Table of schema ``raw``.
    relation : str
        Relation with the same columns.
    write : {"merge", "replace"}
        Merge by key, or replace the table as a whole.
    """

    table: str
    relation: str
    write: Literal["merge", "replace"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The columns and words that are wanted from a table of schema ``raw``.

    Attributes
    ----------
    columns : mapping of str to str
        Columns and their types.
    filled : tuple of str
        Columns for which only the presence of a value is wanted: bit ``i`` of column ``filled`` for the ``i``-th.
    words : tuple of str
        Columns whose words are counted, in ``known_words``.
    defaults : mapping of str to str
        By column, the default of a missing value, which does not count as a value.
    """

    columns: Mapping[str, str]
    filled: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def definition(self) -> str:
        """The columns of ``known_<table>``."""
        return definition_of({**self.columns, **({"filled": "bigint"} if self.filled else {})})

    def mask(self, stored: Collection[str]) -> str:
        """Return the SQL of ``filled``, for both engines; a column that the table lacks is not filled."""
        bits = [
            f"case when {self._is_filled(name)} then {1 << bit} else 0 end"
            for bit, name in enumerate(self.filled)
            if name in stored
        ]
        return f"cast({' + '.join(bits) or '0'} as bigint)"

    def _is_filled(self, name: str) -> str:
        # the comparison with a default is also not true for null
        return quoted(name) + (f" <> {literal(self.defaults[name])}" if name in self.defaults else " is not null")


def counted_words(table: str, column: str) -> str:
    """Return the SQL that counts the words of a column, for both engines."""
    name = quoted(column)
    return (
        f"select {name}, count(*) from {table} where {name} is not null group by {name} "
        f"order by count(*) desc, {name} limit {MOST_WORDS}"
    )


def keep_words(connection: DuckDBPyConnection, table: str, column: str, words: Sequence[Sequence[object]]) -> None:
    """Add the words of a column to ``known_words``."""
    if words:
        connection.execute(
            "insert into known_words select $1, $2, unnest($3::varchar[]), unnest($4::bigint[])",
            [table, column, *map(list, zip(*words, strict=True))],
        )


def renames() -> Iterator[tuple[str, list[str]]]:
    """Yield the earlier name of a table, and the statements that rename it, for both engines."""
    for name, earlier in EARLIER_NAMES.items():
        yield (
            earlier,
            [
                f"alter table {RAW}.{earlier} rename to {name}",
                # dbt's view of the table, which the next build makes under the present name
                f"drop view if exists staging.stg_{earlier} cascade",
            ],
        )


def further_columns(stored: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield statements that add the columns of the contract that stored tables lack, for both engines."""
    for name, table in TABLES.items():
        for column in table.columns:
            if name in stored and column.name not in stored[name]:
                yield f"alter table {RAW}.{name} add column {column.name} {SQL_TYPES[column.kind]}"


def make_marker(connection: DuckDBPyConnection, row: Mapping[str, object], *, loaded: bool) -> bool:
    """Create ``new_extraction``; say whether rows were loaded or it differs from the stored one.

    If only ``delivered`` differs, the marker keeps the number and the accepted findings of the stored one.
    """
    definition = ", ".join(f"?::{sql_type} as {name}" for name, sql_type in EXTRACTION_COLUMNS.items())
    values = [row[name] for name in EXTRACTION_COLUMNS]
    connection.execute(f"create table new_extraction as select {definition}", values)
    compared = "* exclude (load_number, delivered, accepted)"
    one, differing = one_row(
        connection,
        "select (select count(*) from known_extraction) = 1, (select count(*) from "
        f"(select {compared} from new_extraction except select {compared} from known_extraction))",
    )
    if loaded or row["accepted"] or not one or differing:
        return True
    connection.execute(
        "update new_extraction set load_number = k.load_number, accepted = k.accepted from known_extraction k"
    )
    is_delivered = "select (select delivered from known_extraction) is not distinct from ?"
    return not one_row(connection, is_delivered, [row["delivered"]])[0]


def raw_is_ahead(connection: DuckDBPyConnection) -> bool:
    """Say whether ``raw`` holds rows of an extraction that was killed before it wrote its marker."""
    numbers = " union all ".join(f"select load_number from known_{name}" for name in TABLES)
    comparison = f"(select max(load_number) from ({numbers})) > (select max(load_number) from known_extraction)"
    return bool(one_row(connection, f"select coalesce({comparison}, false)")[0])


def definition_of(columns: Mapping[str, str]) -> str:
    """Return the columns of a table as ``create table`` takes them."""
    return ", ".join(f"{quoted(name)} {sql_type}" for name, sql_type in columns.items())
