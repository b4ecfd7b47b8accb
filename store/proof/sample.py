"""The part of a store that the proof replays: its relations, some of its entities, and moments.

Entities and moments are chosen by chance, the same ones for the same clock.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from models.declaring.entity import Entity
from models.declaring.feature_view import FeatureView
from store.features.compiled import SOURCE, Build, microseconds, timestamp_literal
from store.proof.counterfactuals import DAY, facts_by_kind, groups_of, own_values, records_of
from store.sql import literal
from store.warehouse.connection import GROUPS, Connection, Name, column_types, in_groups, named

OWN = ("intermediate", "own_observations")
"""What the SQL makes of observations, in a world in which entities are asked for besides."""

AROUND = timedelta(hours=6)
"""A moment around a rare fact lies at most so long before or after it."""

_WINDOW = re.compile(r"_(\d+)d$")


class NothingToProveError(RuntimeError):
    """The store has no observations."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is proved: a feature view, the labels of its observations, and what its entities are worth at a census.

    Attributes
    ----------
    feature_view : FeatureView
    labels : tuple of tuple
    """

    feature_view: FeatureView
    labels: tuple[Name, ...]

    @property
    def entity(self) -> Entity:
        """What a row of the view is about."""
        return self.feature_view.entity

    @property
    def key(self) -> str:
        """The column that identifies it."""
        return self.entity.key

    @property
    def view(self) -> Name:
        """The relation of the view."""
        return self.feature_view.schema, self.feature_view.name

    @property
    def observations(self) -> Name:
        """The relation that says for which entities and moments features and labels are made."""
        return named(self.entity.observations)

    @property
    def at_census(self) -> tuple[Name, ...]:
        """Relations with rows at the clock, and at other moments that are asked for."""
        return (named(self.entity.values),) if self.entity.values else ()

    @property
    def told(self) -> tuple[Name, ...]:
        """Relations that say which entities there are at a moment, and which of them are open."""
        return tuple(named(each) for each in (self.entity.table, self.entity.closings) if each)

    @property
    def tables(self) -> tuple[Name, ...]:
        """All that is compared."""
        return (self.view, *self.labels, *self.at_census)


class Sample:
    """What is replayed of a store.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    build : Build
    subject : Subject
    max_facts, max_observations : int
        Rows of schema ``raw``, and observations, beyond which those of some entities are replayed. Where rows of
        ``raw`` do not tell which entity they are about, all of them are copied.

    Raises
    ------
    NothingToProveError
        If there are no observations.
    """

    def __init__(
        self, connection: Connection, build: Build, subject: Subject, max_facts: int, max_observations: int
    ) -> None:
        self.connection = connection
        self.build = build
        self.subject = subject
        models = build.needed_for((*subject.tables, *subject.told))
        self.sources = sorted({name for each in models for name in each.reads if name[0] == SOURCE})
        for name in self.sources:
            records_of(name[1])
        self.columns = {name: column_types(connection, *name) for name in (*self.sources, *subject.tables)}
        self.columns[OWN] = dict.fromkeys((subject.key, "as_of", "observation_kind"), "text")
        if missing := [name for name, columns in self.columns.items() if not columns]:
            raise NothingToProveError(
                f"{', '.join('.'.join(name) for name in missing)}: expected tables of the feature store, found none. "
                "Materialize staging, intermediate, features and labels."
            )
        described = subject.feature_view.not_features
        self.features = [name for name in self.columns[subject.view] if name not in described]
        # whether each row of the sources, and of those that they tell of, tells which entity it is about
        self.is_keyed = all(
            subject.key in (self.columns.get(name) or column_types(connection, *name))
            for name in with_told(name for _, name in self.sources)
        )
        self.windows = {name: int(found[1]) for name in self.features if (found := _WINDOW.search(name))}
        facts = sum(self.value(f"select count(*) from {quoted(name)}") for name in self.sources)
        if not (observations := self.value(f"select count(*) from {quoted(subject.view)}")):
            raise NothingToProveError(
                f"{'.'.join(subject.view)}: expected observations up to the clock {build.as_of.isoformat()}, found "
                "none. Load more history."
            )
        self.copied = min(GROUPS, max(1, GROUPS * max_facts // max(facts, 1))) if self.is_keyed else GROUPS
        self.observed = min(self.copied, max(1, GROUPS * max_observations // max(observations, 1)))
        # values that counterfactuals are made of: the rarest ones of each group of columns
        self.own: dict[str, list[dict[str, str]]] = {}
        for schema, table in self.sources:
            for group in groups_of(table):
                rows = self.connection.execute(own_values(table, group)).fetchall()
                types = self.columns[schema, table]
                held = [
                    {name: f"cast({literal(value)} as {types[name]})" for name, value in zip(group, row, strict=True)}
                    for row in rows
                ]
                self.own.setdefault(table, []).extend(held)

    @property
    def share(self) -> float:
        """The share of the entities whose observations are replayed."""
        return self.observed / GROUPS

    def entities(self) -> int:
        """Count the entities whose observations are replayed."""
        return self.value(
            f"select count(*) from {quoted(named(self.subject.entity.table))} where {self.among(self.observed)}"
        )

    def compared(self, table: Name) -> list[str]:
        """Return the columns of a table that are compared."""
        return [name for name in self.columns[table] if name not in (self.subject.key, "as_of")]

    def among(self, groups: int, of: str = "") -> str:
        """Return the condition that an entity is in some of the groups; the fewer are among the more."""
        # each clock chooses other entities, so that every one is replayed on some night
        return in_groups(f"{of}{self.subject.key} || '{self.build.as_of.isoformat()}'", groups)

    def of_source(self, groups: int) -> str:
        """Return the same condition on the rows of the sources; where they do not tell, all are among them."""
        return self.among(groups) if self.is_keyed else "1 = 1"

    def value(self, query: str) -> int:
        """Return the one number that a query gives."""
        return int(self.connection.execute(query).fetchall()[0][0])


def chosen(counted: Sequence[tuple[datetime, int]], seed: str) -> datetime:
    """Choose one of some moments by chance: the more rows one has, the more likely it is."""
    ends = list(accumulate(rows for _, rows in counted))
    return counted[bisect_right(ends, _chance(seed) % ends[-1])][0]


def _chance(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])


def with_told(sources: Iterable[str]) -> list[Name]:
    """Return tables of the source, and those whose rows they tell of: replays add rows to them for each of these."""
    records = [records_of(name) for name in sources]
    return sorted({(SOURCE, name) for each in records for name in (each.name, each.of) if name is not None})


def common_moments(sample: Sample) -> list[datetime]:
    """Choose moments before the clock: a midnight, one around a fact of a rare kind, and an odd one."""
    clock = sample.build.as_of
    view = quoted(sample.subject.view)
    counted = sample.connection.execute(
        f"select as_of, count(*) from {view} where as_of < $1 group by as_of order by as_of", [clock]
    ).fetchall()
    if not counted:
        return []
    # moments end with the last observation whose slowest label has matured; its own rows may be of few observations
    firsts = [
        sample.connection.execute(
            f"select as_of, matures_at from {quoted(label)} where as_of < $1 order by as_of limit 1", [clock]
        ).fetchall()
        for label in sample.subject.labels
    ]
    horizons = [max((matures_at - as_of for as_of, matures_at in found), default=timedelta(0)) for found in firsts]
    first = counted[0][0]
    last = max(as_of for as_of, _ in counted if as_of == first or as_of + max(horizons, default=timedelta(0)) <= clock)
    labelled = [(as_of, rows) for as_of, rows in counted if as_of <= last]
    # a midnight at which labels mature (the slowest ones, if there are any), which must not depend on what comes later
    matured = [
        sample.connection.execute(
            f"select matures_at, count(*) from {quoted(label)} where matures_at < $1 "
            "group by matures_at order by matures_at",
            [clock],
        ).fetchall()
        for label in sample.subject.labels
    ]
    # of labels over one horizon the one that has most rows
    _, _, slowest = max(
        (
            (horizon, sum(rows for _, rows in each), each)
            for horizon, each in zip(horizons, matured, strict=True)
            if each
        ),
        default=(None, None, counted),
    )
    picked = [chosen(slowest, f"midnight {clock.isoformat()}")]
    microsecond = timedelta(microseconds=1)
    if rare := _rare(sample, first, last):
        around = 2 * AROUND // microsecond
        hours = _chance(f"hours {clock.isoformat()}") % around * microsecond - AROUND
        known = rare[_chance(f"rare {clock.isoformat()}") % len(rare)]
        # within the days on which entities were open
        picked.append(min(max(known + hours, first), last))
    if sample.observed == GROUPS or not rare:
        # a replayed sample is large, so that two moments suffice
        odd = _chance(f"microsecond {clock.isoformat()}") % (DAY // microsecond)
        picked.append(chosen(labelled, f"odd {clock.isoformat()}") + odd * microsecond)
    return sorted({each for each in picked if each < clock})


def _rare(sample: Sample, first: datetime, last: datetime) -> list[datetime]:
    seed = sample.build.as_of.isoformat()
    kinds = [
        (facts, kind, known)
        for _, table in sample.sources
        for kind, facts, known in sample.connection.execute(facts_by_kind(table, seed)).fetchall()
        if known is not None and first <= known <= last
    ]
    kinds.sort()
    return [known for *_, known in kinds[: (len(kinds) + 1) // 2]]


def own_moments(sample: Sample, moments: Sequence[datetime]) -> dict[str, datetime]:
    """Choose a moment of its own for half of the entities: one of its observations, or any second.

    There are none where the rows of the sources do not tell which entity they are about, and so whose moment is theirs.
    """
    if not sample.is_keyed:
        return {}
    clock, key = sample.build.as_of, sample.subject.key
    others = "".join(f" and as_of <> {timestamp_literal(each)}" for each in moments)
    drawn = f"row_number() over (partition by {key} order by md5(cast(as_of as text) || {key} || '{clock}'))"
    found = sample.connection.execute(
        f"select {key}, as_of, first_of_all from (select {key}, as_of, {drawn} as number, "
        f"min(as_of) over () as first_of_all from {quoted(sample.subject.view)} "
        f"where as_of < $1 and {sample.among(sample.observed)}{others}) as numbered where number = 1 "
        f"order by {key}",
        [clock],
    ).fetchall()
    chosen_for: dict[str, datetime] = {}
    for entity, as_of, first in found:
        chance = _chance(f"{entity} {clock.isoformat()}")
        if chance % 4 == 0:
            chosen_for[entity] = as_of
        elif chance % 4 == 1:
            # a microsecond that no other moment has
            seconds = chance // 4 % max(1, int((clock - first).total_seconds()))
            chosen_for[entity] = first + timedelta(seconds=seconds, microseconds=123_457)
    return chosen_for


def relation_of(own: Mapping[str, datetime], clock: datetime) -> str:
    """Return the moments of entities as a relation of SQL; without any, one row of no entity."""
    rows = ", ".join(
        f"({literal(entity)}, {timestamp_literal(moment)}, cast({microseconds(moment)} as bigint))"
        for entity, moment in (own or {"": clock}).items()
    )
    return f"(values {rows}) as own_moments (of_entity, moment, moment_us)"


def quoted(name: Name) -> str:
    """Return a relation of the warehouse as SQL names it."""
    return f'"{name[0]}"."{name[1]}"'
