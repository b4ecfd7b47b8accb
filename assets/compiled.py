"""The SQL that dbt compiled for the last build of the feature store: kept as text, and run again in another place.

Names of relations are quoted in it (``"database"."schema"."table"``), so that they can be replaced exactly: the very
text that made the store reads other tables and writes elsewhere. Nothing here knows Dagster.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Protocol

from assets.postgres import WHOLE_TABLES, PostgresConnection
from assets.sql_review import refused_templates
from models.artifacts import UnreadableFileError, read_object, replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from assets.warehouse import Connection

Name = tuple[str, str]
"""Schema and name of a relation."""

SOURCE = "raw"
"""The schema that the feature store is built from."""

OBSERVATIONS: Name = ("intermediate", "observations")
"""The relation that says for which leads and moments features and labels are made."""

LEADS: Name = ("staging", "stg_leads")
CLOSINGS: Name = ("intermediate", "lead_closings")
"""The relations that say which leads there are at a moment, and which of them are open."""

DAY_US = 86_400_000_000
"""A day in microseconds, as the SQL has it."""

_RELATION = re.compile(r'"([^"]+)"\."([^"]+)"\."([^"]+)"')


class NotCompiledError(RuntimeError):
    """The SQL of the last build is not there, or not whole; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A compiled dbt model: where it is written, how, and its query."""

    name: str
    schema: str
    materialized: str
    sql: str

    @property
    def relation(self) -> Name:
        """Where it is written."""
        return self.schema, self.name

    @property
    def reads(self) -> frozenset[Name]:
        """The relations that its query names."""
        return frozenset((schema, name) for _, schema, name in _RELATION.findall(self.sql))


@dataclass(frozen=True, kw_only=True)
class Build:
    """What dbt ran to build the feature store.

    Attributes
    ----------
    variables : dict
        Those of the dbt project.
    models : tuple of Model
        Each after those that it reads.
    refused : tuple of str or None
        What the templates of its models hold and may not; None where they were not reviewed.
    """

    variables: dict[str, Any]
    models: tuple[Model, ...]
    refused: tuple[str, ...] | None = None

    def reviewed(self) -> tuple[str, ...]:
        """Return what the templates hold and may not, as `assets.sql_review.refused_templates` says.

        Raises
        ------
        NotCompiledError
            If they were not reviewed.
        """
        if self.refused is None:
            raise NotCompiledError(
                "Expected a build whose templates were reviewed, found one that an earlier version of Leadline made. "
                "Materialize staging, intermediate, features and labels again."
            )
        return self.refused

    @property
    def as_of(self) -> datetime:
        """The clock that is written into the SQL."""
        return datetime.fromisoformat(self.variables["as_of"])

    @property
    def sha256(self) -> str:
        """The hash of the text: the same SQL on the same clock has the same."""
        texts = sorted(f"{model.schema}\0{model.name}\0{model.sql}" for model in self.models)
        return hashlib.sha256("\0\0".join(texts).encode()).hexdigest()

    @property
    def relations(self) -> frozenset[Name]:
        """All that is made or read."""
        return frozenset().union(*({model.relation, *model.reads} for model in self.models))

    def at(self, as_of: datetime) -> Build:
        """Return the build at another clock, which stands in the SQL as microseconds since 1970."""
        clock = str(microseconds(as_of))
        models = tuple(
            replace(model, sql=model.sql.replace(str(microseconds(self.as_of)), clock)) for model in self.models
        )
        variables = {**self.variables, "as_of": as_of.isoformat(timespec="microseconds")}
        return replace(self, variables=variables, models=models)

    def over(self, label: str, days: int) -> Build:
        """Return the build with a label over another horizon, which stands in its SQL as days times a day.

        Raises
        ------
        NotCompiledError
            If it does not stand there.
        """
        variable = f"{label}_horizon_days"
        written = f"{self.variables[variable]} * {DAY_US}"
        if not any(model.name == label and written in model.sql for model in self.models):
            raise NotCompiledError(f"compiled SQL of labels.{label}: expected its horizon as {written!r}, found none.")
        models = tuple(
            replace(model, sql=model.sql.replace(written, f"{days} * {DAY_US}")) if model.name == label else model
            for model in self.models
        )
        return replace(self, variables={**self.variables, variable: days}, models=models)

    def needed_for(self, targets: Iterable[Name], given: Collection[Name] = ()) -> list[Model]:
        """Return the models that make some relations, each after those that it reads.

        Parameters
        ----------
        targets : iterable of Name
        given : collection of Name
            Relations that are there already: neither they nor what only they read is needed.

        Raises
        ------
        NotCompiledError
            If a relation is made by no model of the build.
        """
        by_relation = {model.relation: model for model in self.models}
        needed: dict[Name, Model] = {}
        ahead = list(targets)
        while ahead:
            relation = ahead.pop()
            if relation in needed or relation in given or relation[0] == SOURCE:
                continue
            if relation not in by_relation:
                raise NotCompiledError(
                    f"compiled SQL of the build at {self.variables['as_of']}: expected the model {'.'.join(relation)}, "
                    f"found {', '.join('.'.join(each) for each in by_relation) or 'none'}. "
                    "Materialize staging, intermediate, features and labels again, all of them."
                )
            needed[relation] = by_relation[relation]
            ahead += by_relation[relation].reads
        return [model for model in self.models if model.relation in needed]

    def affected_by(self, changed: Collection[Name], targets: Iterable[Name]) -> list[Model]:
        """Return the models that must run anew for some relations when others have changed, and only those."""
        affected = set(changed)
        for model in self.models:
            if model.reads & affected:
                affected.add(model.relation)
        untouched = {model.relation for model in self.models} - affected
        return self.needed_for(targets, {*changed, *untouched})


def microseconds(moment: datetime) -> int:
    """Return a moment in microseconds since 1970, as the clock of the SQL counts."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def timestamp_literal(moment: datetime) -> str:
    """Return a moment as both engines write a timestamp with time zone."""
    return f"timestamptz '{moment.isoformat(timespec='microseconds')}'"


