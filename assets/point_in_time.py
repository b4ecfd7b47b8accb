"""The proof that features and labels are correct at their time: the SQL that made them, run on data that differ.

What must not matter is changed, and nothing may follow from it. For sampled moments T, midnights at which there are
observations, the compiled text runs on copies of schema ``raw``:

``removed``
    Without every fact, and every part of one, known at T or later. Observations up to T, their features, and labels
    that had matured by T are those of the store.
``scrambled``
    With another future from T on, a good third of it known exactly at T. The same holds.
``forgotten_<n>d``
    With nothing but the n days before T, and a quarter of what was known earlier at their very edge. Of every lead that
    is open at T, features whose name says ``_<n>d`` are what the same SQL makes of the unchanged sources.
``past``
    With another past up to T and the same open leads. Of every lead that is open at T, labels are what the same SQL
    makes of the unchanged sources.

Each replay runs as if on another day: functions of the wall clock in the text are moved. It reads and writes nothing of
the store, and measures only; what is said of it stands in `assets.proof`.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from assets.certificate import Certificate, Comparison, Difference
from assets.compiled import (
    CLOSINGS,
    LEADS,
    OBSERVATIONS,
    SOURCE,
    Build,
    Name,
    Place,
    Scratch,
    microseconds,
    open_at,
    scratch,
    timestamp_literal,
)
from assets.counterfactuals import Query, forgotten, past_changed, removed, scrambled
from assets.postgres import PostgresConnection
from assets.row_differences import ROW, Pair
from assets.warehouse import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets.warehouse import Connection

MOMENTS = 3
"""Moments per proof. Another clock chooses others, so that nightly proofs come to cover the history."""
MAX_OBSERVATIONS = 50_000
"""Observations beyond which those of a sample of the leads are replayed; the facts of all leads are there for them."""
MAX_FACTS, MAX_FACTS_IN_DATABASE = 400_000, 100_000
"""Rows of schema ``raw`` beyond which the other leads are left out: a replay of the sample then stands for the store.
The same SQL takes several times as long on PostgreSQL as on DuckDB."""
GROUPS = 4096
"""Groups of leads, by three digits of a hash, of which some are the sample."""
EXAMPLES = 3
"""Rows that a failure shows of each column."""

_WINDOW = re.compile(r"_(\d+)d$")
_WALL_CLOCK = re.compile(
    r"\b(?:current_date\b|today\s*\(\s*\)|"
    r"current_timestamp\b|localtimestamp\b|(?:now|get_current_timestamp|transaction_timestamp|statement_timestamp|"
    r"clock_timestamp)\s*\(\s*\))",
    re.IGNORECASE,
)
_DATES = ("current_date", "today")


class NothingToProveError(RuntimeError):
    """The store has no observations before its clock."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is proved: a feature view by its key, and the labels of its observations."""

    view: Name
    key: str
    labels: tuple[Name, ...]


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
        If there are no observations before the clock.
    NotCompiledError
        If the SQL of the build is not whole.
    UndeclaredTableError
        If the SQL reads a table of which nothing says when its rows were known.
    """
    began = time.perf_counter()
    if max_facts is None:
        max_facts = MAX_FACTS_IN_DATABASE if isinstance(connection, PostgresConnection) else MAX_FACTS
    with scratch(connection, "proof", build.relations) as beside:
        proof = _Proof(connection, beside, build, subject, max_facts, max_observations)
        comparisons = tuple(proof.comparisons())
        leads = proof.leads()
    return Certificate(
        as_of=build.as_of,
        sql_sha256=build.sha256,
        proved_at=proved_at,
        seconds=time.perf_counter() - began,
        features=len(proof.features),
        leads=leads,
        leads_share=proof.share,
        comparisons=comparisons,
    )


def another_day(sql: str) -> str:
    """Return SQL as it would have run 400 days ago: what it asks the wall clock is moved, and nothing else."""

    def moved(found: re.Match[str]) -> str:
        days = "400" if found[0].lower().startswith(_DATES) else "interval '400 days'"
        return f"({found[0]} - {days})"

    return _WALL_CLOCK.sub(moved, sql)


def chosen(candidates: Sequence[datetime], as_of: datetime, count: int) -> list[datetime]:
    """Choose moments, spread over the candidates: one of each of `count` equal stretches, which one by the clock."""
    count = min(count, len(candidates))
    picked = []
    for place in range(count):
        first, end = place * len(candidates) // count, (place + 1) * len(candidates) // count
        digest = hashlib.sha256(f"{as_of.isoformat()} {place}".encode()).digest()
        picked.append(candidates[first + int.from_bytes(digest[:4]) % (end - first)])
    return picked


class _Proof:
    """The replays of one build."""

    def __init__(
        self,
        connection: Connection,
        beside: Scratch,
        build: Build,
        subject: Subject,
        max_facts: int,
        max_observations: int,
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._build = build
        self._subject = subject
        targets = [subject.view, *subject.labels]
        models = tuple(replace(each, sql=another_day(each.sql)) for each in build.needed_for(targets))
        self._sql = replace(build, models=models)
        self._sources = sorted({name for each in models for name in each.reads if name[0] == SOURCE})
        self._columns = {name: columns_of(connection, *name) for name in (*self._sources, *targets)}
        self.features = [
            name
            for name in self._columns[subject.view]
            if name not in (subject.key, "as_of", "observation_kind", "lead_created_at")
        ]
        self._windows = {name: int(found[1]) for name in self.features if (found := _WINDOW.search(name))}
        self._times = {name: self._time_columns(name) for name in subject.labels}
        facts = sum(self._value(f"select count(*) from {_quoted(name)}") for name in self._sources)
        observations = self._value(f"select count(*) from {_quoted(subject.view)}")
        self._copied = min(GROUPS, max(1, GROUPS * max_facts // max(facts, 1)))
        self._observed = min(self._copied, max(1, GROUPS * max_observations // max(observations, 1)))

    @property
    def share(self) -> float:
        """The share of the leads whose observations are replayed."""
        return self._observed / GROUPS

    def leads(self) -> int:
        """Count the leads whose observations are replayed."""
        return self._value(f'select count(*) from "raw"."leads" where {self._among(self._observed)}')

    def comparisons(self) -> Iterator[Comparison]:
        """Replay, and compare."""
        if self._copied == GROUPS:
            yield from self._against(None)
            return
        # features may be about other leads, and these are not in the sample: a replay of it stands for the store
        with self._beside.place() as stored:
            self._copy(stored, _unchanged)
            stored.run(self._sql.models)
            yield from self._against(stored)

    def _against(self, stored: Place | None) -> Iterator[Comparison]:
        view = self._relation(stored, self._subject.view)
        midnights = self._midnights(view)
        if not midnights:
            raise NothingToProveError(
                f"{'.'.join(self._subject.view)}: expected observations before the clock "
                f"{self._build.as_of.isoformat()}, found none. Load more history."
            )
        for moment in chosen(midnights, self._build.as_of, MOMENTS):
            yield from self._future(stored, moment, "removed", partial(removed, moment))
            yield from self._future(stored, moment, "scrambled", partial(scrambled, moment, self._seed(moment)))
        labelled = [self._midnights(self._relation(stored, label)) for label in self._subject.labels]
        # until the last one that all labels have: the one that takes longest to mature ends first
        end = min((each[-1] for each in labelled if each), default=self._build.as_of)
        for moment in chosen([each for each in midnights if each <= end], self._build.as_of, MOMENTS):
            with self._beside.place() as unchanged:
                began = time.perf_counter()
                self._ask(stored, unchanged, moment)
                yield from self._edges(unchanged, moment, time.perf_counter() - began)

    def _midnights(self, relation: str) -> list[datetime]:
        """Return the midnights before the clock at which a table has rows."""
        found = self._connection.execute(
            f"select distinct as_of from {relation} where as_of < $1 order by 1", [self._build.as_of]
        ).fetchall()
        return [each for (each,) in found if each.astimezone(UTC).time() == datetime.min.time()]

    def _future(self, stored: Place | None, moment: datetime, variant: str, query: Query) -> Iterator[Comparison]:
        observed = self._among(self._observed)
        with self._beside.place() as replay:
            began = time.perf_counter()
            self._copy(replay, query)
            for model in self._sql.models:
                if model.relation == OBSERVATIONS:
                    # later ones are not compared, and that of the clock stands for today
                    known = f"as_of_us <= {microseconds(moment)} and observation_kind <> 'clock' and {observed}"
                    replay.make(OBSERVATIONS, f"select * from ({model.sql}) as observed where {known}")
                else:
                    replay.run([model])
            ran = time.perf_counter() - began
            at = timestamp_literal(moment)
            view = self._subject.view
            condition = f"as_of <= {at} and observation_kind <> 'clock' and {observed}"
            yield self._compared(stored, replay, view, self._columns[view], condition, variant, moment, ran)
            for label in self._subject.labels:
                matured = f"matures_at <= {at} and {observed}"
                yield self._compared(stored, replay, label, self._columns[label], matured, variant, moment, 0.0)

    def _ask(self, stored: Place | None, unchanged: Place, moment: datetime) -> None:
        """Let the SQL answer for every lead that is open at a moment, on unchanged sources."""
        targets = [self._subject.view, *self._subject.labels]
        if stored is not None:
            self._copy(unchanged, _unchanged)
            unchanged.run(self._sql.needed_for([LEADS, CLOSINGS]))
        unchanged.make(OBSERVATIONS, f"{open_at(unchanged, moment)} and {self._among(self._observed, 'leads.')}")
        if stored is None:
            unchanged.run(self._sql.affected_by([OBSERVATIONS], targets))
        else:
            unchanged.run(self._sql.needed_for(targets, given=unchanged.made))

    def _edges(self, unchanged: Place, moment: datetime, seconds: float) -> Iterator[Comparison]:
        """Compare answers at a moment with those on what lies inside of a window, and on another past."""
        view, labels = self._subject.view, self._subject.labels
        for days in sorted(set(self._windows.values())):
            windowed = [name for name, window in self._windows.items() if window == days]
            columns = {view: [self._subject.key, "as_of", *windowed]}
            query = partial(forgotten, moment, days, self._seed(moment))
            yield from self._answers(unchanged, query, columns, f"forgotten_{days}d", moment, seconds)
            seconds = 0.0
        query = partial(past_changed, moment, self._seed(moment))
        columns = {label: self._columns[label] for label in labels}
        yield from self._answers(unchanged, query, columns, "past", moment, seconds)

    def _answers(
        self,
        unchanged: Place,
        query: Query,
        columns: Mapping[Name, Sequence[str]],
        variant: str,
        moment: datetime,
        seconds: float,
    ) -> Iterator[Comparison]:
        with self._beside.place() as replay:
            began = time.perf_counter()
            self._copy(replay, query)
            # the same leads: another past might close some earlier
            replay.make(OBSERVATIONS, f"select * from {unchanged.relation(OBSERVATIONS)}")
            replay.run(self._sql.needed_for(columns, given=[OBSERVATIONS]))
            seconds += time.perf_counter() - began
            for table, compared in columns.items():
                yield self._compared(unchanged, replay, table, compared, "1 = 1", variant, moment, seconds)
                seconds = 0.0

    def _copy(self, place: Place, query: Query) -> None:
        """Fill schema ``raw`` of a place, of the sampled leads."""
        for name in self._sources:
            columns = self._columns[name]
            place.fill(name, f"select * from ({query(name[1], columns)}) as changed where {self._among(self._copied)}")

    def _among(self, groups: int, of: str = "") -> str:
        """Return the condition that a lead is in some of the groups; the fewer are among the more."""
        if groups == GROUPS:
            return "1 = 1"
        # another clock chooses others, so that nights come to cover all
        return f"substr(md5({of}{self._subject.key} || '{self._build.as_of.isoformat()}'), 1, 3) < '{groups:03x}'"

    def _relation(self, stored: Place | None, name: Name) -> str:
        return _quoted(name) if stored is None else stored.relation(name)

    def _compared(
        self,
        stored: Place | None,
        replay: Place,
        table: Name,
        columns: Sequence[str],
        condition: str,
        variant: str,
        moment: datetime,
        seconds: float,
    ) -> Comparison:
        began = time.perf_counter()
        key = self._subject.key
        compared = [name for name in columns if name not in (key, "as_of")]
        # a time that lies at the moment or after it was not known then
        late = self._times.get(table, []) if variant != "past" else []
        values = {
            name: f"case when {name} < {timestamp_literal(moment)} then {name} end" if name in late else name
            for name in compared
        }
        pair = Pair(
            stored=f"from {self._relation(stored, table)} where {condition}",
            replayed=f"from {replay.relation(table)} where {condition}",
            key=key,
            values=values,
        )
        rows, differing, digest = self._connection.execute(pair.by_hash(self._row_hash(values.values()))).fetchall()[0]
        return Comparison(
            variant=variant,
            moment=moment,
            table=".".join(table),
            rows=rows,
            digest=str(digest),
            seconds=seconds + time.perf_counter() - began,
            differences=tuple(self._differences(pair, table, variant, moment)) if differing else (),
        )

    def _differences(self, pair: Pair, table: Name, variant: str, moment: datetime) -> Iterator[Difference]:
        counts = self._connection.execute(pair.counts()).fetchall()[0]
        for column, rows in zip((ROW, *pair.values), counts, strict=True):
            if rows:
                examples = self._connection.execute(pair.examples(column, EXAMPLES)).fetchall()
                for key, as_of, then, now in examples:
                    yield Difference(
                        variant=variant, moment=moment, table=".".join(table), column=column, rows=rows,
                        key=key, as_of=as_of, stored=then, replayed=now,
                    )  # fmt: skip

    def _row_hash(self, values: Any) -> str:
        listed = ", ".join(values)
        if isinstance(self._connection, PostgresConnection):
            return f"hash_record_extended(row({listed}), 0)"
        return f"hash({listed})"

    def _time_columns(self, name: Name) -> list[str]:
        found = self._connection.execute(
            "select column_name from information_schema.columns where table_schema = $1 and table_name = $2 "
            "and lower(data_type) like 'timestamp%'",
            list(name),
        ).fetchall()
        return [column for (column,) in found if column not in ("as_of", "matures_at")]

    def _seed(self, moment: datetime) -> str:
        return f"{self._build.as_of.isoformat()} {moment.isoformat()}"

    def _value(self, query: str) -> int:
        return int(self._connection.execute(query).fetchall()[0][0])


def _unchanged(table: str, columns: Sequence[str]) -> str:
    return f'select {", ".join(columns)} from "warehouse"."raw"."{table}"'


def _quoted(name: Name) -> str:
    return f'"{name[0]}"."{name[1]}"'
