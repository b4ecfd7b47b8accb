"""The spellings of times and numbers: what a text of a source says, as SQL over that text.

Without a word of the mapping a time is ISO 8601 and a number has a decimal point. Nothing else is guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from store.source.sql import literal
from store.source.values.functions import ISO_DAY

ISO = "iso"

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}

NAMED = (ISO, *EPOCHS, "excel_days")
"""The formats that have a name; any other is one of ``strptime``."""

UTC_ZONE = "UTC"

NO_WALL = "null::timestamp"

DIRECTIVES = "YymdbBaAHIMSfpzj"
"""The directives of ``strptime`` that a format may have; a name of a zone can be another one elsewhere."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?"

_MOST = 10_000_000
"""Days that a spreadsheet can count, and more."""


@dataclass(frozen=True)
class Spelling:
    """What a text says of a time, as SQL.

    Attributes
    ----------
    value : str
        The time; null of another text.
    wall : str
        What the clock on the wall shows, of a text that does not name its zone; else null.
    is_date : str
        Whether the text, which is a time, names a day alone.
    """

    value: str
    wall: str
    is_date: str


def fault_of(name: str) -> str | None:
    """Return what is wrong with the name of a format, or None."""
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
    """Return what a text says by the first of the formats that it has.

    Parameters
    ----------
    formats : sequence of str
    zone : str
        The time zone of a text that names none.
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
    """Return what a value says that is a date or a timestamp in its source."""
    is_date = "true" if source_type == "DATE" else "false"
    if source_type.endswith("WITH TIME ZONE"):
        return Spelling(f"cast({value} as timestamptz)", NO_WALL, is_date)
    return _of_wall(f"cast({value} as timestamp)", zone, is_date)


def _of_wall(wall: str, zone: str, is_date: str) -> Spelling:
    return Spelling(f"timezone({literal(zone)}, {wall})", wall, is_date)


def _spelling(name: str, zone: str, text: str) -> Spelling:
    figure = f"case when regexp_full_match({text}, {literal(_NUMBER)}) then {text} end"
    if name == ISO:
        value = f"coalesce(iso_moment({text}), timezone({literal(zone)}, iso_wall({text})))"
        is_date = f"(length({text}) in (8, 10) and regexp_full_match({text}, {literal(ISO_DAY)}))"
        return Spelling(f"iso_utc({text})" if zone == UTC_ZONE else value, f"iso_wall({text})", is_date)
    if name in EPOCHS:
        moment = f"make_timestamptz(try_cast(try_cast({figure} as decimal(20,6)) * {EPOCHS[name]} as bigint))"
        return Spelling(moment, NO_WALL, "false")
    if name == "excel_days":
        days = f"try_cast({figure} as double)"
        # a spreadsheet keeps fractions of a day, which are exact to the millisecond
        wall = (
            f"case when abs({days}) < {_MOST} then timestamp '1899-12-30' "
            f"+ to_milliseconds(round({days} * 86400000)::bigint) end"
        )
        return _of_wall(wall, zone, f"{days} % 1 = 0")
    parsed = f"try_strptime({text}, {literal(name)})"
    is_date = "false" if re.search("%-?[HI]", name) else "true"
    return Spelling(parsed, NO_WALL, is_date) if "%z" in name else _of_wall(parsed, zone, is_date)
