"""The replays of one build. Each is compared with the store, or with the replay of unchanged copies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from store.features.certificates import ROW, Comparison, Difference
from store.features.compiled import Build, is_open, microseconds, observed, open_at, timestamp_literal
from store.proof.counterfactuals import Columns, Counterfactuals, Query
from store.proof.row_differences import Selected, in_memory, paired
from store.proof.sample import OWN, Sample, common_moments, own_moments, quoted, relation_of
from store.warehouse.connection import GROUPS, Name, Scratch, World, column_types, named

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

EXAMPLES = 3
"""Rows that a failure shows for each column."""


class Replays:
    """The replays of one build.

    Parameters
    ----------
    sample : Sample
    space : Scratch
        Scratch place of the connection of the sample.
    memory : DuckDBPyConnection
        Database in which rows are compared.
    """

    def __init__(self, sample: Sample, space: Scratch, memory: DuckDBPyConnection) -> None:
        self._sample = sample
        self._space = space
        self._memory = memory
        self._moments = common_moments(sample)
        # moments of single entities, and the relation that holds them, as SQL
        self._own_moments = own_moments(sample, self._moments)
        self._moments_by_entity = relation_of(self._own_moments, sample.build.as_of)

    def comparisons(self) -> Iterator[Comparison]:
        """Run the replays one after the other, and yield their comparisons."""
        view, clock = self._sample.subject.view, self._sample.build.as_of
        self._memory.execute(f"create table own_moments as select * from {self._moments_by_entity}")
        with self._space.world() as unchanged:
            self._fill(unchanged, _unchanged)
            base = self._ran(unchanged, self._sample.build, self._moments, each_entity=True)
            yield from self._as_in_the_store(base)
            if self._sample.copied < GROUPS:
                yield from self._tables_between(unchanged)
            if self._own_moments:
                yield from self._staggered(base)
            windows = sorted(set(self._sample.windows.values()))
            for place, moment in enumerate((*self._moments, clock)):
                around = Counterfactuals(
                    moment=moment,
                    seed=f"{clock.isoformat()} {moment.isoformat()}",
                    own=self._sample.own,
                    added_to=self._sample.of_source(self._sample.observed),
                    key=self._sample.subject.key,
                )
                yield from self._future(base, moment, "scrambled", around.scrambled)
                if moment == clock:
                    # no fact is known after the clock, so none can be removed
                    continue
                yield from self._future(base, moment, "removed", around.removed)
                # each window is replayed at one moment, for all entities open then
                for days in windows[place :: len(self._moments)]:
                    fixed = {view: [name for name, window in self._sample.windows.items() if window == days]}
                    query = partial(around.forgotten, days)
                    # entities from before the window stay
                    stays = [named(self._sample.subject.entity.table)]
                    yield from self._asked(unchanged, base, moment, f"forgotten_{days}d", query, fixed, stays)
                fixed = {label: self._sample.compared(label) for label in self._sample.subject.labels}
                yield from self._asked(unchanged, base, moment, "past", around.past_changed, fixed)
                if moment == self._moments[-1]:
                    # the last moment has most facts: there the features that another past moves are noted
                    query = partial(around.past_changed, all_facts=True)
                    yield from self._asked(unchanged, base, moment, "past", query, {view: []})

    def _fill(self, place: World, query: Query) -> None:
        for name in self._sample.sources:
            columns = self._sample.columns[name]
            listed = ", ".join(columns)
            condition = self._sample.of_source(self._sample.copied)
            place.fill(name, columns, f"select {listed} from ({query(name[1], columns)}) as changed where {condition}")

    def _ran(
        self,
        place: World,
        build: Build,
        moments: Sequence[datetime],
        *,
        each_entity: bool = False,
        condition: str = "1 = 1",
    ) -> dict[Name, pa.Table]:
        """Run a build in a world, and return the rows of the compared tables and of the build's own observations.

        The build runs for its own observations that meet a condition, and for the entities open at some moments.
        """
        subject = self._sample.subject
        # first the tables of the entities: the moments are asked for the entities open then
        models = build.needed_for(subject.entity_tables)
        for model in (*models, *(each for each in build.needed_for(subject.tables) if each not in models)):
            if model.relation == subject.observations:
                among = self._sample.among(self._sample.observed)
                place.make(OWN, f"select * from ({model.sql}) as all_of_them where {among} and {condition}")
                place.make(subject.observations, self._own_and_asked(place, moments, each_entity))
            else:
                place.run([model])
        return {table: self._rows(place, table) for table in (*self._sample.subject.tables, OWN)}

    def _own_and_asked(self, place: World, moments: Sequence[datetime], each_entity: bool) -> str:
        entity = self._sample.subject.entity
        condition = self._sample.among(self._sample.observed, "entities.")
        asked = [f"{open_at(place, entity, each)} and {condition}" for each in moments]
        if each_entity:
            joined = f"inner join {self._moments_by_entity} on entities.{entity.key} = of_entity"
            asked.append(
                f"{observed(place, entity, 'moment', 'moment_us', joined)} where {is_open(entity, 'moment_us')}"
            )
        if not asked:
            return f"select * from {place.relation(OWN)}"
        return (
            f"with asked as ({' union all '.join(asked)}) select * from asked union all "
            f"select * from {place.relation(OWN)} as own where not exists "
            f"(select 1 from asked where own.{entity.key} = asked.{entity.key} and own.as_of_us = asked.as_of_us)"
        )

    def _staggered(self, base: Mapping[Name, pa.Table]) -> Iterator[Comparison]:
        """Compare the rows of half of the entities up to a moment of each with those after another future."""
        clock, key = self._sample.build.as_of, self._sample.subject.key
        around = Counterfactuals(
            moment=clock,
            seed=f"{clock.isoformat()} staggered",
            own=self._sample.own,
            added_to=self._sample.among(self._sample.observed),
            key=key,
            moments=self._moments_by_entity,
        )
        in_other_half = f"not exists (select 1 from {self._moments_by_entity} where of_entity = {key})"
        until = f"not exists (select 1 from {self._moments_by_entity} where of_entity = {key} and moment_us < as_of_us)"

        def of_some(table: str, columns: Columns) -> str:
            cut = around.scrambled(table, columns)
            return f"select * from ({cut}) as cut union all {_unchanged(table, columns)} where {in_other_half}"

        with self._space.world() as replay:
            self._fill(replay, of_some)
            rows = self._ran(replay, self._sample.build, [], each_entity=True, condition=until)
        moment = f"(select moment from own_moments where of_entity = {key})"
        known = "".join(f" and as_of <> {timestamp_literal(each)}" for each in self._moments)
        for table in (self._sample.subject.view, *self._sample.subject.labels, OWN):
            unchanged_half = self._compared(
                "staggered", clock, table, base[table], rows[table], f"{moment} is null{known}", fixed=()
            )
            fixed = [name for name in self._sample.compared(table) if name not in unchanged_half.moved]
            by = "matures_at" if table in self._sample.subject.labels else "as_of"
            yield self._compared(
                "staggered", clock, table, base[table], rows[table], f"{by} <= {moment}{known}",
                fixed=fixed, until=clock, until_sql=moment,
            )  # fmt: skip

    def _as_in_the_store(self, base: Mapping[Name, pa.Table]) -> Iterator[Comparison]:
        """Compare the store with a replay of unchanged sources."""
        condition = self._sample.among(self._sample.observed)
        base_rows = base if self._sample.copied == GROUPS else self._on_the_live_tables(condition)
        unasked = self._without_asked(self._moments, "own_moments")
        for table in self._sample.subject.tables:
            listed = ", ".join(self._sample.columns[table])
            stored = self._sample.connection.arrow(f"select {listed} from {quoted(table)} where {condition}")
            yield self._compared("store", self._sample.build.as_of, table, stored, base_rows[table], f"1 = 1{unasked}")

    def _tables_between(self, unchanged: World) -> Iterator[Comparison]:
        """Compare intermediate tables, which the replay of a sample does not rebuild, with a replay of schema raw."""
        affected = {
            model.relation
            for model in self._sample.build.affected_by(
                [self._sample.subject.observations], self._sample.subject.tables
            )
        }
        for model in self._sample.build.needed_for(self._sample.subject.tables):
            columns = column_types(self._sample.connection, *model.relation)
            if model.materialized != "table" or model.relation in affected or self._sample.subject.key not in columns:
                continue
            condition = (
                f"{self._sample.among(self._sample.observed)}"
                f"{self._without_asked(self._moments, self._moments_by_entity)}"
                if model.relation == self._sample.subject.observations
                else self._sample.among(self._sample.copied)
            )
            query = f"select {', '.join(columns)} from {{0}} where {condition}"
            stored = self._sample.connection.arrow(query.format(quoted(model.relation)))
            replayed = unchanged.rows(query.format(unchanged.relation(model.relation)))
            with in_memory(stored=stored, made=replayed) as connection:
                key = self._sample.subject.key
                (rows, digest), (differing, example) = (
                    connection.execute(text).fetchall()[0]
                    for text in (
                        "select count(*), bit_xor(hash(stored)) from stored",
                        f"select count(*), min({key}) from ((from stored except all from made) union all "
                        "(from made except all from stored))",
                    )
                )
            table = ".".join(model.relation)
            differences = [
                Difference(
                    variant="store", moment=self._sample.build.as_of, table=table, column=ROW, rows=differing,
                    key=example, as_of=self._sample.build.as_of, stored="other rows", replayed="those of the sources",
                )
            ]  # fmt: skip
            yield Comparison(
                variant="store", moment=self._sample.build.as_of, table=table, rows=rows, digest=str(digest),
                differences=tuple(differences if differing else ()),
            )  # fmt: skip

    def _on_the_live_tables(self, condition: str) -> dict[Name, pa.Table]:
        """Return the rows of the sample, built from the facts of all entities, which features may be about."""
        observations = self._sample.subject.observations
        with self._space.place() as place:
            place.make(observations, f"select * from {place.relation(observations)} where {condition}")
            place.run(self._sample.build.affected_by([observations], self._sample.subject.tables))
            return {
                table: self._sample.connection.arrow(
                    f"select {', '.join(self._sample.columns[table])} from {place.relation(table)}"
                )
                for table in self._sample.subject.tables
            }

    def _future(
        self, base: Mapping[Name, pa.Table], moment: datetime, variant: str, query: Query
    ) -> Iterator[Comparison]:
        """Compare the rows up to a moment with those of a replay with another future."""
        at = timestamp_literal(moment)
        # without a future the moment is the clock of the SQL, which then observes the open entities itself
        is_then = variant == "removed" or moment == self._sample.build.as_of
        build = self._sample.build.at(moment) if is_then else self._sample.build
        with self._space.world() as replay:
            self._fill(replay, query)
            asked = [] if is_then else [moment]
            until = f"as_of_us <= {microseconds(moment)}"
            rows = self._ran(replay, build, asked, condition=until)
        unasked = self._without_asked([each for each in self._moments if each != moment], "own_moments")
        conditions = {self._sample.subject.view: f"as_of <= {at}{unasked}"}
        conditions |= dict.fromkeys(self._sample.subject.labels, f"matures_at <= {at}{unasked}")
        conditions |= dict.fromkeys(self._sample.subject.at_census, f"as_of = {at}")
        if not is_then:
            conditions[OWN] = f"as_of <= {at}"
        for table, condition in conditions.items():
            yield self._compared(
                variant, moment, table, base[table], rows[table], condition,
                until=moment, all_of_replay=f"1 = 1{unasked}" if is_then else "",
            )  # fmt: skip

    def _asked(
        self,
        unchanged: World,
        base: Mapping[Name, pa.Table],
        moment: datetime,
        variant: str,
        query: Query,
        fixed: Mapping[Name, Collection[str]],
        stays: Sequence[Name] = (),
    ) -> Iterator[Comparison]:
        """Compare the rows at a moment with those of a replay on other sources, for the same entities.

        The columns in `fixed` must not change; of the other columns, those that move are noted. The relations in
        `stays` are copied from the unchanged world.
        """
        at = f"as_of = {timestamp_literal(moment)}"
        with self._space.world() as replay:
            self._fill(replay, query)
            # another past might close some entities earlier
            replay.take(self._sample.subject.observations, unchanged, at)
            for name in stays:
                replay.take(name, unchanged, "1 = 1")
            replay.run(self._sample.build.needed_for(fixed, existing=[self._sample.subject.observations, *stays]))
            rows = {table: self._rows(replay, table) for table in fixed}
        for table, columns in fixed.items():
            yield self._compared(variant, moment, table, base[table], rows[table], at, fixed=columns)

    def _compared(
        self,
        variant: str,
        moment: datetime,
        table: Name,
        expected: pa.Table,
        replayed: pa.Table,
        condition: str,
        *,
        fixed: Collection[str] | None = None,
        until: datetime | None = None,
        until_sql: str = "",
        all_of_replay: str = "",
    ) -> Comparison:
        shown_name = ".".join(self._sample.subject.observations if table == OWN else table)
        columns = self._sample.compared(table)
        values = {name: self._value_of(table, name, moment, until) for name in columns}
        if until_sql:
            values = {name: value.replace(timestamp_literal(moment), until_sql) for name, value in values.items()}
        made = known = Selected(values, condition)
        if all_of_replay:
            # this replay must have no rows and no values of a later time
            made = Selected({name: self._value_of(table, name, moment, None) for name in columns}, all_of_replay)
        with paired(self._memory, expected, replayed, self._sample.subject.key, known, made) as pair:
            rows, differing, digest = pair.by_hash()
            counts = pair.counts() if differing else {}
            wrong = {name: found for name, found in counts.items() if fixed is None or name in fixed or name == ROW}
            differences = [
                Difference(
                    variant=variant, table=shown_name, column=column,
                    moment=self._own_moments.get(key, moment) if variant == "staggered" else moment,
                    rows=found, key=key, as_of=as_of, stored=then, replayed=now,
                )
                for column, found in wrong.items()
                for key, as_of, then, now in pair.examples(column, EXAMPLES)
            ]  # fmt: skip
        return Comparison(
            variant=variant,
            moment=moment,
            table=shown_name,
            rows=rows,
            digest=digest,
            differences=tuple(differences),
            moved=tuple(name for name in counts if name not in wrong),
        )

    def _value_of(self, table: Name, column: str, moment: datetime, until: datetime | None) -> str:
        """Return the compared value of a column, as SQL; with `until`, times in labels count only before it."""
        if column == "observation_kind" and table != OWN:
            # rows at the moment itself have the kind of a question, those of the store another
            return f"case when as_of < {timestamp_literal(moment)} then {column} end"
        is_time = self._sample.columns[table][column].lower().startswith("timestamp")
        if (
            until is not None
            and table in self._sample.subject.labels
            and is_time
            and column not in ("as_of", "matures_at")
        ):
            # a time at the moment or later was not known before it
            return f"case when {column} < {timestamp_literal(until)} then {column} end"
        return column

    def _without_asked(self, moments: Sequence[datetime], own_moments: str) -> str:
        """Return the end of a condition that excludes the rows that were asked for at the moments."""
        common = "".join(f" and as_of <> {timestamp_literal(each)}" for each in moments)
        return f"{common} and ({self._sample.subject.key}, as_of) not in (select of_entity, moment from {own_moments})"

    def _rows(self, place: World, table: Name) -> pa.Table:
        return place.rows(f"select {', '.join(self._sample.columns[table])} from {place.relation(table)}")


def _unchanged(table: str, columns: Columns) -> str:
    return f'select {", ".join(columns)} from "raw"."{table}"'
