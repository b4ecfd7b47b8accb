"""The part of a store that the proof replays: its relations, a sample of its entities, and moments.

Entities and moments are chosen at random from a hash of the clock: the same clock gives the same ones.
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
from store.proof.counterfactuals import DAY, facts_by_kind, groups_of, own_values, owner_of, records_of
from store.sql import literal
from store.warehouse.connection import GROUPS, Connection, Name, column_types, in_groups, named

OWN = ("intermediate", "own_observations")
"""The observations that the SQL of a build makes itself, in a world that also has observations of moments."""

AROUND = timedelta(hours=6)
"""The greatest distance of a moment from the rare fact around which it is chosen."""

_WINDOW = re.compile(r"_(\d+)d$")


class NothingToProveError(RuntimeError):
    """The store has no observations."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The subject of a proof: a feature view, the labels of its observations, and the values of its entities.

    Attributes
    ----------
    feature_view : FeatureView
    labels : tuple of tuple
    """

    feature_view: FeatureView
    labels: tuple[Name, ...]

    @property
    def entity(self) -> Entity:
        """The entity of the view."""
        return self.feature_view.entity

    @property
    def key(self) -> str:
        """The column that identifies an entity."""
        return self.entity.key

    @property
    def view(self) -> Name:
        """The relation of the view."""
        return self.feature_view.schema, self.feature_view.name

    @property
    def observations(self) -> Name:
        """The relation of the observations for which features and labels are made."""
        return named(self.entity.observations)

    @property
    def at_census(self) -> tuple[Name, ...]:
        """Relations with rows only for a census, at the clock or at a moment of a replay."""
        return (named(self.entity.values),) if self.entity.values else ()

    @property
    def entity_tables(self) -> tuple[Name, ...]:
        """Relations of the entities and of their closings."""
        return tuple(named(each) for each in (self.entity.table, self.entity.closings) if each)

    @property
    def tables(self) -> tuple[Name, ...]:
        """All relations that are compared."""
        return (self.view, *self.labels, *self.at_census)


class Sample:
    """The sample of a store that is replayed.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    build : Build
    subject : Subject
    max_facts, max_observations : int
        With more rows of schema ``raw``, or more observations, only those of some entities are replayed. If rows of
        ``raw`` do not have the key of the entity, all of them are copied.

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
        models = build.needed_for((*subject.tables, *subject.entity_tables))
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
        # whether the sources, and the tables that they are about, all have the key of the entity
        self.is_keyed = all(
            subject.key in (self.columns.get(name) or column_types(connection, *name))
            for name in with_parents((name for _, name in self.sources), subject.key)
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
        # the values of each group of columns from which counterfactuals draw
        self.own: dict[str, list[dict[str, str]]] = {}
        for schema, table in self.sources:
            for group in groups_of(table):
                rows = self.connection.execute(own_values(table, group)).fetchall()
                types = self.columns[schema, table]
                combinations = [
                    {name: f"cast({literal(value)} as {types[name]})" for name, value in zip(group, row, strict=True)}
                    for row in rows
                ]
                self.own.setdefault(table, []).extend(combinations)

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

    def among(self, groups: int, prefix: str = "") -> str:
        """Return the condition that an entity is in the first groups by its hash; fewer groups are a subset of more."""
        # each clock chooses other entities, so that every entity is replayed some night
        return in_groups(f"{prefix}{self.subject.key} || '{self.build.as_of.isoformat()}'", groups)

    def of_source(self, groups: int) -> str:
        """Return the same condition on rows of the sources; all rows if they do not have the key of the entity."""
        return self.among(groups) if self.is_keyed else "1 = 1"

    def value(self, query: str) -> int:
        """Return the number that a query gives."""
        return int(self.connection.execute(query).fetchall()[0][0])


def chosen(counted: Sequence[tuple[datetime, int]], seed: str) -> datetime:
    """Choose a moment at random, with a probability proportional to its rows."""
    ends = list(accumulate(rows for _, rows in counted))
    return counted[bisect_right(ends, _chance(seed) % ends[-1])][0]


def _chance(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])


