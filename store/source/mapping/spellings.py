"""The forms of files and values: delimiters and encodings, formats of times, spellings of numbers, currencies."""

import codecs
from decimal import Decimal
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from store.source.mapping.expressions import Listed, Strict
from store.source.reading.files import Dialect
from store.source.values.currencies import CURRENCIES
from store.source.values.functions import ISO, fault_of, is_zone
from store.source.values.texts import plain

SPACES = "spaces"
"""The word for one or more spaces or tabs between values."""

MOST_DIGITS = 18
"""Digits of a factor, zeros before and after the point included."""


def _zone(name: str) -> str:
    if name not in available_timezones() or not is_zone(name):
        raise ValueError(f"expected a time zone of the IANA database such as Europe/Berlin or UTC, found {name}")
    return name


Zone = Annotated[str, AfterValidator(_zone)]


def _currency(code: str) -> str:
    if code.upper() not in CURRENCIES:
        raise ValueError(f"expected a currency of ISO 4217 such as EUR, found {code!r}")
    return code.upper()


CurrencyCode = Annotated[str, AfterValidator(_currency)]


def digits_of(factor: Decimal) -> tuple[int, int]:
    """Return the number of digits that a decimal needs for a factor, and how many of them are after the point."""
    _, digits, exponent = factor.normalize().as_tuple()
    decimals = max(0, -int(exponent))
    return max(len(digits) + max(0, int(exponent)), decimals), decimals


def exact(factor: Decimal) -> Decimal:
    """Return a factor that can be multiplied exactly; raise ``ValueError`` if it has too many digits."""
    digits, _ = digits_of(factor)
    if digits > MOST_DIGITS:
        raise ValueError(f"expected a factor of at most {MOST_DIGITS} digits, found {factor} with {digits}")
    return factor


class TimeForm(Strict):
    """The format of a time that is not ISO 8601, and the time zone of its clock."""

    format: Listed = Field(
        default_factory=lambda: [ISO],
        min_length=1,
        description="`iso`, `epoch_s`, `epoch_ms`, `excel_days` or a format of strptime such as `%d/%m/%Y %H:%M`; of "
        "several the first that fits",
    )
    zone: Zone | None = Field(default=None, description="time zone of times that name none, in place of `time_zone`")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, in the order in which they are tried."""
        return tuple(self.format)

    @model_validator(mode="after")
    def _formats_exist(self) -> Self:
        for name in self.formats:
            if (fault := fault_of(name)) is not None:
                raise ValueError(f"{name!r} is no format of a time: {fault}")
        return self


class NumberForm(Strict):
    """The spelling of numbers."""

    decimal: Literal[".", ","] = Field(default=".", description="sign before the decimals")
    thousands: Literal[".", ",", " ", "'"] | None = Field(default=None, description="sign between groups of digits")
    strip: list[str] = Field(default_factory=list, description="signs and units that are left out, such as € or EUR")

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"expected two signs, found {self.decimal!r} before the decimals and between the groups")
        for sign in self.strip:
            text = plain(sign).casefold()
            if text in ("", "+", "-", "e", ".", ",", self.thousands) or any(map(str.isdigit, text)):
                raise ValueError(f"expected a sign or a unit to strip, found {sign!r}, which can be part of a number")
        return self


class FileForm(Strict):
    """The form of a file that is not CSV or Parquet with its usual name."""

    table: str | None = Field(default=None, description="its table; unset: the name of the file without its ending")
    delimiter: str | None = Field(
        default=None, description="sign between values, such as | or \\t, or the word spaces; unset: as found"
    )
    header: list[str] | None = Field(
        default=None, min_length=1, description="names of the columns of a file that has no line with them"
    )
    encoding: str | None = Field(default=None, description="encoding, such as windows-1252; unset: as found")
    skip_lines: int = Field(default=0, ge=0, description="lines before the header, or before the first row")

    @model_validator(mode="after")
    def _is_readable(self) -> Self:
        if self.delimiter not in (None, SPACES) and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise ValueError(f"expected one character as the delimiter, found {self.delimiter!r}")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    f"expected an encoding such as utf-8 or windows-1252, found {self.encoding!r}"
                ) from None
        if self.header is not None and (
            repeated := {name for name in self.header if [*map(str.lower, self.header)].count(name.lower()) > 1}
        ):
            raise ValueError(f"expected each column of the header once, found {', '.join(sorted(repeated))} again")
        return self

    @property
    def separator(self) -> str:
        """The delimiter as one character."""
        return (self.delimiter or "").replace("\\t", "\t")

    def dialect(self) -> Dialect:
        """Return the form as a reader takes it."""
        return Dialect(
            table=self.table,
            delimiter=(self.separator or None) if self.delimiter != SPACES else "\t",
            spaces=self.delimiter == SPACES,
            header=None if self.header is None else tuple(self.header),
            encoding=None if self.encoding is None else codecs.lookup(self.encoding).name,
            skip_lines=self.skip_lines,
        )


class Currency(Strict):
    """The currency of all amounts, and by what amounts in another one are multiplied."""

    main: CurrencyCode = Field(description="the currency of all amounts after the conversion")
    rates: dict[CurrencyCode, Annotated[Decimal, Field(gt=0), AfterValidator(exact)]] = Field(
        default_factory=dict, description="currency: what one unit of it is worth in the main one, at all times"
    )

    @model_validator(mode="after")
    def _main_needs_no_rate(self) -> Self:
        if self.main in self.rates:
            raise ValueError(f"expected rates of other currencies, found one of {self.main}, which is the main one")
        return self

    @property
    def reading(self) -> str:
        """How amounts are read, in words."""
        rates = [f", {code} times {rate:f}" for code, rate in sorted(self.rates.items())]
        return f"in {self.main}{''.join(rates)}"
