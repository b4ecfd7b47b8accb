"""What is wrong with the names in a source mapping."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from store.source.contract import TABLES
from store.source.mapping.forms import (
    EXTRACTION,
    ColumnForm,
    Delay,
    FirstOf,
    Flag,
    SourceMapping,
    Substitute,
    TableMapping,
    as_word,
    shipped_names,
)
from store.source.mapping.yaml_file import Place, form_tag, nearest
from store.source.record import Table
from store.source.values.formats import ISO


def faults_of(mapping: SourceMapping, models: Iterable[str]) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with the names of a mapping, by the names of the models: the place, and a sentence."""
    for name in mapping.tables:
        if name not in TABLES:
            ours = next((each.name for each in TABLES.values() if name.casefold().startswith(each.called)), None)
            remedy = nearest(name, TABLES) if ours is None else f"Write {ours!r}, if that is meant."
            yield ("tables", name), f"expected one of {', '.join(TABLES)}, found {name!r}. {remedy}"
    yield from _unknown(("horizon_days",), mapping.horizon_days, models)
    if "closing_outcomes" in mapping.model_fields_set and mapping.closes.outcomes:
        found = "expected closes.outcomes alone, found closing_outcomes, its earlier name, as well. Remove one."
        yield ("closing_outcomes",), found
    if mapping.based_on is not None:
        for _, sentence in _unknown((), [mapping.based_on], shipped_names(), why=" (a shipped mapping)"):
            yield ("based_on",), sentence
    for name, spec in mapping.tables.items():
        if name in TABLES:
            yield from _table_faults(name, spec)


def _unknown(
    place: Place, named: Iterable[str], allowed: Iterable[str], *, why: str = "", item: bool = False
) -> Iterator[tuple[Place, str]]:
    listed = list(allowed)
    expected = f"one of {', '.join(listed)}" if listed else "no column"
    for number, name in enumerate(named):
        if name not in listed:
            sentence = f"expected {expected}{why}, found {name!r}. {nearest(name, listed)}"
            yield (*place, number if item else name), sentence


def _table_faults(name: str, spec: TableMapping) -> Iterator[tuple[Place, str]]:
    table, place = TABLES[name], ("tables", name)
    times = [column.name for column in table.columns if column.kind == "time"]
    if spec.absent and name == "leads":
        yield (*place, "absent"), "expected a table of leads, found that it is absent. Every source has leads."
    yield from _unknown((*place, "columns"), spec.columns, table.column_names)
    numbers = [column.name for column in table.columns if column.kind == "number"]
    yield from _unknown((*place, "units"), spec.units, numbers, why=" (a number)")
    yield from _unknown((*place, "numbers"), spec.numbers, numbers, why=" (a number)")
    yield from _unknown((*place, "times"), spec.times, times, why=" (a time)")
    # what a history says of a lead is read as the lead is, by the value maps and units of leads
    texts = [column.name for column in table.columns if column.kind == "text" and not column.of_lead]
    yield from _unknown((*place, "values"), spec.values, texts, why=" (a text)")
    for column, form in spec.columns.items():
        if column in table.column_names:
            yield from _form_faults(table, column, form, times)
    for column, values in spec.values.items():
        if column in texts and (vocabulary := table.column(column).vocabulary):
            for found, meant in values.items():
                if meant is not None:
                    yield from (
                        ((*place, "values", column, found), sentence)
                        for _, sentence in _unknown((), [meant], vocabulary)
                    )
    if spec.watermark is not None:
        watermark = (*place, "watermark")
        yield from ((watermark, sentence) for _, sentence in _unknown((), [spec.watermark], times, why=" (a time)"))
        if not isinstance(form := spec.columns.get(spec.watermark, spec.watermark), str):
            yield (
                watermark,
                f"expected a time that is a column of the source, found {spec.watermark}, which is made by a "
                f"{form_tag(type(form)).strip('<>').lower()}. Name another, or read the table in full.",
            )
        if (written := spec.times.get(spec.watermark)) is not None and written.formats != (ISO,):
            yield (
                watermark,
                f"expected a time that the database knows as one, found {spec.watermark}, whose texts have a format. "
                "Name another, or read the table in full.",
            )


def _form_faults(table: Table, column: str, form: ColumnForm, times: Sequence[str]) -> Iterator[tuple[Place, str]]:
    place: Place = ("tables", table.name, "columns", column)
    others = [time for time in times if time != column]
    if isinstance(form, Substitute):
        yield from ((place, sentence) for _, sentence in _unknown((), [column], times, why=" for a substitute"))
        yield from _unknown((*place, "of"), form.of, [*others, EXTRACTION], item=True)
        if table.column(column).required and EXTRACTION not in form.of:
            yield (
                (*place, "of"),
                f"expected {EXTRACTION} among the times, as {column} is required in every row, found none. Add it.",
            )
    elif isinstance(form, Flag):
        optional = [time for time in times if not table.column(time).required]
        why = " for a flag, which leaves the time of some rows empty"
        yield from ((place, sentence) for _, sentence in _unknown((), [column], optional, why=why))
        if isinstance(form.known, Delay):
            yield from (
                ((*place, "known", "after"), sentence) for _, sentence in _unknown((), [form.known.after], others)
            )
    elif isinstance(form, FirstOf):
        chosen = [known.name for known in table.columns if known.vocabulary]
        why = " for a first_of, which needs a vocabulary"
        yield from ((place, sentence) for _, sentence in _unknown((), [column], chosen, why=why))


def repeated_words(content: Any) -> Iterator[tuple[Place, str]]:
    """Yield the words of a value map that are one word in another case, and stand for different values."""
    tables = content.get("tables") if isinstance(content, dict) else None
    for name, spec in (tables if isinstance(tables, dict) else {}).items():
        maps = spec.get("values") if isinstance(spec, dict) else None
        for column, values in (maps if isinstance(maps, dict) else {}).items():
            first: dict[object, str] = {}
            for found, meant in (values if isinstance(values, dict) else {}).items():
                earlier = first.setdefault(as_word(found), found)
                if values[earlier] != meant:
                    yield (
                        ("tables", name, "values", column, found),
                        f"expected each word once, in any case, found {earlier!r} as well, which stands for "
                        f"{values[earlier]!r}. Remove one.",
                    )
