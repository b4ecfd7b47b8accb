"""The outcomes of deals: what the words of a status mean, and which values tell the outcome."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from store.source.contract import TABLES
from store.source.suggesting.columns import is_time, outcomes_of, says_closed, says_won, status_of
from store.source.suggesting.evidence import Column, Filled, Table
from store.source.suggesting.lines import FEW, MOSTLY, SELDOM, Meanings, TableLines, per_cent
from store.source.suggesting.names import meaning
from store.source.suggesting.suggestion import Confidence
from store.source.suggesting.vocabulary import spoken
from store.source.values.texts import folded, is_contact

OPEN = "open"

AS_ANSWERED = "as answered"

TELLS = 0.9
"""The difference of two shares of filled rows from which a time shows which deals have ended."""

ENDS = tuple(each for each in TABLES["projects"].column("status").vocabulary if each != OPEN)

_STEMS = {
    "won": frozenset(("won", "gewonnen", "ganado", "ganada", "gagne", "gagnee")),
    "lost": frozenset(("lost", "verloren", "perdido", "perdida", "perdu", "perdue")),
}

_NOT = frozenset(("not", "nicht", "no", "non", "pas"))


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What the status of a table of deals says.

    Attributes
    ----------
    column : Column
        The status, or the flag that says which deals were won.
    closed : Column or None
        The flag that says which deals have ended, beside a flag for won ones.
    meanings : mapping of str to (str, str, str)
        By word of the status: the word of the contract, why, and how sure.
    unknown : mapping of str to (int, str)
        By word that nobody knows: its rows, and what is known of them.
    dated : frozenset of str
        Words of which nearly all deals have a close date.
    """

    column: Column
    closed: Column | None = None
    meanings: Meanings = field(default_factory=dict)
    unknown: dict[str, tuple[int, str]] = field(default_factory=dict)
    dated: frozenset[str] = frozenset()

    @property
    def is_flags(self) -> bool:
        """Whether flags say it, and no words."""
        return says_won(self.column)

    @property
    def ended(self) -> Meanings:
        """The meanings of the words for deals that have ended."""
        return {word: each for word, each in self.meanings.items() if each[0] != OPEN}

    @property
    def going_on(self) -> Meanings:
        """Words for open deals that a run would take for ended by their close dates, with themselves."""
        return {
            word: (folded(word), f"{why}: its close dates are plans", confidence)
            for word, (meant, why, confidence) in self.meanings.items()
            if meant == OPEN and (why == AS_ANSWERED or (word in self.dated and outcome(word) == OPEN))
        }

    @property
    def endings(self) -> list[str]:
        """The words of the contract for deals that have ended, as far as the source has them."""
        if self.is_flags:
            return ["won", "lost"] if self.closed is not None else ["won"]
        found = {each[0] for each in self.meanings.values()}
        return [each for each in ENDS if each in found]

    @property
    def condition(self) -> Any:
        """The condition of a mapping that only deals that have ended meet."""
        if not self.is_flags:
            return {self.column.name: list(self.ended)}
        if self.closed is None:
            return {self.column.name: yes_of(self.column)}
        return [{self.column.name: yes_of(self.column)}, {self.closed.name: yes_of(self.closed)}]


def yes_of(column: Column) -> list[str]:
    """Return the words of a flag that say yes."""
    return [word for word, _ in column.words if meaning("appointments", "status", word) == "completed"]


def outcome(word: str) -> str | None:
    """Return the outcome that a word of a status stands for, or None."""
    if (meant := meaning("projects", "status", word)) is not None:
        return meant
    parts = set(spoken(word).split("_"))
    if parts & _NOT:
        return None
    return next((meant for meant, stems in _STEMS.items() if parts & stems), None)


