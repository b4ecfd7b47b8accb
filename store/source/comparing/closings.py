"""The words with which a lead closes, as the source spells them.

A mapping may write them in any case, but the SQL of the store compares texts exactly. So each spelling in the source is
listed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.checking.validation import Validated
from store.source.comparing.evidence import Earlier
from store.source.contract import CHANGES, TABLES
from store.source.mapping.binding import TableBinding
from store.source.mapping.forms import Closes
from store.source.sql import one_row
from store.source.values.texts import folded
from store.sql import literals

CLOSING_COLUMNS: Mapping[str, tuple[str, str]] = {
    "outcomes": ("interactions", "outcome"),
    "lead_status": ("leads", "status"),
    "project_status": ("projects", "status"),
}
"""Table and column of the words that close a lead, by the key of ``closes`` in a mapping."""


@dataclass(frozen=True, kw_only=True)
class Closings:
    """The words that close a lead; a won project and silence close one as well.

    Attributes
    ----------
    words : mapping of str to tuple of str
        By the key of ``closes`` in the mapping: the words as the mapping writes them, and their other spellings in the
        source.
    sentences : tuple of str
        Sentences about words of the mapping that the source lacks.
    """

    words: Mapping[str, tuple[str, ...]]
    sentences: tuple[str, ...]


def closings_of(
    connection: DuckDBPyConnection,
    closes: Closes,
    written: Closes,
    validated: Mapping[str, Validated],
    earlier: Earlier,
) -> Closings:
    """Look up the closing words of a mapping in the rows that were read and in the stored ones.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``typed_<table>``, ``known_changes`` and ``known_words``.
    closes, own : Closes
        The words in force, and those that a person has written in the mapping.
    validated : mapping of str to Validated
        By contract table.
    earlier : Earlier
    """
    words = {
        "outcomes": [
            *_words(connection, "interactions", "outcome", validated),
            # a rare word may be in rows that are not read again
            *earlier.closes["outcomes"],
        ],
        "lead_status": [
            *_words(connection, "leads", "status", validated),
            *_column(connection, f"select distinct value from known_{CHANGES} where column_name = 'status'"),
            *(
                _column(connection, f"select distinct value from typed_{CHANGES} where column_name = 'status'")
                if CHANGES in validated
                else ()
            ),
        ],
        "project_status": _words(connection, "projects", "status", validated),
    }
    sentences = []
    for key, (table, column) in CLOSING_COLUMNS.items():
        found = {folded(word) for word in words[key]}
        in_part = table in validated and validated[table].reading.part is not None
        mapped = validated[table].binding.values.get(column, {}) if table in validated else {}
        unused = [word for word in getattr(written, key) if folded(word) not in found]
        for word in [word for word in unused if folded(word) in mapped]:
            unused.remove(word)
            sentences.append(
                f"The mapping's closes.{key} has {word!r}, which the value map of {table}.{column} reads as "
                f"{mapped[folded(word)]!r}: it closes nothing. Write {mapped[folded(word)]!r} if that is meant."
            )
        if unused and not in_part:
            sentences.append(
                f"The mapping's closes.{key} has {len(unused)} word{'' if len(unused) == 1 else 's'} that no row of "
                f"{table} has: {', '.join(map(repr, unused))}. Check the spelling."
            )
    spelt = {key: _spelt(getattr(closes, key), words[key]) for key in CLOSING_COLUMNS}
    if "projects" in validated and spelt["project_status"]:
        (rows,) = one_row(
            connection,
            "select count(*) from typed_projects where check_no is null and closed_at is null "
            f"and status in ({literals(spelt['project_status'])})",
        )
        if rows:
            sentences.append(
                f"projects.closed_at is empty in {rows:,} row{'' if rows == 1 else 's'} whose status closes a lead: "
                "the time of the closing is unknown, so they close none."
            )
    return Closings(words=spelt, sentences=tuple(sentences))


def closed_rows(table: str, bindings: Mapping[str, TableBinding | None], closings: Closings, seen_at: datetime) -> str:
    """Compose the SELECT of the key and ``closed_at`` of the rows read that have closed.

    Parameters
    ----------
    table : str
        ``leads``, ``projects`` or ``customers``.
    bindings : mapping of str to TableBinding or None
    closings : Closings
    seen_at : datetime
        The time at which a lead closed whose status has no time.
    """
    if table != "leads":
        return f"select {TABLES[table].key}, closed_at from typed_{table} where closed_at is not null"
    words = {key: literals(found) if found else "null" for key, found in closings.words.items()}
    parts = ["select null::varchar as lead_id, null::timestamptz as closed_at where false"]
    if bindings["projects"] is not None:
        parts.append(
            "select lead_id, greatest(closed_at, proposed_at) from typed_projects where check_no is null "
            f"and closed_at is not null and (status = 'won' or status in ({words['project_status']}))"
        )
    if bindings["interactions"] is not None:
        parts.append(
            "select lead_id, greatest(occurred_at, coalesce(recorded_at, occurred_at)) from typed_interactions "
            f"where check_no is null and outcome in ({words['outcomes']})"
        )
    of_status = f"select lead_id, {{}} from typed_{{}} where check_no is null and {{}} in ({words['lead_status']})"
    parts.append(of_status.format(f"timestamptz '{seen_at.isoformat()}'", "leads", "status"))
    if bindings[CHANGES] is not None:
        parts.append(of_status.format("changed_at", CHANGES, "column_name = 'status' and value"))
    return f"select lead_id, min(closed_at) as closed_at from ({' union all '.join(parts)}) group by lead_id"


def _words(connection: DuckDBPyConnection, table: str, column: str, validated: Mapping[str, Validated]) -> list[str]:
    stored = _column(
        connection, f"select word from known_words where table_name = '{table}' and column_name = '{column}'"
    )
    read = f"select distinct {column} from typed_{table} where check_no is null"
    return [*stored, *(_column(connection, read) if table in validated else ())]


def _column(connection: DuckDBPyConnection, query: str) -> list[str]:
    return [value for (value,) in connection.execute(query).fetchall() if value is not None]


def _spelt(closing: Sequence[str], words: Iterable[str]) -> tuple[str, ...]:
    closing_words = {folded(word) for word in closing}
    spellings = sorted({word for word in words if folded(word) in closing_words} - set(closing))
    return (*closing, *spellings)
