"""Attributes of leads and projects: which columns are fit, why the others are left, and the lines of a mapping."""

from collections.abc import Collection, Mapping
from typing import Any

from models.declaring.attribute import AttributeKind
from store.source.checking.attribute_texts import canonical
from store.source.contract import TABLES
from store.source.sql import one_row
from store.source.suggesting.evidence import Fit, FitColumn, Table
from store.source.suggesting.fit import Chosen, choose
from store.source.suggesting.left import CONTACT
from store.source.suggesting.lines import FEW, FULL, MOSTLY, SELDOM, counted, per_cent
from store.source.suggesting.scratch import Scratch, Texts
from store.source.suggesting.suggestion import Confidence, Draft, Question
from store.source.values.texts import folded, is_contact
from store.sql import literal

SHOWN = 3
"""So many frequent values of a column are shown."""

SHOWN_LENGTH = 30

OPEN = "open"

MEASURED, CREATION = "measured", "creation"
"""The answers to the question when attributes are filled."""

WORDS: Mapping[AttributeKind, str] = {
    "category": "words",
    "number": "numbers",
    "flag": "yes or no",
    "date": "dates",
    "choices": "lists of options",
}


def fit_columns(
    scratch: Scratch,
    table: Table,
    texts: Texts,
    taken: Collection[str],
    outcome: str | None = None,
    *,
    is_whole: bool = False,
) -> Fit:
    """Find the columns of a table that are fit as attributes.

    Parameters
    ----------
    scratch : Scratch
    table : Table
    texts : Texts
    taken : collection of str
        The columns that other lines read.
    outcome : str or None
        SQL of how a row has ended: ``won``, ``lost``, ``cancelled``, or another text or null for one that is open.
    is_whole : bool
        Whether the rows have nothing but the outcome, so that a column whose values tell it of each row is no fact of
        before.
    """
    relation = f"t{texts.number}"
    columns = {name: f"c{place}" for place, name in enumerate(texts.columns)}
    read = {name for name in columns if name in taken}
    chosen, left = choose(scratch.connection, relation, columns, read, table=table.name)
    found: list[FitColumn] = []
    reasons = {each.label: each.why for each in left}
    for each in chosen:
        column = columns[each.label]
        why = None if outcome is None else _telling(scratch, relation, column, each, outcome, is_whole=is_whole)
        if why is not None:
            reasons[each.label] = why
            continue
        found.append(
            FitColumn(
                name=each.name,
                column=each.label,
                kind=each.found.kind or "category",
                at=each.found.at,
                why=_evidence(scratch, relation, column, each),
                is_sure=each.found.unreadable <= (1 - FULL) * each.found.filled,
            )
        )
    return Fit(columns=tuple(found), left={name: reasons[name] for name in columns if name in reasons})


def _evidence(scratch: Scratch, relation: str, column: str, chosen: Chosen) -> str:
    found = chosen.found
    share = per_cent(found.filled / max(1, found.rows))
    what = counted(found.distinct, "word") if found.kind == "category" else WORDS[found.kind or "category"]
    unread = f", of which {per_cent(found.unreadable / found.filled)} cannot be read" if found.unreadable else ""
    values = scratch.connection.execute(
        f"select v, n from (select {column} as v, count(*) as n from {relation} where {column} is not null group by 1) "
        f"order by n desc, v limit {SHOWN}"
    ).fetchall()
    # a word of one row may be that of a person
    shown = [
        value
        for value, rows in values
        if len(value) <= SHOWN_LENGTH and not is_contact(value) and (rows > 1 or found.kind in ("number", "date"))
    ]
    return f"{what} in {share} of the rows{unread}" + (f", such as {'; '.join(shown)}" if shown else "")


def _telling(
    scratch: Scratch, relation: str, column: str, chosen: Chosen, outcome: str, *, is_whole: bool
) -> str | None:
    """Say why the values of a column tell the outcome, as a part of a sentence; None if they do not."""
    found = chosen.found
    value = column
    if found.kind == "number":
        value = f"nullif(try_cast({canonical('number', column, numbers=found.numbers)} as double), 0)"
    groups = scratch.connection.execute(
        f"select coalesce({outcome}, {literal(OPEN)}) as o, count(*), count({value}) from {relation} group by 1"
    ).fetchall()
    shares = {meant: filled / rows for meant, rows, filled in groups if rows >= FEW}
    # a new field of a form is filled for open rows and not for those that have ended
    ended = [share for meant, share in shares.items() if meant != OPEN]
    if max(ended, default=0.0) >= MOSTLY and min(shares.values()) < SELDOM:
        has = "is above 0" if found.kind == "number" else "has a value"
        order = ("won", "lost", "cancelled", OPEN)
        listed = ", ".join(f"{per_cent(shares[each])} of {each}" for each in order if each in shares)
        return f"it {has} in {listed} rows, as what is entered with the outcome"
    if is_whole and found.kind in ("category", "flag", "choices") and found.distinct > 1:
        rows, told, words = one_row(
            scratch.connection,
            "select sum(n), sum(most), count(*) from (select v, sum(n) as n, max(n) as most from "
            f"(select {column} as v, {outcome} as o, count(*) as n from {relation} "
            f"where {outcome} is not null and {column} is not null group by 1, 2) group by 1 having sum(n) > 1)",
        )
        if rows is not None and words > 1 and rows >= FEW and told == rows:
            return "each of its values has one outcome, as what is entered with the outcome"
    return None


def attributes_lines(of: str, table: Table, fit: Fit | None, draft: Draft, *, has_times: bool = True) -> None:
    """Add the lines of the attributes of a contract table, and note the columns that are left.

    Parameters
    ----------
    of : {"leads", "projects"}
    table : Table
        Of the source.
    fit : Fit or None
        None while it is not measured.
    draft : Draft
    has_times : bool
        Whether the source tells when anything happened.
    """
    if fit is None:
        return
    known = _known(of, table, draft) if fit.columns and has_times else None
    for each in fit.columns:
        # an answer may have given a column another use; a column of such a name is read by itself
        if (table.name, each.column) in draft.read or folded(each.column) in TABLES[of].column_names:
            continue
        form: dict[str, Any] = {"column": each.column, "type": each.kind}
        if each.kind == "choices":
            form["at"] = each.at
        if known is not None:
            form["known"] = known
        confidence: Confidence = "sure" if each.is_sure else "likely"
        draft.line(("tables", of, "attributes", each.name), form, each.why, confidence)
        draft.read.add((table.name, each.column))
    for column, why in fit.left.items():
        if (table.name, column) in draft.read:
            continue
        if why.startswith("contact data") or table.columns[column].contact >= CONTACT:
            draft.contact.append(f"{table.name}.{column}")
        else:
            draft.left.setdefault(f"{table.name}.{column}", why)


def _known(of: str, table: Table, draft: Draft) -> str | None:
    """Ask from when on the values count as known; None if the values are to tell it."""
    answer = draft.ask(
        Question(
            key=f"known:{of}",
            text=f"When are the further columns of {table.name} filled?",
            options={
                MEASURED: "nobody knows: the first run decides by the values, and make check says how",
                CREATION: f"all of them when a row of {table.name} is made, as by a form",
            },
            default=MEASURED,
        )
    )
    return None if answer == MEASURED else answer
