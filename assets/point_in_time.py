"""The proof that features and labels are correct at their time: the SQL that made them, run on data that differ.

What must not matter is changed, and nothing may follow from it. The compiled text runs in worlds of its own
(`assets.worlds`), where neither the warehouse nor anything else exists but copies of schema ``raw``:

``store``
    Copies without a change. The rows are those of the store.
``removed``
    Without every fact, and every part of one, known at a moment T or later, and with the clock of the SQL at T.
    Observations before T, their features, what is answered of every lead open at T, and labels that had matured by T
    are as they were.
``scrambled``
    With another future from T on, a good quarter of it known exactly at T, and with facts added to every lead. The same
    holds.
``staggered``
    As ``scrambled``, for half of the leads, and with a moment of its own for each of them, which is one of its
    observations or any second: at every time of the history some leads are cut. Features that move in leads of the
    other half, whose facts are as they were, are about other leads, and are left to the common moments.
``forgotten_<n>d``
    With nothing but the n days before T, and facts at their very edge. Of every lead that is open at T, features whose
    name says ``_<n>d`` are as they were.
``past``
    With another past up to T and the same open leads. Of every lead that is open at T, labels are as they were.

Moments are a midnight at which labels mature, a microsecond in the hours around a fact of a rare kind, any microsecond
where all leads are replayed, and the clock itself, which is the moment that is scored. Features that no replay has
moved are listed: of these it has shown nothing.
What no replay can vary, such as the wall clock, is refused by name before (`assets.sql_review`). The proof reads and
writes nothing else of the store, and measures only; what is said of it stands in `assets.proof`.
"""

from __future__ import annotations

import hashlib
import re
import time
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from assets.certificate import Certificate, Comparison, Difference
from assets.compiled import (
    CLOSINGS,
    LEADS,
    OBSERVATIONS,
    SOURCE,
    Build,
    Name,
    Scratch,
    microseconds,
    open_at,
    scratch,
    timestamp_literal,
)
from assets.counterfactuals import (
    DAY,
    Columns,
    Counterfactuals,
    Query,
    UndeclaredTableError,
    facts_by_kind,
    groups_of,
    own_values,
    records_of,
)
from assets.postgres import PostgresConnection
from assets.row_differences import ROW, Selected, in_memory, paired
from assets.sql_review import RefusedSqlError, refused_sql
from assets.warehouse import column_types
from assets.worlds import ReplayError, World, arrow, world

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets.compiled import Model
    from assets.warehouse import Connection

MAX_OBSERVATIONS = 40_000
"""Observations beyond which those of a sample of the leads are replayed; the facts of all leads are there for them."""
MAX_FACTS, MAX_FACTS_IN_DATABASE = 400_000, 100_000
"""Rows of schema ``raw`` beyond which the other leads are left out: a replay of the sample then stands for the store.
The same SQL takes several times as long on PostgreSQL as on DuckDB."""
OWN = ("intermediate", "own_observations")
"""What the SQL makes of observations, in a world in which leads are asked for besides."""
GROUPS = 4096
"""Groups of leads, by three digits of a hash, of which some are the sample."""
EXAMPLES = 3
"""Rows that a failure shows of each column."""
AROUND = timedelta(hours=6)
"""A moment around a rare fact lies at most so long before or after it."""

_WINDOW = re.compile(r"_(\d+)d$")


class NothingToProveError(RuntimeError):
    """The store has no observations."""


PROOF_ERRORS = (NothingToProveError, RefusedSqlError, ReplayError, UndeclaredTableError)
"""What keeps a proof from running, and is no matter of the machine or the connection."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is proved: a feature view by its key, the labels of its observations, and what is known at a census alone.

    Attributes
    ----------
    view : tuple
    key : str
    labels : tuple of tuple
    at_census : tuple of tuple
        Relations with rows at the clock, and at other moments that are asked for.
    """

    view: Name
    key: str
    labels: tuple[Name, ...]
    at_census: tuple[Name, ...] = ()

    @property
    def tables(self) -> tuple[Name, ...]:
        """All that is compared."""
        return (self.view, *self.labels, *self.at_census)


