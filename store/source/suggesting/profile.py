"""Measure a source: what each column holds, which columns are keys, and which name the key of another table."""

from collections.abc import Callable, Mapping, Sequence

from duckdb import DuckDBPyConnection

from store.source.assembling.frame import MIDNIGHT
from store.source.checking.numbers import number_text
from store.source.contract import SourceContractError
from store.source.sql import one_row
from store.source.suggesting.columns import is_time, may_be_status
from store.source.suggesting.evidence import (
    Column,
    Filled,
    Numbers,
    Profile,
    Table,
    Times,
)
from store.source.suggesting.odd_files import OddFile
from store.source.suggesting.references import references, rows_per_key
from store.source.suggesting.scratch import Scratch, Texts
from store.source.suggesting.spellings import TimeSpelling, is_clock, is_day, number_form, time_spelling
from store.source.suggesting.vocabulary import NO, YES, spoken
from store.source.values.functions import UTC_ZONE, spelling
from store.source.values.texts import folded, is_contact
from store.sql import literal

SAMPLE_VALUES = 500

CONTACT_VALUES = 100

MOST_WORDS = 60
"""A column with more different values than this has no vocabulary."""

MOST_PAIRS = 12
"""Times and statuses of a table that are compared with each other, at most."""

MOST = 0.5

FIRST_VALUES = 20

COMMON = 4
"""Letters at the beginning of two names from which one is the day and the other the time of day of the same."""

ENDS = frozenset(("end", "ende", "bis", "to", "until", "fin", "hasta", "schluss"))

CLOCKS = 0.95
"""Share of the values of a column that must be times of day."""


def profile(
    scratch: Scratch,
    columns: Mapping[str, Sequence[str]],
    unread: Mapping[str, str] | None = None,
    odd: Sequence[OddFile] = (),
) -> tuple[Profile, dict[str, Texts]]:
    """Measure the tables of a source; return what was found, and the texts of each table.

    Parameters
    ----------
    scratch : Scratch
    columns : mapping of str to sequence of str
        By table that can be opened.
    unread : mapping of str to str
        By table that cannot be opened: why.
    odd : sequence of OddFile
        The files that the reader reads in a stated form.
    """
    tables: dict[str, Table] = {}
    texts: dict[str, Texts] = {}
    failed: dict[str, str] = {}
    for name, found in columns.items():
        try:
            texts[name] = scratch.read(name, found)
            tables[name] = measured_table(scratch, name, scratch.reader.place(name), texts[name])
        except SourceContractError as error:
            failed[name] = str(error).splitlines()[0]
    return Profile(
        description=scratch.reader.description,
        tables=tables,
        unread={**(unread or {}), **failed},
        references=tuple(references(scratch, tables, texts)),
        odd=tuple(odd),
    ), texts


def measured_table(scratch: Scratch, name: str, place: str, texts: Texts) -> Table:
    """Measure a table.

    Parameters
    ----------
    scratch : Scratch
    name, place : str
        What it is called, and its file or full name for messages.
    texts : Texts
    """
    connection, names, number = scratch.connection, texts.columns, texts.number
    if not names:
        return Table(name=name, place=place, rows=0, columns={})
    counts = ", ".join(
        f"count(c{each}), approx_count_distinct(c{each}), coalesce(max(length(c{each})), 0)"
        for each in range(len(names))
    )
    rows, *figures = one_row(connection, f"select count(*), {counts} from t{number}")
    spelt = [_values(connection, number, f"c{each}") for each in range(len(names))]
    clocks = clocks_of(names, [[value for value, _ in values] for values in spelt])
    said = [_said(each, clocks) for each in range(len(names))]
    times = [
        time_spelling([value for value, _ in (_values(connection, number, said[each]) if each in clocks else values)])
        for each, values in enumerate(spelt)
    ]
    measured = _times(connection, number, times, said)
    columns: dict[str, Column] = {}
    for each, column in enumerate(names):
        filled, distinct, longest = figures[3 * each : 3 * each + 3]
        is_unique = False
        # the estimate is right to some per cent
        if filled and distinct * 10 >= filled * 8:
            distinct, per_key = rows_per_key(connection, f"c{each}", texts)
            is_unique = distinct == filled
            distinct = distinct if is_unique else round(filled / per_key)
        words = _words(connection, number, each) if filled and distinct <= MOST_WORDS * 1.2 else ()
        folds = {folded(word) for word, _ in words}
        is_float, has_zero_within = _zeros(connection, number, each, spelt[each])
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
            is_float=is_float,
            has_zero_within=has_zero_within,
            is_clock=share_of(is_clock, [value for value, _ in spelt[each]]) >= CLOCKS,
            clock=names[clocks[each]] if each in clocks else None,
            contact=_contact(spelt[each]),
        )
    return Table(
        name=name,
        place=place,
        rows=rows,
        rows_in_all=texts.rows_in_all,
        columns=columns,
        in_order=_in_order(connection, number, names, columns),
        by_word=_by_word(connection, name, number, names, columns),
    )


def share_of(fits: Callable[[str], bool], values: Sequence[str]) -> float:
    """Return the share of values that fit."""
    return sum(map(fits, values)) / max(1, len(values))


def clocks_of(names: Sequence[str], values: Sequence[Sequence[str]]) -> dict[int, int]:
    """Return the places of columns of days that have the time of day beside them, and those of the latter.

    Parameters
    ----------
    names : sequence of str
    values : sequence of sequence of str
        Some values of each column.
    """
    days = [place for place in range(len(names)) if share_of(is_day, values[place]) >= CLOCKS]
    found: dict[int, int] = {}
    for clock in (place for place in range(len(names)) if share_of(is_clock, values[place]) >= CLOCKS):
        words = {*spoken(names[clock]).split("_")}
        common = {day: _common(spoken(names[day]), spoken(names[clock])) for day in days}
        named = [day for day in days if common[day] >= COMMON]
        # an end such as 10:30 has the day of its beginning, which has a time of day of its own
        if near := named or ([] if words & ENDS else days):
            day = min(near, key=lambda day: (-common[day] if named else 0, day > clock, abs(day - clock)))
            found.setdefault(day, clock)
    return found


