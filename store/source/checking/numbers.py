"""The spelling of numbers: a decimal point unless the mapping says otherwise; ambiguous numbers are not guessed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from duckdb import DuckDBPyConnection

from store.source.mapping.binding import TableBinding
from store.source.mapping.spellings import NumberForm, digits_of
from store.source.record import SQL_TYPES, Column
from store.source.sql import of_source, one_row
from store.source.values.texts import plain
from store.sql import literal

NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
           "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
"""Beginnings of the names of DuckDB's numeric types."""

_PLAIN = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?"

_COMMON = r"\d+(?:\.\d{1,2})?|\d{4,}\.\d+"

_GROUP = r"[+-]?\d{1,3}\.\d{3}"

_COMMA = r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d{1,2}|[+-]?\d{1,3}(?:\.\d{3})+,\d+|[+-]?\d{1,3}(?:\.\d{3}){2,}"


@dataclass(frozen=True)
class Points:
    """Counts of the numbers in a column that show its decimal sign, where the mapping does not state it.

    Attributes
    ----------
    commas : int
        Numbers that have a decimal comma, or points between groups of digits.
    groups : int
        Numbers such as 250.000, whose value depends on the decimal sign.
    others : int
        Numbers with other decimals after a point.
    """

    commas: int
    groups: int
    others: int

    @property
    def is_ambiguous(self) -> bool:
        """Whether a number such as 250.000 can be read in two ways."""
        return self.commas > 0 and self.groups > 0

    @property
    def sentence(self) -> str | None:
        """The assumption about these numbers, in words; None if none is needed."""
        if self.commas or self.others or not self.groups:
            return None
        return (
            f"has three digits after the point in each number with one ({self.groups:,}): they are decimals. If they "
            "are groups of digits, say so in the mapping (numbers: {decimal: ',', thousands: '.'})."
        )


def number_text(form: NumberForm | None, text: str) -> str:
    """Return SQL for the text of a number with a decimal point, from a text of the source; null if it is no number.

    Parameters
    ----------
    form : NumberForm or None
        The form in the mapping.
    text : str
        SQL of the text, in plain characters.
    """
    if form is None:
        return f"case when regexp_full_match({text}, {literal(_PLAIN)}) then {text} end"
    if form.strip:
        text = _stripped(form.strip, text)
    text = f"trim({text})"
    decimal, thousands = re.escape(form.decimal), form.thousands
    whole = r"\d+"
    if thousands is not None:
        sign = re.escape(thousands)
        whole = rf"(?:\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}|\d+)"
        if thousands == "'":
            text = f"replace({text}, chr(8217), '''')"
    pattern = rf"[+-]? ?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d{{1,2}})?"
    digits = text if thousands is None else f"replace({text}, {literal(thousands)}, '')"
    digits = f"replace({digits}, {literal(form.decimal)}, '.')"
    return f"case when regexp_full_match({text}, {literal(pattern)}) then replace({digits}, ' ', '') end"


def _stripped(signs: Sequence[str], text: str) -> str:
    """Return SQL for a text without signs and units at its ends; a unit may end with a point (Rs. 500)."""
    listed = [
        re.escape(each) + (r"\.?" if each[-1].isalpha() else "")
        for each in sorted(map(plain, signs), key=len, reverse=True)
    ]
    sign = f"(?:{'|'.join(listed)})"
    sign_pattern, after = rf"(?i)^([+-]?)\s*(?:{sign}\s*)+", rf"(?i)(?:\s*{sign})+$"
    return f"regexp_replace(regexp_replace({text}, {literal(sign_pattern)}, '\\1'), {literal(after)}, '')"


def times(number: str, factor: Decimal) -> str:
    """Return SQL for a number times a factor, as a number of the contract; null if it has too many digits."""
    digits, decimals = digits_of(factor)
    # exact: DuckDB has 38 digits for both factors; the number has 16 before its point and at most 10 after it
    exact = f"try_cast({number} as decimal({38 - digits},{min(10, 22 - digits)}))"
    return f"try_cast({exact} * {factor:f}::decimal({digits},{decimals}) as {SQL_TYPES['number']})"


def is_ambiguous(text: str) -> str:
    """Return SQL that says whether a text is a number whose value depends on the decimal sign."""
    return f"regexp_full_match({text}, {literal(_GROUP)})"


def measure_points(
    connection: DuckDBPyConnection, binding: TableBinding, types: Mapping[str, str]
) -> dict[str, Points]:
    """Count the spellings of numbers in ``source_<table>``, by column, where the mapping does not state them."""
    points: dict[str, Points] = {}
    for column in binding.table.columns:
        form = binding.forms[column.name]
        if not isinstance(form, str) or types[form].startswith(NUMERIC) or not _is_open(column, binding):
            continue
        # most numbers are plain: only the others are matched, without signs around them, such as a currency
        bare = "regexp_replace(plain(v), '^[^\\d+.,-]+|[^\\d]+$', '', 'g')"
        commas, groups, others = one_row(
            connection,
            f"select count(*) filter (case when is_odd then regexp_full_match({bare}, {literal(_COMMA)}) end), "
            f"count(*) filter (case when is_odd then regexp_full_match({bare}, {literal(_GROUP)}) end), "
            f"count(*) filter (not is_odd and contains(v, '.')) from (select v, "
            f"not regexp_full_match(v, {literal(_COMMON)}) as is_odd "
            f"from (select cleaned({of_source(form)}) as v from source_{binding.table.name})) where v is not null",
        )
        points[column.name] = Points(commas, groups, others)
    return points


def _is_open(column: Column, binding: TableBinding) -> bool:
    if column.of_owner:
        return not any(owner.numbers for owner in binding.owners)
    return column.kind == "number" and column.name not in binding.numbers