def outcomes(table: Table, closed: Column | None) -> Outcomes | None:
    """Return what the status of a table of deals says; None if it has no such column.

    Parameters
    ----------
    table : Table
    closed : Column or None
        The time at which deals ended.
    """
    if (name := status_of(table)) is None:
        return None
    status = table.columns[name]
    if says_won(status):
        return Outcomes(column=status, closed=_closed_of(table, status))
    known = {word: outcome(word) for word, _ in status.words}
    filled = {} if closed is None else table.by_word.get((name, closed.name), {})
    share_of_ends = _share(filled, (word for word, meant in known.items() if meant in ENDS))
    share_of_open = _share(filled, (word for word, meant in known.items() if meant == OPEN))
    # whether a close date is there exactly where a deal has ended; if no word for an open one is known, some rows at
    # least have none
    some_lack = (_share(filled, known) or 0.0) < 1 - SELDOM if share_of_open is None else share_of_open <= SELDOM
    dates_tell = share_of_ends is not None and share_of_ends >= 1 - SELDOM and some_lack
    meanings: dict[str, tuple[str, str, Confidence]] = {}
    unknown: dict[str, tuple[int, str]] = {}
    dated_words = frozenset(word for word in known if (_share(filled, [word]) or 0.0) >= 1 - SELDOM)
    for word, rows in status.words:
        share = _share(filled, [word])
        dated = "" if share is None or closed is None else f"{per_cent(share)} of its rows have {closed.name}"
        if (meant := known[word]) is not None:
            is_exact = meaning("projects", "status", word) is not None
            meanings[word] = (meant, "; ".join(filter(None, ["its name", dated])), "sure" if is_exact else "likely")
        elif dates_tell and share is not None and share <= SELDOM:
            meanings[word] = (OPEN, f"a step of the pipeline: {dated}", "likely")
        elif not (dates_tell and share is not None and share >= 1 - SELDOM) and {"won", "lost"} <= set(known.values()):
            why = "a step of the pipeline: won and lost have words of their own"
            meanings[word] = (OPEN, "; ".join(filter(None, [why, dated])), "likely")
        elif not is_contact(word):
            unknown[word] = (rows, dated)
    return Outcomes(column=status, meanings=meanings, unknown=unknown, dated=dated_words)


def _closed_of(table: Table, won: Column) -> Column | None:
    """Return the flag that says which deals have ended, beside one for those that were won."""
    ended = [each for each in table.columns.values() if each is not won and says_closed(each, table.name)]
    return ended[0] if ended else None


def closing_of(table: Table) -> Column | None:
    """Return the time that is there where a deal has ended and not where it is open, whatever its name, or None."""
    if (status := outcomes_of(table)) is None:
        return None
    ends = {folded(word) for word, _ in table.columns[status].words if outcome(word) in ENDS}
    if says_won(table.columns[status]):
        # a flag for won deals says nothing of the lost ones
        if (closed := _closed_of(table, table.columns[status])) is None:
            return None
        status, ends = closed.name, {folded(word) for word in yes_of(closed)}
    for column in table.columns.values():
        filled = table.by_word.get((status, column.name), {})
        ended = _share(filled, (word for word in filled if folded(word) in ends))
        begun = _share(filled, (word for word in filled if folded(word) not in ends))
        if is_time(column) and ended is not None and begun is not None and ended - begun >= TELLS:
            return column
    return None


def asked(lines: TableLines, found: Outcomes, *, is_deal: bool) -> Outcomes:
    """Return the outcomes with the answers on words that the lists and the dates do not explain."""
    # of deals that are leads only those that have ended are read as projects
    left = "its deals count as open, and a run stops if their close dates say otherwise" if is_deal else None
    answers: dict[str, tuple[str, str, Confidence]] = {}
    for word, (rows, evidence) in found.unknown.items():
        said = f"; {evidence}" if evidence else ""
        if (answer := lines.ask_word("status", found.column, word, rows, said, left)) is not None:
            answers[word] = (answer, AS_ANSWERED, "sure")
    return replace(found, meanings={**found.meanings, **answers})


def _share(filled: dict[str, Filled] | Any, words: Iterable[str]) -> float | None:
    found = [filled[folded(word)] for word in words if folded(word) in filled]
    total = sum(each.rows for each in found)
    return sum(each.filled for each in found) / total if total else None


def leak_of(table: Table, column: Column) -> str | None:
    """Say why a number tells the outcome of a deal, in a sentence; None if it does not."""
    if (status := outcomes_of(table)) is None or status == column.name:
        return None
    groups: dict[str, Filled] = {}
    for word, each in table.by_word.get((status, column.name), {}).items():
        meant = outcome(word) or OPEN
        before = groups.get(meant, Filled(0, 0, 0))
        groups[meant] = Filled(before.rows + each.rows, before.filled + each.filled, before.positive + each.positive)
    shares = {meant: each.positive / each.rows for meant, each in groups.items() if each.rows >= FEW}
    if shares.get("won", 0.0) < MOSTLY or not any(shares.get(each, 1.0) < SELDOM for each in ("lost", OPEN)):
        return None
    listed = ", ".join(f"{per_cent(shares[each])} of {each}" for each in ("won", "lost", OPEN) if each in shares)
    return f"A leak: it is above 0 in {listed} deals, so it is entered with the outcome."
