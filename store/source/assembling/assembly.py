"""An assembly: a contract table as a mapping puts it together from source tables."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from duckdb import DuckDBPyConnection

from models.declaring.attribute import STORED
from store.source.assembling.endings import Statuses, listed_texts, refuse_endings
from store.source.assembling.frame import Frame
from store.source.assembling.making import MISSING, Making, Piece, read_rows
from store.source.assembling.queries import columns_of_query, run_query, tables_of
from store.source.assembling.rows import Rows
from store.source.contract import SourceContractError
from store.source.mapping.binding import missing_table
from store.source.mapping.expressions import Computed, Each, Joins, shown
from store.source.mapping.forms import (
    AUTO,
    ChosenMapping,
    FirstOf,
    Flag,
    Names,
    PartMapping,
    Query,
    SourceMapping,
    TableMapping,
    is_assembled,
)
from store.source.owners import tables_about
from store.source.reading.rows import BYTES
from store.source.reading.sources import Source
from store.source.reading.tables import MalformedRow, Reading, find_column, shown_columns
from store.source.record import Table
from store.source.sql import one_row
from store.source.values.texts import folded


class Assembly:
    """A contract table that is put together from source tables.

    Parameters
    ----------
    chosen : ChosenMapping
    table : Table
        The contract table.
    reader : Source

    Attributes
    ----------
    name : str
        The name under which the assembled table stands among the tables of the source.
    place : str
        The files or database tables, for messages.
    origin : str
        In words, how the rows are put together.
    columns : list of str
        The columns that a binding may name.
    computed_names : dict of str to str
        By contract column: the name under which a computed one stands among them.
    notes : list of str
        Sentences about columns that a shipped mapping names and the source lacks.
    absent_tables : dict of str to None
        Tables that a shipped mapping names and the source lacks.

    Raises
    ------
    SourceContractError
        If tables or columns that the mapping names are missing; the message lists all of them.
    """

    def __init__(self, chosen: ChosenMapping, table: Table, reader: Source) -> None:
        self.table, self._reader, self._chosen = table, reader, chosen
        self.name = f"{table.name} of the mapping"
        self.notes: list[str] = []
        self.absent_tables: dict[str, None] = {}
        self._spec = chosen.mapping.tables.get(table.name, TableMapping())
        self._own = chosen.own.tables.get(table.name, TableMapping())
        self._rows: dict[tuple[str, str | None], Rows] = {}
        self._parts: list[Piece] = []
        self._query: Query | None = None
        self._faults: list[str] = []
        base = self._base()
        self.is_there = base is not None
        if base is None:
            if not self._faults and not self._spec.optional:
                self._faults.append(str(missing_table(table.name, self._named(), reader.columns())))
            self._refuse_faults()
            return
        self.place = base.place
        self._whole = self._piece(table.name, base, self._spec, self._own)
        written = {
            **self._spec.columns,
            **{STORED + name: each.column for name, each in self._spec.named_attributes.items()},
        }
        forms = {column: form for column, form in written.items() if isinstance(form, Computed)}
        self.computed_names = _names_of(forms, base.columns)
        self._computed = {self.computed_names[column]: form for column, form in forms.items()}
        dotted = self._resolve()
        self.columns = list(dict.fromkeys([*base.columns, *dotted, *self._computed]))
        for piece in (*self._parts, self._whole):
            frame, place = piece.frame, piece.frame.rows.place
            if (missing := frame.missing()) is not None:
                self._faults.append(
                    f"table {table.name}, {place}: {missing} (mapping {chosen.mapping.name!r}). Correct the name in "
                    "the mapping, or export the column."
                )
            if lacking := frame.lacking(strict=False):
                self.notes.append(f"{table.name}: {place} lacks columns that the mapping names: {', '.join(lacking)}.")
        self._refuse_faults()

    def _refuse_faults(self) -> None:
        if self._faults:
            raise SourceContractError("\n".join(self._faults))

    def _piece(
        self, called: str, rows: Rows, spec: TableMapping | PartMapping, own: TableMapping | PartMapping | None
    ) -> Piece:
        """Return rows with their joins, and look up the names in their conditions."""
        frame = Frame(rows)
        self._join(frame, spec.join, set() if own is None else set(own.join))
        frame.strict = own is not None and bool(own.where)
        frame.condition(spec.where)
        frame.one(spec.one)
        piece = Piece(called, frame, spec, own)
        if self.table.name == "projects":
            listed_texts(piece)
        return piece

    def _named(self) -> str:
        parts = [part.table or name for name, part in self._spec.union.items() if not part.absent]
        name = parts[0] if parts else self._spec.table or self.table.name
        return self._names_of(name).table or name

    def _names_of(self, name: str) -> Names:
        stated = {folded(key): known for key, known in self._chosen.mapping.names.items()}
        return stated.get(folded(name), Names())

    def _base(self) -> Rows | None:
        """Return the rows that the columns of the whole are read from; None if the source does not have them."""
        if (query := self._chosen.queries.get(self.table.name)) is not None:
            return self._query_rows(query)
        if not self._spec.union:
            return self._source_rows(self._spec.table or self.table.name, self._spec.each)
        for name, part in self._spec.union.items():
            if part.absent:
                continue
            if (rows := self._source_rows(part.table or name, part.each)) is None:
                if name in self._own.union:
                    self._faults.append(str(missing_table(self.table.name, part.table or name, self._reader.columns())))
                else:
                    self.absent_tables[part.table or name] = None
                continue
            own = self._own.union.get(name)
            piece = self._piece(f"{self.table.name}, part {name}", rows, part, own)
            for column, expression in part.columns.items():
                piece.frame.strict = own is not None and column in own.columns
                piece.frame.text(expression)
            self._parts.append(piece)
        if not self._parts:
            return None
        columns = list(dict.fromkeys(column for made in self._parts for column in made.spec.columns))
        for made in self._parts:
            lacks = [
                column.name
                for column in self.table.columns
                if column.required
                and self._spec.columns.get(column.name, column.name) == column.name
                and not (column.name == self.table.key and self._derives_key(columns))
                and column.name not in made.spec.columns
            ]
            about = [each.key for each in tables_about(self.table)] if self.table.or_of else []
            if about and not any(self._spec.columns.get(key) or key in made.spec.columns for key in about):
                lacks.append(" or ".join(about))
            if lacks:
                self._faults.append(
                    f"table {made.called}: expected the columns {', '.join(lacks)}, which every "
                    f"row needs, found {', '.join(made.spec.columns)}. Name them under columns."
                )
        places = " and ".join(dict.fromkeys(made.frame.rows.place for made in self._parts))
        return Rows(f"union_{self.table.name}", self.name, places, columns, is_said=True)

    def _derives_key(self, columns: Sequence[str]) -> bool:
        return self._spec.id is not None or (bool(self.table.key_from) and self.table.key not in columns)

    def _query_rows(self, query: Query) -> Rows | None:
        try:
            named = tables_of(query)
            rows = {name: self._source_rows(name) for name in named}
            if absent := [name for name, found in rows.items() if found is None]:
                self._faults.append(
                    f"{query.path}: expected the tables that it names, {', '.join(absent)}, found "
                    f"{', '.join(sorted(self._reader.columns())) or 'no table'}. Correct the query."
                )
                return None
            present = {name: found for name, found in rows.items() if found is not None}
            for found in present.values():
                real = found.real
                kinds = {each: self._reader.type_of(found.source_table, real.get(each, each)) for each in found.columns}
                # a query sees what may be read and has a text
                readable = [each for each, kind in kinds.items() if kind is not None and not kind.startswith(BYTES)]
                found.used.update(dict.fromkeys(readable, True))
            columns = columns_of_query(query, {name: list(found.used) for name, found in present.items()})
        except SourceContractError as fault:
            self._faults.append(str(fault))
            return None
        self._query = query
        self._of_query = present
        return Rows(f"rows_{self.table.name}_query", self.name, query.path.name, columns)

    def _source_rows(self, name: str, each: Each | None = None) -> Rows | None:
        """Return the rows of a source table by the name that the mapping has for it."""
        tables = self._reader.columns()
        names = self._names_of(name)
        if (found := tables.find(names.table or name)) is None:
            return None
        key = (found, None if each is None else each.model_dump_json())
        if key not in self._rows:
            place, columns = self._reader.place(found), list(tables[found])
            real: dict[str, str] = {}
            for called, source in names.columns.items():
                column = find_column(source, columns, found)
                if column is not None:
                    real[called] = column
                elif called in self._chosen.own.names.get(name, Names()).columns:
                    self._faults.append(
                        f"names.{name}, {place}: expected the column {source}, found the columns "
                        f"{shown_columns(columns)}. Correct the name in the mapping."
                    )
            kept = [column for column in columns if column not in real.values() and column not in real]
            relation = f"rows_{self.table.name}_{len(self._rows)}"
            rows = Rows(relation, found, place, [*real, *kept], real, each)
            if each is not None and rows.find(each.column) is None:
                self._faults.append(
                    f"table {self.table.name}, {place}: expected the column {each.column} of each, found the columns "
                    f"{shown_columns(columns)}. Correct the name in the mapping."
                )
            self._rows[key] = rows
        return self._rows[key]

    def _join(self, frame: Frame, joins: Joins, own: set[str]) -> None:
        for alias, join in joins.items():
            rows = self._source_rows(join.table, join.each)
            if rows is None and alias in own:
                self._faults.append(
                    f"table {self.table.name}, join {alias}: expected a table {join.table!r}, found "
                    f"{', '.join(sorted(self._reader.columns()))}. Correct the name, or export the table."
                )
            elif rows is None:
                self.absent_tables[join.table] = None
            frame.strict = alias in own
            frame.join(alias, join, rows)

    def _resolve(self) -> list[str]:
        """Look up all names of the columns of the whole; return those that are no columns of the base."""
        named: list[str] = []
        frame = self._whole.frame
        for column in self.table.columns:
            form = self._spec.columns.get(column.name, column.name)
            frame.strict = column.name in self._own.columns
            if isinstance(form, Computed):
                frame.text(form)
            names = [form] if isinstance(form, str) else []
            names += [form.flag] if isinstance(form, Flag) else form.first_of if isinstance(form, FirstOf) else []
            named += names
        for name, attribute in self._spec.named_attributes.items():
            frame.strict = name in self._own.attributes
            if isinstance(attribute.column, str):
                named.append(attribute.column)
            else:
                frame.text(attribute.column)
        if self._spec.id is not None:
            named += self._spec.id.derive_from
        # a name without a dot is left to the binding, which knows whether the contract needs it
        columns = frame.rows.columns
        return [name for name in named if "." in name and name not in columns and frame.value(name) is not None]

    @property
    def origin(self) -> str:
        """In words, how the rows are put together; empty if they are the rows of one table."""
        said = self._spec.model_dump(include={"each", "join", "where", "one", "union"}, mode="json")
        if self._query is not None:
            said["sql"] = self._query.text
        if not any(said.values()):
            return ""
        kind = "query" if self._query is not None else "union" if self._parts else "rows"
        return f"of the {kind} {hashlib.sha256(repr(said).encode()).hexdigest()[:8]}"

    def used(self, called: str) -> set[str]:
        """Return the columns of a table, by the mapping's name for it, that joins, conditions and expressions read."""
        return self.used_of(self._source_name(called))

    def used_of(self, source_table: str | None) -> set[str]:
        """Return the columns of a source table that joins, conditions and expressions read."""
        return {column for rows in self._rows.values() if rows.source_table == source_table for column in rows.used}

    def read_of(self, source_table: str) -> set[str]:
        """Return the columns of a source table that are read, by their names there."""
        rows = [each for each in self._rows.values() if each.source_table == source_table]
        return {each.real.get(column, column) for each in rows for column in each.used}

    @property
    def base(self) -> str:
        """The source table whose rows these are; its own name if they are of several or of a query."""
        return self._whole.frame.rows.source_table

    @property
    def source_tables(self) -> list[str]:
        """The source tables that are read."""
        return [rows.source_table for rows in self._rows.values()]

    def is_of(self, called: str) -> bool:
        """Say whether the rows are those of one source table, by the name that the mapping has for it."""
        return self.base == self._source_name(called)

    def _source_name(self, called: str) -> str | None:
        return self._reader.columns().find(self._names_of(called).table or called)

    def type_of(self, column: str) -> str | None:
        """Return the type of a column as the source names it; ``string`` for one that is computed."""
        base = self._whole.frame.rows
        if base not in self._rows.values() or column not in base.columns:
            return "string"
        return self._reader.type_of(base.source_table, base.real.get(column, column))

    def read(self, connection: DuckDBPyConnection, columns: Sequence[str]) -> Reading:
        """Create ``source_<table>`` with these columns.

        Raises
        ------
        SourceContractError
            If several rows of a joined table have one key, or a source table cannot be read.
        """
        frame, name = self._whole.frame, self.table.name
        places = {column: value for column in columns if (value := frame.value(column)) is not None}
        readings = read_rows(connection, self._reader, self._rows.values())
        making = Making(connection, readings)
        numbers: frozenset[str] = frozenset()
        if self._parts:
            numbers = making.unite(self._parts, self._whole)
        elif self._query is not None:
            tables = {each: (rows.relation, list(rows.used)) for each, rows in self._of_query.items()}
            spill = one_row(connection, "select current_setting('temp_directory')")[0] or None
            run_query(connection, self._query, tables, f"source_{frame.rows.slot}", spill)
            connection.execute(f"create table {frame.rows.relation} as {frame.rows.query()}")
        outputs = {
            column: frame.text(self._computed[column]) or MISSING if column in self._computed else places[column][0]
            for column in columns
        }
        making.make(self._whole, f"source_{name}", outputs)
        if name == "projects":
            for piece in self._parts or [self._whole]:
                refuse_endings(connection, piece, self._statuses())
        base = readings.get(frame.rows.relation)
        return Reading(
            first_line=base.first_line if base is not None and frame.rows.is_whole else None,
            malformed=[
                row if rows is frame.rows else MalformedRow(None, f"{row.found} in {rows.place}, line {row.line}")
                for rows in self._rows.values()
                for row in readings[rows.relation].malformed
            ],
            numeric=frozenset(
                column
                for column, (_, rows, found) in places.items()
                if column not in self._computed
                and (making.is_number(rows, found) or (rows is frame.rows and found.column in numbers))
            ),
            notes=[*dict.fromkeys(note for one in readings.values() for note in one.notes), *making.notes],
        )

    def _statuses(self) -> Statuses:
        mapping = self._chosen.mapping
        words: dict[str, str | None] = {}
        for name in ("leads", "projects"):
            words |= mapping.tables.get(name, TableMapping()).values.get("status", {})
        return Statuses(times=self._spec.times.get("closed_at"), time_zone=mapping.time_zone, words=words)


