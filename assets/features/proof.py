"""The check `point_in_time`: on the real data, no value of a feature view uses a fact that was not known then.

`store.proof.point_in_time` computes the proof. The check blocks: if the proof fails or cannot run, no asset that
depends on the feature view runs after it, and other runs find no valid certificate, so they do not promote, score or
publish.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL, Clock, Proving
from assets.platform.tables import metadata_table
from models.declared.registry import DECLARATIONS
from models.declaring.feature_view import FeatureView
from models.markdown import bullets, plain
from store.features.certificates import Certificate, CompiledSql, Difference, failed, how_to_accept, sentences
from store.proof.point_in_time import PROOF_ERRORS, is_empty, of_no_rows, prove
from store.proof.sample import Subject
from store.warehouse.connection import Name
from store.warehouse.warehouse import Warehouse

SHOWN = 50
"""The number of differences that the UI shows: the first of each column in each replay. The certificate has all."""

NAMED = 8
"""The number of differences in the message of a failed step."""


def subject(view: FeatureView) -> Subject:
    """Return a feature view with the labels of the models that learn from it."""
    learners = [declaration for declaration in DECLARATIONS.values() if declaration.feature_view == view]
    return Subject(feature_view=view, labels=tuple(dict.fromkeys(("labels", each.label) for each in learners)))


def point_in_time_check(view: FeatureView) -> dg.AssetChecksDefinition:
    """Return the check that replays a feature view and its labels."""
    proof_subject = subject(view)

    @dg.multi_asset_check(
        name=f"{view.schema}__{view.name}_point_in_time",
        specs=[
            dg.AssetCheckSpec(
                "point_in_time",
                asset=keys.features(view),
                additional_deps=[dg.AssetKey([*label]) for label in proof_subject.labels],
                blocking=True,
                description=(
                    "The compiled SQL gives the same features and labels as in the store on copies of the sources "
                    "whose future is removed or changed, the same windowed features without the facts outside their "
                    "window, and the same labels with another past. A failure names the features, rows and both "
                    "values, and no asset that depends on the features runs after it. Trainings keep the certificate."
                ),
            )
        ],
        pool=WAREHOUSE_POOL,
    )
    def point_in_time(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        compiled: dg.ResourceParam[CompiledSql],
        proving: dg.ResourceParam[Proving],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.AssetCheckResult]:
        extraction = warehouse.built_extraction()
        build = compiled.build(extraction.as_of)
        accepted = proving.accepts(build.sha256)
        none = extraction.lacks(view.entity)
        try:
            with warehouse.connect() as connection:
                if none and is_empty(connection, proof_subject):
                    certificate = of_no_rows(build, clock.present())
                    context.log.info(f"{view.name}: {none} There are no rows to prove.")
                else:
                    certificate = prove(connection, build, proof_subject, clock.present())
        except PROOF_ERRORS as error:
            compiled.certify(view.name, failed(build, str(error), clock.present(), accepted=accepted))
            yield _result(proof_subject.view, passed=False, accepted=accepted, description=str(error), metadata={})
            reason = f"The proof could not run. {error}"
        else:
            compiled.certify(view.name, certificate.to_json(accepted=accepted))
            yield result(certificate, proof_subject.view, accepted=accepted)
            if certificate.passed:
                return
            reason = (
                f"{', '.join(certificate.differing_columns)}: expected values that were known then, found others:\n"
                + "\n".join(f"- {each}" for each in sentences(certificate.differences, NAMED))
            )
        if accepted:
            context.log.warning(f"{reason}\nA person accepted this build: the run goes on.")
            return
        raise dg.Failure(
            description=(
                f"{reason}\nNothing that depends on {'.'.join(proof_subject.view)} is trained, promoted, scored or "
                "published. Correct the dbt models and build them again. "
                f"{how_to_accept(build.sha256, build.as_of.isoformat())}"
            ),
            allow_retries=False,
        )

    return point_in_time


def result(certificate: Certificate, view: Name, *, accepted: bool = False) -> dg.AssetCheckResult:
    """Return the result of the check with the figures of a certificate."""
    differing = certificate.differing_columns
    return _result(
        view,
        passed=certificate.passed,
        accepted=accepted,
        description=(
            "There are no rows, because the source has no such entity."
            if not certificate.comparisons
            else f"{certificate.rows:,} rows of {len(certificate.features)} features and the labels, replayed at "
            f"{len(certificate.moments)} moments, are as in the store."
            if certificate.passed
            else f"{', '.join(differing)}: values that use a fact from outside the window or not known then. "
            "The differences show rows with both values; correct the dbt models and build them again."
        ),
        metadata={
            "moments": dg.MetadataValue.md(bullets(each.isoformat() for each in certificate.moments)),
            "rows": certificate.rows,
            "rows_by_variant": dg.MetadataValue.json(certificate.rows_by_variant),
            "features": len(certificate.features),
            "not_exercised": ", ".join(certificate.not_exercised) or "none",
            "entities": certificate.entities,
            "entities_share": certificate.entities_share,
            "seconds": round(certificate.seconds, 2),
            "proved_at": dg.MetadataValue.timestamp(certificate.proved_at),
            "clock": dg.MetadataValue.timestamp(certificate.as_of),
            "sql_sha256": certificate.sql_sha256,
            "differing_columns": ", ".join(differing) or "none",
            "differences": _table(certificate.differences),
        },
    )


def _result(
    view: Name, *, passed: bool, accepted: bool, description: str, metadata: Mapping[str, Any]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey([*view]),
        check_name="point_in_time",
        passed=passed,
        # an accepted build goes on
        severity=dg.AssetCheckSeverity.WARN if accepted else dg.AssetCheckSeverity.ERROR,
        # the UI renders the description as Markdown
        description=plain(description),
        metadata={**metadata, "accepted": accepted},
    )


def _table(differences: Sequence[Difference]) -> dg.TableMetadataValue:
    first = {(each.table, each.column, each.variant): each for each in reversed(differences)}
    header = ("column", "replay", "T", "rows", "entity", "as of", "in the store", "in the replay")
    return metadata_table(
        header,
        (
            (
                f"{each.table}.{each.column}", each.variant, each.moment.isoformat(), f"{each.rows:,}", each.key,
                each.as_of.isoformat(), each.stored, each.replayed,
            )
            for each in sorted(first.values(), key=lambda each: (each.table, each.column, each.variant))[:SHOWN]
        ),
    )  # fmt: skip
