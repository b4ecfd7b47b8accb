"""The lines of one contract table: which column of a source is which of the contract, with the reason of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from store.source.contract import TABLES
from store.source.suggesting.columns import key_of, may_be_time
from store.source.suggesting.evidence import Column, Profile, Table
from store.source.suggesting.layout import Link
from store.source.suggesting.names import meaning, name_rank
from store.source.suggesting.suggestion import Confidence, Draft, Question
from store.source.suggesting.vocabulary import spoken
from store.source.values.functions import ISO
from store.source.values.texts import folded, is_contact

FULL = 0.999

NUMBERS = 0.95
"""Share of the values of a column that must be numbers."""

KNOWN_WORDS = 0.5
"""Share of the rows of a column whose words a vocabulary must know."""

FREE_TEXT = 64

FEW = 20
"""Fewer rows than this show nothing about the filling of a column."""

SELDOM, MOSTLY = 0.1, 0.5

MARK = "|"
"""A sign that no key has."""

LEAVE = "leave"
"""The answer that a word is not known."""

Fit = Callable[[Column], bool]

Meanings = Mapping[str, tuple[str, str, Confidence]]
"""By word of the source: the word of the contract, why, and how sure."""


def per_cent(share: float) -> str:
    """Return a share in per cent; all and nothing are said only of all and nothing."""
    if 0 < share < 1:
        return f"{min(99, max(1, round(share * 100)))} %"
    return f"{share:.0%}".replace("%", " %")


def counted(number: int, name: str) -> str:
    """Return a number with a noun."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