def with_parents(sources: Iterable[str], key: str) -> list[Name]:
    """Return tables of the source, and the tables that their rows are about, for whose rows replays add rows."""
    records = [records_of(name) for name in sources]
    owners = [each for one in records if (each := owner_of(one, key)) is not None]
    return sorted({(SOURCE, each.name) for each in (*records, *owners)})


def common_moments(sample: Sample) -> list[datetime]:
    """Choose moments before the clock: a midnight, one around a fact of a rare kind, and any microsecond."""
    clock = sample.build.as_of
    view = quoted(sample.subject.view)
    counted = sample.connection.execute(
        f"select as_of, count(*) from {view} where as_of < $1 group by as_of order by as_of", [clock]
    ).fetchall()
    if not counted:
        return []
    # moments lie no later than the last observation whose label of the longest horizon has matured
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
    # a midnight at which labels mature, those of the longest horizon if there are any
    matured = [
        sample.connection.execute(
            f"select matures_at, count(*) from {quoted(label)} where matures_at < $1 "
            "group by matures_at order by matures_at",
            [clock],
        ).fetchall()
        for label in sample.subject.labels
    ]
    # among labels of one horizon, the one with most rows
    _, _, slowest = max(
        (
            (horizon, sum(rows for _, rows in each), each)
            for horizon, each in zip(horizons, matured, strict=True)
            if each
        ),
        default=(None, None, counted),
    )
    moments = [chosen(slowest, f"midnight {clock.isoformat()}")]
    microsecond = timedelta(microseconds=1)
    if rare := _rare(sample, first, last):
        width = 2 * AROUND // microsecond
        hours = _chance(f"hours {clock.isoformat()}") % width * microsecond - AROUND
        known = rare[_chance(f"rare {clock.isoformat()}") % len(rare)]
        # within the days that have observations
        moments.append(min(max(known + hours, first), last))
    if sample.observed == GROUPS or not rare:
        # a replayed sample is large, so that two moments suffice
        odd = _chance(f"microsecond {clock.isoformat()}") % (DAY // microsecond)
        moments.append(chosen(labelled, f"odd {clock.isoformat()}") + odd * microsecond)
    return sorted({each for each in moments if each < clock})


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
    """Choose a moment for each of about half of the entities: one of its observations, or any second.

    There are none if rows of the sources do not have the key of the entity.
    """
    if not sample.is_keyed:
        return {}
    clock, key = sample.build.as_of, sample.subject.key
    not_common = "".join(f" and as_of <> {timestamp_literal(each)}" for each in moments)
    drawn = f"row_number() over (partition by {key} order by md5(cast(as_of as text) || {key} || '{clock}'))"
    found = sample.connection.execute(
        f"select {key}, as_of, first_of_all from (select {key}, as_of, {drawn} as number, "
        f"min(as_of) over () as first_of_all from {quoted(sample.subject.view)} "
        f"where as_of < $1 and {sample.among(sample.observed)}{not_common}) as numbered where number = 1 "
        f"order by {key}",
        [clock],
    ).fetchall()
    chosen_for: dict[str, datetime] = {}
    for entity, as_of, first in found:
        chance = _chance(f"{entity} {clock.isoformat()}")
        if chance % 4 == 0:
            chosen_for[entity] = as_of
        elif chance % 4 == 1:
            # an odd microsecond, so that no observation has the same moment
            seconds = chance // 4 % max(1, int((clock - first).total_seconds()))
            chosen_for[entity] = first + timedelta(seconds=seconds, microseconds=123_457)
    return chosen_for


def relation_of(moments: Mapping[str, datetime], clock: datetime) -> str:
    """Return the moments of entities as a relation of SQL; without any, a row for an entity that does not exist."""
    rows = ", ".join(
        f"({literal(entity)}, {timestamp_literal(moment)}, cast({microseconds(moment)} as bigint))"
        for entity, moment in (moments or {"": clock}).items()
    )
    return f"(values {rows}) as own_moments (of_entity, moment, moment_us)"


def quoted(name: Name) -> str:
    """Return a relation of the warehouse as SQL names it."""
    return f'"{name[0]}"."{name[1]}"'
