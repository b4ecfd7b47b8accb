"""Measure a source: what each column holds, which columns are keys, and which name the key of another table."""

from collections.abc import Iterator, Mapping, Sequence

from duckdb import DuckDBPyConnection

from store.source.checking.numbers import number_text
from store.source.contract import SourceContractError
from store.source.reading.rows import BYTES, NESTED
from store.source.reading.sources import Source
from store.source.sql import of_source, one_row
from store.source.suggesting.evidence import Column, Filled, Numbers, Profile, Reference, Table, Times
from store.source.suggesting.names import NO, YES
from store.source.suggesting.odd_files import OddFile
from store.source.suggesting.spellings import TimeSpelling, number_form, time_spelling
from store.source.values.functions import UTC_ZONE, spelling
from store.source.values.texts import MISSING, folded, is_contact
from store.sql import literals

SAMPLE_ROWS = 20_000
"""Rows of a table on which spellings and the order of times are measured; keys and words are measured on all rows."""

SAMPLE_VALUES = 500

CONTACT_VALUES = 100

MOST_WORDS = 60
"""A column with more different values than this has no vocabulary."""

MOST_PAIRS = 12
"""Times and statuses of a table that are compared with each other, at most."""

REFERENCE_VALUES = 500

NEARLY = 0.98
"""Share of the rows that have a value of their own in a key; the rest was recorded twice, or is missing."""

MOST_KEY = 100
"""The longest key, in characters."""


def profile(
    connection: DuckDBPyConnection,
    reader: Source,
    columns: Mapping[str, Sequence[str]],
    unread: Mapping[str, str] | None = None,
    odd: Sequence[OddFile] = (),
) -> Profile:
    """Measure the tables of a source.

    Parameters
    ----------
    connection : DuckDBPyConnection
        A scratch database with the functions on one value.
    reader : Source
    columns : mapping of str to sequence of str
        By table that can be opened.
    unread : mapping of str to str
        By table that cannot be opened: why.
    odd : sequence of OddFile
        The files that the reader reads in a stated form.
    """
    tables: dict[str, Table] = {}
    numbers: dict[str, int] = {}
    failed: dict[str, str] = {}
    for number, (name, found) in enumerate(columns.items()):
        try:
            read = _read(connection, reader, name, found, number)
        except SourceContractError as error:
            failed[name] = str(error).splitlines()[0]
            continue
        numbers[name] = number
        tables[name] = _table(connection, name, reader.place(name), read, number)
    return Profile(
        description=reader.description,
        tables=tables,
        unread={**(unread or {}), **failed},
        references=tuple(_references(connection, tables, numbers)),
        odd=tuple(odd),
    )