def _names_of(forms: Mapping[str, Computed], taken: Sequence[str]) -> dict[str, str]:
    """Return a name for each computed column, by contract column: different forms have names that do not look alike."""
    alike: dict[str, object] = {folded(each): None for each in taken}
    names: dict[str, str] = {}
    for column, form in forms.items():
        name = shown(form)
        names[column] = name if alike.setdefault(folded(name), form) == form else f"{name} as {column}"
    return names


def assembled(chosen: ChosenMapping, table: Table, reader: Source) -> Assembly | None:
    """Return the assembly of a contract table; None if it is a source table as it is."""
    spec = chosen.mapping.tables.get(table.name, TableMapping())
    is_renamed = folded(spec.table or table.name) in map(folded, chosen.mapping.names)
    return Assembly(chosen, table, reader) if is_assembled(spec) or is_renamed else None


def as_plain(chosen: ChosenMapping, assembly: Assembly) -> ChosenMapping:
    """Return a mapping in which an assembled table takes the place of the tables that it is made of."""
    name = assembly.table.name

    def changed(mapping: SourceMapping) -> SourceMapping:
        if (spec := mapping.tables.get(name)) is None:
            return mapping
        columns = {column: assembly.computed_names.get(column, form) for column, form in spec.columns.items()}
        attributes: dict[str, Any] = {
            name: form.model_copy(update={"column": assembly.computed_names.get(STORED + name, form.column)})
            for name, form in spec.named_attributes.items()
        }
        if spec.auto:
            attributes[AUTO] = spec.attributes[AUTO]
        plain = spec.model_copy(
            update={
                "table": assembly.name,
                "columns": columns,
                "attributes": attributes,
                "where": [],
                "join": {},
                "union": {},
                "each": None,
                "one": None,
                "sql": None,
            }
        )
        return mapping.model_copy(update={"tables": {**mapping.tables, name: plain}})

    return replace(chosen, mapping=changed(chosen.mapping), own=changed(chosen.own))
