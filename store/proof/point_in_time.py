"""The proof that features and labels are correct at their time: it replays the SQL that made them on changed data.

A replay changes facts that features and labels must not depend on, and compares the rows. It runs the compiled SQL in a
world of its own (`store.warehouse.connection.World`), which holds only copies of schema ``raw``. The variants are:

``store``
    Unchanged copies. The rows must be those of the store.
``removed``
    Copies without the facts, and parts of facts, known at a moment T or later; the clock of the SQL is T. Observations
    before T and their features, features of every entity open at T, and labels that had matured by T must be the same.
``scrambled``
    Copies with another future from T on: more than a quarter of it is known exactly at T, and every entity gets
    additional facts. The same rows must be the same.
``staggered``
    As ``scrambled``, but only half of the entities change, each from a moment of its own: one of its observations or
    any second. So the replay cuts the history at many times. A feature that moves in the unchanged half is about other
    entities, and only the common moments test it. Omitted if rows of the sources do not have the key of the entity.
``forgotten_<n>d``
    Copies with only the entities, the n days before T, and facts at the edge of these days. Features with ``_<n>d`` in
    their name must be the same for every entity open at T.
``past``
    Copies with another past up to T and the same open entities. Labels must be the same for every entity open at T.
    At the last T, facts on which labels depend change in a copy of its own, which shows which features move.

The moments T are a midnight at which labels mature, a microsecond in the hours around a fact of a rare kind, any
microsecond if all entities are replayed, and the clock itself, which is the moment of scoring. The certificate lists
features that no replay has moved: the proof shows nothing about them. SQL that depends on things that no replay can
change, such as the wall clock, is refused before (`store.features.sql_review`). The proof only measures;
`assets.features.proof` decides from it.
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
"""With more observations, only those of a sample of the entities are replayed, with the facts of all entities."""

PROOF_ERRORS = (NothingToProveError, RefusedSqlError, ReplayError, UndeclaredTableError)
"""Errors that keep a proof from running, other than those of the machine or the connection."""


def prove(
    connection: Connection,
    build: Build,
    subject: Subject,
    proved_at: datetime,
    *,
    max_facts: int | None = None,
    max_observations: int = MAX_OBSERVATIONS,
) -> Certificate:
    """Replay a build on changed copies of its sources, and compare the rows.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    build : Build
    subject : Subject
    proved_at : datetime
        The present.
    max_facts : int, optional
        With more rows in schema ``raw``, only those of a sample of the entities are copied; by default as many as the
        engine replays in seconds.
    max_observations : int
        With more observations, only those of a sample of the entities are replayed.

    Raises
    ------
    NothingToProveError
        If there are no observations.
    NotCompiledError
        If the SQL of the build is incomplete.
    RefusedSqlError
        If the SQL has parts that no replay can change.
    ReplayError
        If a model reads a relation that is neither a source nor a model of the feature store, or does not run.
    UndeclaredTableError
        If the SQL reads a table that the contract does not declare.
    """
    began = time.perf_counter()
    with connection.scratch("proof", build.relations) as space, in_memory() as memory:
        refuse(build, build.needed_for((*subject.tables, *subject.entity_tables)), space.dialect)
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


def is_empty(connection: Connection, subject: Subject) -> bool:
    """Say whether a feature view and its labels have no rows, as those of an entity that the source does not have."""
    return not any(
        connection.execute(f'select 1 from "{schema}"."{name}" limit 1').fetchone()
        for schema, name in (subject.view, *subject.labels)
    )


def of_no_rows(build: Build, proved_at: datetime) -> Certificate:
    """Return the certificate of a feature view without rows, in which nothing can be wrong."""
    return Certificate(
        as_of=build.as_of,
        sql_sha256=build.sha256,
        proved_at=proved_at,
        seconds=0.0,
        features=(),
        entities=0,
        entities_share=1.0,
        comparisons=(),
    )


def refuse(build: Build, models: Sequence[Model], dialect: str) -> None:
    """Refuse SQL with parts that no replay can change.

    Raises
    ------
    NotCompiledError
        If the templates of the build were not reviewed.
    RefusedSqlError
        If the SQL or a template has such a part.
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
            + "\nNo replay can show what these depend on. Write them in another way. A function that depends on its "
            + "arguments alone may be added to the lists in store/features/sql_review.py."
        )