def _common(one: str, other: str) -> int:
    """Return how many letters two names have in common at their beginning."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _said(place: int, clocks: Mapping[int, int]) -> str:
    """Return SQL of a text of a column, with the time of day that stands beside a day."""
    if place not in clocks:
        return f"c{place}"
    day = f"regexp_replace(c{place}, {literal(MIDNIGHT)}, '')"
    return f"(case when c{clocks[place]} is null then c{place} else {day} || ' ' || c{clocks[place]} end)"


def _values(connection: DuckDBPyConnection, number: int, text: str) -> list[tuple[str, int]]:
    return connection.execute(
        f"select {text}, count(*) from s{number} where {text} is not null group by 1 "
        # in the order of texts, the first dates would all be of the first days of a month
        f"order by 2 desc, hash({text}) limit {SAMPLE_VALUES}"
    ).fetchall()


def _words(connection: DuckDBPyConnection, number: int, column: int) -> tuple[tuple[str, int], ...]:
    # of the spellings of a word in several cases, the most frequent one stands for all
    found = connection.execute(
        f"select max_by(v, n), sum(n)::bigint as rows from (select c{column} as v, count(*) as n from t{number} "
        f"where c{column} is not null group by 1) group by folded(v) order by rows desc, 1 limit {MOST_WORDS + 1}"
    ).fetchall()
    return tuple(found) if len(found) <= MOST_WORDS else ()


def _zeros(
    connection: DuckDBPyConnection, number: int, column: int, values: Sequence[tuple[str, int]]
) -> tuple[bool, bool]:
    """Say whether most values are whole numbers written with ``.0``, and whether some have it elsewhere."""
    if not any(value.endswith(".0") for value, _ in values[:FIRST_VALUES]):
        return False, False
    share, within = one_row(
        connection,
        f"select avg(regexp_full_match(c{column}, '\\d+\\.0')::integer), "
        f"bool_or(contains(regexp_replace(c{column}, '\\.0$', ''), '.0')) from t{number}",
    )
    return share > MOST, within


def _contact(values: Sequence[tuple[str, int]]) -> float:
    some = values[:CONTACT_VALUES]
    return sum(is_contact(value) for value, _ in some) / len(some) if some else 0.0


def _times(
    connection: DuckDBPyConnection, number: int, found: Sequence[TimeSpelling | None], said: Sequence[str]
) -> dict[int, Times]:
    measured: dict[int, Times] = {}
    for each, one in enumerate(found):
        if one is None:
            continue
        how = spelling(one.formats, UTC_ZONE, said[each])
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


def moment(column: Column, names: Sequence[str]) -> str:
    """Return SQL for the time of a column of a table with these names of columns."""
    place = names.index(column.name)
    said = _said(place, {} if column.clock is None else {place: names.index(column.clock)})
    return spelling(column.times.formats if column.times else ("iso",), UTC_ZONE, said).value


def _in_order(
    connection: DuckDBPyConnection, number: int, names: Sequence[str], columns: Mapping[str, Column]
) -> dict[tuple[str, str], float]:
    some = [(place, name) for place, name in enumerate(names) if is_time(columns[name])][:MOST_PAIRS]
    pairs = [(one, other) for one in some for other in some if one != other]
    if not pairs:
        return {}
    # a date has no time of day, so only days are compared
    counts = ", ".join(
        f"avg((m{one[0]} <= m{other[0]})::integer) filter (m{one[0]} is not null and m{other[0]} is not null)"
        for one, other in pairs
    )
    moments = ", ".join(f"date_trunc('day', {moment(columns[name], names)}) as m{place}" for place, name in some)
    shares = one_row(connection, f"select {counts} from (select {moments} from s{number})")
    return {(one[1], other[1]): share for (one, other), share in zip(pairs, shares, strict=True) if share is not None}


def _by_word(
    connection: DuckDBPyConnection, name: str, number: int, names: Sequence[str], columns: Mapping[str, Column]
) -> dict[tuple[str, str], dict[str, Filled]]:
    statuses = [
        (place, each) for place, each in enumerate(names) if len(columns[each].words) > 1 and not is_time(columns[each])
    ]
    # in a wide table, a status may stand behind many answers of a questionnaire
    statuses = sorted(statuses, key=lambda each: not may_be_status(columns[each[1]], name))[:MOST_PAIRS]
    measures = [
        (place, each)
        for place, each in enumerate(names)
        if is_time(columns[each]) or ((found := columns[each].numbers) is not None and found.share > 0.9)
    ]
    by_word: dict[tuple[str, str], dict[str, Filled]] = {}
    if not measures:
        return by_word
    counts = []
    for place, of in measures:
        numbers = columns[of].numbers
        text = number_text(numbers.form if numbers else None, f"plain(c{place})")
        counts.append(f"count(c{place}), count(*) filter (try_cast({text} as double) > 0)")
    for status, status_name in statuses:
        for word, rows, *figures in connection.execute(
            f"select max(c{status}), count(*), {', '.join(counts)} from s{number} where c{status} is not null "
            f"group by folded(c{status})"
        ).fetchall():
            for each, (_, of) in enumerate(measures):
                filled = Filled(rows, figures[2 * each], figures[2 * each + 1])
                by_word.setdefault((status_name, of), {})[folded(word)] = filled
    return by_word
