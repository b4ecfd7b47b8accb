"""Queries for schema ``raw`` as it was at a moment, and with rows changed that the features must not depend on.

A row is a fact with the moment at which it was known, and *parts* that were added to it later by overwriting it: an
e-mail is sent at one time and answered at another. The source contract declares both, and how the rows of each table
are changed (`Counterfactual`). Changed rows get values that occur in the data, the rarest included, and values that may
not occur. Rows are added as well, so that each entity has facts of kinds that it never had. The queries are the same
text on both engines. Random choices use hashes of keys: the same seed gives the same rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.features.compiled import timestamp_literal
from store.source.contract import SUCCESS, TABLES, texts
from store.source.record import Table

Columns = Mapping[str, str]
"""The columns of a table in order, with their types."""

Query = Callable[[str, Columns], str]
"""Returns, for a table of schema ``raw`` and its columns, the query that replaces the table."""

EDGE = timedelta(microseconds=1)

DAY = timedelta(days=1)

ADDED = 3
"""Rows that are added to a table for each row of the table that it is about."""

OWN_VALUES = 32
"""Values of a column that are taken from the data: half the rarest, half the most frequent ones."""


class UndeclaredTableError(LookupError):
    """The feature store reads a table that the contract does not declare: no time is known for its rows."""


def records_of(table: str) -> Table:
    """Return the record of a table.

    Raises
    ------
    UndeclaredTableError
        If the contract does not declare the table.
    """
    if table not in TABLES:
        raise UndeclaredTableError(
            f"raw.{table}: expected a table of {sorted(TABLES)}, found another that the feature store reads. Say in "
            "store/source/contract.py when its rows are known; without that nothing can be proved of it."
        )
    return TABLES[table]


def owner_of(records: Table, key: str) -> Table | None:
    """Return the table that the rows of a table are about: the one with a key, where there are several."""
    owners = [records_of(name) for name in (records.of, *records.or_of) if name is not None]
    return next((each for each in owners if each.key == key), owners[0] if owners else None)


def groups_of(table: str) -> list[tuple[str, ...]]:
    """Return the columns whose values are drawn, in groups: columns that are added together, and each other alone."""
    records = records_of(table)
    joint_columns = tuple(dict.fromkeys(name for each in records.proof.added for name in each))
    single_columns: list[tuple[str, ...]] = [(name,) for name in records.proof.drawn if name not in joint_columns]
    return [*single_columns, joint_columns] if joint_columns else single_columns


def own_values(table: str, group: Sequence[str]) -> str:
    """Return the query for the combinations of values in a group of columns, as text: the rarest and most frequent."""
    listed, half = ", ".join(group), OWN_VALUES // 2
    partition = f"partition by {', '.join(group[:-1])} " if len(group) > 1 else ""
    coarser = records_of(table).proof.coarser
    told = ", ".join(f"{coarser[name]} as {name}" if name in coarser else name for name in group)
    counted = (
        f"select {listed}, count(*) as rows_count from (select {told} from {_raw(table)}) as told "
        f"where {group[-1]} is not null group by {listed}"
    )
    # if each combination occurs once, these are the smallest and the largest
    descending = ", ".join(f"{name} desc" for name in group)
    ranked = (
        f"select {listed}, row_number() over ({partition}order by rows_count, {listed}) as rare, "
        f"row_number() over ({partition}order by rows_count desc, {descending}) as frequent from ({counted}) as counted"
    )
    texts = ", ".join(f"cast({name} as text)" for name in group)
    return f"select {texts} from ({ranked}) as ranked where rare <= {half} or frequent <= {half} order by {listed}"


def facts_by_kind(table: str, seed: str) -> str:
    """Return the query for the kinds of facts: their number, and when one of them was known, the rarest kind first.

    Kinds are the values of the columns in `proof.kinds`, and the parts.
    """
    records = records_of(table)
    kinds = [
        (f"'{table}.{name} ' || coalesce(cast({name} as text), '')", "1 = 1", records.known)
        for name in records.proof.kinds
    ]
    kinds += [
        (f"'{table}.{part.time}'", f"{part.time} is not null", f"greatest({records.known}, {part.time})")
        for part in records.parts
    ]
    listed = " union all ".join(
        f"select {kind} as kind, {known} as known, md5({records.key} || '{seed}') as place from {_raw(table)} "
        f"where {condition}"
        for kind, condition, known in kinds
    )
    return (
        "select kind, facts, known from (select kind, known, count(*) over (partition by kind) as facts, "
        f"row_number() over (partition by kind order by place) as number from ({listed}) as told) as numbered "
        "where number = 1 order by facts, kind"
    )


@dataclass(frozen=True, kw_only=True)
class Counterfactuals:
    """Queries for schema ``raw`` as it was at one moment, and as it might have been before or after.

    Attributes
    ----------
    moment : datetime
    seed : str
        Seed of the random choices.
    key : str
        The column that identifies the entity of the proof.
    moments : str
        A relation with a ``moment`` for each of some entities (``of_entity``), as SQL. `scrambled` uses it instead of
        `moment`, and returns only the rows of these entities. Empty for none.
    own : mapping of str to sequence of mapping
        By table, the values that `own_values` finds for each group of columns, as SQL.
    added_to : str
        Condition on the rows of a table for which rows are added to the tables that are about it.
    """

    moment: datetime
    seed: str
    own: Mapping[str, Sequence[Mapping[str, str]]]
    added_to: str
    key: str
    moments: str = ""

    def removed(self, table: str, columns: Columns) -> str:
        """Return a table as it was just before the moment: without facts and parts known then or later."""
        records, at = records_of(table), timestamp_literal(self.moment)
        then: dict[str, str] = dict(records.proof.overwritten)
        for part in records.parts:
            was_known = f"{part.time} < {at}"
            then[part.time] = f"case when {was_known} then {part.time} end"
            then |= {name: f"case when {was_known} then {name} else {value} end" for name, value in part.before.items()}
        return f"select {_selected(columns, then)} from {_raw(table)} where {records.known} < {at}"

    def scrambled(self, table: str, columns: Columns) -> str:
        """Return a table with another future from the moment on: other times, kinds, values, ends and present states.

        Facts known before the moment stay as they are. Of the other facts more than a quarter become known exactly at
        the moment, some a microsecond later, and some say that they happened days before. Such facts are added as well.
        """
        records, at = records_of(table), self._at
        draw = _Draw()
        later = [f"({at} + {draw.time()})" for _ in range(2 + len(records.parts))]
        future = f"{records.known} >= {at}"

        def changed(name: str, value: str) -> str:
            return f"case when {future} then {value} else {name} end"

        others, options = self._drawn(table, draw)
        then = {name: changed(name, value) for name, value in others.items()}
        occurred = later[0]
        if records.recorded is not None:
            # as if the CRM recorded the fact long after it happened
            earlier_time = f"({at} - {draw.time()})"
            occurred = f"case when {draw.digit()} < 5 then {earlier_time} else {later[0]} end"
            then[records.recorded] = changed(records.recorded, later[1])
        then[records.occurred] = changed(records.occurred, occurred)
        for part, time in zip(records.parts, later[2:], strict=True):
            open_then = f"({future} or {part.time} is null or {part.time} >= {at})"
            drawn = f"{draw.digit()} < 10"
            then[part.time] = f"case when not {open_then} then {part.time} when {drawn} then {time} end"
            then |= {
                name: f"case when not {open_then} then {name} when {drawn} then {draw.one_of(values)} "
                f"else {part.before[name]} end"
                for name, values in part.drawn.items()
            }
        for name in records.proof.overwritten:
            then[name] = _overwritten(name, draw, at)
        return self._with_added(
            f"select {_selected(columns, then)} from {self._hashed(table, columns)}{options}",
            table, columns, lambda draw: f"({at} + {draw.time()})", closing=True,
        )  # fmt: skip

    def past_changed(self, table: str, columns: Columns, *, all_facts: bool = False) -> str:
        """Return a table with another past up to the moment; the entities, and how long they are open, stay the same.

        Facts that were complete before the moment get other kinds and values, except those that close an entity, and a
        quarter of these facts moves to the last microsecond. Facts are added that close no entity. Facts on which
        labels depend stay as they are, unless `all_facts` is true.
        """
        records, at = records_of(table), timestamp_literal(self.moment)
        draw = _Draw()
        kept = "" if all_facts else records.proof.kept_facts
        past = f"{records.last_known} < {at}" + (f" and not {kept}" if kept else "")
        drawn, options = self._drawn(table, draw)
        then = {
            name: f"case when {past} then {value} else {name} end"
            for name, value in drawn.items()
            if name not in records.proof.kept
        }
        if records.of is None:
            return f"select {_selected(columns, then)} from {self._hashed(table, columns)}"
        for part in records.parts:
            for name, values in part.drawn.items():
                # a success closes its entity
                other = draw.one_of([value for value in values if value != SUCCESS])
                over = f"{past} and {part.time} is not null and {name} <> {SUCCESS}"
                then[name] = f"case when {over} then {other} else {name} end"
        edge = timestamp_literal(self.moment - EDGE)
        then |= _moved_to(edge, records, f"{past} and {draw.digit()} < 4")
        return self._with_added(
            f"select {_selected(columns, then)} from {self._hashed(table, columns)}{options}",
            table, columns, lambda draw: f"({edge} - {draw.time()})", closing=False, without=kept,
        )  # fmt: skip

    def forgotten(self, days: int, table: str, columns: Columns) -> str:
        """Return a table with only the facts that were known in some days before the moment.

        Tables that are about no other table stay whole. A quarter of the facts from before these days is kept and moved
        to the microsecond before they begin. Facts are added there and earlier.
        """
        records = records_of(table)
        end, start = timestamp_literal(self.moment), timestamp_literal(self.moment - days * DAY)
        if records.of is None:
            return f"select {_selected(columns, {})} from {_raw(table)}"
        edge = timestamp_literal(self.moment - days * DAY - EDGE)
        over = f"{records.last_known} < {start}"
        then = _moved_to(edge, records, over)
        return self._with_added(
            f"select {_selected(columns, then)} from {self._hashed(table, columns)} "
            f"where {records.known} < {end} and ({records.last_known} >= {start} or {_Draw().digit()} < 4)",
            table, columns, lambda draw: f"({edge} - {draw.time()})", closing=False,
        )  # fmt: skip

    def _with_added(
        self,
        query: str,
        table: str,
        columns: Columns,
        time: "Callable[[_Draw], str]",
        *,
        closing: bool,
        without: str = "",
    ) -> str:
        """Return a query plus `ADDED` rows for each row that the table it is about had at the moment."""
        records, draw = records_of(table), _Draw()
        about = owner_of(records, self.key)
        if about is None:
            return query
        at = self._at
        then = {about.key: about.key, records.key: f"'proof ' || {about.key} || ' {table} ' || cast(number as text)"}
        joined = ""
        for group in groups_of(table):
            options = self._held(table, group)
            pick = draw.one_of_many(len(options))
            if len(group) > 1:
                rows = [[str(place), *(each[name] for name in group)] for place, each in enumerate(options)]
                names = [f"option_{name}" for name in group]
                joined += f" inner join {_values_of(rows, ['option_place', *names])} on option_place = {pick}"
            for name in group:
                if closing or name not in records.proof.kept:
                    is_joined = len(group) > 1
                    then[name] = f"option_{name}" if is_joined else _one_of(pick, [each[name] for each in options])
        then[records.occurred] = time(draw)
        if records.recorded is not None:
            then[records.recorded] = then[records.occurred]
            if closing:
                # as if the CRM recorded the fact long after it happened
                earlier_time = f"({at} - {draw.time()})"
                then[records.occurred] = f"case when {draw.digit()} < 5 then {earlier_time} else {time(draw)} end"
        for part in records.parts:
            drawn = f"{draw.digit()} < 8"
            then[part.time] = f"case when {drawn} then {time(draw)} end"
            for name, values in part.drawn.items():
                allowed = [value for value in values if closing or value != SUCCESS]
                then[name] = f"case when {drawn} then {draw.one_of(allowed)} else {part.before[name]} end"
        for name, value in records.proof.overwritten.items():
            then[name] = then.get(value, value)
        selected = ", ".join(f"cast({then.get(name, 'null')} as {kind}) as {name}" for name, kind in columns.items())
        numbers = ", ".join(f"({number})" for number in range(1, ADDED + 1))
        numbered = (
            f"select {about.key}, number, md5({about.key} || '{self.seed} {table} ' || cast(number as text)) as drawn"
            f"{self._with_moment} from {self._joined(_owners(about))} "
            f"cross join (values {numbers}) as numbers (number) where {about.occurred} < {at} and {self.added_to}"
        )
        added = f"select {selected} from (select *, {_DIGITS} from ({numbered}) as hashed) as added{joined}"
        finer = records.proof.finer
        if finer or without:
            listed = ", ".join(
                f"case when {name} is not null then {finer[name]} end as {name}" if name in finer else name
                for name in columns
            )
            added = f"select {listed} from ({added}) as told where not coalesce({without or '1 = 0'}, false)"
        return f"{query} union all {added}"

    def _drawn(self, table: str, draw: "_Draw") -> tuple[dict[str, str], str]:
        """Return by column the value that replaces its own in a fact, as SQL, and the join that brings such values."""
        proof = records_of(table).proof
        drawn = {name: draw.one_of(self._values(table, name)) for name in proof.drawn}
        joined = ""
        for group in (each for each in groups_of(table) if len(each) > 1):
            *others, name = group
            values: dict[tuple[str, ...], list[str]] = {}
            for each in self._held(table, group):
                values.setdefault(tuple(each[other] for other in others), []).append(each[name])
            rows = [
                [*given, value, str(place), str(len(options))]
                for given, options in values.items()
                for place, value in enumerate(options)
            ]
            names = [f"option_{other}" for other in group]
            # the first of them is never null: by it PostgreSQL can join with a hash
            same = [f"{others[0]} = {names[0]}"]
            same += [f"{proof.coarser.get(other, other)} is not distinct from option_{other}" for other in others[1:]]
            joined += (
                f" left join {_values_of(rows, [*names, 'option_place', 'option_places'])} on {' and '.join(same)} "
                f"and option_place = mod({draw.number()}, option_places)"
            )
            drawn[name] = f"case when option_places is null then {name} else option_{name} end"
        return drawn, joined

    def _values(self, table: str, name: str) -> list[str]:
        """Return the values that may replace those of a column: the declared ones, and some of its own."""
        is_single = (name,) in groups_of(table)
        found = [each[name] for each in self.own.get(table, ()) if name in each] if is_single else []
        return list(dict.fromkeys([*records_of(table).proof.drawn[name], *found]))

    def _held(self, table: str, group: Sequence[str]) -> list[Mapping[str, str]]:
        if len(group) == 1:
            return [{group[0]: value} for value in self._values(table, group[0])]
        own = [each for each in self.own.get(table, ()) if set(each) == set(group)]
        # each may also be emptied
        emptied = [{**each, group[-1]: "null"} for each in own]
        held = [*records_of(table).proof.added, *own, *emptied]
        return [dict(each) for each in dict.fromkeys(tuple(one.items()) for one in held)]

    def _hashed(self, table: str, columns: Columns) -> str:
        key = records_of(table).key
        listed = ", ".join(columns) + self._with_moment
        hashed = f"select {listed}, md5({key} || '{self.seed}') as drawn from {self._rows(table)}"
        return f"(select {listed}, {_DIGITS} from ({hashed}) as hashed) as changed"

    @property
    def _at(self) -> str:
        return "moment" if self.moments else timestamp_literal(self.moment)

    @property
    def _with_moment(self) -> str:
        return ", moment" if self.moments else ""

    def _rows(self, table: str) -> str:
        return self._joined(_raw(table))

    def _joined(self, relation: str) -> str:
        return f"{relation} as rows_of_source" + (
            f" inner join {self.moments} on {self.key} = of_entity" if self.moments else ""
        )


_DIGITS = ", ".join(
    f"position(substr(drawn, {place}, 1) in '0123456789abcdef') - 1 as digit_{place}" for place in range(1, 33)
)
"""The digits of the hash of a row, as numbers."""


class _Draw:
    """Random choices as SQL, from the digits of a row's hash, used in turn."""

    def __init__(self) -> None:
        self._used = 0

    def digit(self) -> str:
        """Return a number from 0 to 15."""
        self._used += 1
        return f"digit_{(self._used - 1) % 32 + 1}"

    def time(self) -> str:
        """Return a length of time: 0 in more than a quarter of the rows, else from a microsecond to ten days."""
        digit, other = self.digit(), f"(1 + {self.digit()})"
        return (
            f"((case when {digit} < 6 then 0 when {digit} = 6 then 59 when {digit} = 7 then {other} * 1200 "
            f"else {digit} * {other} * 3600 end) * interval '1 second' "
            f"+ (case when {digit} = 5 then 1 else 0 end) * interval '1 microsecond')"
        )

    def one_of(self, values: Sequence[str]) -> str:
        """Return one of some values."""
        return _one_of(self.one_of_many(len(values)), values)

    def one_of_many(self, count: int) -> str:
        """Return a number from 0 to `count` - 1, of at most 65,536."""
        return (
            f"mod({self.number()}, {count})"
            if count <= 256
            else f"mod({self.number()} * 256 + {self.number()}, {count})"
        )

    def number(self) -> str:
        """Return a number from 0 to 255."""
        return f"({self.digit()} * 16 + {self.digit()})"


