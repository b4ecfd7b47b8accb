"""A frame: rows with the tables that are joined to them. It turns the expressions of a mapping into SQL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from store.source.assembling.rows import Found, Rows, reference
from store.source.checking.checks import FALSE, TRUE
from store.source.mapping.expressions import (
    Case,
    Cases,
    Coalesce,
    Computed,
    Concat,
    Conditions,
    Constant,
    DateAndTime,
    Earliest,
    Join,
    Latest,
    One,
    Order,
    Pick,
    Presence,
    Split,
    Unlike,
)
from store.source.mapping.forms import PartMapping, TableMapping
from store.source.reading.tables import shown_columns
from store.source.values.texts import folded
from store.sql import literal, literals

MIDNIGHT = r"[T ]00:00(:00(\.0+)?)?$"


class Lookup:
    """A joined table: the row of each key.

    Parameters
    ----------
    alias : str
        The name under which the mapping speaks of it.
    join : Join
    rows : Rows
        Its rows.
    number : int
        Its number in the frame.
    left : sequence of str
        SQL of the keys in the frame.
    strict : bool
        Whether a person has named its columns.
    """

    def __init__(self, alias: str, join: Join, rows: Rows, number: int, left: Sequence[str], *, strict: bool) -> None:
        self.alias, self.rows = alias, rows
        self.name = f"j{number}"
        self._join, self.left = join, left
        self._inner = Frame(rows)
        self._inner.strict = strict
        self._values: dict[str, str] = {}
        self.keys = [self._inner.text(name) or "null" for name in join.on]
        self._where = self._inner.condition(join.where)
        self._order = None if join.pick is None else self._inner.text(join.pick.column)

    @property
    def unknown(self) -> Mapping[str, bool]:
        """The names of its own columns that do not exist, as in a frame."""
        return self._inner.unknown

    def value(self, name: str, *, as_text: bool) -> tuple[str, Found] | None:
        """Return SQL of a value of the joined row, and its place; None if the table has no such column."""
        if (found := self.rows.find(name)) is None:
            return None
        value = self.rows.text("b", found) if as_text else reference("b", found)
        column = self._values.setdefault(value, f"v{len(self._values)}")
        return f"{self.name}.{column}", found

    def _columns(self) -> str:
        keys = [f"{key} as k{number}" for number, key in enumerate(self.keys)]
        return ", ".join([*keys, *(f"{value} as {name}" for value, name in self._values.items())])

    def _rows(self) -> str:
        present = [f"{key} is not null" for key in self.keys]
        return f"from {self.rows.relation} as b where {' and '.join([*present, self._where])}"

    def relation(self) -> str:
        """Return a query of the rows, with the keys as ``k0``, …; one row per key if the mapping picks one."""
        if self._order is None or self._join.pick is None:
            return f"select distinct {self._columns()} {self._rows()}"
        keys = ", ".join(f"k{number}" for number in range(len(self.keys)))
        order = _order("picked", self._join.pick, self._values.values())
        return (
            "select * exclude (picked, place) from "
            f"(select *, row_number() over (partition by {keys} order by {order}) as place "
            f"from (select {self._columns()}, {self._order} as picked {self._rows()})) where place = 1"
        )

    def unordered(self) -> str | None:
        """Return a query of values of the column of `pick` that have no order; None if no row is picked."""
        return None if self._order is None else _unordered(f"select {self._order} as picked {self._rows()}")

    def repeated(self) -> str | None:
        """Return a query of a key that several rows have: its parts, and the number; None if one row is picked."""
        if self._order is not None:
            return None
        keys = ", ".join(f"k{number}" for number in range(len(self.keys)))
        return (
            f"select {keys}, count(*) from ({self.relation()}) group by {keys} having count(*) > 1 order by all limit 1"
        )

    def of_two_lengths(self, source: str) -> str:
        """Return a query of a key of a frame, and one here, that are Salesforce's two ids of one record.

        Parameters
        ----------
        source : str
            The clause ``from`` of the frame.
        """
        short = "[0-9A-Za-z]{15}"
        return (
            f"select l, k from (select distinct {self.left[0]} as l {source}) "
            f"join (select distinct k0 as k from ({self.relation()})) on left(l, 15) = left(k, 15) "
            f"where length(l) <> length(k) and not regexp_full_match(left(l, 15), '\\d+') and "
            f"regexp_full_match(l, '{short}([A-Z0-5]{{3}})?') and regexp_full_match(k, '{short}([A-Z0-5]{{3}})?') "
            "order by all limit 1"
        )

    def clause(self) -> str:
        """Return the join of a query over the frame."""
        on = " and ".join(f"{self.name}.k{number} = {left}" for number, left in enumerate(self.left))
        return f"left join ({self.relation()}) as {self.name} on {on}"


class Frame:
    """Rows with the tables that are joined to them.

    Parameters
    ----------
    rows : Rows
        The relation ``b`` of a query over the frame.

    Attributes
    ----------
    strict : bool
        Whether the names that are asked for now were written by a person, and not by a shipped mapping.
    unknown : dict of str to bool
        The names that were asked for and do not exist; true if a person has written them.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.lookups: dict[str, Lookup | None] = {}
        self.strict = False
        self.unknown: dict[str, bool] = {}

    def join(self, alias: str, join: Join, rows: Rows | None) -> None:
        """Join a table; None stands for a table that the source lacks, whose values are all missing."""
        if rows is None:
            self.lookups[alias] = None
            return
        left = [self.text(name) or "null::varchar" for name in join.on.values()]
        self.lookups[alias] = Lookup(alias, join, rows, len(self.lookups), left, strict=self.strict)

    @property
    def joined(self) -> Iterator[Lookup]:
        """The tables that are joined."""
        return (lookup for lookup in self.lookups.values() if lookup is not None)

    def value(self, name: str, *, as_text: bool = False) -> tuple[str, Rows, Found] | None:
        """Return SQL of the value of a name, its rows and its place in them; None if it is unknown, which is noted.

        The value is as it is in the source, or text that is null where it is missing.
        """
        alias, _, rest = name.partition(".")
        is_joined = rest and alias in self.lookups
        # a column whose name has dots is meant before a joined table and before a path
        whole = None if is_joined and name not in self.rows.columns else self.rows.find(name)
        if whole is not None:
            return (self.rows.text("b", whole) if as_text else reference("b", whole)), self.rows, whole
        if is_joined:
            if (lookup := self.lookups[alias]) is None:
                # the missing table itself is said
                return None
            if (found := lookup.value(rest, as_text=as_text)) is not None:
                return found[0], lookup.rows, found[1]
        self._note(name)
        return None

    def _note(self, name: str) -> None:
        self.unknown[name] = self.unknown.get(name, False) or self.strict

    def text(self, expression: str | Computed | None) -> str | None:
        """Return SQL of an expression as text, null where it is missing; None if it is missing in every row."""
        match expression:
            case None:
                return None
            case str():
                return None if (value := self.value(expression, as_text=True)) is None else value[0]
            case Constant():
                return literal(expression.constant)
            case Coalesce():
                return self._coalesce(expression.coalesce)
            case Concat():
                listed = [self.text(each) for each in expression.concat]
                known = [text for text in listed if text is not None]
                return f" || {literal(expression.with_)} || ".join(known) if len(known) == len(listed) else None
            case Latest():
                return self._extreme(expression.latest, "max")
            case Earliest():
                return self._extreme(expression.earliest, "min")
            case DateAndTime():
                return self._date_and_time(expression)
            case Split():
                if (text := self.text(expression.split)) is None:
                    return None
                return f"said_part(split_part({text}, {literal(expression.at)}, {expression.part}))"
            case Cases():
                return self._cases(expression.cases, expression.otherwise)

    def _coalesce(self, expressions: Sequence[str | Computed]) -> str | None:
        before = dict(self.unknown)
        texts = [text for each in expressions if (text := self.text(each)) is not None]
        if texts:
            # a shipped mapping lists the spellings of one column, of which a source has one
            self.unknown = before | {name: True for name, strict in self.unknown.items() if strict}
        return f"coalesce({', '.join(texts)})" if texts else None

    def _date_and_time(self, expression: DateAndTime) -> str | None:
        day, clock = self.text(expression.date), self.text(expression.time)
        if day is None or clock is None:
            return day
        # a column of dates may be written as midnights
        date = f"regexp_replace({day}, {literal(MIDNIGHT)}, '')"
        return f"case when {clock} is null then {day} else {date} || ' ' || {clock} end"

    def _extreme(self, expressions: Sequence[str | Computed], function: str) -> str | None:
        texts = [text for each in expressions if (text := self.text(each)) is not None]
        if len(texts) < 2:
            return texts[0] if texts else None
        # a text that is no time wins, so that its row is rejected
        listed = f"[{', '.join(texts)}]"
        is_first = "is not null" if function == "min" else "is null"
        key = f"struct_pack(broken := iso_utc(x) {is_first}, at := iso_utc(x), said := x)"
        return f"list_{function}(list_transform(list_filter({listed}, lambda x: x is not null), lambda x: {key})).said"

    def _cases(self, cases: Sequence[Case], otherwise: str | Computed | None) -> str | None:
        branches = " ".join(
            f"when {self.condition(case.where)} then {self.text(case.then) or 'null'}" for case in cases
        )
        return f"cast(case {branches} else {self.text(otherwise) or 'null'} end as varchar)"

    def condition(self, where: Sequence[Conditions]) -> str:
        """Return SQL of conditions, which is never null."""
        if not where:
            return "true"
        each = (
            " and ".join(self._holds(name, condition) for name, condition in conditions.items()) or "true"
            for conditions in where
        )
        return f"({' or '.join(f'({one})' for one in each)})"

    def _holds(self, name: str, condition: list[str] | Unlike | Presence | Order) -> str:
        before = dict(self.unknown)
        text = self.text(name) or "null::varchar"
        if isinstance(condition, Unlike) and not self.strict:
            # a shipped mapping excludes rows by columns that not every source has
            self.unknown = before
        if isinstance(condition, Order):
            other = self.text(condition.column) or "null::varchar"
            sign = "<" if condition.before is not None else ">"
            # a text that is no time passes, so that its row is rejected
            return f"coalesce(iso_utc({text}) {sign} iso_utc({other}), {text} is not null and {other} is not null)"
        if isinstance(condition, Presence):
            return f"{text} is {'not ' if condition.is_ == 'present' else ''}null"
        if isinstance(condition, Unlike):
            return f"coalesce(folded({text}) not in ({_words(condition.not_)}), true)"
        return f"coalesce(folded({text}) in ({_words(condition)}), false)"

    @staticmethod
    def with_values(text: str, values: Mapping[str, str | None]) -> str:
        """Return SQL of a text whose words a value map replaces."""
        if not values:
            return text
        words, meant = literals(values), ", ".join(map(literal, values.values()))
        # a list is looked up once, where the branches of a case would compute the text once for each word
        return (
            f"case when folded({text}) in ({words}) then [{meant}][list_position([{words}], folded({text}))] "
            f"else {text} end"
        )

    def one(self, one: One | None) -> tuple[list[str], str | None]:
        """Return SQL of the values of which there is one row, and of the value that picks it."""
        if one is None:
            return [], None
        return [self.text(name) or "null::varchar" for name in one.per], self.text(one.column)

    def query(self, outputs: Mapping[str, str], spec: TableMapping | PartMapping) -> str:
        """Return a query of computed columns: SQL by name, with the number of the row as ``record``."""
        selected = "".join(f", {text} as {name}" for name, text in outputs.items())
        one = spec.one
        rows = f"{self.source()} where {self.condition(spec.where)}"
        per, picked = self.one(one)
        if one is None:
            return f"select b.record{selected} {rows}"
        order = _order("picked", one, ["record"])
        return (
            "select * exclude (picked, place, per) from (select *, row_number() over (partition by "
            # a missing value is no value, so these rows stay
            "case when len(list_filter(per, lambda x: x is null)) > 0 then [cast(record as varchar)] "
            f"else per end order by {order}) as place from (select b.record{selected}, [{', '.join(per)}] as per, "
            f"{picked or 'null::varchar'} as picked {rows})) where place = 1"
        )

    def unordered(self, spec: TableMapping | PartMapping) -> str | None:
        """Return a query of values by which a row is picked, and which have no order; None if no row is picked."""
        _, picked = self.one(spec.one)
        if picked is None:
            return None
        return _unordered(f"select {picked} as picked {self.source()} where {self.condition(spec.where)}")

    def partners(self) -> str:
        """Return a query of three figures of each joined table.

        In how many rows one of its rows is found, how many keys there are for it, and whether keys have the length
        of one of Salesforce's two ids.
        """
        counts = [
            f"[count({one.name}.k0), count(distinct {' || '.join(one.left)}), "
            f"count_if(length({one.left[0]}) in (15, 18))]"
            for one in self.joined
        ]
        return f"select {', '.join(counts)} {self.source()}"

    def words(self, text: str, words: Iterable[str]) -> str:
        """Return a query of those words that a text has in some row."""
        return f"select distinct folded({text}) {self.source()} where folded({text}) in ({literals(words)})"

    def words_left_out(self, name: str, spec: TableMapping | PartMapping, most: int) -> str:
        """Return a query of the most frequent texts of a column in rows that conditions leave out, with the rows."""
        text = self.text(name) or "null::varchar"
        return (
            f"select shown({text}), count(*) {self.source()} where {text} is not null "
            f"and not {self.condition(spec.where)} group by 1 order by 2 desc, 1 limit {most}"
        )

    def source(self) -> str:
        """Return the clause ``from`` of a query over the rows and the joined tables."""
        return " ".join([f"from {self.rows.relation} as b", *(lookup.clause() for lookup in self.joined)])

    def lacking(self, *, strict: bool) -> list[str]:
        """Return the names that do not exist, and that a person has written or, if not `strict`, a shipped mapping."""
        named = [*self.unknown.items()]
        named += [(f"{one.alias}.{name}", by) for one in self.joined for name, by in one.unknown.items()]
        return [name for name, by in named if by == strict]

    def missing(self) -> str | None:
        """Return in words which names of a person do not exist, and what there is; None if there are no such names."""
        if not (unknown := self.lacking(strict=True)):
            return None
        there = f"the columns {shown_columns(self.rows.columns)}"
        for one in self.joined:
            there += f"; {one.alias} ({one.rows.place}) has {shown_columns(one.rows.columns)}"
        near = [
            f"{name!r} may be {match[0]!r}"
            for name in unknown
            if (match := get_close_matches(folded(name), [folded(each) for each in self.rows.columns], n=1))
        ]
        plural = "" if len(unknown) == 1 else "s"
        listed = f"expected the column{plural} {', '.join(unknown)}, found {there}"
        return f"{listed}; {', '.join(near)}" if near else listed


def _order(picked: str, pick: Pick, contents: Iterable[str]) -> str:
    """Return SQL of an order by numbers or times; equal rows are told apart by their contents."""
    way = "asc" if pick.first is not None else "desc"
    keys = [f"try_cast({picked} as double) {way} nulls last", f"iso_utc({picked}) {way} nulls last"]
    return ", ".join([*keys, *(f"cast({name} as varchar) nulls last" for name in contents)])


def _unordered(picked: str) -> str:
    return (
        f"select picked from ({picked}) where picked is not null and try_cast(picked as double) is null "
        "and iso_utc(picked) is null order by 1 limit 1"
    )


def _words(words: Sequence[str]) -> str:
    """Return a list of SQL of the words of a condition; ``true`` and ``false`` stand for all their spellings."""
    spellings = {"true": TRUE, "false": FALSE}
    return literals(sorted({each for word in map(folded, words) for each in spellings.get(word, (word,))}))