class TableLines:
    """The lines of one contract table.

    Parameters
    ----------
    of : str
        The contract table.
    table : Table
        The table of the source.
    draft : Draft
    place : tuple of str
        Where the lines stand, if that is not ``tables.<of>``.
    """

    def __init__(self, of: str, table: Table, draft: Draft, place: tuple[str, ...] = ()) -> None:
        self.of, self.table, self.draft = of, table, draft
        self.place = place or ("tables", of)
        self.used: set[str] = set()
        self._spelt: list[tuple[str, Column]] = []

    @property
    def whole(self) -> tuple[str, ...]:
        """Where the lines of the contract table stand, if this is a part of a union."""
        return self.place[:2]

    def line(self, key: str, value: Any, why: str, confidence: Confidence | None = None) -> None:
        """Add a line of the table."""
        self.draft.line((*self.place, key), value, why, confidence)

    def column(self, name: str, value: Any, why: str, confidence: Confidence | None = None) -> None:
        """Add the line of a contract column."""
        self.draft.line((*self.place, "columns", name), value, why, confidence)

    def find(self, name: str, fits: Fit) -> tuple[Column, int] | None:
        """Return the source column with the best name for a contract column, and the rank of the name."""
        ranked = [
            (rank, place, column)
            for place, column in enumerate(self.table.columns.values())
            if column.name not in self.used and (rank := self._rank(name, column, fits)) is not None
        ]
        if not ranked:
            return None
        rank, _, column = min(ranked, key=lambda each: each[:2])
        return column, rank

    def _rank(self, name: str, column: Column, fits: Fit) -> int | None:
        return name_rank(self.of, name, column.name, self.table.name) if column.filled and fits(column) else None

    def take(self, name: str, column: Column, why: str, confidence: Confidence) -> None:
        """Add the line of a contract column that is read from a source column."""
        self.used.add(column.name)
        is_text = TABLES[self.of].column(name).kind == "text"
        self.column(name, as_key(column.name, column) if is_text else self.when(column), why, confidence)
        if not is_text:
            self._spelt.append((name, column))

    def when(self, column: Column) -> Any:
        """Return the value of a line that reads a time or a number, with the time of day that stands beside a day."""
        if column.clock is None:
            return column.name
        self.used.add(column.clock)
        return {"date": column.name, "time": column.clock}

    def plain(self, name: str, fits: Fit, *, why: Callable[[Column], str]) -> Column | None:
        """Add a line if a column has a usual name and fits; return the column."""
        if (found := self.find(name, fits)) is None:
            return None
        column, rank = found
        # a time of a usual name is one of few columns, unlike a text
        others = [
            each
            for each in self.table.columns.values()
            if each is not column and self._rank(name, each, fits) is not None
        ]
        self.take(name, column, why(column), "sure" if rank <= 0 or (fits is may_be_time and not others) else "likely")
        return column

    def time(self, name: str) -> Column | None:
        """Add the line of a time."""
        return self.plain(name, may_be_time, why=self.of_time)

    def text(self, name: str, fits: Fit = lambda column: column.distinct > 1) -> Column | None:
        """Add the line of a text."""
        return self.plain(
            name,
            lambda column: not is_free_text(column) and not may_be_time(column) and fits(column),
            why=self.of_text,
        )

    def number(self, name: str) -> Column | None:
        """Add the line of a number."""
        return self.plain(name, is_amount, why=self.of_number)

    def of_time(self, column: Column) -> str:
        """Return the evidence for a time, in words."""
        times = column.times
        if times is None:
            return "its name"
        unread = f", of which {per_cent(1 - times.share)} cannot be read" if times.share < FULL else ""
        span = f"{times.first:%Y-%m-%d} to {times.last:%Y-%m-%d}"
        return f"times in {self._filled(column)} of the rows{unread}, {span}"

    def of_text(self, column: Column) -> str:
        """Return the evidence for a text, in words."""
        return f"its name; {counted(column.distinct, 'value')} in {self._filled(column)} of the rows"

    def of_number(self, column: Column) -> str:
        """Return the evidence for a number, in words."""
        share = column.numbers.share if column.numbers else 0.0
        return f"its name; {per_cent(share)} of its values are numbers, in {self._filled(column)} of the rows"

    def _filled(self, column: Column) -> str:
        return per_cent(column.filled / max(1, self.table.rows))

    def words(self, name: str, values: Meanings) -> None:
        """Add the lines of a value map; a word that stands for itself has none."""
        for word, (meant, why, confidence) in values.items():
            if folded(word) != meant:
                self.draft.line((*self.place, "values", name, word), meant, why, confidence)

    def vocabulary(self, name: str, column: Column) -> None:
        """Add the lines of a column with a vocabulary, and ask for the words that no list knows."""
        self.used.add(column.name)
        known = sum(rows for word, rows in column.words if meaning(self.of, name, word) is not None)
        share = known / max(1, column.filled)
        why = f"the words of {per_cent(share)} of its rows are known"
        self.column(name, column.name, why, "sure" if share >= FULL else "likely")
        values: dict[str, tuple[str, str, Confidence]] = {}
        for word, rows in column.words:
            if (meant := meaning(self.of, name, word)) is not None:
                values[word] = (meant, counted(rows, "row"), "sure")
            elif not is_contact(word) and (answer := self.ask_word(name, column, word, rows)) is not None:
                values[word] = (answer, "as answered", "sure")
        self.words(name, values)

    def ask_word(
        self, name: str, column: Column, word: str, rows: int, evidence: str = "", left: str | None = None
    ) -> str | None:
        """Ask what a word stands for; return None if nobody knows, and note what follows: its rows are set aside."""
        of, vocabulary = f"{self.table.name}.{column.name}", TABLES[self.of].column(name).vocabulary
        follows = left or f"its rows are set aside (unknown_{name})"
        answer = self.draft.ask(
            Question(
                key=f"{of}:{word}",
                text=f"{of}: what does {word!r} mean ({counted(rows, 'row')}{evidence})?",
                options={
                    LEAVE: f"nothing that is known: {follows}",
                    **{each: each for each in vocabulary},
                },
                default=LEAVE,
            )
        )
        if answer != LEAVE:
            return answer
        self.draft.notes.append(
            f"{of}: {word!r} ({counted(rows, 'row')}) is not known: {follows}. Say what it means under "
            f"tables.{self.of}.values.{name}."
        )
        return None

    def finish(self) -> None:
        """Add the lines on the formats of times and numbers, and note which columns are read."""
        for name, column in self._spelt:
            kind = TABLES[self.of].column(name).kind
            if kind == "time":
                self._time_format(name, column)
            elif column.numbers is not None and (form := column.numbers.form) is not None:
                said, share = form.model_dump(exclude_defaults=True), column.numbers.share
                why = f"{per_cent(share)} of the values have this form"
                self.draft.line((*self.place, "numbers", name), said, why, "sure" if share >= FULL else "likely")
        self.draft.read.update((self.table.name, name) for name in self.used)

    def _time_format(self, name: str, column: Column) -> None:
        times = column.times
        if times is None or times.formats == (ISO,):
            return
        place = (*self.whole, "times", name)
        if times.other_formats:
            day, month = times.formats[0], times.other_formats[0]
            key = f"day_first:{self.table.name}.{column.name}"
            answer = self.draft.ask(
                Question(
                    key=key,
                    text=f"{self.table.name}.{column.name}: what comes first in its dates? No day is after the 12th.",
                    options={"day": f"the day ({day})", "month": f"the month ({month})"},
                    default="day",
                    is_essential=True,
                )
            )
            formats = times.formats if answer == "day" else times.other_formats
            self._format(place, formats, "as answered: no day in it is after the 12th", "sure")
            return
        why = f"{per_cent(times.share)} of the values have this form"
        if any(each.startswith(("%d", "%m")) and "%b" not in each.lower() for each in times.formats):
            why += "; a day after the 12th tells day from month"
        self._format(place, times.formats, why, "sure" if times.share >= FULL else "likely")

    def _format(self, place: tuple[str, ...], formats: Sequence[str], why: str, confidence: Confidence) -> None:
        earlier = next((each for each in self.draft.lines if each.place == place), None)
        if earlier is not None:
            # parts of a union share the formats
            self.draft.lines.remove(earlier)
            before = [earlier.value] if isinstance(earlier.value, str) else earlier.value
            formats = tuple(dict.fromkeys([*before, *formats]))
        self.draft.line(place, formats[0] if len(formats) == 1 else list(formats), why, confidence)


