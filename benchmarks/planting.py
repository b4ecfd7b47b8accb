"""Plant leaks into a copy of a feature store, and prove it."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.planted_leaks import CUSTOMER, DUCKDB, LEAD, POSTGRES
from models.declared.customer_features import CUSTOMER_FEATURES
from models.declared.lead_features import LEAD_FEATURES
from store.features.compiled import Build, NotCompiledError, microseconds
from store.features.sql_review import RefusedSqlError
from store.proof.counterfactuals import UndeclaredTableError
from store.proof.point_in_time import prove
from store.proof.sample import Subject, quoted
from store.warehouse.connection import ReplayError
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.planted_leaks import Leak
    from store.warehouse.connection import Connection, Model

SUBJECT = Subject(
    feature_view=LEAD_FEATURES,
    labels=(("labels", "conversion"), ("labels", "deal_value"), ("labels", "next_action")),
)
SUBJECTS = {
    LEAD: SUBJECT,
    CUSTOMER: Subject(feature_view=CUSTOMER_FEATURES, labels=(("labels", "churn_30d"), ("labels", "churn_60d"))),
}
_DATABASE = re.compile(r'"[^"]+"(\."[^"]+"\."[^"]+")')
_LAST = re.compile(r"select \* from (\w+)\s*$")


class NotPlantedError(RuntimeError):
    """The text that a leak replaces is not in the SQL of the store."""


@dataclass(frozen=True)
class Store:
    """A warehouse with features and labels, and the SQL that made them.

    Attributes
    ----------
    warehouse : Warehouse
    build : Build
    large_deal : int
        A value that few deals have.
    """

    warehouse: Warehouse
    build: Build
    large_deal: int = 80_000

    @property
    def engine(self) -> str:
        """``duckdb`` or ``postgres``."""
        return DUCKDB if self.warehouse.engine.is_file else POSTGRES


@dataclass(frozen=True)
class Verdict:
    """The verdict of the proof: the columns that differ, or the text of a refusal."""

    columns: frozenset[str] = frozenset()
    refusal: str = ""

    def names(self, leak: Leak) -> bool:
        """Say whether the verdict names the columns or texts by which a leak must be named."""
        if not leak.refused and not leak.is_template:
            return self.columns.issuperset(leak.names)
        # one sentence must have all of them
        return any(all(name in line for name in leak.names) for line in self.refusal.splitlines())


def verdict(store: Store, sampled: Mapping[str, int] | None = None, of: str = LEAD) -> Verdict:
    """Prove the features and labels of an entity, and return the verdict."""
    with store.warehouse.connect() as connection:
        try:
            certificate = prove(connection, store.build, SUBJECTS[of], store.build.as_of, **(sampled or {}))
        except (NotCompiledError, RefusedSqlError, ReplayError, UndeclaredTableError) as error:
            return Verdict(refusal=str(error))
    return Verdict(columns=frozenset(certificate.differing_columns))


@contextmanager
def copied(store: Store, folder: Path) -> Iterator[Store]:
    """Copy a store into a folder, or a PostgreSQL database into another one that is dropped at the end."""
    if store.warehouse.engine.is_file:
        path = folder / "warehouse.duckdb"
        with store.warehouse.connect() as connection:
            # dbt keeps the file open in this process, and its changes may still be in the log
            connection.execute("checkpoint")
        shutil.copy(store.warehouse.shown, path)
        yield replace(store, warehouse=Warehouse(address=f"duckdb:{path}"))
        return
    from store.warehouse.postgres.engine import PostgresConnection

    before, _, query = store.warehouse.address.partition("?")
    server, _, name = before.rpartition("/")
    copy = f"{name}_copy"
    administration = PostgresConnection(f"{server}/postgres?{query}")
    try:
        administration.execute(f"drop database if exists {copy}")
        administration.execute(f"create database {copy} template {name}")
        yield replace(store, warehouse=Warehouse(address=f"{server}/{copy}?{query}"))
        administration.execute(f"drop database {copy} with (force)")
    finally:
        administration.close()


def planted(store: Store, leaks: Sequence[Leak], folder: Path) -> Store:
    """Build a store again with leaks in its SQL.

    Parameters
    ----------
    store : Store
        Its warehouse is changed.
    leaks : sequence of Leak
        No two have the same name.
    folder : Path
        For files.
    """
    with store.warehouse.connect() as connection:
        build = with_leaks(store, leaks, folder, _database(connection))
        for leak in leaks:
            for statement in leak.before:
                connection.execute(_filled(statement, store, folder, _database(connection)))
        statements = {leak.model: leak.statement for leak in leaks if leak.statement}
        changed = [
            new.relation
            for new, old in zip(build.models, store.build.models, strict=True)
            if new.sql != old.sql or new.name in statements
        ]
        rebuilt = [model for model in build.models if model.relation in _reached(build, changed)]
        for model in reversed(rebuilt):
            connection.execute(f'drop {model.materialized} if exists "{model.schema}"."{model.name}" cascade')
        for model in rebuilt:
            _create(connection, model)
            if model.name in statements:
                connection.execute(statements[model.name])
        if store.engine == POSTGRES:
            connection.execute("analyze")
    return replace(store, build=build)


def with_leaks(store: Store, leaks: Sequence[Leak], folder: Path, database: str) -> Build:
    """Return the build of a store with leaks in its SQL, for a database of some name."""
    models = {
        model.name: replace(model, sql=_DATABASE.sub(rf'"{database}"\1', model.sql)) for model in store.build.models
    }
    for leak in leaks:
        if leak.old:
            old, new = (_filled(text, store, folder, database) for text in (leak.old, leak.new))
            model = models[leak.model]
            if model.sql.count(old) != 1:
                raise NotPlantedError(f"{leak.name}: expected {old!r} once in {model.name}")
            models[leak.model] = replace(model, sql=model.sql.replace(old, new))
    for of, subject in SUBJECTS.items():
        if features := [leak for leak in leaks if leak.feature and leak.of == of]:
            view = models[subject.feature_view.name]
            sql = _filled(with_features(view.sql, features, subject), store, folder, database)
            models[view.name] = replace(view, sql=sql)
    return replace(store.build, models=tuple(models[model.name] for model in store.build.models))


def with_features(sql: str, leaks: Sequence[Leak], subject: Subject) -> str:
    """Return the SQL of the feature view with more features."""
    found = _LAST.search(sql)
    if found is None:
        raise NotPlantedError(f"{subject.feature_view.name}: expected a last query that selects everything")
    key = subject.key
    observations = "{db}." + quoted(subject.observations)
    same = f"{{0}}.{key} = {{1}}.{key} and {{0}}.as_of = {{1}}.as_of"
    joined, listed = "", []
    for number, over in enumerate(dict.fromkeys(leak.over for leak in leaks)):
        members = [leak for leak in leaks if leak.over == over]
        if not over:
            listed += [f"{leak.feature} as {leak.name}" for leak in members]
            continue
        aggregates = ", ".join(f"{leak.feature} as {leak.name}" for leak in members)
        joined += (
            f" left join (select observed.{key}, observed.as_of, {aggregates} from {observations} as observed "
            f"left join {over} as facts on observed.{key} = facts.{key} "
            f"group by observed.{key}, observed.as_of) as over_{number} on " + same.format("observed", f"over_{number}")
        )
        listed += [f"over_{number}.{leak.name}" for leak in members]
    return (
        f"{sql[: found.start()]}select scored.*, {', '.join(listed)} from {found[1]} as scored "
        f"inner join {observations} as observed on {same.format('scored', 'observed')}{joined}"
    )


def with_templates(project: Path, leaks: Sequence[Leak]) -> None:
    """Plant leaks into the templates of a dbt project in a folder, each into another model."""
    for leak in leaks:
        if leak.place:
            schema, name = leak.place.split(".")
            (path,) = (project / "models" / schema).rglob(f"{name}.sql")
            text = leak.head + path.read_text(encoding="utf-8").rstrip()
            if leak.column:
                text, places = _LAST.subn(r"select \1.*, {planted} as planted from \1", text)
                if places != 1:
                    raise NotPlantedError(f"{leak.name}: expected a last query in {name} that selects everything")
                text = text.replace("{planted}", leak.column)
            path.write_text(text, encoding="utf-8")
        for name, text in leak.files.items():
            path = project / name
            path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + text, encoding="utf-8")


def _reached(build: Build, changed: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    reached = set(changed)
    for model in build.models:
        if model.reads & reached:
            reached.add(model.relation)
    return reached


def _create(connection: Connection, model: Model) -> None:
    connection.execute(f'create {model.materialized} "{model.schema}"."{model.name}" as {model.sql}')


def _database(connection: Connection) -> str:
    ((name,),) = connection.execute("select current_database()").fetchall()
    return str(name)


def _filled(text: str, store: Store, folder: Path, database: str) -> str:
    on_duckdb = store.engine == DUCKDB
    for name, value in {
        "db": f'"{database}"',
        "name": database,
        "clock": str(microseconds(store.build.as_of)),
        "folder": str(folder),
        "large_deal": str(store.large_deal),
        # the schema in which an engine looks up a name without a schema
        "path": "main." if on_duckdb else "public.",
        "row_id": "rowid" if on_duckdb else "ctid",
    }.items():
        text = text.replace(f"{{{name}}}", value)
    return text
