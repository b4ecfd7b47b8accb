"""Which columns of a source name the rows of another table: their values are found in a key of it."""

from collections.abc import Iterator, Mapping

from duckdb import DuckDBPyConnection

from store.source.sql import one_row
from store.source.suggesting.columns import is_time
from store.source.suggesting.evidence import MOST_KEY, Column, Reference, Table, may_be_key
from store.source.suggesting.scratch import Scratch, Texts

REFERENCE_VALUES = 500


def key_text(place: int, column: Column) -> str:
    """Return SQL of a value as a key of another table has it."""
    return f"regexp_replace(c{place}, '\\.0$', '')" if column.is_float else f"c{place}"


def _may_refer(column: Column) -> bool:
    is_other = is_time(column) or column.is_clock or column.is_flag
    return column.filled > 0 and not is_other and column.longest <= MOST_KEY


def rows_per_key(connection: DuckDBPyConnection, text: str, texts: Texts) -> tuple[int, float]:
    """Return the different values of a column, and how many rows of the table there are for each."""
    filled, distinct, pairs = one_row(
        connection,
        "select coalesce(sum(n), 0), count(*), coalesce(sum(n * (n - 1) / 2), 0) from "
        f"(select {text}, count(*) as n from t{texts.number} where {text} is not null group by 1)",
    )
    if texts.share >= 1:
        return distinct, filled / max(1, distinct)
    # the rows of one value are seldom all read: from how many pairs were read follows how many there are
    return distinct, 1 + 2 * pairs / (texts.share * max(1, filled))


def references(scratch: Scratch, tables: Mapping[str, Table], texts: Mapping[str, Texts]) -> Iterator[Reference]:
    """Yield the columns whose values are found in a key of another table.

    Parameters
    ----------
    scratch : Scratch
    tables : mapping of str to Table
    texts : mapping of str to Texts
        By table.
    """
    connection = scratch.connection
    connection.execute(
        "create or replace table keys (place integer, v varchar); "
        "create or replace table some_values (place integer, v varchar, n bigint)"
    )
    # of a key of which not all is known, few values are found
    most = round(REFERENCE_VALUES / min((each.share for each in texts.values()), default=1.0))
    keys: list[tuple[Table, Column]] = []
    columns: list[tuple[Table, Column]] = []
    for name, table in tables.items():
        number = texts[name].number
        for place, column in enumerate(table.columns.values()):
            if may_be_key(table, column):
                connection.execute(
                    f"insert into keys select distinct {len(keys)}, {key_text(place, column)} from t{number} "
                    f"where c{place} is not null"
                )
                keys.append((table, column))
            if _may_refer(column):
                connection.execute(
                    f"insert into some_values select {len(columns)}, {key_text(place, column)} as v, count(*) "
                    f"from s{number} where c{place} is not null group by 2 order by hash(v) limit {most}"
                )
                columns.append((table, column))
    found = connection.execute(
        "select v.place, k.place, sum(n), any_value(rows) from some_values v join keys k on k.v = v.v "
        "join (select place, sum(n) as rows from some_values group by 1) t on t.place = v.place group by 1, 2 "
        "order by 1, 2"
    ).fetchall()
    for of, to, hits, rows in found:
        (table, column), (to_table, to_column) = columns[of], keys[to]
        if table.name == to_table.name:
            continue
        place = [*table.columns].index(column.name)
        text = key_text(place, column)
        (astray,) = one_row(
            connection,
            f"select count(*) from t{texts[table.name].number} where c{place} is not null and {text} not in "
            f"(select v from keys where place = {to})",
        )
        _, per_key = rows_per_key(connection, text, texts[table.name])
        known = texts[to_table.name].share
        yield Reference(
            table=table.name,
            column=column.name,
            to_table=to_table.name,
            to_column=to_column.name,
            share=hits / rows if known >= 1 else min(1.0, (hits + 2 * hits**0.5) / (rows * known)),
            rows_per_key=per_key,
            astray=astray if known >= 1 else 0,
        )
