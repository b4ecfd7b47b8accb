"""Find the entries of a mapping that match no row, word or column of the source.

A misspelt word in a mapping has no effect and causes no error. So each entry that a person has written is looked up in
the rows that were read. Entries of shipped mappings are not looked up, because these fit a family of CRMs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized

from duckdb import DuckDBPyConnection

from store.source.checking.numbers import NUMERIC
from store.source.checking.validation import Validated, types_read
from store.source.contract import CHANGES, OVERWRITTEN
from store.source.mapping.binding import TableBinding, columns_of
from store.source.mapping.forms import SourceMapping, TableMapping
from store.source.reading.sources import Source
from store.source.sql import of_source, one_row
from store.source.values.texts import folded
from store.sql import literal, literals

WORDS_LISTED = 5
"""A message names at most so many words of a column, the most frequent first."""


def unmatched(
    connection: DuckDBPyConnection,
    written: SourceMapping,
    bindings: Mapping[str, TableBinding | None],
    validated: Mapping[str, Validated],
    reader: Source,
) -> Iterator[str]:
    """Yield sentences about entries of a mapping that match nothing, and about words that its value maps lack.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``source_<table>`` and ``typed_<table>``.
    written : SourceMapping
        The mapping that a person has written, without the one that it is based on.
    bindings, validated
        By contract table.
    reader : Source
    """
    if "schema_" in written.model_fields_set and reader.folder is not None:
        yield f"The mapping's schema {written.schema_!r} is not used: a folder has none."
    for name, spec in written.tables.items():
        if (binding := bindings[name]) is None:
            yield from _absent(name, spec, reader)
        else:
            yield from _unused(connection, name, spec, binding, reader)
            yield from _typed_numbers(connection, spec, validated[name])
            yield from _of_words(connection, spec, binding, bindings[CHANGES], validated[name])
    if "missing" in written.model_fields_set:
        yield from _of_missing(connection, written.missing, validated.values())


def _absent(name: str, spec: TableMapping, reader: Source) -> Iterator[str]:
    if spec.absent and (spec.table or name) in reader.columns():
        yield f"The mapping declares {name} absent, and {reader.place(spec.table or name)} is there: it is not read."
    if spec.model_fields_set - {"absent"}:
        reason = "it declares the table absent" if spec.absent else "the source has no such table"
        yield f"The mapping's entries of {name} are not used: {reason}."


def _unused(
    connection: DuckDBPyConnection, name: str, spec: TableMapping, binding: TableBinding, reader: Source
) -> Iterator[str]:
    for column in spec.units:
        if not binding.reads(column):
            yield f"The mapping's unit of {name}.{column} is not used: the source has no such column."
        elif not one_row(connection, f"select count({column}) from typed_{name}")[0]:
            yield f"The mapping's unit of {name}.{column} is not used: no row that was read has a number."
        elif not one_row(connection, f"select count(nullif({column}, 0)) from typed_{name}")[0]:
            yield f"{name}.{column} is 0 in all rows, by the mapping's unit or as it was read: it has two decimals."
    for entry, columns in (("format of times", spec.times), ("form of numbers", spec.numbers)):
        for column in columns:
            if not binding.reads(column):
                yield f"The mapping's {entry} of {name}.{column} is not used: the source has no such column."
    if "overlap_minutes" in spec.model_fields_set and binding.watermark is None:
        yield f"The mapping's overlap_minutes of {name} is not used: the table has no watermark."
    if spec.watermark is not None:
        if reader.folder is not None:
            yield f"The mapping's watermark of {name} is not used: a folder is always read whole."
        elif not binding.reads(spec.watermark):
            yield (
                f"The mapping's watermark of {name} is not used: the source has no column for {spec.watermark}, so the "
                "table is read whole."
            )


def _typed_numbers(connection: DuckDBPyConnection, spec: TableMapping, one: Validated) -> Iterator[str]:
    table = one.binding.table
    types = types_read(connection, table, one.reading)
    for column in spec.numbers:
        if isinstance(form := one.binding.forms[column], str) and types[form].startswith(NUMERIC):
            yield (
                f"The mapping's form of numbers of {table.name}.{column} is not used: its values are numbers already."
            )


def _of_words(
    connection: DuckDBPyConnection,
    spec: TableMapping,
    binding: TableBinding,
    history: TableBinding | None,
    validated: Validated,
) -> Iterator[str]:
    # if the table was read in part, rows that were not read may have the words
    if validated.reading.part is not None:
        return
    table = binding.table
    for column, values in spec.values.items():
        words = _words(connection, binding, column, history)
        place = f"{table.name}.{column}"
        if words is None:
            yield f"The mapping's value map of {place} is not used: the column is not read from words of the source."
            continue
        found = {folded(word) for word, _ in words}
        if unused := [word for word in values if folded(word) not in found]:
            yield (
                f"The mapping's value map of {place} has {_counted(unused, 'word')} that no row has: "
                f"{_listed(map(repr, unused))}. Check the spelling."
            )
        if table.column(column).vocabulary or not table.column(column).words_kept:
            continue
        mapped = binding.values.get(column, {})
        known = {folded(word) for word in (*mapped, *filter(None, mapped.values()), *binding.missing_words(column))}
        if unknown := [(word, rows) for word, rows in words if folded(word) not in known]:
            rows = sum(rows for _, rows in unknown)
            one = len(unknown) == 1
            stays = (
                f"{'stays as it is' if one else 'stay as they are'}, for the value map lacks {'it' if one else 'them'}"
            )
            examples = [
                f"{one_row(connection, f'select shown({literal(word)})')[0]!r} ({rows:,})"
                for word, rows in unknown[:WORDS_LISTED]
            ]
            yield (
                f"{place}: {_counted(unknown, 'word')} in {_counted(range(rows), 'row')} {stays}: "
                f"{_listed(examples, len(unknown))}."
            )


def _of_missing(
    connection: DuckDBPyConnection, words: Sequence[str], validated: Collection[Validated]
) -> Iterator[str]:
    # if a table was read in part, rows that were not read may have the words
    if not words or any(one.reading.part is not None for one in validated):
        return
    literal_words = literals(sorted(set(map(folded, words))))
    selects = [
        f"select folded(cleaned({of_source(column)})) as word from source_{one.binding.table.name}"
        for one in validated
        for column in one.binding.source_columns
    ]
    found = {
        word
        for (word,) in connection.execute(
            f"select distinct word from ({' union all '.join(selects)}) where word in ({literal_words})"
        ).fetchall()
    }
    if lost := [word for word in words if folded(word) not in found]:
        yield (
            f"The mapping's list of missing has {_counted(lost, 'word')} that no row has: {_listed(map(repr, lost))}. "
            "Check the spelling."
        )


def _words(
    connection: DuckDBPyConnection, binding: TableBinding, column: str, history: TableBinding | None
) -> list[tuple[str, int]] | None:
    """Return the words of a column before they are mapped, with their rows, the most frequent first."""
    selects = [
        f"select cleaned({of_source(name)}) as word from source_{binding.table.name}"
        for name in columns_of(binding.forms[column])
    ]
    if not selects:
        return None
    if (
        binding.table.name == "leads"
        and column in OVERWRITTEN
        and history is not None
        and isinstance(value := history.forms["value"], str)
    ):
        # the history of leads is read with the value maps of leads
        selects.append(f"select cleaned({of_source(value)}) as word from source_{CHANGES}")
    return connection.execute(
        f"select word, count(*) from ({' union all '.join(selects)}) where word is not null "
        "group by word order by 2 desc, 1"
    ).fetchall()


def _counted(items: Sized, noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


def _listed(words: Iterable[str], count: int | None = None) -> str:
    listed = list(words)
    total = len(listed) if count is None else count
    first_words = listed[:WORDS_LISTED]
    return ", ".join(first_words) + (f" and {total - len(first_words):,} more" if total > len(first_words) else "")