def of_run(target: Path, variables: Mapping[str, Any], earlier: Build | None = None) -> Build:
    """Return what an invocation of dbt ran.

    Parameters
    ----------
    target : Path
        The folder of its ``manifest.json`` and ``run_results.json``.
    variables : mapping of str to object
        Those that it was given.
    earlier : Build, optional
        What was kept before. Where it had the same variables, models that did not run now keep its text; otherwise
        they are left out, for they have not been built at this clock.
    """
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    ran = {
        each["unique_id"]: each["compiled_code"]
        for each in results
        if each["status"] == "success" and each["unique_id"].startswith("model.")
    }
    models = [_model(manifest["nodes"][key], sql) for key, sql in ran.items()]
    if earlier is not None and earlier.variables == dict(variables):
        anew = {model.relation for model in models}
        models += [model for model in earlier.models if model.relation not in anew]
    layers = {manifest["nodes"][key]["fqn"][1] for key in ran}
    refused = tuple(refused_templates(manifest, layers))
    return Build(variables=dict(variables), models=in_order(models), refused=refused)


def of_manifest(manifest: Mapping[str, Any], layers: Collection[str]) -> tuple[Model, ...]:
    """Return the models of some layers (folders below ``models``) of a manifest that ``dbt compile`` wrote."""
    return in_order(
        _model(node, node["compiled_code"])
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["fqn"][1] in layers
    )


def in_order(models: Iterable[Model]) -> tuple[Model, ...]:
    """Return models in an order in which they can be built."""
    by_relation = {model.relation: model for model in sorted(models, key=lambda each: each.relation)}
    order = TopologicalSorter({key: model.reads & by_relation.keys() - {key} for key, model in by_relation.items()})
    return tuple(by_relation[key] for key in order.static_order())


