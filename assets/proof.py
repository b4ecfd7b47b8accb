"""Layer `features`, checked on real data: what was not known then is in no value. `assets.point_in_time` measures."""

from collections.abc import Sequence

import dagster as dg

from assets.certificate import Certificate, Difference
from assets.compiled import Name
from assets.point_in_time import Subject, prove
from assets.resources import WAREHOUSE_POOL, Clock, CompiledSql
from assets.warehouse import Warehouse
from models.declaration import FeatureView
from models.registry import DECLARATIONS

SHOWN = 50
"""Differences that a failure shows, the first of each column in each replay; the certificate has them all."""


def subject(view: FeatureView) -> Subject:
    """Return a feature view with the labels of the models that learn from it."""
    learnt = [declaration for declaration in DECLARATIONS.values() if declaration.feature_view == view]
    at_census = [tuple(view.value_table.split("."))] if view.value_table else []
    return Subject(
        view=(view.schema, view.name),
        key=view.key,
        labels=tuple(dict.fromkeys(("labels", each.label) for each in learnt)),
        at_census=tuple((schema, name) for schema, name in at_census),
    )


def point_in_time_check(view: FeatureView) -> dg.AssetChecksDefinition:
    """Return the check that replays a feature view and its labels."""
    about = subject(view)

    @dg.asset_check(
        asset=dg.AssetKey([*about.view]),
        name="point_in_time",
        additional_deps=[dg.AssetKey([*label]) for label in about.labels],
        description=(
            "The compiled SQL gives the features and labels of the store again on copies of the sources without, and "
            "with another, future; windowed features without what lies outside their window; labels with another past. "
            "A failure names the features, rows and both values. Trainings keep the certificate."
        ),
        pool=WAREHOUSE_POOL,
        # of the steps that may begin, this is the first: trainings of the same run then find the certificate
        op_tags={"dagster/priority": "1"},
    )
    def point_in_time(warehouse: Warehouse, compiled: CompiledSql, clock: Clock) -> dg.AssetCheckResult:
        build = compiled.build(warehouse.built_extraction().as_of)
        with warehouse.connect() as connection:
            certificate = prove(connection, build, about, clock.present())
        compiled.certify(view.name, certificate.to_json())
        return result(certificate, about.view)

    return point_in_time


def result(certificate: Certificate, view: Name) -> dg.AssetCheckResult:
    """Return the verdict with the certificate."""
    differing = certificate.differing_columns
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey([*view]),
        check_name="point_in_time",
        passed=certificate.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"{certificate.rows:,} rows of {len(certificate.features)} features and the labels, replayed at "
            f"{len(certificate.moments)} moments, are as in the store."
            if certificate.passed
            else f"{', '.join(differing)}: not what was known then, or not what the window says. "
            "The differences show rows with both values; correct the dbt models and build them again."
        ),
        metadata={
            "moments": dg.MetadataValue.md("\n".join(f"- {each.isoformat()}" for each in certificate.moments)),
            "rows": certificate.rows,
            "rows_by_variant": dg.MetadataValue.json(certificate.rows_by_variant),
            "features": len(certificate.features),
            "leads": certificate.leads,
            "leads_share": certificate.leads_share,
            "seconds": round(certificate.seconds, 2),
            "proved_at": dg.MetadataValue.timestamp(certificate.proved_at),
            "clock": dg.MetadataValue.timestamp(certificate.as_of),
            "sql_sha256": certificate.sql_sha256,
            "differing_columns": ", ".join(differing) or "none",
            "differences": _table(certificate.differences),
        },
    )


def _table(differences: Sequence[Difference]) -> dg.MarkdownMetadataValue:
    if not differences:
        return dg.MetadataValue.md("none")
    first = {(each.table, each.column, each.variant): each for each in reversed(differences)}
    header = "| column | replay | T | rows | lead | as of | in the store | in the replay |"
    rows = [
        f"| {each.table}.{each.column} | {each.variant} | {each.moment:%Y-%m-%d} | {each.rows:,} | {each.key} | "
        f"{each.as_of.isoformat()} | {each.stored} | {each.replayed} |"
        for each in sorted(first.values(), key=lambda each: (each.table, each.column, each.variant))[:SHOWN]
    ]
    return dg.MetadataValue.md("\n".join([header, "|---" * 8 + "|", *rows]))


_views = {declaration.feature_view.name: declaration.feature_view for declaration in DECLARATIONS.values()}

point_in_time = [point_in_time_check(view) for view in _views.values()]
