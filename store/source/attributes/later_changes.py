"""Measure how often values have changed since the first extraction, by the stored history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from models.decisions.later_changes import FIRST_DAYS, SPAN_DAYS, LaterEvidence, refutation
from models.declaring.attribute import Attribute
from store.source.contract import CHANGES, FROM_CREATION, TABLES
from store.source.loading.deltas import BACKDATED, WITHDRAWN
from store.source.owners import is_of
from store.source.sql import one_row
from store.sql import literal, literals

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from store.source.comparing.evidence import Earlier
    from store.source.record import Table

SPANS = len(SPAN_DAYS) - 1


def with_later_changes(connection: DuckDBPyConnection, earlier: Earlier) -> tuple[Earlier, list[str]]:
    """Withdraw attributes whose first values turn out to be later than the creation.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with what the warehouse holds.
    earlier : Earlier
        The last extraction.

    Returns
    -------
    (Earlier, list of str)
        The same with such attributes marked; and a sentence for each such column of the contract, which no extraction
        withdraws: labels and values need it.
    """
    if earlier.as_of is None:
        return earlier, []
    attributes = list(earlier.attributes)
    sentences: list[str] = []
    for name, contract in FROM_CREATION.items():
        of_creation = {each.stored: place for place, each in enumerate(attributes) if is_of_creation(each, name)}
        measured = measure_later(connection, TABLES[name], [*of_creation, *contract], earlier.as_of)
        for stored, evidence in measured.items():
            if (why := refutation(evidence)) is None:
                continue
            if stored in contract:
                sentences.append(
                    f"{name}.{stored}: {why}. Features of the past use today's value; a history in the source would "
                    "mend that."
                )
            else:
                place = of_creation[stored]
                attributes[place] = replace(attributes[place], known="extraction", why=why, withdrawn=True)
    return replace(earlier, attributes=tuple(attributes)), sentences


def is_of_creation(attribute: Attribute, table: str) -> bool:
    """Say whether the first values of an attribute of a table count as known from the creation."""
    return attribute.entity == table and attribute.known == "creation" and not attribute.is_gone


def measure_later(
    connection: DuckDBPyConnection, table: Table, columns: Collection[str], until: datetime
) -> Mapping[str, LaterEvidence]:
    """Measure the changes that extractions have seen since they first read a column, by column.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``known_<table>`` and ``known_changes``.
    table : Table
        An owner.
    columns : collection of str
        Columns whose first values count as known from the creation, as in ``raw.changes``.
    until : datetime
        The clock of the last extraction.
    """
    if not columns:
        return {}
    connection.execute(
        f"create or replace temp table later_changes as select {table.key} as owner, column_name, {BACKDATED} as "
        f"is_backdated, known_at, extracted_at, load_number from known_{CHANGES} where origin = 'extraction' "
        f"and {is_of(table.name)} and not starts_with(change_id, {literal(WITHDRAWN)})"
    )
    # an age of a row is in days
    connection.execute(
        f"create or replace temp table later_owners as select k.{table.key} as owner, k.{table.occurred} as began_at, "
        "first_load, first_seen from (select owner, min(load_number) as first_load, min(extracted_at) as first_seen "
        f"from later_changes group by 1) f join known_{table.name} k on k.{table.key} = f.owner"
    )
    bounds = ", ".join(f"({span}, {low}, {SPAN_DAYS[span + 1]})" for span, low in enumerate(SPAN_DAYS[:-1]))
    found: dict[str, LaterEvidence] = {}
    for since, first_load, names in connection.execute(
        "select since, first_load, list(column_name order by column_name) from (select column_name, "
        "min(extracted_at) as since, min(load_number) as first_load from later_changes "
        f"where column_name in ({literals(sorted(columns))}) group by 1) group by all order by all"
    ).fetchall():
        first_age = _days(f"greatest(first_seen, timestamptz '{since.isoformat()}')")
        last_age = _days(f"timestamptz '{until.isoformat()}'")
        connection.execute(
            f"create or replace temp table later_ages as select owner, began_at, first_load, {first_age} as first_age, "
            f"{last_age} as last_age from later_owners"
        )
        (rows,) = one_row(connection, f"select count(*) from later_ages where first_age > {FIRST_DAYS}")
        past, watched = one_row(
            connection,
            "select list(past order by span), list(watched order by span) from (select span, "
            "sum(greatest(0, least(first_age, high) - low)) as past, "
            "sum(greatest(0, least(last_age, high) - greatest(first_age, low))) as watched "
            f"from later_ages, (values {bounds}) as spans (span, low, high) group by 1)",
        )
        changes: dict[str, dict[int, list[int]]] = {name: {} for name in names}
        for name, load_number, span, count in connection.execute(
            "select column_name, load_number, span, count(*) from (select c.column_name, c.load_number, "
            f"{_days('c.known_at')} as age from later_changes c join later_ages a using (owner) "
            f"where c.column_name in ({literals(names)}) "
            f"and c.load_number > greatest(a.first_load, {first_load})) "
            f"join (values {bounds}) as spans (span, low, high) on age > low and age <= high group by all"
        ).fetchall():
            changes[name].setdefault(load_number, [0] * SPANS)[span] = count
        backdated = dict(
            connection.execute(
                "select column_name, count(*) from later_changes where is_backdated "
                f"and column_name in ({literals(names)}) group by 1"
            ).fetchall()
        )
        for name in names:
            found[name] = LaterEvidence(
                since=since,
                until=until,
                called=table.name,
                rows=rows,
                backdated=backdated.get(name, 0),
                past_days=past or (),
                watched_days=watched or (),
                changes=tuple(changes[name].values()),
            )
    for name in ("changes", "owners", "ages"):
        connection.execute(f"drop table if exists later_{name}")
    return found


def _days(moment: str) -> str:
    return f"(epoch({moment}) - epoch(began_at)) / 86400"
