"""A plot of counts over time in one line of characters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

WIDTH = 60
"""The most characters of a line."""

BLOCKS = "▁▂▃▄▅▆▇█"


def bars(counts: Sequence[int]) -> str:
    """Return a character per count: a block of a height by the highest count, and a dot for 0."""
    highest = max(counts)
    return "".join(BLOCKS[max(0, -(-len(BLOCKS) * count // highest) - 1)] if count else "·" for count in counts)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The characters of a plot: one per day, week, month, quarter or year, so that none is wider than `WIDTH`.

    Attributes
    ----------
    unit : str
    first, last : int
        The numbers of the first and the last character.
    """

    unit: str
    first: int
    last: int

    @classmethod
    def over(cls, first: date, last: date) -> "Scale":
        """Return the finest scale over some days."""
        for unit in ("day", "week", "month", "quarter", "year"):
            numbers = _number(first, unit), _number(last, unit)
            if numbers[1] - numbers[0] < WIDTH:
                break
        return cls(unit=unit, first=numbers[0], last=numbers[1])

    def counts(self, by_day: Mapping[date, int]) -> list[int]:
        """Return the sum of each character."""
        counts = [0] * (self.last - self.first + 1)
        for day, count in by_day.items():
            counts[_number(day, self.unit) - self.first] += count
        return counts

    def axis(self) -> str:
        """Return the years, or the months where a character is a day or a week, above their first characters."""
        line, before = "", None
        for place, number in enumerate(range(self.first, self.last + 1)):
            name = _named(number, self.unit)
            if name != before and len(line) <= place:
                line = f"{line:<{place}}{name} "
            before = name
        return line.rstrip()


def _number(day: date, unit: str) -> int:
    return {
        "day": day.toordinal(),
        # the first day of the calendar was a Monday
        "week": (day.toordinal() - 1) // 7,
        "month": day.year * 12 + day.month - 1,
        "quarter": day.year * 4 + (day.month - 1) // 3,
        "year": day.year,
    }[unit]


def _named(number: int, unit: str) -> str:
    if unit in ("day", "week"):
        return f"{date.fromordinal(number if unit == 'day' else number * 7 + 1):%Y-%m}"
    return str(number // {"month": 12, "quarter": 4, "year": 1}[unit])