def _values_of(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    listed = ", ".join(f"({', '.join(row)})" for row in rows)
    return f"(values {listed}) as options ({', '.join(names)})"


def _one_of(place: str, values: Sequence[str]) -> str:
    cases = " ".join(f"when {number} then {value}" for number, value in enumerate(values))
    return f"case {place} {cases} end"


def _moved_to(edge: str, records: Table, condition: str) -> dict[str, str]:
    then = {
        time: f"case when {condition} then {edge} else {time} end"
        for time in (records.occurred, records.recorded)
        if time is not None
    }
    for part in records.parts:
        then[part.time] = f"case when {condition} and {part.time} is not null then {edge} else {part.time} end"
    return then


def _overwritten(name: str, draw: _Draw, at: str) -> str:
    if name.endswith("_at"):
        return f"({at} + {draw.time()})"
    is_number = name in ("cost", "property_value", "value")
    return draw.one_of(("null", "12345") if is_number else texts("won", "lost", "new", "proof"))


def _selected(columns: Columns, then: Mapping[str, str]) -> str:
    """Return the select list of the columns; bookkeeping of the extraction is null: the future overwrites it."""
    expressions = {name: "null" if name in BOOKKEEPING else then.get(name, name) for name in columns}
    # a bare null may not have the type of the column
    typed = {name: f"nullif({name}, {name})" if value == "null" else value for name, value in expressions.items()}
    return ", ".join(name if value == name else f"{value} as {name}" for name, value in typed.items())


BOOKKEEPING = ("row_hash", "extracted_at", "load_number")
"""Columns of the extraction about a row's latest state."""


def _owners(about: Table) -> str:
    """Return a relation with the key and the beginning of each owner, also of those that other rows begin."""
    begun = [
        f"select {about.key}, {each.known} as {about.occurred} from {_raw(each.name)}"
        for each in TABLES.values()
        if each.begins == about.name
    ]
    if not begun:
        return _raw(about.name)
    told = " union all ".join([f"select {about.key}, {about.occurred} from {_raw(about.name)}", *begun])
    return f"(select {about.key}, min({about.occurred}) as {about.occurred} from ({told}) as told group by {about.key})"


def _raw(table: str) -> str:
    return f'"raw"."{table}"'
