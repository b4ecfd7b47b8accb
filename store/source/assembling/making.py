"""The making of an assembled table in the scratch database, and what is found out on the way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from store.source.assembling.frame import Frame, Lookup
from store.source.assembling.rows import Found, Rows
from store.source.checking.numbers import NUMERIC
from store.source.contract import SourceContractError
from store.source.mapping.expressions import Cases, Presence, shown_where
from store.source.mapping.forms import PartMapping, TableMapping
from store.source.reading.sources import Source
from store.source.reading.tables import Reading
from store.source.sql import of_source, one_row, source_types

MISSING = "cast(null as varchar)"

MISSING_ROW = Presence.model_validate({"is": "missing"})

MIN_KEYS = 20
"""Of a joined table and of rows with fewer keys than this, none may belong together by chance."""

MOST_WORDS = 8
"""At most so many words that are left out are shown."""


@dataclass(frozen=True)
class Piece:
    """A contract table, or one of the parts of its union.

    Attributes
    ----------
    called : str
        Its name, for messages.
    frame : Frame
    spec : TableMapping or PartMapping
        Its mapping, with all that it inherits.
    own : TableMapping or PartMapping or None
        What a person has written of it; None for nothing.
    """

    called: str
    frame: Frame
    spec: TableMapping | PartMapping
    own: TableMapping | PartMapping | None


def read_rows(connection: DuckDBPyConnection, reader: Source, every: Iterable[Rows]) -> dict[str, Reading]:
    """Read source tables, and make the relation of each; return the readings by relation."""
    readings = {}
    for rows in every:
        if not rows.used:
            # of a table without a column that is used, the rows count
            rows.used[rows.columns[0]] = False
        readings[rows.relation] = reader.read(
            connection,
            table=rows.slot,
            source_table=rows.source_table,
            columns=[rows.real.get(column, column) for column in rows.used],
            nested=[rows.real.get(column, column) for column, is_path in rows.used.items() if is_path],
        )
        connection.execute(f"create table {rows.relation} as {rows.query()}")
    return readings


class Making:
    """The making of one contract table.

    Parameters
    ----------
    connection : DuckDBPyConnection
    readings : mapping of str to Reading
        The source tables that were read, by relation.

    Attributes
    ----------
    notes : list of str
        Sentences about rows that were left out, and entries of the mapping that match nothing.
    """

    def __init__(self, connection: DuckDBPyConnection, readings: Mapping[str, Reading]) -> None:
        self._connection, self._readings = connection, readings
        self._types: dict[str, dict[str, str]] = {}
        self.notes: list[str] = []

    def make(self, piece: Piece, relation: str, outputs: Mapping[str, str]) -> None:
        """Make the rows of a piece as a relation, from SQL by column.

        Raises
        ------
        SourceContractError
            If several rows of a joined table have one key, or values that pick a row have no order.
        """
        self._check(piece)
        query = piece.frame.query({of_source(name): text for name, text in outputs.items()}, piece.spec)
        self._connection.execute(f"create table {relation} as {query}")
        self._note_joins(piece)
        self._note_left_out(piece, one_row(self._connection, f"select count(*) from {relation}")[0])

    def unite(self, parts: Sequence[Piece], whole: Piece) -> frozenset[str]:
        """Make the relation of a union; return its columns that are numbers in all parts.

        Raises
        ------
        SourceContractError
            As `make`, or if a column with a stated spelling of numbers has numbers in some parts and texts in others.
        """
        rows = whole.frame.rows
        selects: list[str] = []
        kinds: dict[str, list[bool]] = {column: [] for column in rows.columns}
        for number, part in enumerate(parts):
            self._check(part)
            outputs = {}
            for column in rows.columns:
                expression, values = part.spec.columns.get(column), part.spec.values.get(column, {})
                # a part has no forms but expressions
                text = part.frame.text(expression)  # type: ignore[arg-type]
                outputs[of_source(column)] = MISSING if text is None else part.frame.with_values(text, values)
                if text is not None:
                    value = part.frame.value(expression) if isinstance(expression, str) and not values else None
                    kinds[column].append(value is not None and self.is_number(*value[1:]))
            selects.append(f"select {number} as part, * from ({part.frame.query(outputs, part.spec)})")
        self._refuse_mixed(whole, kinds)
        self._connection.execute(
            f"create table {rows.relation} as select row_number() over (order by part, record) - 1 as record, "
            f"* exclude (record) from ({' union all by name '.join(selects)})"
        )
        kept = dict(self._connection.execute(f"select part, count(*) from {rows.relation} group by 1").fetchall())
        for number, part in enumerate(parts):
            self._note_joins(part)
            # a shipped mapping takes its parts from tables that also hold rows of other parts
            if part.own is not None:
                self._note_words(part)
                self._note_left_out(part, kept.get(number, 0))
        return frozenset(column for column, found in kinds.items() if found and all(found))

    def is_number(self, rows: Rows, found: Found) -> bool:
        """Say whether a value of a source table is a number there."""
        if found.path or rows.relation not in self._readings:
            return False
        column = rows.real.get(found.column, found.column)
        if rows.slot not in self._types:
            self._types[rows.slot] = source_types(self._connection, rows.slot)
        return self._types[rows.slot][column].startswith(NUMERIC) or column in self._readings[rows.relation].numeric

    def _refuse_mixed(self, whole: Piece, kinds: Mapping[str, Sequence[bool]]) -> None:
        if not isinstance(whole.spec, TableMapping):
            return
        for column, form in whole.spec.numbers.items():
            source = whole.spec.columns.get(column, column)
            if isinstance(source, str) and len(set(kinds.get(source, ()))) > 1:
                raise SourceContractError(
                    f"table {whole.called}, {whole.frame.rows.place}: expected numbers of {column} that are written in "
                    f"one way, as the mapping says (decimal: {form.decimal!r}), found columns of numbers in some parts "
                    "and of texts in others. Export them all as texts, or all as numbers."
                )

    def _check(self, piece: Piece) -> None:
        for lookup in piece.frame.joined:
            place = f"table {piece.called}, join {lookup.alias} ({lookup.rows.place})"
            self._refuse_unordered(place, lookup.unordered())
            query = lookup.repeated()
            if query is not None and (repeated := self._connection.execute(query).fetchall()):
                *key, count = repeated[0]
                listed = ", ".join(map(self._shown, key))
                raise SourceContractError(
                    f"{place}: expected one row per key, found {count:,} different ones for {listed}. Name more "
                    "columns under on, leave rows out by where, or take one by pick: {last: <column of a time>}."
                )
        place = f"table {piece.called}, {piece.frame.rows.place}"
        self._refuse_unordered(place, piece.frame.unordered(piece.spec))

    def _refuse_unordered(self, place: str, query: str | None) -> None:
        if query is not None and (found := self._connection.execute(query).fetchall()):
            raise SourceContractError(
                f"{place}: expected numbers or times in ISO 8601 in the column by which a row is picked, found "
                f"{self._shown(found[0][0])}. Name another column."
            )

    def _shown(self, value: str) -> str:
        return repr(one_row(self._connection, "select shown(?)", [value])[0])

    def _note_joins(self, piece: Piece) -> None:
        """Note joins that find nothing, and refuse ids of Salesforce that never meet.

        Raises
        ------
        SourceContractError
            If a record has its id of 15 signs here and its id of 18 there.
        """
        lookups = list(piece.frame.joined)
        figures = one_row(self._connection, piece.frame.partners()) if lookups else ()
        for lookup, (found, keys, ids) in zip(lookups, figures, strict=True):
            if ids:
                self._refuse_two_lengths(piece, lookup)
            is_own = piece.own is not None and lookup.alias in piece.own.join
            # a shipped mapping joins tables of which a company may use none, and some to see that there is no row
            if not found and (is_own or (keys >= MIN_KEYS and self._is_expected(piece, lookup))):
                self.notes.append(
                    f"The mapping's join {lookup.alias} of {piece.called} finds a row of {lookup.rows.place} for no "
                    f"row of {piece.frame.rows.place}. "
                    + ("Check the columns under on." if is_own else "See that both write their keys in the same way.")
                )

    def _is_expected(self, piece: Piece, lookup: Lookup) -> bool:
        """Say whether a joined table has enough keys that one should be found, and the mapping counts on it."""
        cases = [case for form in piece.spec.columns.values() if isinstance(form, Cases) for case in form.cases]
        tests = [(name, each) for one in piece.spec.where for name, each in one.items() if each == MISSING_ROW]
        tests += [(name, each) for case in cases for one in case.where for name, each in one.items()]
        tested = {name.partition(".")[0] for name, each in tests if isinstance(each, Presence)}
        (rows,) = one_row(self._connection, f"select count(*) from ({lookup.relation()})")
        return rows >= MIN_KEYS and lookup.alias not in tested

    def _refuse_two_lengths(self, piece: Piece, lookup: Lookup) -> None:
        found = self._connection.execute(lookup.of_two_lengths(piece.frame.source())).fetchall()
        for left, right in found:
            raise SourceContractError(
                f"table {piece.called}, join {lookup.alias} ({lookup.rows.place}): expected keys of one length, found "
                f"{self._shown(left)} in {piece.frame.rows.place} and {self._shown(right)} in {lookup.rows.place}, "
                "which are Salesforce's two ids of one record. Export the ids of 18 signs in both."
            )

    def _note_words(self, part: Piece) -> None:
        for column, values in ({} if part.own is None else part.own.values).items():
            text = part.frame.text(part.spec.columns.get(column)) or MISSING  # type: ignore[arg-type]
            found = {word for (word,) in self._connection.execute(part.frame.words(text, values)).fetchall()}
            if unused := [word for word in values if word not in found]:
                self.notes.append(
                    f"The mapping's value map of {column} of {part.called} has words that no row has: "
                    f"{', '.join(map(repr, unused))}. Check the spelling."
                )

    def _note_left_out(self, piece: Piece, kept: int) -> None:
        rows, spec = piece.frame.rows, piece.spec
        (before,) = one_row(self._connection, f"select count(*) from {rows.relation}")
        if before != kept:
            because = [f"because this does not hold: {shown_where(spec.where)}"] if spec.where else []
            because += [f"because one row is taken per {' and '.join(spec.one.per)}"] if spec.one is not None else []
            self.notes.append(
                f"{piece.called}: {before - kept:,} of {before:,} rows of {rows.place} are left out, "
                f"{', or '.join(because)}{self._words_left_out(piece)}."
            )

    def _words_left_out(self, piece: Piece) -> str:
        """Return the most frequent words that a list of words leaves out: one of them may be meant."""
        conditions = [*piece.spec.where[0].items()] if len(piece.spec.where) == 1 else []
        if len(conditions) != 1 or not isinstance(conditions[0][1], list):
            return ""
        found = self._connection.execute(
            piece.frame.words_left_out(conditions[0][0], piece.spec, MOST_WORDS)
        ).fetchall()
        return f"; they have {', '.join(f'{word!r} ({rows:,})' for word, rows in found)}" if found else ""
