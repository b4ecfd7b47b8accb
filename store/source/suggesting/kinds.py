"""The kind of a column, and the one canonical text of each of its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.declaring.attribute import AttributeKind
from store.source.checking.attribute_texts import canonical, text_of
from store.source.checking.checks import FALSE, TRUE
from store.source.checking.numbers import NUMERIC
from store.source.checking.times import TIMES
from store.source.mapping.spellings import NumberForm
from store.source.sql import one_row
from store.source.suggesting.spellings import CURRENCIES, number_form, time_spelling
from store.source.values.functions import ISO
from store.source.values.texts import folded, plain

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

UNREAD = ("STRUCT", "MAP", "UNION", "BLOB", "BIT", "GEOMETRY", "VARIANT")
"""Beginnings of the names of DuckDB's types that have no text of one value."""

SIGNS = (";", "|", ",")
"""What may stand between options, the surest first."""

SAMPLE_ROWS = 20_000
"""Rows of which the kind is read, at most."""

SAMPLE_VALUES = 1_000
"""Different values of which the spelling is read, at most."""

READABLE = 0.95
"""Share of the values that a kind must read."""

SEVERAL = 0.3
"""Share of the values with several options from which a column is a list of them."""

MOST_OPTIONS = 60

LONG = 60
"""A text is free if its values have more characters on average, or one has more than four times as many."""

UNIQUE = 0.5
"""Share of the values that are different from which a text says nothing of others."""

FEW_VALUES = 20
"""With fewer values, that all differ is chance."""

MOST_UNITS = 3

EXAMPLES = 3

_CODE = re.compile(r"0\d+")

_WITH_UNIT = re.compile(
    r"(?P<before>[^\W\d_]{1,3}\.?|[$€£¥]|)\s*[+-]?\s*(?P<core>\d[\d.,' \u2019]*?|[.,]\d+)\s*"
    r"(?P<unit>[^\W\d_][^\d]{0,19}|[$€£¥%\u2030°]|)"
)

_GROUPED = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+")


@dataclass(frozen=True, kw_only=True)
class KindFound:
    """What a column holds.

    Attributes
    ----------
    kind : {"category", "number", "flag", "date", "choices"} or None
        None if the column is of no use.
    why : str
        For None, why: a part of a sentence.
    filled, rows : int
        Rows with a value, and all, in the sample.
    distinct : int
        Different values in the sample.
    unreadable : int
        Values of the sample that are not of the kind; they count as missing.
    examples : tuple of str
        A few of them, without contact data.
    at : str
        What stands between options.
    numbers : NumberForm or None
        The spelling of numbers.
    formats : tuple of str
        The formats of dates.
    """

    kind: AttributeKind | None
    why: str = ""
    rows: int = 0
    filled: int = 0
    distinct: int = 0
    unreadable: int = 0
    examples: tuple[str, ...] = ()
    at: str = ""
    numbers: NumberForm | None = None
    formats: tuple[str, ...] = (ISO,)


