"""Spellings of times and numbers: the formats that fit a few values of a column. The whole column is measured later."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from store.source.assembling.frame import MIDNIGHT
from store.source.mapping.spellings import NumberForm
from store.source.values.functions import ISO
from store.source.values.texts import plain

MOST_FORMATS = 4
"""A column has at most so many formats of times; the rest of its values are rejected."""

_CLOCK = r"(?P<gap>T|,? +)(?P<hour>\d{1,2}):\d{2}(?P<seconds>:\d{2})?(?P<fraction>[.]\d+)?(?P<half> ?[AaPp]\.?[Mm]\.?)?"

_ZONE = r"(?P<zone> ?[+-]\d{2}:?\d{2})?"

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"

_NUMERIC = re.compile(
    rf"(?P<one>\d{{1,2}})(?P<sign>[./-])(?P<two>\d{{1,2}})(?P=sign)(?P<year>\d{{4}}|\d{{2}})(?:{_CLOCK}{_ZONE})?"
)

_YEAR_FIRST = re.compile(rf"\d{{4}}(?P<sign>[./-])\d{{1,2}}(?P=sign)\d{{1,2}}(?:{_CLOCK}{_ZONE})?")

_DAY_MONTH = re.compile(
    rf"\d{{1,2}}(?P<sign>[ .-]| of )(?P<month>{_MONTH})(?P<after>[ ,.-]+)(?P<year>\d{{4}}|\d{{2}})(?:{_CLOCK}{_ZONE})?",
    re.IGNORECASE,
)

_MONTH_DAY = re.compile(
    rf"(?P<month>{_MONTH})(?P<sign>[ .-])\d{{1,2}}(?P<after>[ ,.-]+)(?P<year>\d{{4}})(?:{_CLOCK}{_ZONE})?",
    re.IGNORECASE,
)

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}(?::?\d{2}.*)?)?")

_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

_DIGITS = re.compile(r"\d+(?:\.\d+)?")

_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?")

_MIDNIGHT = re.compile(MIDNIGHT)

MOSTLY = 0.95
"""Share of the values that must be figures in the bounds of times."""

EPOCH_SECONDS = (300_000_000, 4_000_000_000)

EXCEL_DAYS = (20_000, 80_000)
"""Days of a spreadsheet from 1954 to 2119."""


@dataclass(frozen=True)
class TimeSpelling:
    """Formats of the values of a column.

    Attributes
    ----------
    formats : tuple of str
        As a mapping names them, the most frequent first.
    other : tuple of str
        The formats with day and month exchanged, if these read all values as well; else empty.
    is_figure : bool
        Whether the values are mere numbers, which only the name of the column makes times.
    """

    formats: tuple[str, ...]
    other: tuple[str, ...] = ()
    is_figure: bool = False


def time_spelling(values: Sequence[str]) -> TimeSpelling | None:
    """Return the formats of values, or None if most of them look like no time."""
    if not values:
        return None
    figures = [value for value in values if _DIGITS.fullmatch(value)]
    if len(figures) >= MOSTLY * len(values):
        return _figures(figures)
    found: Counter[str] = Counter()
    exchanged: dict[str, str] = {}
    # of numeric dates: what is seen in the first and in the second place
    day_first = month_first = False
    shapes: list[tuple[str, str]] = []
    for value in values:
        if _ISO.fullmatch(value):
            found[ISO] += 1
        elif match := _NUMERIC.fullmatch(value):
            one, two = int(match["one"]), int(match["two"])
            day_first, month_first = day_first or one > 12, month_first or two > 12
            sign, year, clock = match["sign"], _year(match["year"]), _clock(match)
            shapes.append((f"%d{sign}%m{sign}{year}{clock}", f"%m{sign}%d{sign}{year}{clock}"))
        elif match := _YEAR_FIRST.fullmatch(value):
            found[f"%Y{match['sign']}%m{match['sign']}%d{_clock(match)}"] += 1
        elif match := _DAY_MONTH.fullmatch(value):
            month = "%b" if len(match["month"]) == 3 else "%B"
            found[f"%d{match['sign']}{month}{match['after']}{_year(match['year'])}{_clock(match)}"] += 1
        elif match := _MONTH_DAY.fullmatch(value):
            month = "%b" if len(match["month"]) == 3 else "%B"
            found[f"{month}{match['sign']}%d{match['after']}%Y{_clock(match)}"] += 1
    if day_first and month_first:
        # two clocks in one column: neither reading is right for all values
        shapes = []
    for by_day, by_month in shapes:
        chosen, instead = (by_month, by_day) if month_first else (by_day, by_month)
        found[chosen] += 1
        exchanged[chosen] = instead
    if found.total() * 2 < len(values):
        return None
    formats = tuple(each for each, _ in found.most_common(MOST_FORMATS))
    is_open = bool(shapes) and not day_first and not month_first
    return TimeSpelling(formats, tuple(exchanged.get(each, each) for each in formats) if is_open else ())


def is_clock(value: str) -> bool:
    """Say whether a value is a time of day."""
    return _TIME_OF_DAY.fullmatch(value) is not None


def is_day(value: str) -> bool:
    """Say whether a value is a day without a time of day, or with midnight."""
    day = _MIDNIGHT.sub("", value)
    return any(
        (match := form.fullmatch(day)) is not None and match.groupdict().get("hour") is None
        for form in (_ISO_DAY, _NUMERIC, _YEAR_FIRST, _DAY_MONTH, _MONTH_DAY)
    )


def _year(text: str) -> str:
    return "%y" if len(text) == 2 else "%Y"


def _clock(match: re.Match[str]) -> str:
    if match["hour"] is None:
        return ""
    half = match["half"] or ""
    seconds = f":%S{'.%f' if match['fraction'] else ''}" if match["seconds"] else ""
    hour, end = ("%I", half.replace(half.strip(), "%p")) if half else ("%H", "")
    zone = match["zone"]
    return f"{match['gap']}{hour}:%M{seconds}{end}{zone.replace(zone.strip(), '%z') if zone else ''}"


def _figures(values: Sequence[str]) -> TimeSpelling | None:

    def fits(shares: Sequence[bool]) -> bool:
        return sum(shares) >= MOSTLY * len(shares)

    if fits([re.fullmatch(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", each) is not None for each in values]):
        return TimeSpelling((ISO,), is_figure=True)
    figures = [float(each) for each in values]
    for name, (low, high) in {
        "epoch_s": EPOCH_SECONDS,
        "epoch_ms": tuple(bound * 1000 for bound in EPOCH_SECONDS),
        "excel_days": EXCEL_DAYS,
    }.items():
        if fits([low <= each <= high for each in figures]):
            return TimeSpelling((name,), is_figure=True)
    return None


_NUMBER = re.compile(
    r"(?P<before>[^\d+\-.,()]{0,5}?)\s*(?P<minus>[+-]?)\s*(?P<after_minus>[^\d+\-.,()]{0,5}?)\s*"
    r"(?P<core>\d[\d.,' \u2019]*|[.,]\d+)(?P<behind>\D{0,5})"
)

MOST_SIGNS = 3

CURRENCIES = frozenset(
    (
        "eur", "usd", "gbp", "chf", "sek", "nok", "dkk", "pln", "czk", "huf", "brl", "mxn", "inr", "jpy", "cny", "aud",
        "cad", "try", "kr", "zł", "kč", "ft", "r$", "rs", "rs.", "fr", "fr.", "sfr.", "tl", "us$", "euro",
    )
)  # fmt: skip
"""Signs and names of currencies beside numbers, beside those that Unicode knows."""


def _is_currency(sign: str) -> bool:
    return sign.casefold() in CURRENCIES or all(unicodedata.category(each) == "Sc" for each in sign)


def number_form(values: Sequence[str]) -> NumberForm | None:
    """Return the form of numbers in values; None if they have a plain form, or are no numbers.

    A text such as 250.000 counts as groups of digits only beside numbers that have a decimal comma.
    """
    cores: list[str] = []
    signs: Counter[str] = Counter()
    for value in values:
        if (match := _NUMBER.fullmatch(plain(value))) is None:
            continue
        beside = [each for name in ("before", "after_minus", "behind") if (each := match[name].strip())]
        if all(map(_is_currency, beside)):
            cores.append(match["core"].strip())
            signs.update(beside)
    if not cores or len(cores) * 2 < len(values) or len(signs) > MOST_SIGNS:
        return None
    strip = [each for each, _ in signs.most_common()]
    ends_in_comma = sum(re.fullmatch(r"[^,]*,\d{1,2}", each) is not None for each in cores)
    ends_in_point = sum(re.fullmatch(r"[^.]*\.\d{1,2}", each) is not None for each in cores)
    comma_groups = sum(re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d*)?", each) is not None for each in cores)
    point_groups = sum(re.fullmatch(r"\d{1,3}(\.\d{3})+(,\d*)?", each) is not None for each in cores)
    many_points = any(re.fullmatch(r"\d{1,3}(\.\d{3}){2,}", each) for each in cores)
    blanks = next((each for each in ("'", " ") if any(re.search(rf"\d{each}\d{{3}}", core) for core in cores)), None)
    if not blanks and any(re.search(r"\d\u2019\d{3}", core) for core in cores):
        blanks = "'"
    decimal, thousands = ".", blanks
    if (ends_in_comma or many_points) and not ends_in_point:
        decimal, thousands = ",", blanks or ("." if point_groups else None)
    elif comma_groups and not ends_in_comma:
        thousands = ","
    if decimal == "." and thousands is None and not strip:
        return None
    try:
        return NumberForm.model_validate({"decimal": decimal, "thousands": thousands, "strip": strip})
    except ValueError:
        # what stands beside the digits may be a part of a number
        return None