def prove(
    connection: Connection,
    build: Build,
    subject: Subject,
    proved_at: datetime,
    *,
    max_facts: int | None = None,
    max_observations: int = MAX_OBSERVATIONS,
) -> Certificate:
    """Replay a build on copies of its sources that differ in what must not matter.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    build : Build
    subject : Subject
    proved_at : datetime
        The present.
    max_facts : int, optional
        Rows of schema ``raw`` beyond which only those of a sample of the leads are copied; by default as many as the
        engine replays in seconds.
    max_observations : int
        Observations beyond which those of a sample of the leads are replayed.

    Raises
    ------
    NothingToProveError
        If there are no observations.
    NotCompiledError
        If the SQL of the build is not whole.
    RefusedSqlError
        If the SQL holds what no replay can vary.
    ReplayError
        If a model reads what is neither a source nor a model of the feature store, or does not run.
    UndeclaredTableError
        If the SQL reads a table of which nothing says when its rows were known.
    """
    began = time.perf_counter()
    if max_facts is None:
        max_facts = MAX_FACTS_IN_DATABASE if isinstance(connection, PostgresConnection) else MAX_FACTS
    refuse(build, build.needed_for(subject.tables), isinstance(connection, PostgresConnection))
    with scratch(connection, "proof", build.relations) as beside, in_memory() as memory:
        proof = _Proof(connection, beside, memory, build, subject, max_facts, max_observations)
        comparisons = tuple(proof.comparisons())
        leads = proof.leads()
    return Certificate(
        as_of=build.as_of,
        sql_sha256=build.sha256,
        proved_at=proved_at,
        seconds=time.perf_counter() - began,
        features=tuple(proof.features),
        leads=leads,
        leads_share=proof.share,
        comparisons=comparisons,
    )


def refuse(build: Build, models: Sequence[Model], in_database: bool) -> None:
    """Refuse SQL that holds what no replay can vary.

    Raises
    ------
    NotCompiledError
        If the templates of the build were not reviewed.
    RefusedSqlError
        If it does.
    """
    relations = {name for model in models for name in (model.relation, *model.reads)}
    known = {model.relation for model in models} | {name for name in relations if name[0] == SOURCE}
    dialect = "postgres" if in_database else "duckdb"
    # a model that reads itself reads what an earlier build has left
    found = [
        sentence
        for model in models
        for sentence in refused_sql(".".join(model.relation), model.sql, known - {model.relation}, dialect)
    ]
    found += build.reviewed()
    if found:
        raise RefusedSqlError(
            "Expected SQL whose values depend on the sources alone, and relations of the feature store, found:\n"
            + "\n".join(f"- {sentence}" for sentence in found)
            + "\nNo replay can show what these depend on. Write them otherwise. What depends on its arguments alone "
            + "may be added to the lists in assets/sql_review.py."
        )


def chosen(counted: Sequence[tuple[datetime, int]], seed: str) -> datetime:
    """Choose one of some moments by chance: the more rows one has, the more likely it is."""
    ends = list(accumulate(rows for _, rows in counted))
    return counted[bisect_right(ends, _chance(seed) % ends[-1])][0]


def _chance(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])


