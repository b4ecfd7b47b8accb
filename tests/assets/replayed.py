"""A store built by dbt from a random CRM on either engine, and leaks that are planted in its compiled SQL."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from assets.compiled import Build, Model, of_run
from assets.point_in_time import Subject
from assets.warehouse import Warehouse
from tests.dbt.random_crm import CLOCK, CLOSING_OUTCOMES, random_crm
from tests.dbt.warehouses import DuckDB, Postgres
from tests.postgres import database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LEADS = 300
SUBJECT = Subject(
    view=("features", "lead_features"),
    key="lead_id",
    labels=(("labels", "conversion"), ("labels", "next_action")),
    at_census=(("intermediate", "lead_values"),),
)
VARIABLES = {
    "as_of": CLOCK.isoformat(timespec="microseconds"),
    "closing_outcomes": CLOSING_OUTCOMES,
    "silence_closes_after_days": None,
    "conversion_horizon_days": 30,
    "next_action_horizon_days": 7,
}
DAY = 86_400_000_000
FACTS = (
    'select count(*) from {db}."intermediate"."timeline" as facts '
    "where facts.lead_id = observed.lead_id and facts.known_us"
)
WINS_OF_SOURCE = (
    'select count(*) from {db}."intermediate"."timeline" as facts inner join {db}."staging"."stg_leads" as leads '
    'on facts.lead_id = leads.lead_id inner join {db}."staging"."stg_leads" as own '
    "on leads.lead_source = own.lead_source where own.lead_id = observed.lead_id "
    "and facts.fact = 'project_closed' and facts.outcome = 'won'"
)

FEATURE_LEAKS = {
    "status_of_today": 'select status from {db}."raw"."leads" as leads where leads.lead_id = observed.lead_id',
    "owner_of_today": 'select assigned_to from {db}."raw"."leads" as leads where leads.lead_id = observed.lead_id',
    "answers_counted_when_asked": (
        'select count(*) from {db}."staging"."stg_interactions" as asked where asked.lead_id = observed.lead_id '
        "and asked.known_us < observed.as_of_us and asked.responded_us is not null"
    ),
    "facts_with_as_of_count_7d": f"{FACTS} <= observed.as_of_us and facts.known_us >= observed.as_of_us - 7 * {DAY}",
    "facts_of_a_day_more_count_7d": f"{FACTS} < observed.as_of_us and facts.known_us >= observed.as_of_us - 8 * {DAY}",
    "facts_of_a_microsecond_more_count_30d": (
        f"{FACTS} < observed.as_of_us and facts.known_us >= observed.as_of_us - 30 * {DAY} - 1"
    ),
    "happened_but_not_recorded_count": (
        f"{FACTS} is not null and facts.occurred_us < observed.as_of_us and facts.fact = 'interaction'"
    ),
    "record_with_its_own_deal": (
        f"{WINS_OF_SOURCE} and (facts.known_us < observed.as_of_us or facts.lead_id = observed.lead_id)"
    ),
    "record_up_to_as_of": f"{WINS_OF_SOURCE} and facts.known_us <= observed.as_of_us",
    "record_of_later_deals": f"{WINS_OF_SOURCE} and facts.lead_id <> observed.lead_id",
}
"""Features that a store must not have, as expressions over ``observed``."""

LABEL_LEAKS = {
    # the last day before as_of, which the features know
    "next_action": (
        "actions.occurred_us >= matured.as_of_us",
        f"actions.occurred_us >= matured.as_of_us - {DAY}",
    ),
    # a week after it has matured, which is not over yet
    "conversion": ("facts.known_us < matured.matures_us", f"facts.known_us < matured.matures_us + 7 * {DAY}"),
}
"""Horizons that overlap with what is not theirs: old and new text, by label."""

OWN_FEATURES = {
    "answers_known_count": f"{FACTS} < observed.as_of_us and facts.fact = 'responded'",
    "facts_by_day_count_7d": f"{FACTS} < observed.as_of_us and facts.known_us >= observed.as_of_us - 7 * {DAY}",
    "record_of_others": (
        f"{WINS_OF_SOURCE} and facts.lead_id <> observed.lead_id and facts.known_us < observed.as_of_us"
    ),
}
"""The same things as they should be."""


@dataclass(frozen=True)
class Store:
    """A warehouse with features and labels, and the SQL that made them."""

    warehouse: Warehouse
    build: Build


def built(kind: DuckDB | Postgres, scratch: Path, *, leads: int = LEADS, **variables: object) -> Store:
    """Fill a warehouse with a random CRM, and let dbt build features and labels."""
    given = {**VARIABLES, **variables}
    kind.load(random_crm(seed=7, leads=leads))
    kind.dbt("run", scratch, given, "--select", "+lead_features +conversion +next_action +lead_values")
    address = f"duckdb:{kind.path}" if isinstance(kind, DuckDB) else kind.address
    return Store(Warehouse(address=address), of_run(scratch / kind.target, given))


@contextmanager
def copied(store: Store, folder: Path) -> Iterator[Store]:
    """Copy a store, for a test that changes it."""
    if store.warehouse.is_file:
        path = folder / "warehouse.duckdb"
        with store.warehouse.connect() as connection:
            # dbt keeps the file open in this process, and what it wrote may lie beside it
            connection.execute("checkpoint")
        shutil.copy(store.warehouse.path, path)
        yield replace(store, warehouse=Warehouse(address=f"duckdb:{path}"))
        return
    address = store.warehouse.address
    with database(address.replace(_name_of(address), "postgres"), copy_of=_name_of(address)) as copy:
        yield replace(store, warehouse=Warehouse(address=copy))


def _name_of(address: str) -> str:
    return urlsplit(address).path.removeprefix("/")


def planted(store: Store, features: Mapping[str, str], labels: Mapping[str, tuple[str, str]]) -> Store:
    """Build features and labels again by SQL with more features, and with labels of another text."""
    models = {model.name: model for model in store.build.models}
    changed = {
        "lead_features": with_features(models["lead_features"], features),
        **{name: edited(models[name], old, new) for name, (old, new) in labels.items()},
    }
    with store.warehouse.connect() as connection:
        (database,) = connection.execute("select current_database()").fetchone()
        for model in changed.values():
            connection.execute(f"drop table {model.schema}.{model.name}")
            # a copy has another name than the database that the text was compiled for
            sql = re.sub(r'"[^"]+"(\."[^"]+"\."[^"]+")', rf'"{database}"\1', model.sql)
            connection.execute(f"create table {model.schema}.{model.name} as {sql}")
    models |= changed
    return replace(store, build=replace(store.build, models=tuple(models[each.name] for each in store.build.models)))


def with_features(model: Model, added: Mapping[str, str]) -> Model:
    """Return the feature view with more features: expressions over ``observed``, a row of the observations."""
    end = "select * from scored"
    body = model.sql.rstrip()
    assert body.endswith(end)
    (database,) = set(re.findall(r'"([^"]+)"\."intermediate"\."observations_due"', body))
    listed = ", ".join(f"({value}) as {name}" for name, value in added.items())
    select = (
        f'select scored.*, {listed} from scored inner join {{db}}."intermediate"."observations" as observed '
        "on scored.lead_id = observed.lead_id and scored.as_of = observed.as_of"
    )
    return replace(model, sql=body.removesuffix(end) + select.replace("{db}", f'"{database}"'))


def edited(model: Model, old: str, new: str) -> Model:
    """Return a model with another text in one place."""
    assert model.sql.count(old) == 1, f"{model.name}: {old}"
    return replace(model, sql=model.sql.replace(old, new))
