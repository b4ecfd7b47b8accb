"""Which attributes a table has, of which kind, and from when on their first values count as known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from models.decisions.known_since import known_since
from models.declaring.attribute import Attribute, Known
from store.source.attributes.known_since import measure
from store.source.checking.attribute_texts import LONGEST_WORD
from store.source.comparing.evidence import Earlier
from store.source.contract import CHANGES, SourceContractError
from store.source.mapping.binding import BoundAttribute, TableBinding
from store.source.mapping.spellings import NumberForm
from store.source.owners import is_of
from store.source.reading.tables import Reading, shown_column
from store.source.sql import of_source, source_types
from store.source.suggesting.fit import MOST_ATTRIBUTES, MOST_OPTIONS, choose, options_of
from store.source.suggesting.kinds import KindFound, kind_of
from store.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SHOWN = 8
"""A sentence names at most so many columns that are no attributes."""

MOST_FEATURES = 400
"""The attributes of a table have at most so many features: PostgreSQL has no room for more numbers in a row."""

TOLD_SHARE = 0.9
"""A history tells of an attribute if this share of the rows with a value has a change in it."""


def has_new_attributes(binding: TableBinding, earlier: Sequence[Attribute]) -> bool:
    """Say whether a table may have attributes that the last extraction did not read."""
    known = {each.name for each in earlier if each.entity == binding.table.name and not each.is_gone}
    back = {each.label for each in earlier if each.entity == binding.table.name and each.is_gone}
    return (
        any(each.name not in known for each in binding.attributes)
        or (bool(binding.free) and not known)
        or any(shown_column(column) in back for column in binding.free)
    )


def with_kinds(
    connection: DuckDBPyConnection, binding: TableBinding, reading: Reading, earlier: Sequence[Attribute]
) -> tuple[TableBinding, list[str], list[str]]:
    """Return a binding whose attributes have kinds, sentences about columns that are no attributes, and their names.

    A home keeps the name and kind of each of its attributes. Where the mapping takes all fit columns, these are looked
    for in a table that is read whole.

    Raises
    ------
    SourceContractError
        If the mapping states another kind than an attribute has had so far.
    """
    table = binding.table.name
    before = {each.name: each for each in earlier if each.entity == table}
    attributes: list[BoundAttribute] = []
    sentences: list[str] = []
    left_columns: list[str] = []
    for each in binding.attributes:
        attribute, reason = _with_kind(connection, table, each, before.get(each.name))
        if attribute is not None:
            attributes.append(attribute)
        else:
            sentences.append(f"{table}: the attribute {each.name} ({each.label}) is left out: {reason}.")
            left_columns.append(each.label)
    named = {each.name for each in binding.attributes}
    by_label = {each.label: each for each in before.values() if each.name not in named}
    attributes += [
        _as_before(BoundAttribute(name=stored.name, label=stored.label, column=column), stored)
        for column in binding.free
        if (stored := by_label.get(shown_column(column))) is not None
    ]
    if binding.free and reading.part is None:
        read = {each.column for each in attributes}
        others = [column for column in binding.free if column not in read]
        columns = {column: of_source(column) for column in source_types(connection, table)}
        chosen, left = choose(
            connection,
            f"source_{table}",
            columns,
            taken={*columns} - {*others},
            names={*named, *before},
            most=max(0, MOST_ATTRIBUTES - len(attributes)),
        )
        attributes += [
            BoundAttribute(name=each.name, label=shown_column(each.label), column=each.label, **_spelling(each.found))
            for each in chosen
        ]
        left_columns += [shown_column(each.label) for each in left]
        if left:
            listed = "; ".join(f"{shown_column(each.label)} ({each.why})" for each in left[:SHOWN])
            more = f", and {len(left) - SHOWN:,} more columns" if len(left) > SHOWN else ""
            sentences.append(f"{table}: no attributes are {listed}{more}.")
    return replace(binding, attributes=tuple(attributes), free=()), sentences, left_columns


def _with_kind(
    connection: DuckDBPyConnection, table: str, attribute: BoundAttribute, before: Attribute | None
) -> tuple[BoundAttribute | None, str]:
    """Return an attribute with its kind, or None and why its column can be none."""
    if before is not None:
        if attribute.kind not in (None, before.kind):
            raise SourceContractError(
                f"{table}, attribute {attribute.name}: expected the type {before.kind}, with which this home has kept "
                f"its values so far, found {attribute.kind}. Give the attribute another name, or begin a new home "
                "(LEADLINE_HOME)."
            )
        return _as_before(attribute, before), ""
    found = kind_of(connection, f"source_{table}", of_source(attribute.column))
    if attribute.kind is None and found.kind is None:
        return None, found.why
    if attribute.kind in (None, found.kind):
        return replace(attribute, **{**_spelling(found), "at": attribute.at or found.at}), ""
    return attribute, ""


def _as_before(attribute: BoundAttribute, before: Attribute) -> BoundAttribute:
    numbers = before.reading["numbers"]
    return replace(
        attribute,
        kind=before.kind,
        at=attribute.at or before.reading["at"],
        numbers=None if numbers is None else NumberForm.model_validate(numbers),
        formats=tuple(before.reading["formats"]),
    )


def _reading(attribute: BoundAttribute) -> dict[str, Any]:
    numbers = attribute.numbers
    return {
        "at": attribute.at,
        "numbers": None if numbers is None else numbers.model_dump(mode="json"),
        "formats": list(attribute.formats),
    }


def _spelling(found: KindFound) -> dict[str, Any]:
    return {"kind": found.kind, "at": found.at, "numbers": found.numbers, "formats": tuple(found.formats)}


def decided(
    connection: DuckDBPyConnection,
    binding: TableBinding,
    earlier: Earlier,
    closed: str,
    seen_at: datetime,
    always: str = "",
) -> tuple[TableBinding, list[Attribute]]:
    """Return a binding whose attributes say from when on first values count as known, and the attributes.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with the typed tables.
    binding : TableBinding
        An owner.
    earlier : Earlier
        The last extraction, whose attributes stay as they are.
    closed : str
        SELECT of the key of the table and ``closed_at`` of rows that have closed.
    seen_at : datetime
        The time from which the values of the extraction count as known.
    always : str
        Why all values count as known from the creation; empty if the values tell.

    Raises
    ------
    SourceContractError
        If the mapping states another time than an attribute has had so far, or two features have one name.
    """
    table = binding.table
    before = {each.name: each for each in earlier.attributes if each.entity == table.name}
    left_before = earlier.left_columns.get(table.name, ())
    bound: list[BoundAttribute] = []
    attributes: list[Attribute] = []
    told: set[str] = set()
    rows = f"rows_for_attributes_of_{table.name}"
    if not always and any(each.name not in before and each.known is None for each in binding.attributes):
        told = _told(connection, binding)
        connection.execute(
            f"create temp table {rows} as select t.record, t.{table.occurred} as created_at, c.closed_at "
            f"from typed_{table.name} t left join ({closed}) c using ({table.key}) where t.check_no is null"
        )
    prefix, of = table.attributes or ("", "")
    most_options = _most_options(binding, before)
    for each in binding.attributes:
        kind = each.kind or "category"
        if (kept := before.get(each.name)) is not None:
            if not always and not kept.withdrawn and each.known not in (None, kept.known):
                raise SourceContractError(
                    f"{table.name}, attribute {each.name}: expected known: {kept.known}, as this home has kept its "
                    f"first values, which no mapping changes later, found {each.known}. Give the attribute another "
                    "name, or begin a new home (LEADLINE_HOME)."
                )
            attributes.append(replace(kept, label=each.label, is_gone=False))
            bound.append(replace(each, known=kept.known))
            continue
        known, why = each.known, "the mapping says so, and nothing has measured it"
        if always:
            known, why = "creation", always
        elif known is None and each.label in left_before:
            known, why = "extraction", "earlier extractions saw the column, and it was none to learn from"
        elif known is None:
            evidence = measure(
                connection,
                f"(select r.*, a.value from {rows} r left join (from attributes_{table.name} "
                f"where column_name = {literal(each.stored)}) a using (record))",
                kind=kind,
                clock=seen_at,
                called=table.name,
                from_history=each.stored in told,
            )
            known, why = known_since(evidence)
        bound.append(replace(each, known=known))
        attributes.append(
            Attribute(
                entity=table.name,
                name=each.name,
                label=each.label,
                kind=kind,
                known=known,
                why=why,
                options=_options(connection, table.name, prefix, each, most_options) if kind == "choices" else (),
                prefix=prefix,
                of=of,
                reading=_reading(each),
            )
        )
    _refuse_common_features(table.name, attributes)
    return replace(binding, attributes=tuple(bound)), attributes


def _most_options(binding: TableBinding, before: Mapping[str, Attribute]) -> int:
    """Return how many options of each new list get a feature, so that all attributes have at most `MOST_FEATURES`.

    Raises
    ------
    SourceContractError
        If there are too many without any option.
    """
    new = [each for each in binding.attributes if each.name not in before]
    features = len(new) + sum(len(before[each.name].features) for each in binding.attributes if each.name in before)
    if features > MOST_FEATURES:
        raise SourceContractError(
            f"{binding.table.name}, attributes: expected at most {MOST_FEATURES} features of attributes, found "
            f"{features:,} of {len(binding.attributes):,} attributes. Name fewer attributes in the mapping."
        )
    lists = sum(each.kind == "choices" for each in new)
    return min(MOST_OPTIONS, (MOST_FEATURES - features) // max(1, lists))


def _refuse_common_features(table: str, attributes: Sequence[Attribute]) -> None:
    """Refuse attributes of which two would have a feature of one name.

    Raises
    ------
    SourceContractError
        If there are some; the message names all.
    """
    of: dict[str, str] = {}
    common = [
        f"{feature.column} of {other} and of {each.name}"
        for each in attributes
        for feature in each.features
        if (other := of.setdefault(feature.column, each.name)) != each.name
    ]
    if common:
        raise SourceContractError(
            f"{table}, attributes: expected features with names of their own, found {', '.join(common)}. Give one "
            "attribute of each pair another name in the mapping (attributes: {name: column})."
        )


def gone(attributes: Sequence[Attribute], earlier: Sequence[Attribute]) -> list[Attribute]:
    """Return the attributes that the source has no more: the values that are kept of them have kinds."""
    present = {(each.entity, each.name) for each in attributes}
    return [replace(each, is_gone=True) for each in earlier if (each.entity, each.name) not in present]


def _told(connection: DuckDBPyConnection, binding: TableBinding) -> set[str]:
    """Return the attributes of which the history of the source tells for nearly all rows with a value."""
    tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
    if f"typed_{CHANGES}" not in tables:
        return set()
    table, key = binding.table.name, binding.table.key
    of_table = f"{is_of(table)} and check_no is null"
    found = connection.execute(
        f"select a.column_name from attributes_{table} a "
        f"join typed_{table} t on t.record = a.record and t.check_no is null "
        f"left join (select distinct {key} as of_key, column_name from typed_{CHANGES} where {of_table}) c "
        f"on c.of_key = t.{key} and c.column_name = a.column_name where a.value is not null group by 1 "
        f"having count(c.of_key) >= {TOLD_SHARE} * count(*)"
    ).fetchall()
    return {stored for (stored,) in found}


def _options(
    connection: DuckDBPyConnection, table: str, prefix: str, attribute: BoundAttribute, most: int
) -> tuple[tuple[str, str], ...]:
    lists = (
        f"(select value from attributes_{table} where column_name = {literal(attribute.stored)} and value is not null)"
    )
    return options_of(connection, lists, "value", f"{prefix}_{attribute.name}_has_", most)


def attribute_sentences(
    connection: DuckDBPyConnection, bindings: Mapping[str, TableBinding | None], attributes: Sequence[Attribute]
) -> Iterator[str]:
    """Yield sentences about what is assumed of attributes, and about values that cannot be read."""
    for table in dict.fromkeys(each.entity for each in attributes):
        known: dict[Known, list[Attribute]] = {"creation": [], "extraction": [], "history": []}
        for each in attributes:
            if each.entity == table:
                known[each.known].append(each)
        if listed := ", ".join(each.name for each in known["creation"]):
            yield f"{table}: the first value of an attribute is assumed known from the creation of its row: {listed}."
        for each in attributes:
            if each.entity == table and each.withdrawn:
                yield (
                    f"{table}: the first values of {each.name} count no longer as known from the creation, but from "
                    f"the extraction that first saw them: {each.why}. Models that have learnt from it are trained anew."
                )
        if found := [each for each in known["extraction"] if not each.withdrawn]:
            listed = ", ".join(each.name for each in found)
            yield (
                f"{table}: attributes that count as known from the extraction that first saw a value, so that they are "
                f"empty for the past: {listed}. `make check` says why; the mapping may say otherwise (known: creation) "
                "before a home has read them."
            )
    word = f"words of at most {LONGEST_WORD} characters"
    kinds = {"number": "numbers", "flag": "yes or no", "date": "dates", "category": word, "choices": word}
    for binding in filter(None, bindings.values()):
        if not binding.attributes:
            continue
        table = binding.table.name
        words = {each.stored: (each.name, kinds[each.kind or "category"]) for each in binding.attributes}
        for stored, lost, rows, example in connection.execute(
            "select column_name, count(unread), count(*), shown(min(unread)) "
            f"from attributes_{table} group by 1 having count(unread) > 0 order by 1"
        ).fetchall():
            if stored in words:
                name, expected = words[stored]
                yield (
                    f"{table}: the attribute {name} has {lost:,} of {rows:,} values that are no {expected}, such as "
                    f"{example}: they are left out."
                )
