"""The proof that features and labels are correct at their time: the SQL that made them, run on data that differ.

What must not matter is changed, and nothing may follow from it. For sampled moments T, midnights at which there are
observations, the compiled text runs on copies of schema ``raw``:

``removed``
    Without every fact, and every part of one, known at T or later. Observations up to T, their features, and labels
    that had matured by T are those of the store.
``scrambled``
    With another future from T on, a good third of it known exactly at T. The same holds.
``forgotten_<n>d``
    With nothing but the n days before T; what was known just before them moves to their very edge. Features whose name
    says ``_<n>d`` are at T those of the store.
``past``
    With another past up to T and the same open leads. Labels of T and the days after it are those of the store.

Each replay runs as if on another day: functions of the wall clock in the text are moved. It reads and writes nothing of
the store, and measures only; what is said of it stands in `assets.proof`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from assets.compiled import OBSERVATIONS, SOURCE, Build, Model, Name, Place, Scratch, scratch
from assets.counterfactuals import DAY, Query, forgotten, past_changed, removed, scrambled
from assets.postgres import PostgresConnection
from assets.warehouse import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets.warehouse import Connection

MOMENTS = 3
"""Moments per proof. Another clock chooses others, so that nightly proofs come to cover the history."""
MAX_FACTS = 400_000
"""Rows of schema ``raw`` beyond which leads are sampled: with all theirs, and compared with a replay of the sample."""
PAST_DAYS = 7
"""Days from T on over which labels are compared when the past has changed."""
EXAMPLES = 3
"""Rows that a failure shows of each column."""

ROW = "(row)"
"""Stands for a column where a row is missing, or where there is one too many."""

_WINDOW = re.compile(r"_(\d+)d$")
_WALL_CLOCK = re.compile(
    r"\b(?:current_date|today\s*\(\s*\))|"
    r"\b(?:current_timestamp|localtimestamp|(?:now|get_current_timestamp|transaction_timestamp|statement_timestamp|"
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


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A value that is another in a replay: in one row, and in how many."""

    variant: str
    moment: datetime
    table: str
    column: str
    rows: int
    key: str
    as_of: datetime
    stored: str | None
    replayed: str | None

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        return (
            f"{self.table}.{self.column}: {self.rows:,} rows differ ({self.variant} at {self.moment:%Y-%m-%d}); "
            f"{self.key} as of {self.as_of.isoformat()} is {self.stored} in the store, {self.replayed} in the replay"
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A table of the store beside a replay: the rows that were compared, and the first differences by column."""

    variant: str
    moment: datetime
    table: str
    rows: int
    digest: str
    seconds: float
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a proof has shown.

    Attributes
    ----------
    as_of : datetime
        The clock of the build.
    sql_sha256 : str
        The hash of its SQL, as `assets.compiled.Build` says it.
    proved_at : datetime
    seconds : float
    features, leads : int
        Features of the view, and leads that were replayed.
    leads_share : float
        Share of the leads that were replayed.
    comparisons : tuple of Comparison
    """

    as_of: datetime
    sql_sha256: str
    proved_at: datetime
    seconds: float
    features: int
    leads: int
    leads_share: float
    comparisons: tuple[Comparison, ...]

    @property
    def moments(self) -> list[datetime]:
        """The moments, in order."""
        return sorted({each.moment for each in self.comparisons})

    @property
    def rows(self) -> int:
        """Rows compared, over all replays."""
        return sum(each.rows for each in self.comparisons)

    @property
    def rows_by_variant(self) -> dict[str, int]:
        """Rows compared of features and labels, by what was changed."""
        counted: Counter[str] = Counter()
        for each in self.comparisons:
            counted[each.variant] += each.rows
        return dict(counted)

    @property
    def differences(self) -> list[Difference]:
        """Everything that differs."""
        return [difference for each in self.comparisons for difference in each.differences]

    @property
    def passed(self) -> bool:
        """Whether nothing does."""
        return not self.differences

    @property
    def differing_columns(self) -> list[str]:
        """Features and label columns that differ somewhere, as ``table.column``."""
        return sorted({f"{each.table}.{each.column}" for each in self.differences})

    def to_json(self) -> str:
        """Return the certificate as it is kept beside a training."""
        return json.dumps(
            {
                "passed": self.passed,
                "as_of": self.as_of.isoformat(),
                "sql_sha256": self.sql_sha256,
                "proved_at": self.proved_at.isoformat(),
                "seconds": round(self.seconds, 2),
                "moments": [each.isoformat() for each in self.moments],
                "features": self.features,
                "leads": self.leads,
                "leads_share": self.leads_share,
                "rows": self.rows,
                "rows_by_variant": self.rows_by_variant,
                "digest": hashlib.sha256("".join(each.digest for each in self.comparisons).encode()).hexdigest(),
                "differing_columns": self.differing_columns,
                "differences": [asdict(each) for each in self.differences],
            },
            default=str,
        )


def prove(
    connection: Connection, build: Build, subject: Subject, proved_at: datetime, *, max_facts: int = MAX_FACTS
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
    max_facts : int
        Rows of schema ``raw`` beyond which leads are sampled.

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
    with scratch(connection, "proof") as beside:
        proof = _Proof(connection, beside, build, subject, max_facts)
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
        self, connection: Connection, beside: Scratch, build: Build, subject: Subject, max_facts: int
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._build = build
        self._subject = subject
        targets = [subject.view, *subject.labels]
        self._models = [
            Model(name=each.name, schema=each.schema, materialized=each.materialized, sql=another_day(each.sql))
            for each in build.needed_for(targets)
        ]
        self._sources = sorted({name for each in self._models for name in each.reads if name[0] == SOURCE})
        self._columns = {name: columns_of(connection, *name) for name in (*self._sources, *targets)}
        self.features = [
            name
            for name in self._columns[subject.view]
            if name not in (subject.key, "as_of", "observation_kind", "lead_created_at")
        ]
        self._windows = {name: int(found[1]) for name in self.features if (found := _WINDOW.search(name))}
        self._times = {name: self._time_columns(name) for name in subject.labels}
        facts = sum(self._value(f"select count(*) from {_quoted(name)}") for name in self._sources)
        # of the 4,096 groups of leads by three digits of their hash
        self._groups = min(4096, max(1, 4096 * max_facts // max(facts, 1)))

    @property
    def share(self) -> float:
        """The share of the leads that is replayed."""
        return self._groups / 4096

    def leads(self) -> int:
        """Count the leads that are replayed."""
        return self._value(f'select count(*) from "raw"."leads" where {self._sampled()}')

    def comparisons(self) -> Iterator[Comparison]:
        """Replay, and compare."""
        if self._groups == 4096:
            yield from self._against(None)
            return
        # features may be about other leads, and these are not in the sample: a replay of it stands for the store
        with self._beside.place() as stored:
            self._copy(stored, lambda table, columns: f'select {", ".join(columns)} from "warehouse"."raw"."{table}"')
            stored.run(self._models)
            yield from self._against(stored)

    def _against(self, stored: Place | None) -> Iterator[Comparison]:
        view = self._relation(stored, self._subject.view)
        moments = self._moments(f"select distinct as_of from {view} where observation_kind <> 'clock'")
        if not moments:
            raise NothingToProveError(
                f"{'.'.join(self._subject.view)}: expected observations before the clock "
                f"{self._build.as_of.isoformat()}, found none. Load more history."
            )
        for moment in moments:
            yield from self._future(stored, moment, "removed", partial(removed, moment))
            yield from self._future(stored, moment, "scrambled", partial(scrambled, moment, self._seed(moment)))
            for days in sorted(set(self._windows.values())):
                yield from self._forgotten(stored, moment, days)
        for label in self._subject.labels:
            relation = self._relation(stored, label)
            for moment in self._moments(f"select distinct as_of from {relation}"):
                yield from self._past(stored, moment, label)

    def _moments(self, query: str) -> list[datetime]:
        before = f"{query} {'and' if ' where ' in query else 'where'} as_of < $1 order by 1"
        found = self._connection.execute(before, [self._build.as_of]).fetchall()
        midnights = [each for (each,) in found if each.astimezone(UTC).time() == datetime.min.time()]
        return chosen(midnights, self._build.as_of, MOMENTS)

    def _future(self, stored: Place | None, moment: datetime, variant: str, query: Query) -> Iterator[Comparison]:
        with self._beside.place() as replay:
            began = time.perf_counter()
            self._copy(replay, query)
            for model in self._models:
                if model.relation == OBSERVATIONS:
                    # later ones are not compared, and that of the clock stands for today
                    known = f"as_of_us <= {_micros(moment)} and observation_kind <> 'clock'"
                    replay.make(OBSERVATIONS, f"select * from ({model.sql}) as observed where {known}")
                else:
                    replay.run([model])
            ran = time.perf_counter() - began
            at = _literal(moment)
            view = self._subject.view
            condition = f"as_of <= {at} and observation_kind <> 'clock'"
            yield self._compared(stored, replay, view, self._columns[view], condition, variant, moment, ran)
            for label in self._subject.labels:
                yield self._compared(
                    stored, replay, label, self._columns[label], f"matures_at <= {at}", variant, moment, 0.0
                )

    def _forgotten(self, stored: Place | None, moment: datetime, days: int) -> Iterator[Comparison]:
        with self._beside.place() as replay:
            began = time.perf_counter()
            self._copy(replay, partial(forgotten, moment, days))
            self._run_at(stored, replay, f"as_of_us = {_micros(moment)}", self._subject.view)
            view, key = self._subject.view, [self._subject.key, "as_of"]
            columns = [*key, *(name for name, window in self._windows.items() if window == days)]
            condition = f"as_of = {_literal(moment)}"
            ran = time.perf_counter() - began
            yield self._compared(stored, replay, view, columns, condition, f"forgotten_{days}d", moment, ran)

    def _past(self, stored: Place | None, moment: datetime, label: Name) -> Iterator[Comparison]:
        with self._beside.place() as replay:
            began = time.perf_counter()
            self._copy(replay, partial(past_changed, moment, self._seed(moment)))
            end = moment + PAST_DAYS * DAY
            self._run_at(stored, replay, f"as_of_us >= {_micros(moment)} and as_of_us < {_micros(end)}", label)
            condition = f"as_of >= {_literal(moment)} and as_of < {_literal(end)}"
            ran = time.perf_counter() - began
            yield self._compared(stored, replay, label, self._columns[label], condition, "past", moment, ran)

    def _run_at(self, stored: Place | None, replay: Place, condition: str, target: Name) -> None:
        """Run what a table needs with the observations of the store, which a changed past might close earlier."""
        relation = self._relation(stored, OBSERVATIONS)
        for model in self._models:
            if model.relation == OBSERVATIONS:
                replay.make(OBSERVATIONS, f"select * from {relation} where {condition}")
            elif model in self._needed(target):
                replay.run([model])

    def _needed(self, target: Name) -> list[Model]:
        return Build(variables=self._build.variables, models=tuple(self._models)).needed_for([target])

    def _copy(self, place: Place, query: Query) -> None:
        """Fill schema ``raw`` of a place, of the sampled leads."""
        for name in self._sources:
            columns = self._columns[name]
            place.fill(name, f"select * from ({query(name[1], columns)}) as changed where {self._sampled()}")

    def _sampled(self) -> str:
        key = self._subject.key
        return "1 = 1" if self._groups == 4096 else f"substr(md5({key}), 1, 3) < '{self._groups:03x}'"

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
            name: f"case when {name} < {_literal(moment)} then {name} end" if name in late else name
            for name in compared
        }
        pair = _Pair(
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

    def _differences(self, pair: _Pair, table: Name, variant: str, moment: datetime) -> Iterator[Difference]:
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


@dataclass(frozen=True)
class _Pair:
    """The SQL that compares rows of the store with those of a replay."""

    stored: str
    replayed: str
    key: str
    values: Mapping[str, str]

    def by_hash(self, row_hash: str) -> str:
        """Return the query of the rows on either side, those that differ, and a digest of those of the store."""
        return (
            f"with stored as (select {self.key}, as_of, {row_hash} as row_hash {self.stored}), "
            f"replayed as (select {self.key}, as_of, {row_hash} as row_hash {self.replayed}) "
            "select count(*), count(case when stored.row_hash is distinct from replayed.row_hash then 1 end), "
            "bit_xor(stored.row_hash) from stored full join replayed "
            f"on stored.{self.key} = replayed.{self.key} and stored.as_of = replayed.as_of"
        )

    def counts(self) -> str:
        """Return the query of how many rows are on one side alone, and how many differ in each column."""
        one_side = f"(stored.{self.key} is null or replayed.{self.key} is null)"
        listed = [f"count(case when {one_side} then 1 end)"]
        listed += [
            f"count(case when not {one_side} and stored.{name} is distinct from replayed.{name} then 1 end)"
            for name in self.values
        ]
        return f"{self._joined()} select {', '.join(listed)} {self._from()}"

    def examples(self, column: str, limit: int) -> str:
        """Return the query of the first rows that differ in a column, with both values as text."""
        key = f"coalesce(stored.{self.key}, replayed.{self.key}), coalesce(stored.as_of, replayed.as_of)"
        one_side = f"(stored.{self.key} is null or replayed.{self.key} is null)"
        if column == ROW:
            there = "case when {0}.{1} is null then 'missing' else 'there' end"
            values = ", ".join(there.format(side, self.key) for side in ("stored", "replayed"))
            differs = one_side
        else:
            values = ", ".join(f"cast({side}.{column} as text)" for side in ("stored", "replayed"))
            differs = f"not {one_side} and stored.{column} is distinct from replayed.{column}"
        return f"{self._joined()} select {key}, {values} {self._from()} where {differs} order by 2 desc, 1 limit {limit}"

    def _joined(self) -> str:
        listed = ", ".join([self.key, "as_of", *(f"{value} as {name}" for name, value in self.values.items())])
        return f"with stored as (select {listed} {self.stored}), replayed as (select {listed} {self.replayed})"

    def _from(self) -> str:
        return (
            f"from stored full join replayed on stored.{self.key} = replayed.{self.key} "
            "and stored.as_of = replayed.as_of"
        )


def _quoted(name: Name) -> str:
    return f'"{name[0]}"."{name[1]}"'


def _literal(moment: datetime) -> str:
    return f"timestamptz '{moment.isoformat(timespec='microseconds')}'"


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