class _Proof:
    """The replays of one build."""

    def __init__(
        self,
        connection: Connection,
        beside: Scratch,
        memory: DuckDBPyConnection,
        build: Build,
        subject: Subject,
        max_facts: int,
        max_observations: int,
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._memory = memory
        self._build = build
        self._subject = subject
        models = build.needed_for(subject.tables)
        self._sources = sorted({name for each in models for name in each.reads if name[0] == SOURCE})
        for name in self._sources:
            records_of(name[1])
        self._columns = {name: column_types(connection, *name) for name in (*self._sources, *subject.tables)}
        self._columns[OWN] = dict.fromkeys((subject.key, "as_of", "observation_kind"), "text")
        if missing := [name for name, columns in self._columns.items() if not columns]:
            raise NothingToProveError(
                f"{', '.join('.'.join(name) for name in missing)}: expected tables of the feature store, found none. "
                "Materialize staging, intermediate, features and labels."
            )
        self.features = [
            name
            for name in self._columns[subject.view]
            if name not in (subject.key, "as_of", "observation_kind", "lead_created_at")
        ]
        self._windows = {name: int(found[1]) for name in self.features if (found := _WINDOW.search(name))}
        facts = sum(self._value(f"select count(*) from {_quoted(name)}") for name in self._sources)
        observations = self._value(f"select count(*) from {_quoted(subject.view)}")
        if not observations:
            raise NothingToProveError(
                f"{'.'.join(subject.view)}: expected observations up to the clock {build.as_of.isoformat()}, found "
                "none. Load more history."
            )
        self._copied = min(GROUPS, max(1, GROUPS * max_facts // max(facts, 1)))
        self._observed = min(self._copied, max(1, GROUPS * max_observations // max(observations, 1)))
        # moments of leads, and the relation that holds them, as SQL
        self._own_moments: dict[str, datetime] = {}
        self._moments_by_lead = ""
        # a price change where there is none, and the rarest values that there are
        self._own: dict[str, list[dict[str, str]]] = {}
        for schema, table in self._sources:
            for group in groups_of(table):
                rows = self._connection.execute(own_values(table, group)).fetchall()
                types = [self._columns[schema, table][name] for name in group]
                held = [dict(zip(group, map(_literal, row, types), strict=True)) for row in rows]
                self._own.setdefault(table, []).extend(held)

    @property
    def share(self) -> float:
        """The share of the leads whose observations are replayed."""
        return self._observed / GROUPS

    def leads(self) -> int:
        """Count the leads whose observations are replayed."""
        return self._value(f'select count(*) from "raw"."leads" where {self._among(self._observed)}')

    def comparisons(self) -> Iterator[Comparison]:
        """Replay, and compare."""
        view, clock = self._subject.view, self._build.as_of
        moments = self._moments()
        self._choose_by_lead(moments)
        self._memory.execute(f"create table own_moments as select * from {self._moments_by_lead}")
        with self._world() as unchanged:
            self._fill(unchanged, _unchanged)
            base = self._ran(unchanged, self._build, moments, each_lead=True)
            yield from self._as_in_the_store(base, moments)
            if self._copied < GROUPS:
                yield from self._tables_between(unchanged, moments)
            if self._own_moments:
                yield from self._staggered(base, moments)
            windows = sorted(set(self._windows.values()))
            for place, moment in enumerate((*moments, clock)):
                around = Counterfactuals(
                    moment=moment,
                    seed=f"{clock.isoformat()} {moment.isoformat()}",
                    own=self._own,
                    added_to=self._among(self._observed),
                )
                yield from self._future(base, moments, moment, "scrambled", around.scrambled)
                if moment == clock:
                    # the future of the clock is not there
                    continue
                yield from self._future(base, moments, moment, "removed", around.removed)
                # each window at one moment, where all leads that are open are asked for
                for days in windows[place :: len(moments)]:
                    held = {view: [name for name, window in self._windows.items() if window == days]}
                    query = partial(around.forgotten, days)
                    yield from self._asked(unchanged, base, moment, f"forgotten_{days}d", query, held)
                held = {label: self._compared_columns(label) for label in self._subject.labels}
                if moment == moments[-1]:
                    # where most is known, features that another past moves are noted
                    held[view] = []
                yield from self._asked(unchanged, base, moment, "past", around.past_changed, held)

    def _moments(self) -> list[datetime]:
        """Choose moments before the clock: a midnight, one around a fact of a rare kind, and an odd one."""
        clock = self._build.as_of
        view = _quoted(self._subject.view)
        counted = self._connection.execute(
            f"select as_of, count(*) from {view} where as_of < $1 group by as_of order by as_of", [clock]
        ).fetchall()
        if not counted:
            return []
        # until the last moment whose labels are all there: the one that takes longest to mature ends first
        ends = [
            self._connection.execute(f"select max(as_of) from {_quoted(label)} where as_of < $1", [clock]).fetchall()
            for label in self._subject.labels
        ]
        first = counted[0][0]
        last = min((end for ((end,),) in ends if end is not None), default=counted[-1][0])
        labelled = [(as_of, rows) for as_of, rows in counted if as_of <= last]
        # a midnight at which labels mature, the slowest ones where there are any: they must not know what comes then
        matured = [
            self._connection.execute(
                f"select matures_at, count(*) from {_quoted(label)} where matures_at < $1 "
                "group by matures_at order by matures_at",
                [clock],
            ).fetchall()
            for label in self._subject.labels
        ]
        slowest = max((each for each in matured if each), default=counted, key=lambda each: each[0][0])
        picked = [chosen(slowest, f"midnight {clock.isoformat()}")]
        microsecond = timedelta(microseconds=1)
        if rare := self._rare(first, last):
            around = 2 * AROUND // microsecond
            hours = _chance(f"hours {clock.isoformat()}") % around * microsecond - AROUND
            known = rare[_chance(f"rare {clock.isoformat()}") % len(rare)]
            # of a day on which there are leads to ask
            picked.append(min(max(known + hours, first), last))
        if self._observed == GROUPS or not rare:
            # of a sample each moment shows more, and costs more
            odd = _chance(f"microsecond {clock.isoformat()}") % (DAY // microsecond)
            picked.append(chosen(labelled, f"odd {clock.isoformat()}") + odd * microsecond)
        return sorted({each for each in picked if each < clock})

    def _rare(self, first: datetime, last: datetime) -> list[datetime]:
        """Return when facts of the rarer half of the kinds were known."""
        seed = self._build.as_of.isoformat()
        kinds = [
            (facts, kind, known)
            for _, table in self._sources
            for kind, facts, known in self._connection.execute(facts_by_kind(table, seed)).fetchall()
            if known is not None and first <= known <= last
        ]
        kinds.sort()
        return [known for *_, known in kinds[: (len(kinds) + 1) // 2]]

    def _fill(self, place: World, query: Query) -> None:
        """Fill schema ``raw`` of a world, of the sampled leads."""
        for name in self._sources:
            columns = self._columns[name]
            listed = ", ".join(columns)
            among = self._among(self._copied)
            place.fill(name, columns, f"select {listed} from ({query(name[1], columns)}) as changed where {among}")

    def _ran(
        self,
        place: World,
        build: Build,
        moments: Sequence[datetime],
        *,
        each_lead: bool = False,
        condition: str = "1 = 1",
    ) -> dict[Name, pa.Table]:
        """Run a build in a world, with observations of its own that meet a condition, and of leads open at moments.

        Returns what is compared, its own observations included.
        """
        for model in build.needed_for(self._subject.tables):
            if model.relation == OBSERVATIONS:
                own = f"select * from ({model.sql}) as all_of_them where {self._among(self._observed)} and {condition}"
                place.make(OWN, own)
                place.make(OBSERVATIONS, self._own_and_asked(place, moments, each_lead))
            else:
                place.run([model])
        return {table: self._rows(place, table) for table in (*self._subject.tables, OWN)}

    def _own_and_asked(self, place: World, moments: Sequence[datetime], each_lead: bool) -> str:
        """Return the query of observations of a build, and in their place of leads that are asked for."""
        among = self._among(self._observed, "leads.")
        asked = [f"{open_at(place, each)} and {among}" for each in moments]
        if each_lead:
            asked.append(
                "select leads.lead_id, moment as as_of, moment_us as as_of_us, 'asked' as observation_kind, "
                f"leads.created_at as lead_created_at from {place.relation(LEADS)} as leads "
                f"inner join {self._moments_by_lead} on leads.lead_id = of_lead "
                f"left join {place.relation(CLOSINGS)} as closings on leads.lead_id = closings.lead_id "
                "where leads.known_us < moment_us and (closings.closed_us is null or closings.closed_us >= moment_us)"
            )
        if not asked:
            return f"select * from {place.relation(OWN)}"
        return (
            f"with asked as ({' union all '.join(asked)}) select * from asked union all "
            f"select * from {place.relation(OWN)} as own where not exists "
            "(select 1 from asked where own.lead_id = asked.lead_id and own.as_of_us = asked.as_of_us)"
        )

    def _choose_by_lead(self, moments: Sequence[datetime]) -> None:
        """Choose a moment of its own for half of the leads: one of its observations, or any second."""
        clock = self._build.as_of
        others = "".join(f" and as_of <> {timestamp_literal(each)}" for each in moments)
        drawn = f"row_number() over (partition by lead_id order by md5(cast(as_of as text) || lead_id || '{clock}'))"
        found = self._connection.execute(
            f"select lead_id, as_of, first_of_all from (select lead_id, as_of, {drawn} as number, "
            f"min(as_of) over () as first_of_all from {_quoted(self._subject.view)} "
            f"where as_of < $1 and {self._among(self._observed)}{others}) as numbered where number = 1 "
            "order by lead_id",
            [clock],
        ).fetchall()
        for lead, as_of, first in found:
            chance = _chance(f"{lead} {clock.isoformat()}")
            if chance % 4 == 0:
                self._own_moments[lead] = as_of
            elif chance % 4 == 1:
                # at no microsecond at which anything else is asked
                seconds = chance // 4 % max(1, int((clock - first).total_seconds()))
                self._own_moments[lead] = first + timedelta(seconds=seconds, microseconds=123_457)
        rows = ", ".join(
            f"({_text(lead)}, {timestamp_literal(moment)}, cast({microseconds(moment)} as bigint))"
            for lead, moment in (self._own_moments or {"": clock}).items()
        )
        self._moments_by_lead = f"(values {rows}) as own_moments (of_lead, moment, moment_us)"

    def _staggered(self, base: Mapping[Name, pa.Table], moments: Sequence[datetime]) -> Iterator[Comparison]:
        """Compare what was known of half of the leads before a moment of each with what another future makes of it."""
        began = time.perf_counter()
        clock = self._build.as_of
        around = Counterfactuals(
            moment=clock,
            seed=f"{clock.isoformat()} staggered",
            own=self._own,
            added_to=self._among(self._observed),
            of_leads=self._moments_by_lead,
        )
        others = f"not exists (select 1 from {self._moments_by_lead} where of_lead = lead_id)"
        until = f"not exists (select 1 from {self._moments_by_lead} where of_lead = lead_id and moment_us < as_of_us)"

        def of_some(table: str, columns: Columns) -> str:
            cut = around.scrambled(table, columns)
            return f"select * from ({cut}) as cut union all {_unchanged(table, columns)} where {others}"

        with self._world() as replay:
            self._fill(replay, of_some)
            rows = self._ran(replay, self._build, [], each_lead=True, condition=until)
        moment = "(select moment from own_moments where of_lead = lead_id)"
        known = "".join(f" and as_of <> {timestamp_literal(each)}" for each in moments)
        for table in (self._subject.view, *self._subject.labels, OWN):
            elsewhere = self._compared(
                "staggered", clock, table, base[table], rows[table], f"{moment} is null{known}", held=(), began=began
            )
            held = [name for name in self._compared_columns(table) if name not in elsewhere.moved]
            by = "matures_at" if table in self._subject.labels else "as_of"
            yield self._compared(
                "staggered", clock, table, base[table], rows[table], f"{by} <= {moment}{known}",
                held=held, began=began, until=clock, until_sql=moment,
            )  # fmt: skip
            began = time.perf_counter()

    def _as_in_the_store(self, base: Mapping[Name, pa.Table], moments: Sequence[datetime]) -> Iterator[Comparison]:
        """Compare the store with what the SQL makes of its sources."""
        among = self._among(self._observed)
        began = time.perf_counter()
        made = base if self._copied == GROUPS else self._on_the_live_tables(among)
        asked = _without_asked(moments, "own_moments")
        for table in self._subject.tables:
            listed = ", ".join(self._columns[table])
            stored = arrow(self._connection, f"select {listed} from {_quoted(table)} where {among}")
            yield self._compared("store", self._build.as_of, table, stored, made[table], f"1 = 1{asked}", began=began)
            began = time.perf_counter()

    def _tables_between(self, unchanged: World, moments: Sequence[datetime]) -> Iterator[Comparison]:
        """Compare tables on which the store rests, and a sample cannot be made anew, with what the SQL makes of raw."""
        affected = {model.relation for model in self._build.affected_by([OBSERVATIONS], self._subject.tables)}
        for model in self._build.needed_for(self._subject.tables):
            columns = column_types(self._connection, *model.relation)
            if model.materialized != "table" or model.relation in affected or self._subject.key not in columns:
                continue
            began = time.perf_counter()
            among = self._among(self._copied)
            if model.relation == OBSERVATIONS:
                among = f"{self._among(self._observed)}{_without_asked(moments, self._moments_by_lead)}"
            query = f"select {', '.join(columns)} from {{0}} where {among}"
            stored = arrow(self._connection, query.format(_quoted(model.relation)))
            made = unchanged.rows(query.format(unchanged.relation(model.relation)))
            with in_memory(stored=stored, made=made) as connection:
                key = self._subject.key
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
                    variant="store", moment=self._build.as_of, table=table, column=ROW, rows=differing, key=example,
                    as_of=self._build.as_of, stored="other rows", replayed="those of the sources",
                )
            ]  # fmt: skip
            yield Comparison(
                variant="store", moment=self._build.as_of, table=table, rows=rows, digest=str(digest),
                seconds=time.perf_counter() - began, differences=tuple(differences if differing else ()),
            )  # fmt: skip

    def _on_the_live_tables(self, among: str) -> dict[Name, pa.Table]:
        """Return what the SQL makes of the sampled leads with the facts of all: features may be about other leads."""
        with self._beside.place() as place:
            place.make(OBSERVATIONS, f"select * from {place.relation(OBSERVATIONS)} where {among}")
            place.run(self._build.affected_by([OBSERVATIONS], self._subject.tables))
            return {
                table: arrow(self._connection, f"select {', '.join(self._columns[table])} from {place.relation(table)}")
                for table in self._subject.tables
            }

    def _future(
        self, base: Mapping[Name, pa.Table], moments: Sequence[datetime], moment: datetime, variant: str, query: Query
    ) -> Iterator[Comparison]:
        """Compare what was known before a moment, and what is answered then, with what another future makes of it."""
        began = time.perf_counter()
        at = timestamp_literal(moment)
        # where nothing of the future is there, the SQL runs as if it were that day, and asks on its own
        is_then = variant == "removed" or moment == self._build.as_of
        build = self._build.at(moment) if is_then else self._build
        with self._world() as replay:
            self._fill(replay, query)
            asked = [] if is_then else [moment]
            until = f"as_of_us <= {microseconds(moment)}"
            rows = self._ran(replay, build, asked, condition=until)
        others = _without_asked([each for each in moments if each != moment], "own_moments")
        conditions = {self._subject.view: f"as_of <= {at}{others}"}
        conditions |= dict.fromkeys(self._subject.labels, f"matures_at <= {at}{others}")
        conditions |= dict.fromkeys(self._subject.at_census, f"as_of = {at}")
        if not is_then:
            conditions[OWN] = f"as_of <= {at}"
        for table, condition in conditions.items():
            yield self._compared(
                variant, moment, table, base[table], rows[table], condition,
                began=began, until=moment, all_of_replay=f"1 = 1{others}" if is_then else "",
            )  # fmt: skip
            began = time.perf_counter()

    def _asked(
        self,
        unchanged: World,
        base: Mapping[Name, pa.Table],
        moment: datetime,
        variant: str,
        query: Query,
        held: Mapping[Name, Collection[str]],
    ) -> Iterator[Comparison]:
        """Compare what is answered at a moment with answers on other sources, for the same leads.

        Columns of `held` must be as they were; of the others it is noted which have moved.
        """
        began = time.perf_counter()
        at = f"as_of = {timestamp_literal(moment)}"
        with self._world() as replay:
            self._fill(replay, query)
            # another past might close some leads earlier
            replay.take(OBSERVATIONS, unchanged, at)
            replay.run(self._build.needed_for(held, given=[OBSERVATIONS]))
            rows = {table: self._rows(replay, table) for table in held}
        for table, columns in held.items():
            yield self._compared(variant, moment, table, base[table], rows[table], at, held=columns, began=began)
            began = time.perf_counter()

    def _compared(
        self,
        variant: str,
        moment: datetime,
        table: Name,
        expected: pa.Table,
        replayed: pa.Table,
        condition: str,
        *,
        began: float,
        held: Collection[str] | None = None,
        until: datetime | None = None,
        until_sql: str = "",
        all_of_replay: str = "",
    ) -> Comparison:
        shown = ".".join(OBSERVATIONS if table == OWN else table)
        columns = self._compared_columns(table)
        values = {name: self._value_of(table, name, moment, until) for name in columns}
        if until_sql:
            values = {name: value.replace(timestamp_literal(moment), until_sql) for name, value in values.items()}
        made = known = Selected(values, condition)
        if all_of_replay:
            # which has nothing of a later time, neither a row nor a value
            made = Selected({name: self._value_of(table, name, moment, None) for name in columns}, all_of_replay)
        with paired(self._memory, expected, replayed, self._subject.key, known, made) as pair:
            rows, differing, digest = pair.by_hash()
            counts = pair.counts() if differing else {}
            wrong = {name: found for name, found in counts.items() if held is None or name in held or name == ROW}
            differences = [
                Difference(
                    variant=variant, moment=self._moment_of(variant, key, moment), table=shown, column=column,
                    rows=found, key=key, as_of=as_of, stored=then, replayed=now,
                )
                for column, found in wrong.items()
                for key, as_of, then, now in pair.examples(column, EXAMPLES)
            ]  # fmt: skip
        return Comparison(
            variant=variant,
            moment=moment,
            table=shown,
            rows=rows,
            digest=digest,
            seconds=time.perf_counter() - began,
            differences=tuple(differences),
            moved=tuple(name for name in counts if name not in wrong),
        )

    def _moment_of(self, variant: str, lead: str, moment: datetime) -> datetime:
        return self._own_moments.get(lead, moment) if variant == "staggered" else moment

    def _compared_columns(self, table: Name) -> list[str]:
        return [name for name in self._columns[table] if name not in (self._subject.key, "as_of")]

    def _value_of(self, table: Name, column: str, moment: datetime, until: datetime | None) -> str:
        """Return what is compared of a column, as SQL; of times in labels those before a moment, where one is given."""
        if column == "observation_kind" and table != OWN:
            # at the moment itself all leads are asked for
            return f"case when as_of < {timestamp_literal(moment)} then {column} end"
        is_time = self._columns[table][column].lower().startswith("timestamp")
        if until is not None and table in self._subject.labels and is_time and column not in ("as_of", "matures_at"):
            # what comes at the moment or after it was not known then
            return f"case when {column} < {timestamp_literal(until)} then {column} end"
        return column

    def _rows(self, place: World, table: Name) -> pa.Table:
        return place.rows(f"select {', '.join(self._columns[table])} from {place.relation(table)}")

    def _world(self) -> AbstractContextManager[World]:
        return world(self._connection, self._beside)

    def _among(self, groups: int, of: str = "") -> str:
        """Return the condition that a lead is in some of the groups; the fewer are among the more."""
        if groups == GROUPS:
            return "1 = 1"
        # another clock chooses others, so that nights come to cover all
        return f"substr(md5({of}{self._subject.key} || '{self._build.as_of.isoformat()}'), 1, 3) < '{groups:03x}'"

    def _value(self, query: str) -> int:
        return int(self._connection.execute(query).fetchall()[0][0])


def _unchanged(table: str, columns: Columns) -> str:
    return f'select {", ".join(columns)} from "raw"."{table}"'


def _without_asked(moments: Sequence[datetime], own_moments: str) -> str:
    """Return the end of a condition: that a row is at none of the moments at which it was asked for."""
    common = "".join(f" and as_of <> {timestamp_literal(each)}" for each in moments)
    return f"{common} and (lead_id, as_of) not in (select of_lead, moment from {own_moments})"


def _quoted(name: Name) -> str:
    return f'"{name[0]}"."{name[1]}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literal(value: str, kind: str) -> str:
    return f"cast({_text(value)} as {kind})"
