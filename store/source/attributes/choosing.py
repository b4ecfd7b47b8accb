"""Which attributes a table has, of which kind, and from when on their first values count as known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from models.declaring.attribute import Attribute
from store.source.attributes.fit import choose
from store.source.mapping.binding import BoundAttribute, TableBinding
from store.source.reading.tables import Reading, shown_column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OPTIONS = 10
"""Options of a list that get a feature of their own, at most."""

OPTION_SHARE = 0.02
"""An option gets a feature if this share of the rows with a value has it."""

TOLD_SHARE = 0.9
"""A history tells of an attribute if this share of the rows with a value has a change in it."""


def has_new_attributes(binding: TableBinding, earlier: Sequence[Attribute]) -> bool:
    """Say whether a table may have attributes that the last extraction did not read."""
    known = {each.name for each in earlier if each.entity == binding.table.name}
    return any(each.name not in known for each in binding.attributes) or (bool(binding.free) and not known)


def with_kinds(
    connection: DuckDBPyConnection, binding: TableBinding, reading: Reading, earlier: Sequence[Attribute]
) -> tuple[TableBinding, list[str]]:
    """Return a binding whose attributes have kinds, and sentences about columns that are no attributes.

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
    for each in binding.attributes:
        attribute, reason = _with_kind(connection, table, each, before.get(each.name))
        if attribute is not None:
            attributes.append(attribute)
        else:
            sentences.append(f"{table}: the attribute {each.name} ({each.label}) is left out: {reason}.")
    named = {each.name for each in binding.attributes}
    by_label = {each.label: each for each in before.values() if each.name not in named}
    for column in binding.free:
        if (stored := by_label.get(shown_column(column))) is not None:
            attributes.append(
                BoundAttribute(
                    name=stored.name,
                    label=stored.label,
                    column=column,
                    kind=stored.kind,
                    known=stored.known,
                    at=stored.at,
                )
            )
    if binding.free and reading.part is None:
        read = {each.column for each in attributes}
        chosen, left = choose(
            connection,
            f"source_{table}",
            [column for column in binding.free if column not in read],
            taken={*named, *before},
        )
        attributes += chosen
        if left:
            listed = "; ".join(f"{shown_column(column)} ({reason})" for column, reason in left.items())
            sentences.append(f"{table}: no attributes are {listed}.")
    return replace(binding, attributes=tuple(attributes), free=()), sentences