def _read(connection: DuckDBPyConnection, reader: Source, name: str, found: Sequence[str], number: int) -> list[str]:
    """Create ``t<number>`` with the texts of a table: missing values are null, and the columns are ``c0``, …."""
    columns = [column for column in found if not (reader.type_of(name, column) or "").startswith((*NESTED, *BYTES))]
    scratch = f"profile_{number}"
    reader.read(connection, table=scratch, source_table=name, columns=columns, since=None)
    # the cleaning of the extraction, as far as it is cheap
    texts = "".join(
        f", case when lower(v{place}) not in ('', {literals(MISSING)}) then v{place} end as c{place}"
        for place in range(len(columns))
    )
    trimmed = "".join(
        f", trim(cast({of_source(column)} as varchar)) as v{place}" for place, column in enumerate(columns)
    )
    connection.execute(
        f"create table t{number} as select record{texts} from (select record{trimmed} from source_{scratch})"
    )
    connection.execute(f"drop view source_{scratch}")
    for kind in ("file", "database"):
        connection.execute(f"drop table if exists {kind}_{scratch}")
    rows = one_row(connection, f"select count(*) from t{number}")[0]
    # every so many rows, so that a second look takes the same ones
    step = max(1, rows // SAMPLE_ROWS)
    connection.execute(f"create table s{number} as from t{number} where record % {step} = 0")
    return columns


def _table(connection: DuckDBPyConnection, name: str, place: str, names: Sequence[str], number: int) -> Table:
    if not names:
        return Table(name=name, place=place, rows=0, columns={})
    counts = ", ".join(
        f"count(c{each}), approx_count_distinct(c{each}), coalesce(max(length(c{each})), 0)"
        for each in range(len(names))
    )
    rows, *figures = one_row(connection, f"select count(*), {counts} from t{number}")
    spelt = [_values(connection, number, each) for each in range(len(names))]
    times = [time_spelling([value for value, _ in values]) for values in spelt]
    measured = _times(connection, number, times)
    columns: dict[str, Column] = {}
    for each, column in enumerate(names):
        filled, distinct, longest = figures[3 * each : 3 * each + 3]
        is_unique = False
        # the estimate is right to some per cent
        if filled and distinct * 10 >= filled * 8:
            distinct = one_row(connection, f"select count(distinct c{each}) from t{number}")[0]
            is_unique = distinct == filled
        words = _words(connection, number, each) if filled and distinct <= MOST_WORDS * 1.2 else ()
        folds = {folded(word) for word, _ in words}
        columns[column] = Column(
            name=column,
            filled=filled,
            distinct=distinct,
            is_unique=is_unique,
            longest=longest,
            words=words,
            times=measured.get(each),
            numbers=_numbers(connection, number, each, spelt[each]),
            is_flag=bool(folds) and folds <= {*YES, *NO} and len(folds) <= 2,
            is_float=_is_float(connection, number, each, spelt[each]),
            contact=_contact(spelt[each]),
        )
    return Table(
        name=name,
        place=place,
        rows=rows,
        columns=columns,
        in_order=_in_order(connection, number, names, columns),
        by_word=_by_word(connection, number, names, columns),
    )


def _values(connection: DuckDBPyConnection, number: int, column: int) -> list[tuple[str, int]]:
    return connection.execute(
        f"select c{column}, count(*) from s{number} where c{column} is not null group by 1 order by 2 desc, 1 "
        f"limit {SAMPLE_VALUES}"
    ).fetchall()


def _words(connection: DuckDBPyConnection, number: int, column: int) -> tuple[tuple[str, int], ...]:
    # of the spellings of a word in several cases, the most frequent one stands for all
    found = connection.execute(
        f"select max_by(v, n), sum(n)::bigint as rows from (select c{column} as v, count(*) as n from t{number} "
        f"where c{column} is not null group by 1) group by folded(v) order by rows desc, 1 limit {MOST_WORDS + 1}"
    ).fetchall()
    return tuple(found) if len(found) <= MOST_WORDS else ()


def _is_float(connection: DuckDBPyConnection, number: int, column: int, values: Sequence[tuple[str, int]]) -> bool:
    if not values or not values[0][0].endswith(".0"):
        return False
    others = f"select count(*) from t{number} where not regexp_full_match(c{column}, '\\d+\\.0')"
    return one_row(connection, others)[0] == 0


def _key_text(place: int, column: Column) -> str:
    return f"regexp_replace(c{place}, '\\.0$', '')" if column.is_float else f"c{place}"


def _contact(values: Sequence[tuple[str, int]]) -> float:
    some = values[:CONTACT_VALUES]
    return sum(is_contact(value) for value, _ in some) / len(some) if some else 0.0


def _times(connection: DuckDBPyConnection, number: int, found: Sequence[TimeSpelling | None]) -> dict[int, Times]:
    measured: dict[int, Times] = {}
    for each, one in enumerate(found):
        if one is None:
            continue
        how = spelling(one.formats, UTC_ZONE, f"c{each}")
        values, read, dates, walls, first, last = one_row(
            connection,
            f"select count(c{each}), count({how.value}), count(*) filter ({how.value} is not null and {how.is_date}), "
            f"count({how.wall}), min({how.value}) filter (isfinite({how.value})), "
            f"max({how.value}) filter (isfinite({how.value})) from s{number}",
        )
        if not read or first is None:
            continue
        measured[each] = Times(
            formats=one.formats,
            other_formats=one.other,
            is_figure=one.is_figure,
            share=read / values,
            dates=dates / read,
            zoned=1 - walls / read,
            first=first,
            last=last,
        )
    return measured


def _numbers(
    connection: DuckDBPyConnection, number: int, column: int, values: Sequence[tuple[str, int]]
) -> Numbers | None:
    form = number_form([value for value, _ in values])
    text = number_text(form, f"plain(c{column})")
    filled, read, negative = one_row(
        connection,
        f"select count(c{column}), count({text}), count(*) filter (try_cast({text} as double) < 0) from s{number}",
    )
    return Numbers(form=form, share=read / filled, negative=negative / read) if read else None


def moment(column: Column, place: int) -> str:
    """Return SQL for the time of a column of ``s<number>``."""
    return spelling(column.times.formats if column.times else ("iso",), UTC_ZONE, f"c{place}").value


def _is_time(column: Column) -> bool:
    return column.times is not None and column.times.share > 0.5 and not column.times.is_figure


def _in_order(
    connection: DuckDBPyConnection, number: int, names: Sequence[str], columns: Mapping[str, Column]
) -> dict[tuple[str, str], float]:
    some = [(place, name) for place, name in enumerate(names) if _is_time(columns[name])][:MOST_PAIRS]
    pairs = [(one, other) for one in some for other in some if one != other]
    if not pairs:
        return {}
    # a date has no time of day, so only days are compared
    counts = ", ".join(
        f"avg((m{one[0]} <= m{other[0]})::integer) filter (m{one[0]} is not null and m{other[0]} is not null)"
        for one, other in pairs
    )
    moments = ", ".join(f"date_trunc('day', {moment(columns[name], place)}) as m{place}" for place, name in some)
    shares = one_row(connection, f"select {counts} from (select {moments} from s{number})")
    return {(one[1], other[1]): share for (one, other), share in zip(pairs, shares, strict=True) if share is not None}


def _by_word(
    connection: DuckDBPyConnection, number: int, names: Sequence[str], columns: Mapping[str, Column]
) -> dict[tuple[str, str], dict[str, Filled]]:
    statuses = [
        (place, name)
        for place, name in enumerate(names)
        if len(columns[name].words) > 1 and not _is_time(columns[name])
    ][:MOST_PAIRS]
    measures = [
        (place, name)
        for place, name in enumerate(names)
        if _is_time(columns[name]) or ((found := columns[name].numbers) is not None and found.share > 0.9)
    ]
    by_word: dict[tuple[str, str], dict[str, Filled]] = {}
    if not measures:
        return by_word
    counts = []
    for place, name in measures:
        numbers = columns[name].numbers
        text = number_text(numbers.form if numbers else None, f"plain(c{place})")
        counts.append(f"count(c{place}), count(*) filter (try_cast({text} as double) > 0)")
    for status, status_name in statuses:
        for word, rows, *figures in connection.execute(
            f"select max(c{status}), count(*), {', '.join(counts)} from s{number} where c{status} is not null "
            f"group by folded(c{status})"
        ).fetchall():
            for each, (_, name) in enumerate(measures):
                filled = Filled(rows, figures[2 * each], figures[2 * each + 1])
                by_word.setdefault((status_name, name), {})[folded(word)] = filled
    return by_word


def may_be_key(table: Table, column: Column) -> bool:
    """Say whether nearly all rows of a table have a value of their own in a column: some may be there twice."""
    is_time = column.times is not None and not column.times.is_figure
    is_distinct = column.is_unique or column.distinct >= NEARLY * column.filled
    return is_distinct and not is_time and column.filled >= max(1, NEARLY * table.rows) and column.longest <= MOST_KEY


def _may_refer(column: Column) -> bool:
    is_time = column.times is not None and not column.times.is_figure and column.times.share > 0.5
    return column.filled > 0 and not is_time and not column.is_flag and column.longest <= MOST_KEY


def _references(
    connection: DuckDBPyConnection, tables: Mapping[str, Table], numbers: Mapping[str, int]
) -> Iterator[Reference]:
    connection.execute(
        "create table keys (place integer, v varchar); create table some_values (place integer, v varchar)"
    )
    keys: list[tuple[Table, Column]] = []
    columns: list[tuple[Table, Column]] = []
    for name, table in tables.items():
        number = numbers[name]
        for place, column in enumerate(table.columns.values()):
            if may_be_key(table, column):
                connection.execute(
                    f"insert into keys select distinct {len(keys)}, {_key_text(place, column)} from t{number} "
                    f"where c{place} is not null"
                )
                keys.append((table, column))
            if _may_refer(column):
                connection.execute(
                    f"insert into some_values select distinct {len(columns)}, {_key_text(place, column)} as v "
                    f"from s{number} where c{place} is not null order by hash(v) limit {REFERENCE_VALUES}"
                )
                columns.append((table, column))
    found = connection.execute(
        "select v.place, k.place, count(*), any_value(n) from some_values v join keys k on k.v = v.v "
        "join (select place, count(*) as n from some_values group by 1) t on t.place = v.place group by 1, 2 "
        "order by 1, 2"
    ).fetchall()
    for of, to, hits, values in found:
        (table, column), (to_table, to_column) = columns[of], keys[to]
        if table.name == to_table.name:
            continue
        yield Reference(
            table=table.name,
            column=column.name,
            to_table=to_table.name,
            to_column=to_column.name,
            share=hits / values,
            rows_per_key=column.filled / max(1, column.distinct),
        )
