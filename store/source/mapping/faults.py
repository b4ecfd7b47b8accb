"""Faults of a mapping that its format alone cannot find: names that do not exist, and entries that exclude others."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from models.declaring.attribute import NAME, NAME_LENGTH
from store.source.contract import CUSTOMERS, TABLES
from store.source.mapping.expressions import shown
from store.source.mapping.forms import (
    EXTRACTION,
    Absent,
    Delay,
    FirstOf,
    Flag,
    SourceMapping,
    Substitute,
    TableMapping,
    WrittenForm,
    as_word,
    is_assembled,
    shipped_names,
)
from store.source.mapping.yaml_file import Place, form_tag, nearest
from store.source.record import Table
from store.source.values.functions import ISO


def faults_of(mapping: SourceMapping, models: Iterable[str], *, inherited: bool = False) -> Iterator[tuple[Place, str]]:
    """Yield the faults of a mapping as places and sentences.

    Parameters
    ----------
    mapping : SourceMapping
    models : iterable of str
        The names of the models.
    inherited : bool
        Whether it has all that it inherits; without that, a part of a union may name a half of what it needs.
    """
    for name in mapping.tables:
        if name not in TABLES:
            ours = next((each.name for each in TABLES.values() if name.casefold().startswith(each.called)), None)
            remedy = nearest(name, TABLES) if ours is None else f"Write {ours!r}, if that is meant."
            yield ("tables", name), f"expected one of {', '.join(TABLES)}, found {name!r}. {remedy}"
    if all(name in mapping.tables and mapping.tables[name].absent for name in ("leads", *CUSTOMERS)):
        yield (
            ("tables", "leads", "absent"),
            f"expected a table of leads or of customers ({' or '.join(CUSTOMERS)}), found that all are absent. "
            "Name one.",
        )
    yield from _unknown(("horizon_days",), mapping.horizon_days, list(models))
    if "closing_outcomes" in mapping.model_fields_set and mapping.closes.outcomes:
        found = "expected closes.outcomes alone, found closing_outcomes, its earlier name, as well. Remove one."
        yield ("closing_outcomes",), found
    yield from _not_one_of(("based_on",), mapping.based_on, shipped_names(), note=" (a shipped mapping)")
    for name, spec in mapping.tables.items():
        if name in TABLES:
            yield from _table_faults(name, spec, is_whole=mapping.based_on is None or inherited)


def _unknown(
    place: Place, named: Iterable[str], allowed: Sequence[str], *, note: str = ""
) -> Iterator[tuple[Place, str]]:
    """Yield a fault for each key of a map that is not allowed."""
    for name in named:
        yield from _not_one_of((*place, name), name, allowed, note=note)


def _not_one_of(
    place: Place, name: str | None, allowed: Sequence[str], *, note: str = "", expected: str | None = None
) -> Iterator[tuple[Place, str]]:
    if name is not None and name not in allowed:
        expected = expected or (f"one of {', '.join(allowed)}" if allowed else "no column")
        yield place, f"expected {expected}{note}, found {name!r}. {nearest(name, allowed)}"


def _table_faults(name: str, spec: TableMapping, *, is_whole: bool) -> Iterator[tuple[Place, str]]:
    table, place = TABLES[name], ("tables", name)
    times = [column.name for column in table.columns if column.kind == "time"]
    numbers = [column.name for column in table.columns if column.kind == "number"]
    # a history is read with the value maps and units of leads, and has none of its own
    texts = [column.name for column in table.columns if column.kind == "text" and not column.of_owner]
    for key, named, allowed, note in (
        ("columns", spec.columns, table.column_names, ""),
        ("units", spec.units, numbers, " (a number)"),
        ("numbers", spec.numbers, numbers, " (a number)"),
        ("times", spec.times, times, " (a time)"),
        ("values", spec.values, texts, " (a text)"),
    ):
        yield from _unknown((*place, key), named, allowed, note=note)
    for column, form in spec.columns.items():
        if column in table.column_names:
            yield from _form_faults(table, column, form, times)
    for column, values in spec.values.items():
        if column in texts and (vocabulary := table.column(column).vocabulary):
            for found, meant in values.items():
                yield from _not_one_of(
                    (*place, "values", column, found), meant, vocabulary, expected=table.column(column).codes
                )
    yield from _attribute_faults(table, spec)
    yield from _assembly_faults(place, spec, is_whole=is_whole)
    if spec.watermark is not None:
        watermark = (*place, "watermark")
        yield from _not_one_of(watermark, spec.watermark, times, note=" (a time)")
        if is_assembled(spec):
            yield (
                watermark,
                "expected a table that is read as it is, found one with where, join, union, sql or computed columns, "
                "which is read whole. Leave the watermark out, or read a view of the database.",
            )
        elif not isinstance(form := spec.columns.get(spec.watermark, spec.watermark), str):
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


def _form_faults(table: Table, column: str, form: WrittenForm, times: Sequence[str]) -> Iterator[tuple[Place, str]]:
    place: Place = ("tables", table.name, "columns", column)
    others = [time for time in times if time != column]
    if isinstance(form, Substitute):
        yield from _not_one_of(place, column, times, note=" for a substitute")
        for number, name in enumerate(form.of):
            yield from _not_one_of((*place, "of", number), name, [*others, EXTRACTION])
        if table.column(column).required and EXTRACTION not in form.of:
            yield (
                (*place, "of"),
                f"expected {EXTRACTION} among the times, as {column} is required in every row, found none. Add it.",
            )
    elif isinstance(form, Flag):
        optional = [time for time in times if not table.column(time).required]
        note = " for a flag, which leaves the time of some rows empty"
        yield from _not_one_of(place, column, optional, note=note)
        if isinstance(form.known, Delay):
            yield from _not_one_of((*place, "known", "after"), form.known.after, others)
    elif isinstance(form, Absent) and table.column(column).required:
        yield place, f"expected a column for {column}, which every row needs, found that it is absent. Name one."
    elif isinstance(form, FirstOf):
        chosen = [known.name for known in table.columns if known.vocabulary]
        note = " for a first_of, which needs a vocabulary"
        yield from _not_one_of(place, column, chosen, note=note)


def _attribute_faults(table: Table, spec: TableMapping) -> Iterator[tuple[Place, str]]:
    place: Place = ("tables", table.name, "attributes")
    if spec.attributes and table.attributes is None:
        may = " or ".join(each.name for each in TABLES.values() if each.attributes)
        yield place, f"expected attributes of {may}, found those of {table.name}. Remove them."
    for name, form in spec.named_attributes.items():
        if re.fullmatch(NAME, name) is None:
            yield (
                (*place, name),
                f"expected a name of at most {NAME_LENGTH} lower-case letters, digits and underlines that begins with "
                f"a letter, found {name!r}. Write {{name: {shown(form.column)}}} with such a name.",
            )
        if form.at is not None and form.type not in (None, "choices"):
            yield (*place, name, "at"), f"expected the type choices, found {form.type}. Remove one."


def _assembly_faults(place: Place, spec: TableMapping, *, is_whole: bool) -> Iterator[tuple[Place, str]]:
    origins = [key for key in ("table", "union", "sql") if getattr(spec, key)]
    if len(origins) > 1:
        found = " and ".join(origins)
        yield (*place, origins[-1]), f"expected one of table, union and sql, found {found}. Remove all but one."
    for name, part in spec.union.items() if is_whole else ():
        inner = (*place, "union", name)
        if part.absent:
            continue
        if part.table is None:
            yield inner, "expected the table that the part is read from, found none. Add table: …."
        if not part.columns:
            yield inner, "expected the columns that the part has, found none. Add columns: …."
        yield from _unknown((*inner, "values"), part.values, list(part.columns), note=" (a column of the part)")


def repeated_words(content: Any) -> Iterator[tuple[Place, str]]:
    """Yield a fault for each word of a value map that differs from another word only in case and has another value."""
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