def as_key(name: str, column: Column | None) -> Any:
    """Return the value of a line that reads a key, without the ``.0`` that a data frame adds to numbers."""
    if column is None or not column.is_float:
        return name
    if not column.has_zero_within:
        return {"split": name, "at": ".0"}
    # only at the end, which the mark shows: a broken 7.05 is no 7
    return {"split": {"split": {"concat": [name, {"constant": MARK}]}, "at": f".0{MARK}"}, "at": MARK}


def is_free_text(column: Column) -> bool:
    """Say whether a column holds sentences."""
    return column.longest > FREE_TEXT * 2 and column.distinct > FEW


def is_amount(column: Column) -> bool:
    """Say whether a column holds amounts."""
    return column.numbers is not None and column.numbers.share >= NUMBERS and column.numbers.negative < SELDOM


def has_words(table: str, name: str) -> Fit:
    """Return a test whether the vocabulary of a contract column knows most words of a source column."""

    def fits(column: Column) -> bool:
        known = sum(rows for word, rows in column.words if meaning(table, name, word) is not None)
        return bool(column.words) and known >= KNOWN_WORDS * column.filled

    return fits


def key_line(lines: TableLines, profile: Profile, *, instead: Iterable[str]) -> None:
    """Add the line of the key of a table, or derive it from columns that never change."""
    contract, table = TABLES[lines.of], lines.table
    if (key := key_of(table, profile)) is not None and key not in lines.used:
        column = table.columns[key]
        lines.take(contract.key, column, unique(table, column), "sure" if column.is_unique else "likely")
        return
    why = "no column tells the rows apart: they are told apart by what never changes, and numbered where that is equal"
    lines.line("id", {"derive_from": list(dict.fromkeys(instead))}, why, "likely")


def unique(table: Table, column: Column) -> str:
    """Return the evidence for a key, in words."""
    empty = table.rows - column.filled
    without = f"; {counted(empty, 'row')} without one will be set aside (missing_required)" if empty else ""
    if column.is_unique:
        return f"{counted(table.rows, 'row')}, and no two have the same value{without}"
    return f"{counted(table.rows, 'row')} with {counted(column.distinct, 'value')}: equal rows count once{without}"


def lead_line(lines: TableLines, link: Link, leads: Table) -> None:
    """Add the line that names the lead of a row, by a join if another table stands in between."""
    confidence: Confidence = "sure" if link.share >= FULL else "likely" if link.share >= KNOWN_WORDS else "unsure"
    lines.used.add(link.column)
    astray = f"; {counted(link.astray, 'row')} with another will be set aside (orphan)" if link.astray else ""
    if link.via is None:
        cut = ", without the .0 that a data frame has added" if link.named is not None and link.named.is_float else ""
        why = f"{per_cent(link.share)} of its values are in {leads.name}{cut}{astray}"
        lines.column("lead_id", as_key(link.column, link.named), why, confidence)
        return
    middle, key, to_lead = link.via
    alias = spoken(middle)
    why = f"{per_cent(link.share)} of the values of {link.column} lead to a row of {leads.name}{astray}"
    lines.draft.line((*lines.place, "join", alias), {"table": middle, "on": {key: link.column}}, why, confidence)
    value = as_key(f"{alias}.{to_lead}", link.named)
    lines.column("lead_id", value, f"the lead that {middle} names", confidence)
