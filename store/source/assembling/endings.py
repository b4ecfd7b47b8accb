"""Deals that a mapping takes for open, although a word or a date of theirs says that they have ended.

A mapping such as `deals` lists the words of deals that have ended, and any other word counts as open. If a company has
a further word for won deals, each of them would be an open lead, and the published figures would be false.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from store.source.assembling.making import Piece
from store.source.contract import TABLES, SourceContractError
from store.source.mapping.spellings import TimeForm
from store.source.values.functions import ISO, spelling
from store.source.values.texts import folded
from store.sql import literals

MIN_DEALS = 10
"""Fewer deals with a word than this show nothing by their dates."""

NEARLY_ALL = 0.95

LAST = 0.99
"""The share of the deals that have ended by whose close dates the end of the export is told: some are mistyped."""

OPEN = "open"

ENDINGS = frozenset(TABLES["projects"].column("status").vocabulary) - {OPEN}

NO_ENDING = frozenset(("not", "no", "non", "nicht", "pas", "yet", "be", "noch", "almost", "fast"))
"""Beside one of these a word such as won does not say that a deal was won."""


@dataclass(frozen=True, kw_only=True)
class Statuses:
    """How a mapping reads the close dates and the statuses of deals.

    Attributes
    ----------
    times : TimeForm or None
        The formats of the close dates; None for ISO 8601.
    time_zone : str
    words : mapping of str to str or None
        By word of a status that a value map of the leads or projects has: what it means.
    """

    times: TimeForm | None
    time_zone: str
    words: Mapping[str, str | None]


def refuse_endings(connection: DuckDBPyConnection, piece: Piece, statuses: Statuses) -> None:
    """Stop an extraction whose mapping leaves out deals by a list of words, as open, although they have ended.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database with the rows of the piece.
    piece : Piece
        The projects, or a part of their union.
    statuses : Statuses

    Raises
    ------
    SourceContractError
        If there are such deals; the message lists their words.
    """
    if (texts := listed_texts(piece)) is None:
        return
    frame, where, (text, day) = piece.frame, piece.spec.where, texts
    status, closed = piece.spec.columns["status"], piece.spec.columns.get("closed_at", "closed_at")
    listed = {folded(word) for one in where for word in one[str(status)]}
    # of the rows that hold the other conditions
    others = frame.condition([{name: each for name, each in one.items() if name != status} for one in where])
    zone = (statuses.times.zone if statuses.times is not None else None) or statuses.time_zone
    formats = (ISO,) if statuses.times is None else statuses.times.formats
    at = "null::timestamptz" if day is None else spelling(formats, zone, day).value
    connection.execute(
        f"create or replace temp table words_of_deals as select {text} as word, {at} as closed {frame.source()} "
        f"where {text} is not null and {others}"
    )
    is_listed = f"folded(word) in ({literals(sorted(listed))})"
    found = connection.execute(
        "select shown(word), folded(word), count(*), count(*) filter (closed <= "
        f"(select quantile_disc(closed, {LAST}) from words_of_deals where {is_listed})) "
        f"from words_of_deals where not {is_listed} group by 1, 2 order by 3 desc, 1"
    ).fetchall()
    ended = []
    for word, key, rows, past in found:
        meant = statuses.words.get(key)
        if meant is None and key in statuses.words:
            continue
        if meant in ENDINGS:
            ended.append(f"{rows:,} in {word!r}, which the value map reads as {meant}")
        elif meant is None and (said := _says(key, listed)):
            ended.append(f"{rows:,} in {word!r}, which has the word {said!r}")
        elif meant is None and rows >= MIN_DEALS and past >= NEARLY_ALL * rows:
            ended.append(f"{rows:,} in {word!r}, of which {past:,} have a {closed} no later than those that have ended")
    if ended:
        raise SourceContractError(
            f"table {piece.called}, {frame.rows.place}: expected deals that have not ended in each {status} that the "
            f"mapping does not list, found {'; '.join(ended)}. They would count as open leads. If they have ended, add "
            f"the word to tables.projects.where, and what it means to the value maps of status of leads and projects; "
            "if not, say that it stands for itself (tables: {leads: {values: {status: {<word>: <word>}}}})."
        )


def listed_texts(piece: Piece) -> tuple[str, str | None] | None:
    """Return SQL of the status and the close date of deals of which a list of words is read; None for other ones.

    The rows must be asked for them before they are read.
    """
    frame, status = piece.frame, piece.spec.columns.get("status")
    where, closed = piece.spec.where, piece.spec.columns.get("closed_at", "closed_at")
    if not isinstance(status, str) or not where or not all(isinstance(one.get(status), list) for one in where):
        return None
    before = dict(frame.unknown)
    text, day = frame.text(status), frame.text(closed) if isinstance(closed, str) else None
    frame.unknown = before
    return None if text is None else (text, day)


def _says(word: str, listed: Collection[str]) -> str | None:
    """Return the word for an end that is a part of another one, or None."""
    parts = _parts(word)
    said = [each for each in (*ENDINGS, *listed) if _parts(each) and _parts(each) <= parts]
    return None if parts & NO_ENDING else min(said, default=None)


def _parts(word: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", word))
