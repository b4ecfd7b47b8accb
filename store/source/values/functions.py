"""Functions on one value, as SQL: texts without contact data, words, ISO 8601 and other formats of times.

Unless the mapping states another format, a time must be ISO 8601.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.source.values.texts import ASCII_BLANKS, EMAIL, PHONES, folded, is_address, is_contact, plain
from store.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# a number of seven digits or more that is not part of a longer sign, such as an id
_NUMBER_WITHIN = r"(^|[^\dA-Za-z_\-])[+(]*\d[\d\s().\-/]{5,}\d([^\dA-Za-z_.\-]|x|$)"

_BLANK = r"[\p{Z}\p{Cc}\p{Cf}]"

_DATE = r"\d{1,4}[./\- ]\d{1,2}[./\- ]\d{1,4}([T ,]+[\d:.]+ ?([AaPp][Mm])?)?"

_NUMBER = r"-?\d{1,3}([ .,']\d{3})*([.,]\d+)?"

_CLOCK = r"(?:[01]\d|2[0-3])"

_USUAL_WALL = rf"\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK}:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?)?"

_USUAL_MOMENT = (
    rf"\d{{4}}-\d\d-\d\d[T ]{_CLOCK}:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z| UTC|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)"
)

ISO_DAY = r"(?:\d{4}-\d\d-\d\d|\d{8})"

_TIME = rf"[Tt ]{_CLOCK}(?::?[0-5]\d(?::?[0-5]\d(?:[.,]\d+)?)?)?"

_OFFSET = r" ?(?:[Zz]|UTC|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)"

_PARTS = (
    r"^(\d{4})-?(\d\d)-?(\d\d)(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?"
    r"(?: ?(?:[Zz]|UTC|([+-])(\d\d)(?::?(\d\d))?))?)?$"
)

_NAMES = "['y', 'm', 'd', 'h', 'mi', 's', 'f', 'sign', 'oh', 'om']"

# PostgreSQL's texts for times outside all bounds: they are times, which a check rejects
_FAR = r"-?infinity|\d{5,6}-\d\d-\d\d.*|\d{4}-\d\d-\d\d.* BC"

_MACROS = (
    "create macro is_ascii(v) as strlen(v) = length(v)",
    # PostgreSQL cannot store a NUL
    (
        "create macro cleaned_text(v) as nullif(case when is_ascii(v) then trim(replace(v, chr(0), ''), "
        f"{literal(ASCII_BLANKS)}) else regexp_replace(nfc_normalize(replace(v, chr(0), '')), "
        f"{literal(f'^{_BLANK}+|{_BLANK}+$')}, '', 'g') end, '')"
    ),
    "create macro cleaned(v) as cleaned_text(cast(v as varchar))",
    # these macros call Python only for the few texts that are not plain ASCII
    "create macro plain(v) as case when is_ascii(v) then v else plain_of(v) end",
    "create macro folded(v) as case when is_ascii(v) then lower(v) else folded_of(v) end",
    f"create macro holds_email(v) as contains(v, '@') and regexp_matches(v, {literal(EMAIL)})",
    f"create macro is_phone(v) as regexp_full_match(v, {literal('|'.join(PHONES))})",
    (
        "create macro may_hold_address(v) as not is_ascii(v) or regexp_matches(v, '[@%&]') "
        r"or regexp_matches(v, '(?i)[(\[{]\s*at\s*[)\]}]|\sat\s.+\sdot\s')"
    ),
    (
        f"create macro may_hold_number(v) as regexp_matches(v, {literal(_NUMBER_WITHIN)}) "
        r"and not regexp_full_match(v, '[\d.\-]+')"
    ),
    (
        "create macro holds_address(v) as case when holds_email(v) then true when may_hold_address(v) "
        "then found_address(v) else false end"
    ),
    (
        "create macro holds_contact(v) as case when holds_email(v) or is_phone(v) then true "
        "when may_hold_address(v) or may_hold_number(v) then found_contact(v) else false end"
    ),
    "create macro pseudonym(v) as 'pseudonym-' || left(sha256(v), 12)",
    # a stable pseudonym, so that keys still join
    "create macro contact_free(v) as case when holds_contact(v) then pseudonym(v) else v end",
    "create macro contact_free_postal(v) as case when holds_address(v) then pseudonym(v) else v end",
    # the value in a reject: a message text in the wrong column must not be stored there
    (
        "create macro shown(v) as case when length(v) > 64 then '(text of ' || length(v) || ' characters)' "
        "else contact_free(v) end"
    ),
    # a time or number that could not be read: a date looks like a telephone number, and is shown all the same
    (
        "create macro shown_figure(v) as case when length(v) <= 64 and "
        f"regexp_full_match(v, {literal(f'{_DATE}|{_NUMBER}')}) then v else shown(v) end"
    ),
    # the key under which an earlier release stored a value
    (
        "create macro cleaned_before(v) as nullif(trim(replace(cast(v as varchar), chr(0), ''), "
        "' ' || chr(9) || chr(10) || chr(13)), '')"
    ),
    "create macro contact_free_before(v) as case when holds_email(v) or is_phone(v) then pseudonym(v) else v end",
    # ISO 8601: the moment of a text with a zone, and the local time of a text without one
    # (the list of one element makes DuckDB compute the parts once)
    f"create macro iso_parts(v) as regexp_extract(v, {literal(_PARTS)}, {_NAMES})",
    (
        "create macro clock_of(p) as try_cast(p.y || '-' || p.m || '-' || p.d || ' ' || lpad(p.h, 2, '0') || ':' || "
        "lpad(p.mi, 2, '0') || ':' || lpad(p.s, 2, '0') || '.' || rpad(left(p.f, 6), 6, '0') as timestamp)"
    ),
    (
        "create macro offset_of(p) as to_minutes(case when p.sign = '-' then -1 else 1 end * "
        "(coalesce(try_cast(p.oh as integer), 0) * 60 + coalesce(try_cast(p.om as integer), 0)))"
    ),
    (
        f"create macro iso_moment(v) as case when regexp_full_match(v, {literal(_USUAL_MOMENT)}) "
        "then try_cast(v as timestamptz) "
        f"when regexp_full_match(v, {literal(ISO_DAY + _TIME + _OFFSET)}) "
        "then list_transform([iso_parts(v)], lambda p: timezone('UTC', clock_of(p) - offset_of(p)))[1] "
        f"when regexp_full_match(v, {literal(_FAR)}) "
        "then case when starts_with(v, '-') or ends_with(v, 'BC') then '-infinity' else 'infinity' end::timestamptz end"
    ),
    (
        f"create macro iso_wall(v) as case when regexp_full_match(v, {literal(_USUAL_WALL)}) "
        "then try_cast(v as timestamp) "
        f"when regexp_full_match(v, {literal(f'{ISO_DAY}(?:{_TIME})?')}) "
        "then list_transform([iso_parts(v)], lambda p: clock_of(p))[1] end"
    ),
    # most times match the first pattern
    (
        f"create macro iso_utc(v) as case when regexp_full_match(v, {literal(f'{_USUAL_MOMENT}|{_USUAL_WALL}')}) "
        "then try_cast(v as timestamptz) else coalesce(iso_moment(v), timezone('UTC', iso_wall(v))) end"
    ),
)


ISO = "iso"

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}

NAMED = (ISO, *EPOCHS, "excel_days")
"""The formats that have a name; any other is one of ``strptime``."""

UTC_ZONE = "UTC"

NO_WALL = "null::timestamp"

DIRECTIVES = "YymdbBaAHIMSfpzj"
"""The directives of ``strptime`` that a format may have; names of zones are left out because they are ambiguous."""

_FIGURE = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?"

_MOST = 10_000_000
"""A bound above all days that a spreadsheet can count."""


def create_functions(connection: DuckDBPyConnection) -> None:
    """Create the functions on one value in a scratch database."""
    connection.create_function("plain_of", plain, ["varchar"], "varchar")
    connection.create_function("folded_of", folded, ["varchar"], "varchar")
    connection.create_function("found_address", is_address, ["varchar"], "boolean")
    connection.create_function("found_contact", is_contact, ["varchar"], "boolean")
    for macro in _MACROS:
        connection.execute(macro)


@dataclass(frozen=True)
class Spelling:
    """The reading of a text as a time, as SQL.

    Attributes
    ----------
    value : str
        The time; null if the text is no time.
    wall : str
        The local time of a text without a zone; else null.
    is_date : str
        Whether the text is only a day.
    """

    value: str
    wall: str
    is_date: str


def fault_of(name: str) -> str | None:
    """Return the fault of the name of a format, or None."""
    if name in NAMED:
        return None
    found = re.findall(r"%-?(.)", name)
    if unknown := [each for each in found if each not in DIRECTIVES and each != "%"]:
        return f"%{unknown[0]} is not one of {', '.join(f'%{each}' for each in DIRECTIVES)}"
    has_day = "j" in found or ("d" in found and {"m", "b", "B"}.intersection(found))
    if not (has_day and {"Y", "y"}.intersection(found)):
        return f"it is none of {', '.join(NAMED)}, and does not name year, month and day as in %d/%m/%Y"
    if "I" in found and "p" not in found:
        return "%I is an hour of twelve, and takes %p"
    return None if _is_asked("select try_strptime('', ?)", name) else "it cannot be read: each % needs a letter"


def is_zone(name: str) -> bool:
    """Say whether the engine that reads the source knows a time zone."""
    return _is_asked("select timezone(?, timestamp '2000-01-01')", name)


def _is_asked(query: str, text: str) -> bool:
    import duckdb

    with duckdb.connect() as connection:
        try:
            connection.execute(query, [text]).fetchall()
        except duckdb.Error:
            return False
    return True


def spelling(formats: Sequence[str], zone: str, text: str) -> Spelling:
    """Return the reading of a text by the first format that fits it.

    Parameters
    ----------
    formats : sequence of str
    zone : str
        The time zone of a text without one.
    text : str
        SQL of the text.
    """
    each = [_spelling(name, zone, text) for name in formats]
    if len(each) == 1:
        return each[0]
    is_date = " ".join(f"when {one.value} is not null then {one.is_date}" for one in each)
    walls = " ".join(f"when {one.value} is not null then {one.wall}" for one in each)
    return Spelling(f"coalesce({', '.join(one.value for one in each)})", f"case {walls} end", f"case {is_date} end")


def typed_spelling(source_type: str, zone: str, value: str) -> Spelling:
    """Return the reading of a value that is a date or a timestamp in its source."""
    is_date = "true" if source_type == "DATE" else "false"
    if source_type.endswith("WITH TIME ZONE"):
        return Spelling(f"cast({value} as timestamptz)", NO_WALL, is_date)
    return _of_wall(f"cast({value} as timestamp)", zone, is_date)


def _of_wall(wall: str, zone: str, is_date: str) -> Spelling:
    return Spelling(f"timezone({literal(zone)}, {wall})", wall, is_date)


def _spelling(name: str, zone: str, text: str) -> Spelling:
    figure = f"case when regexp_full_match({text}, {literal(_FIGURE)}) then {text} end"
    if name == ISO:
        value = f"coalesce(iso_moment({text}), timezone({literal(zone)}, iso_wall({text})))"
        is_date = f"(length({text}) in (8, 10) and regexp_full_match({text}, {literal(ISO_DAY)}))"
        return Spelling(f"iso_utc({text})" if zone == UTC_ZONE else value, f"iso_wall({text})", is_date)
    if name in EPOCHS:
        moment = f"make_timestamptz(try_cast(try_cast({figure} as decimal(20,6)) * {EPOCHS[name]} as bigint))"
        return Spelling(moment, NO_WALL, "false")
    if name == "excel_days":
        days = f"try_cast({figure} as double)"
        # a spreadsheet stores fractions of a day, which are exact to the millisecond
        wall = (
            f"case when abs({days}) < {_MOST} then timestamp '1899-12-30' "
            f"+ to_milliseconds(round({days} * 86400000)::bigint) end"
        )
        return _of_wall(wall, zone, f"{days} % 1 = 0")
    parsed = f"try_strptime({text}, {literal(name)})"
    is_date = "false" if re.search("%-?[HI]", name) else "true"
    return Spelling(parsed, NO_WALL, is_date) if "%z" in name else _of_wall(parsed, zone, is_date)