def _model(node: Mapping[str, Any], sql: str) -> Model:
    materialized = "view" if node["config"]["materialized"] == "view" else "table"
    return Model(name=node["name"], schema=node["schema"], materialized=materialized, sql=sql)


def write(path: Path, build: Build) -> None:
    """Keep a build in place of the one that is there."""
    content = {
        "variables": build.variables,
        "refused": build.refused,
        "models": [asdict(model) for model in build.models],
    }
    replace_file(path, json.dumps(content, indent=1))


def read(path: Path) -> Build:
    """Read the build that is kept.

    Raises
    ------
    NotCompiledError
        If there is none, or the file is damaged.
    """
    try:
        content = read_object(path)
        refused = content.get("refused")
        build = Build(
            variables=dict(content["variables"]),
            models=tuple(Model(**model) for model in content["models"]),
            refused=None if refused is None else tuple(refused),
        )
        # what is not there at all is damage as well
        _ = build.as_of
    except FileNotFoundError:
        found = "no file"
    except UnreadableFileError as error:
        found = error.found
    except (KeyError, TypeError, ValueError) as error:
        found = f"JSON that is no build ({error!r})"
    else:
        return build
    raise NotCompiledError(
        f"{path}: expected the SQL of the last build of the feature store, found {found}. Materialize staging, "
        "intermediate, features and labels, which keep it there."
    )


class Related(Protocol):
    """A place that says how a query names its relations."""

    def relation(self, name: Name) -> str:
        """Return a relation as a query names it."""


class Place:
    """A place beside the tables of a warehouse, in which the compiled SQL finds some tables in place of those.

    Made by `Scratch.place`.
    """

    def __init__(self, connection: Connection, name: str, prefix: str) -> None:
        self._connection = connection
        self._name = name
        self._prefix = prefix
        self._in_database = isinstance(connection, PostgresConnection)
        self._database: str = connection.execute("select current_database()").fetchall()[0][0]
        self._there: set[Name] = set()
        self._schemas: set[str] = set()

    @property
    def made(self) -> frozenset[Name]:
        """What was made here."""
        return frozenset(self._there)

    def relation(self, name: Name) -> str:
        """Return a relation, quoted: that of this place, where there is one, or that of the warehouse."""
        if name not in self._there:
            return f'"{self._database}"."{name[0]}"."{name[1]}"'
        return self._own(name)

    def placed(self, name: Name) -> Name:
        """Return schema and name under which a PostgreSQL database has a relation of this place."""
        return f"{self._name}_{name[0]}", name[1]

    def translated(self, sql: str) -> str:
        """Return SQL that names relations of the warehouse with those of this place in their stead."""

        def found_here(found: re.Match[str]) -> str:
            # another place is named where it is meant
            return found[0] if found[1].startswith(f"{self._prefix}_") else self.relation((found[2], found[3]))

        return _RELATION.sub(found_here, sql)

    def make(self, name: Name, query: str, *, kind: str = "table") -> None:
        """Make a table or view of a query, whose names are translated; what it makes is read here from now on."""
        query = self.translated(query)
        schema = self._own(name).rpartition(".")[0]
        if schema not in self._schemas:
            self._connection.execute(f"create schema {schema.rpartition('.')[2] if self._in_database else schema}")
            self._schemas.add(schema)
        # what is gone in seconds needs no log
        stored = "unlogged table" if self._in_database and kind == "table" else kind
        self._connection.execute(f"create {stored} {self._own(name)} as {query}")
        self._there.add(name)
        if kind == "table":
            self._analyze(name)

    def fill(self, name: Name, query: str) -> None:
        """Make a table with the columns of that of the warehouse, and fill it by a query with the same ones."""
        query = self.translated(query)
        self.make(name, f"select * from {self.relation(name)} limit 0")
        self._connection.execute(f"insert into {self._own(name)} {query}")
        self._analyze(name)

    def run(self, models: Iterable[Model]) -> None:
        """Run models here, in their order."""
        for model in models:
            self.make(model.relation, model.sql, kind=model.materialized)

    def drop(self) -> None:
        """Drop everything that was made here."""
        if self._in_database:
            for schema in self._schemas:
                self._connection.execute(f"drop schema {schema.rpartition('.')[2]} cascade")
        else:
            self._connection.execute(f'detach "{self._name}"')
        self._there.clear()
        self._schemas.clear()

    def _analyze(self, name: Name) -> None:
        if self._in_database:
            # nobody else can see it, and so nobody else will count its rows for the planner
            self._connection.execute(f"analyze {self._own(name)}")

    def _own(self, name: Name) -> str:
        if self._in_database:
            return f'"{self._database}"."{self._name}_{name[0]}"."{name[1]}"'
        return f'"{self._name}"."{name[0]}"."{name[1]}"'


