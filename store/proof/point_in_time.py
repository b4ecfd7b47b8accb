"""The proof that features and labels are correct at their time: the SQL that made them, run on data that differ.

What must not matter is changed, and nothing may follow from it. The compiled text runs in worlds of its own
(`store.warehouse.connection.World`), where neither the warehouse nor anything else exists but copies of schema ``raw``:

``store``
    Copies without a change. The rows are those of the store.
``removed``
    Without every fact, and every part of one, known at a moment T or later, and with the clock of the SQL at T.
    Observations before T, their features, what is answered of every entity open at T, and labels that had matured by T
    are as they were.
``scrambled``
    With another future from T on, a good quarter of it known exactly at T, and with facts added to every entity. The
    same holds.
``staggered``
    As ``scrambled``, for half of the entities, and with a moment of its own for each of them, which is one of its
    observations or any second: at every time of the history some are cut. Features that move in entities of the other
    half, whose facts are as they were, are about other entities, and are left to the common moments. Left out where the
    rows of the sources do not tell which entity they are about.
``forgotten_<n>d``
    With nothing but the entities and the n days before T, and facts at their very edge. Of every entity that is open
    at T, features whose name says ``_<n>d`` are as they were.
``past``
    With another past up to T and the same open entities. Of every one that is open at T, labels are as they were.

Moments are a midnight at which labels mature, a microsecond in the hours around a fact of a rare kind, any microsecond
where all entities are replayed, and the clock itself, which is the moment that is scored. Features that no replay has
moved are listed: of these it has shown nothing. What no replay can vary, such as the wall clock, is refused by name
before (`store.features.sql_review`). The proof reads and writes nothing else of the store, and measures only; what is
said of it stands in `assets.features.proof`.
"""

import time
from collections.abc import Sequence
from datetime import datetime

from store.features.certificates import Certificate
from store.features.compiled import SOURCE, Build
from store.features.sql_review import RefusedSqlError, refused_sql
from store.proof.counterfactuals import UndeclaredTableError
from store.proof.replays import Replays
from store.proof.row_differences import in_memory
from store.proof.sample import NothingToProveError, Sample, Subject
from store.warehouse.connection import Connection, Model, ReplayError

MAX_OBSERVATIONS = 40_000
"""Observations beyond which those of a sample of the entities are replayed; the facts of all are there for them."""

PROOF_ERRORS = (NothingToProveError, RefusedSqlError, ReplayError, UndeclaredTableError)
"""What keeps a proof from running, and is no matter of the machine or the connection."""


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
        Rows of schema ``raw`` beyond which only those of a sample of the entities are copied; by default as many as the
        engine replays in seconds.
    max_observations : int
        Observations beyond which those of a sample of the entities are replayed.

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
    with connection.scratch("proof", build.relations) as space, in_memory() as memory:
        refuse(build, build.needed_for((*subject.tables, *subject.told)), space.dialect)
        sample = Sample(connection, build, subject, max_facts or space.max_facts, max_observations)
        comparisons = tuple(Replays(sample, space, memory).comparisons())
        entities = sample.entities()
    return Certificate(
        as_of=build.as_of,
        sql_sha256=build.sha256,
        proved_at=proved_at,
        seconds=time.perf_counter() - began,
        features=tuple(sample.features),
        entities=entities,
        entities_share=sample.share,
        comparisons=comparisons,
    )


def refuse(build: Build, models: Sequence[Model], dialect: str) -> None:
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
    # a model that reads itself depends on an earlier build
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
            + "may be added to the lists in store/features/sql_review.py."
        )
