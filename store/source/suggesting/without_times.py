"""The mapping of a set without times: leads with an outcome, and nothing that says when anything happened."""

from dataclasses import dataclass

from store.source.mapping.without_times import CAVEAT
from store.source.suggesting.attributes import attributes_lines
from store.source.suggesting.columns import is_time_of_row, key_of
from store.source.suggesting.evidence import Column, Profile, Table
from store.source.suggesting.layout import no_leads
from store.source.suggesting.lines import FEW, TableLines, counted, unique
from store.source.suggesting.names import bare_names, is_out, name_rank
from store.source.suggesting.outcomes import OPEN, outcome, yes_of
from store.source.suggesting.suggestion import Draft, NoMappingError, Question
from store.source.suggesting.vocabulary import OUTCOME_NAMES
from store.source.values.texts import folded
from store.sql import literals

NONE = ""
"""The answer that no column tells how a lead ended."""

ASKED = "without_times"

CANNOT = (
    "Without times there is no proof that no figure uses the future, no feature of time, no drift, and no horizon of "
    "days. There is a model of the outcome by the attributes, measured on leads that it has not seen, and a score for "
    "each lead without an outcome."
)


@dataclass(frozen=True)
class Ending:
    """A column that may tell how a lead ended: its words for a won one, and for one that is open."""

    column: Column
    won: tuple[str, ...]
    open_: tuple[str, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """All other words."""
        return tuple(word for word, _ in self.column.words if word not in (*self.won, *self.open_))

    def said(self, place: int) -> str:
        """Return SQL of how a row has ended; null for an open one."""
        known = (*self.won, *self.open_)
        return (
            f"case when folded(c{place}) in ({literals(list(map(folded, self.won)))}) then 'won' "
            f"when c{place} is not null and folded(c{place}) not in ({literals(list(map(folded, known)))}) then 'lost' "
            "end"
        )


def untimed(profile: Profile) -> Table | None:
    """Return the table of leads of a source that has no time at all; None if it has one, or is no such set."""
    tables = [each for name, each in profile.tables.items() if each.rows and not is_out(name)]
    if any(_may_have_time(table, column) for table in tables for column in table.columns.values()):
        return None
    found = [table for table in tables if key_of(table, profile) is not None and _endings(table)]
    return found[0] if len(found) == 1 else None


def _may_have_time(table: Table, column: Column) -> bool:
    """Say whether a column has times, or is called the creation and may have times that cannot be read."""
    is_called = name_rank("leads", "created_at", column.name, table.name) is not None
    return is_time_of_row(column, table) or (is_called and column.filled > 0 and not column.is_flag)


def ending_of(table: Table, draft: Draft) -> Ending | None:
    """Return the column that tells how a lead ended, and ask whether it does; None if a person says that none does.

    Nobody need answer if one column alone has the name of an outcome or words for won and lost, and all its words are
    known.
    """
    endings = _endings(table)
    sure = [each for each in endings.values() if _is_named(each, table) or not each.column.is_flag]
    is_clear = len(sure) == 1 and (
        sure[0].column.is_flag or all(outcome(word) is not None for word, _ in sure[0].column.words)
    )
    options = {name: _shown(each, table) for name, each in endings.items()}
    default = sure[0].column.name if sure else next(iter(endings))
    answer = draft.ask(
        Question(
            key=ASKED,
            text=f"No row of {table.name} has a time. Which column tells how each lead ended?",
            options={**options, NONE: "none: nothing is written"},
            default=default,
            is_essential=not is_clear,
        )
    )
    return endings.get(answer)


def untimed_lines(table: Table, profile: Profile, draft: Draft) -> None:
    """Add all lines of a set without times.

    Raises
    ------
    NoMappingError
        If a person says that no column tells the outcome.
    """
    if (ending := ending_of(table, draft)) is None:
        raise NoMappingError(no_leads(profile))
    lines = TableLines("leads", table, draft)
    key = key_of(table, profile) or ""
    lines.line("table", table.name, f"{counted(table.rows, 'row')} with a key and an outcome, and no time", "sure")
    lines.take("lead_id", table.columns[key], unique(table, table.columns[key]), "sure")
    lines.used.add(ending.column.name)
    lines.text("source", lambda column: column.distinct <= max(FEW, table.rows / 2))
    lines.text("assigned_to")
    lines.text("zip_code")
    lines.finish()
    attributes_lines("leads", table, profile.fit.get((table.name, table.name)), draft, has_times=False)
    form = {"outcome": ending.column.name, "won": list(ending.won)}
    if ending.open_:
        form["open"] = list(ending.open_)
    is_said = draft.is_answered(ASKED)
    why = f"{'as answered; ' if is_said else ''}{_shown(ending, table)}"
    draft.line((ASKED,), form, why, "sure" if is_said else "likely")
    draft.notes += [CAVEAT, CANNOT]
    if not _open_rows(ending, table):
        draft.notes.append(
            f"All rows have a word for a lead that has ended, so none is scored: a lead is scored whose "
            f"{ending.column.name} is empty."
        )


def _endings(table: Table) -> dict[str, Ending]:
    """Return the columns that may tell how a lead ended: flags, and words of which some mean won and some do not."""
    found: dict[str, Ending] = {}
    for column in table.columns.values():
        if column.is_flag and len(column.words) == 2:
            won, going_on = tuple(yes_of(column)), tuple[str, ...]()
        else:
            meant = {word: outcome(word) for word, _ in column.words}
            won = tuple(word for word, each in meant.items() if each == "won")
            going_on = tuple(word for word, each in meant.items() if each == OPEN)
        ending = Ending(column, won, going_on)
        if won and ending.lost:
            found[column.name] = ending
    return found


def _is_named(ending: Ending, table: Table) -> bool:
    return bool(OUTCOME_NAMES & set(bare_names(ending.column.name, table.name)))


def _open_rows(ending: Ending, table: Table) -> int:
    return table.rows - sum(rows for word, rows in ending.column.words if word not in ending.open_)


def _shown(ending: Ending, table: Table) -> str:
    rows = dict(ending.column.words)
    parts = [
        f"{sum(rows[word] for word in words):,} {meant} ({', '.join(words)})"
        for meant, words in (("won", ending.won), ("lost", ending.lost))
    ]
    return f"{ending.column.name}: {', '.join(parts)}, {_open_rows(ending, table):,} open"