def kind_of(connection: DuckDBPyConnection, relation: str, column: str) -> KindFound:
    """Find the kind of a column.

    Parameters
    ----------
    connection : DuckDBPyConnection
        A scratch database with the functions on one value.
    relation : str
        SQL of the relation.
    column : str
        SQL of the column: a text, or a value with a type.
    """
    rows, found_type = one_row(connection, f"select count(*), any_value(typeof({column})) from {relation}")
    source_type = found_type or "VARCHAR"
    if source_type.startswith(UNREAD) or source_type.endswith("]"):
        return KindFound(kind=None, why=f"values of type {source_type.split('(')[0].lower()}")
    step = max(1, rows // SAMPLE_ROWS)
    connection.execute(
        f"create or replace temp table kind_rows as select {text_of('v')} as v from "
        f"(select {column} as v, row_number() over () as n from {relation}) where n % {step} = 0"
    )
    try:
        return _read(connection, source_type)
    finally:
        connection.execute("drop table kind_rows")


def _read(connection: DuckDBPyConnection, source_type: str) -> KindFound:
    rows, filled, distinct, longest, mean = one_row(
        connection,
        "select count(*), count(v), count(distinct v), coalesce(max(length(v)), 0), coalesce(avg(length(v)), 0) "
        "from kind_rows",
    )
    if not filled:
        return KindFound(kind=None, why="no value", rows=rows)
    values = connection.execute(
        "select v, count(*) from kind_rows where v is not null group by 1 order by 2 desc, hash(v) "
        f"limit {SAMPLE_VALUES}"
    ).fetchall()
    texts = [value for value, _ in values]

    def found(kind: AttributeKind, **how: object) -> KindFound | None:
        value = canonical(kind, "v", **how)  # type: ignore[arg-type]
        (read,) = one_row(connection, f"select count({value}) from kind_rows")
        if read < READABLE * filled:
            return None
        examples = connection.execute(
            f"select distinct shown_figure(v) from kind_rows where v is not null and {value} is null "
            f"order by 1 limit {EXAMPLES}"
        ).fetchall()
        return KindFound(
            kind=kind,
            rows=rows,
            filled=filled,
            distinct=distinct,
            unreadable=filled - read,
            examples=tuple(example for (example,) in examples),
            **how,  # type: ignore[arg-type]
        )

    if source_type.startswith(TIMES):
        return found("date") or KindFound(kind=None, why="times out of all bounds", rows=rows, filled=filled)
    is_flag = source_type == "BOOLEAN" or _are_flags(texts)
    if is_flag and (flag := found("flag")):
        return flag
    if source_type.startswith(NUMERIC):
        number = found("number")
        return number or KindFound(kind=None, why="numbers without a value", rows=rows, filled=filled)
    figures = {value: number for value, number in values if value.isdecimal()}
    are_figures = sum(figures.values()) >= READABLE * sum(number for _, number in values)
    times = time_spelling([*figures] if are_figures else [plain(each) for each in texts])
    if times is not None and (not times.is_figure or times.formats == (ISO,)):
        date = found("date", formats=times.formats)
        if date is not None:
            return date
    if not _are_codes(values) and (number := found("number", numbers=_form(texts))):
        return number
    for at in SIGNS:
        if _are_lists(values, at) and (choices := found("choices", at=at)):
            return choices
    nothing = KindFound(kind=None, rows=rows, filled=filled, distinct=distinct)
    if mean > LONG or (longest > 4 * LONG and distinct > FEW_VALUES):
        return _because(nothing, "free text")
    if filled >= FEW_VALUES and distinct > UNIQUE * filled:
        return _because(nothing, f"{distinct:,} of {filled:,} values are different")
    return KindFound(kind="category", rows=rows, filled=filled, distinct=distinct)


def _because(found: KindFound, why: str) -> KindFound:
    return KindFound(kind=None, why=why, rows=found.rows, filled=found.filled, distinct=found.distinct)


def _are_flags(texts: Sequence[str]) -> bool:
    """Say whether most values say yes or no: at most a word or two for each."""
    words = {folded(each) for each in texts}
    yes, no = words & set(TRUE), words & set(FALSE)
    return (
        bool(yes) and len(yes) <= 2 and len(no) <= 2 and (bool(no) or (words == yes and len(yes) == 1 and yes != {"1"}))
    )


def _are_codes(values: Sequence[tuple[str, int]]) -> bool:
    """Say whether values are codes such as 01067 rather than numbers."""
    codes = sum(rows for value, rows in values if _CODE.fullmatch(value))
    return codes > (1 - READABLE) * sum(rows for _, rows in values)


def _form(texts: Sequence[str]) -> NumberForm | None:
    """Return the spelling of numbers, with their units; None for plain numbers, or for no numbers."""
    spelt = [plain(each).replace("²", "").replace("³", "") for each in texts]
    matches = [
        match
        for each in spelt
        if (match := _WITH_UNIT.fullmatch(each)) and (not match["before"] or _is_currency(match["before"]))
    ]
    units = {unit for match in matches for name in ("before", "unit") if (unit := match[name].strip())}
    if len(matches) < READABLE * len(texts) / 2 or len({folded(unit) for unit in units}) > MOST_UNITS:
        return number_form(texts)
    cores = [match["core"].strip() for match in matches]
    form = number_form(texts if not units else cores)
    decimal, thousands = (form.decimal, form.thousands) if form else (".", None)
    strip = list(dict.fromkeys((*(form.strip if form else ()), *sorted(units))))
    if decimal == "." and thousands is None and _are_groups(cores):
        decimal, thousands = ",", "."
    if decimal == "." and thousands is None and not strip:
        return None
    try:
        return NumberForm.model_validate({"decimal": decimal, "thousands": thousands, "strip": strip})
    except ValueError:
        return form


def _is_currency(sign: str) -> bool:
    # C-17 is no number
    return not sign.isalpha() or sign.casefold() in CURRENCIES


def _are_groups(cores: Sequence[str]) -> bool:
    """Say whether points stand between groups of digits: 1.200 beside 950, or mostly round numbers."""
    with_point = [each for each in cores if "." in each]
    others = [each for each in cores if "." not in each]
    if len(with_point) < 2 or not all(map(_GROUPED.fullmatch, with_point)):
        return False
    if any(len(each) > 3 for each in others):
        return False
    return len(others) > 1 or sum(each.endswith("0") for each in with_point) > len(with_point) / 2


def _are_lists(values: Sequence[tuple[str, int]], at: str) -> bool:
    """Say whether many values are several of few options, each of which stands in several values."""
    split = [([each.strip() for each in value.split(at) if each.strip()], rows) for value, rows in values]
    rows = sum(rows for _, rows in split)
    several = [parts for parts, _ in split if len(parts) > 1]
    if sum(rows for parts, rows in split if len(parts) > 1) < SEVERAL * rows or len(several) < 2:
        return False
    parts = [each for found, _ in split for each in found]
    options = set(parts)
    is_short = max(map(len, options)) <= LONG
    return is_short and len(options) <= MOST_OPTIONS and len(parts) >= 1.5 * len(options)