class Scratch:
    """Makes places beside the tables of a warehouse: databases in memory, or schemas of an open transaction."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._in_database = isinstance(connection, PostgresConnection)
        self._made = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Make a place, and drop it at the end."""
        self._made += 1
        name = f"{self._prefix}_{self._made}"
        if not self._in_database:
            self._connection.execute(f"attach ':memory:' as \"{name}\"")
        place = Place(self._connection, name, self._prefix)
        try:
            yield place
        except Exception:
            # a database refuses everything after an error, and rolls all of it back
            if not self._in_database:
                place.drop()
            raise
        place.drop()


def open_at(place: Related, moment: datetime) -> str:
    """Return a query for observations of every lead that was open at a moment, in the columns of `OBSERVATIONS`."""
    at = microseconds(moment)
    return (
        f"select leads.lead_id, {timestamp_literal(moment)} as as_of, cast({at} as bigint) as as_of_us, "
        f"'asked' as observation_kind, leads.created_at as lead_created_at from {place.relation(LEADS)} as leads "
        f"left join {place.relation(CLOSINGS)} as closings on leads.lead_id = closings.lead_id "
        f"where leads.known_us < {at} and (closings.closed_us is null or closings.closed_us >= {at})"
    )


@contextmanager
def scratch(connection: Connection, prefix: str, reads: Collection[Name] = ()) -> Iterator[Scratch]:
    """Make places beside the tables of a warehouse while the context lasts.

    On PostgreSQL they are schemas ``<prefix>_<pid>_<n>_<schema>`` in a transaction that is never committed: nobody sees
    them, and nothing of them is left, also where the process is killed. The transaction reads one state of the
    database, of the moment at which it begins.

    Parameters
    ----------
    connection : Connection
        Used for nothing else that writes meanwhile.
    prefix : str
        The beginning of the names.
    reads : collection of Name
        What is read of the warehouse, so far as it is there.
    """
    if isinstance(connection, PostgresConnection):
        # of those who ask at once, each has names of its own, or one would wait for the other
        (pid,) = connection.execute("select pg_backend_pid()").fetchall()[0]
        while not _holds(connection, reads):
            connection.rollback()
        for setting in WHOLE_TABLES:
            connection.execute(setting)
        try:
            yield Scratch(connection, f"{prefix}_{pid}")
        finally:
            connection.rollback()
    else:
        yield Scratch(connection, prefix)


def _holds(connection: PostgresConnection, reads: Collection[Name]) -> bool:
    """Begin to read one state of the database and hold what is read; False where a build has just dropped some."""
    from adbc_driver_manager import ProgrammingError

    there = set(connection.execute("select table_schema, table_name from information_schema.tables").fetchall())
    connection.begin()
    connection.execute("set transaction isolation level repeatable read")
    if held := sorted(there.intersection(reads)):
        # locked before the first query, which fixes the state: a table that a build swaps in after it looks empty
        listed = ", ".join(f'"{schema}"."{name}"' for schema, name in held)
        try:
            connection.execute(f"lock table {listed} in access share mode")
        except ProgrammingError as error:
            # undefined_table
            if error.sqlstate != "42P01":
                raise
            return False
    return True
