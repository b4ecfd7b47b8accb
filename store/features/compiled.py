"""The SQL that dbt compiled for the last build of the feature store: kept as text, and run again on other tables.

Names of relations are quoted in the text (``"database"."schema"."table"``), so that they can be replaced exactly: the
SQL that built the store then reads other tables and writes to another place.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from models.artifacts import UnreadableFileError, read_object, replace_file
from models.declaring.entity import Entity
from store.warehouse.connection import Model, Name, Related, named

SOURCE = "raw"
"""The schema that the feature store is built from."""

DAY_US = 86_400_000_000
"""A day in microseconds, as the compiled SQL writes it."""


class NotCompiledError(RuntimeError):
    """The SQL of the last build is missing or incomplete; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """The models that dbt ran to build the feature store.

    Attributes
    ----------
    variables : dict
        Variables of the dbt project.
    models : tuple of Model
        Each after those that it reads.
    refused : tuple of str or None
        Forbidden parts of the models' templates; None where the templates were not reviewed.
    """

    variables: dict[str, Any]
    models: tuple[Model, ...]
    refused: tuple[str, ...] | None = None

    def reviewed(self) -> tuple[str, ...]:
        """Return the forbidden parts of the templates, as `store.features.sql_review.refused_templates` lists them.

        Raises
        ------
        NotCompiledError
            If the templates were not reviewed.
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
        """The hash of the SQL and its clock."""
        texts = sorted(f"{model.schema}\0{model.name}\0{model.sql}" for model in self.models)
        return hashlib.sha256("\0\0".join(texts).encode()).hexdigest()

    @property
    def relations(self) -> frozenset[Name]:
        """Every relation that a model makes or reads."""
        return frozenset().union(*({model.relation, *model.reads} for model in self.models))

    def at(self, as_of: datetime) -> "Build":
        """Return the build at another clock, which stands in the SQL as microseconds since 1970."""
        clock = str(microseconds(as_of))
        models = tuple(
            replace(model, sql=model.sql.replace(str(microseconds(self.as_of)), clock)) for model in self.models
        )
        variables = {**self.variables, "as_of": as_of.isoformat(timespec="microseconds")}
        return replace(self, variables=variables, models=models)

    def over(self, label: str, days: int) -> "Build":
        """Return the build with a label over another horizon, which its SQL has as ``<days> * <a day>``.

        Raises
        ------
        NotCompiledError
            If the SQL of the label lacks that text.
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

    def needed_for(self, targets: Iterable[Name], existing: Collection[Name] = ()) -> list[Model]:
        """Return the models that make some relations, each after those that it reads.

        Parameters
        ----------
        targets : iterable of Name
        existing : collection of Name
            Relations that exist already: neither they nor models that only they read are needed.

        Raises
        ------
        NotCompiledError
            If a relation is made by no model of the build.
        """
        by_relation = {model.relation: model for model in self.models}
        needed: dict[Name, Model] = {}
        wanted = list(targets)
        while wanted:
            relation = wanted.pop()
            if relation in needed or relation in existing or relation[0] == SOURCE:
                continue
            if relation not in by_relation:
                raise NotCompiledError(
                    f"compiled SQL of the build at {self.variables['as_of']}: expected the model {'.'.join(relation)}, "
                    f"found {', '.join('.'.join(each) for each in by_relation) or 'none'}. "
                    "Materialize staging, intermediate, features and labels again, all of them."
                )
            needed[relation] = by_relation[relation]
            wanted += by_relation[relation].reads
        return [model for model in self.models if model.relation in needed]

    def affected_by(self, changed: Collection[Name], targets: Iterable[Name]) -> list[Model]:
        """Return the models that must run again to make `targets` after the relations in `changed` have changed."""
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


def open_at(place: Related, entity: Entity, moment: datetime) -> str:
    """Return a query for observations of every entity that was open at a moment."""
    at = f"cast({microseconds(moment)} as bigint)"
    return f"{observed(place, entity, timestamp_literal(moment), at)} where {is_open(entity, at)}"


def observed(place: Related, entity: Entity, as_of: str, as_of_us: str, joined: str = "") -> str:
    """Return a query for observations of entities, in the columns of `Entity.observations`, without its conditions.

    Parameters
    ----------
    place : Related
    entity : Entity
    as_of, as_of_us : str
        The moment, as SQL.
    joined : str
        Further join of the entities, as SQL.
    """
    return (
        f"select entities.{entity.key}, {as_of} as as_of, {as_of_us} as as_of_us, 'asked' as observation_kind, "
        f"entities.{entity.created} as {entity.split_by} from {place.relation(named(entity.table))} as entities "
        f"{joined}{closings_of(place, entity)}"
    )


def closings_of(place: Related, entity: Entity) -> str:
    """Return the join of ``entities`` with their closings; an empty text where entities never close."""
    if not entity.closings:
        return ""
    closings = place.relation(named(entity.closings))
    return f" left join {closings} as closings on entities.{entity.key} = closings.{entity.key}"


def is_open(entity: Entity, at: str) -> str:
    """Return the condition that an entity is known before a moment, and has not closed before it.

    Parameters
    ----------
    entity : Entity
    at : str
        Microseconds since 1970, as SQL.
    """
    closed = f" and (closings.closed_us is null or closings.closed_us >= {at})" if entity.closings else ""
    return f"entities.known_us < {at}{closed}"


def of_run(target: Path, variables: Mapping[str, Any], earlier: Build | None = None) -> Build:
    """Return the build that an invocation of dbt ran.

    Parameters
    ----------
    target : Path
        The folder of its ``manifest.json`` and ``run_results.json``.
    variables : mapping of str to object
        Variables of the invocation.
    earlier : Build, optional
        The build that was kept before. If it has the same variables, its models that did not run now are kept;
        otherwise they are left out, because they were not built at this clock.
    """
    from store.features.sql_review import refused_templates

    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    ran = {
        each["unique_id"]: each["compiled_code"]
        for each in results
        if each["status"] == "success" and each["unique_id"].startswith("model.")
    }
    models = [model_of(manifest["nodes"][key], sql) for key, sql in ran.items()]
    if earlier is not None and earlier.variables == dict(variables):
        rerun = {model.relation for model in models}
        models += [model for model in earlier.models if model.relation not in rerun]
    layers = {manifest["nodes"][key]["fqn"][1] for key in ran}
    refused = tuple(refused_templates(manifest, layers))
    return Build(variables=dict(variables), models=in_order(models), refused=refused)


def in_order(models: Iterable[Model]) -> tuple[Model, ...]:
    """Return models in an order in which they can be built."""
    by_relation = {model.relation: model for model in sorted(models, key=lambda each: each.relation)}
    order = TopologicalSorter({key: model.reads & by_relation.keys() - {key} for key, model in by_relation.items()})
    return tuple(by_relation[key] for key in order.static_order())


def model_of(node: Mapping[str, Any], sql: str) -> Model:
    """Return a node of a manifest with its compiled SQL as a model."""
    materialized = "view" if node["config"]["materialized"] == "view" else "table"
    return Model(name=node["name"], schema=node["schema"], materialized=materialized, sql=sql)


def write(path: Path, build: Build) -> None:
    """Keep a build, and replace an earlier one."""
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
        If no build is kept, or the file is damaged.
    """
    try:
        content = read_object(path)
        refused = content.get("refused")
        build = Build(
            variables=dict(content["variables"]),
            models=tuple(Model(**model) for model in content["models"]),
            refused=None if refused is None else tuple(refused),
        )
        # a build without a clock is damaged as well
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
