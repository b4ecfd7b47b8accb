"""The proof of an entity that not every table of the source names: projects, whose features are facts of leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from benchmarks.planting import Store, copied
from models.declaring.entity import Entity
from models.declaring.feature_view import FeatureView
from store.features.compiled import in_order, microseconds
from store.proof.point_in_time import prove
from store.proof.sample import Subject
from store.warehouse.connection import Model

if TYPE_CHECKING:
    from pathlib import Path

    from store.features.certificates import Certificate

PROJECT = Entity(
    name="project",
    key="project_id",
    table="intermediate.deals",
    created="proposed_at",
    split_by="project_created_at",
    observations="intermediate.deal_moments",
    closings="intermediate.deal_ends",
)
VIEW = FeatureView(
    name="deal_features",
    entity=PROJECT,
    not_features=("project_id", "as_of", "observation_kind", "project_created_at"),
)
DAY = 86_400_000_000

DEALS = """
select project_id, lead_id, make_timestamptz(proposed_us) as proposed_at, proposed_us as known_us
from "warehouse"."staging"."stg_projects"
"""
ENDS = """
select project_id, greatest(closed_us, proposed_us) as closed_us
from "warehouse"."staging"."stg_projects" where closed_us is not null
"""
MOMENTS = f"""
with moments as (
    select *, known_us - mod(known_us, {DAY}) + days * {DAY} as at_us
    from "warehouse"."intermediate"."deals" cross join (values (1), (8)) as lengths (days)
    union all
    select *, 0 as days, {{clock}} as at_us from "warehouse"."intermediate"."deals"
)
select
    moments.project_id, make_timestamptz(at_us) as as_of, at_us as as_of_us, min('weekly') as observation_kind,
    moments.proposed_at as project_created_at
from moments left join "warehouse"."intermediate"."deal_ends" as ends on moments.project_id = ends.project_id
where at_us <= {{clock}} and moments.known_us < at_us and coalesce(ends.closed_us, at_us) >= at_us
group by all
"""
FEATURES = f"""
select
    moments.project_id, moments.as_of, moments.observation_kind, moments.project_created_at,
    count(facts.known_us) as facts_count_lifetime,
    count(case when facts.known_us >= moments.as_of_us - {{days}} * {DAY} then 1 end) as facts_count_7d
from "warehouse"."intermediate"."deal_moments" as moments
inner join "warehouse"."intermediate"."deals" as deals on moments.project_id = deals.project_id
left join "warehouse"."intermediate"."timeline" as facts
    on deals.lead_id = facts.lead_id and {{known}} < moments.as_of_us
group by all
"""


def proved(random_store: Store, folder: Path, days: int = 7, known: str = "facts.known_us") -> Certificate:
    """Build projects beside the store, and prove them."""
    clock = microseconds(random_store.build.as_of)
    models = [
        Model(name=name, schema=schema, materialized="table", sql=sql.format(clock=clock, days=days, known=known))
        for schema, name, sql in (
            ("intermediate", "deals", DEALS),
            ("intermediate", "deal_ends", ENDS),
            ("intermediate", "deal_moments", MOMENTS),
            ("features", "deal_features", FEATURES),
        )
    ]
    with copied(random_store, folder) as copy, copy.warehouse.connect() as connection:
        for model in models:
            connection.execute(f"create table {model.schema}.{model.name} as {model.sql}")
        build = replace(copy.build, models=in_order([*copy.build.models, *models]))
        subject = Subject(feature_view=VIEW, labels=())
        # as few rows as an engine may copy: all are copied, for nothing tells which of them are about a project
        return prove(connection, build, subject, datetime(2026, 11, 30, tzinfo=UTC), max_facts=100)


def test_what_is_right_passes(random_store: Store, tmp_path: Path) -> None:
    certificate = proved(random_store, tmp_path)
    assert certificate.differences == []
    assert certificate.entities_share == 1
    assert certificate.not_exercised == []
    # no moment of its own for each project: no row of the source says whose moment is its own
    assert set(certificate.rows_by_variant) == {"store", "removed", "scrambled", "forgotten_7d", "past"}
    assert min(certificate.rows_by_variant[name] for name in ("store", "removed", "scrambled")) > 50


@pytest.mark.parametrize(
    ("days", "known", "found"),
    [
        (7, "facts.occurred_us", {"facts_count_lifetime", "facts_count_7d"}),
        (7, f"facts.known_us - {DAY}", {"facts_count_lifetime", "facts_count_7d"}),
        (8, "facts.known_us", {"facts_count_7d"}),
    ],
)
def test_a_leak_is_found(days: int, known: str, found: set[str], random_store: Store, tmp_path: Path) -> None:
    certificate = proved(random_store, tmp_path, days, known)
    assert set(certificate.differing_columns) == {f"features.deal_features.{name}" for name in found}
