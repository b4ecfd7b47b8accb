"""Layer `crm`: the CRM's records, extracted into schema ``raw`` by the source contract."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from assets.platform import keys
from assets.platform.event_log import latest_materialization
from assets.platform.freshness import NIGHTLY
from assets.platform.resources import WAREHOUSE_POOL, Clock, CrmSource
from assets.platform.tables import metadata_table
from assets.publishing.last_publication import why_lost
from models.declared.registry import DECLARATIONS
from models.markdown import bullets
from store.addresses import same_place, without_password
from store.ledger.measurements import LATENESS, Lateness
from store.ledger.schema import ledger
from store.ledger.table import replace_measurement
from store.measuring.lateness import measure_lateness
from store.publishing.publications import Publication
from store.source.contract import TABLES, SourceContractError
from store.warehouse.warehouse import NoExtractionError, Warehouse

MAX_REJECTED_SHARE = 0.01
"""Rejects above one row in a hundred mean a broken feed or a wrong mapping rather than single mistakes."""

DESCRIPTIONS = {
    **{name: table.description for name, table in TABLES.items()},
    "rejects": "One row per record that does not fit the source contract, with its place, the reason, and what to do.",
    "source_ids": (
        "One row per key that is a pseudonym, with the CRM's own key: contact data, which only "
        "LEADLINE_SOURCE_IDS=1 keeps."
    ),
}


@dg.multi_asset(
    name="crm",
    specs=[
        dg.AssetSpec(
            key=keys.crm(name),
            description=description,
            group_name="crm",
            kinds={"dlt", "duckdb"},
            owners=["team:data-engineering"],
            freshness_policy=NIGHTLY,
        )
        for name, description in DESCRIPTIONS.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "few_rejects",
            asset=keys.crm(name),
            description=f"At most {MAX_REJECTED_SHARE:.0%} of the rows that were read are rejected.",
        )
        for name in TABLES
    ],
    pool=WAREHOUSE_POOL,
)
def crm(
    context: dg.AssetExecutionContext,
    crm_source: dg.ResourceParam[CrmSource],
    warehouse: dg.ResourceParam[Warehouse],
    publication: dg.ResourceParam[Publication],
    clock: dg.ResourceParam[Clock],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Extract the CRM's records: new and changed rows are loaded, and rows that do not fit the contract are set aside.

    Raises
    ------
    dagster.Failure
        If the source breaks the contract or has lost rows that it delivered before; the message says where and what
        to do, and the warehouse stays as it was. Also if the warehouse was lost and this run scores without training.
    """
    from store.source.extract import extract

    loss = why_lost(warehouse, publication, context.instance)
    if loss is not None:
        _refuse_to_score(context.op_execution_context.job_def.asset_layer.executable_asset_keys, loss)
        context.log.warning(f"{loss} It is filled anew from the source.")

    try:
        address = crm_source.resolved()
        if not crm_source.accept_new_source:
            # a lost warehouse takes back the published history, which is of the company of its last extraction
            filled_from = None if loss is None else last_source(context.instance)
            # the simulated CRM lies in the home and may move with it
            _refuse_other_source(warehouse, address, moved=crm_source.address is None, filled_from=filled_from)
        report = extract(
            source=address,
            warehouse=warehouse.address,
            state_dir=crm_source.state_dir,
            as_of=crm_source.as_of,
            present=clock.present(),
            models=DECLARATIONS,
            mapping=crm_source.mapping,
            in_home=crm_source.in_home,
            accept=crm_source.accept_extraction,
            source_ids=crm_source.source_ids,
            log=context.log.info,
        )
    except SourceContractError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error

    with ledger(warehouse) as connection:
        lateness = measure_lateness(connection)
        replace_measurement(
            connection, LATENESS, {"as_of": report.as_of}, lateness, run_id=context.run_id, measured_at=clock.present()
        )
    for assumption in report.assumptions:
        context.log.warning(f"assumption of mapping {report.mapping_name}: {assumption}")
    for sentence in report.notices:
        context.log.warning(sentence)
    for sentence in report.accepted:
        context.log.warning(f"accepted by a person: {sentence}")
    common_metadata: dict[str, Any] = {
        "clock": dg.MetadataValue.timestamp(report.as_of),
        "source": report.source,
        "mapping": f"{report.mapping_name} ({report.mapping_reason})",
        "accepted": dg.MetadataValue.md(bullets(report.accepted)),
    }
    rejects = [
        (name, reason, rows)
        for name, table in report.tables.items()
        for reason, rows in sorted(table.rejects_by_reason.items())
    ]
    for name in TABLES:
        table = report.tables[name]
        share = table.rows_rejected / table.rows_read if table.rows_read else 0.0
        figures = {key: value for key, value in asdict(table).items() if key != "rows_total"}
        figures["lateness"] = lateness_table(each for each in lateness if each.table_name == name)
        if name == "changes":
            figures["changes_seen"] = report.changes_seen
        if of_table := [each for each in report.attributes if each.entity == name]:
            rows = [(each.name, each.label, each.kind, each.known, each.why) for each in of_table]
            figures["attributes"] = metadata_table(("attribute", "column", "kind", "known", "why"), rows)
        yield dg.MaterializeResult(
            asset_key=keys.crm(name),
            metadata={"dagster/row_count": table.rows_total, **figures, **common_metadata},
            check_results=[
                dg.AssetCheckResult(
                    asset_key=keys.crm(name),
                    check_name="few_rejects",
                    passed=share <= MAX_REJECTED_SHARE,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"rejected_share": share, "threshold": MAX_REJECTED_SHARE},
                )
            ],
        )
    yield dg.MaterializeResult(
        asset_key=keys.crm("rejects"),
        metadata={
            "dagster/row_count": sum(each.rows_rejected for each in report.tables.values()),
            "rejects_by_reason": metadata_table(("table", "reason", "rows"), rejects),
            "assumptions": dg.MetadataValue.md(bullets(report.assumptions)),
            **common_metadata,
        },
    )
    yield dg.MaterializeResult(
        asset_key=keys.crm("source_ids"), metadata={"dagster/row_count": report.source_ids, **common_metadata}
    )


def _refuse_to_score(assets: Iterable[dg.AssetKey], loss: str) -> None:
    """Refuse a run that scores without training, because the champions are lost with the warehouse."""
    layers = {key.path[0] for key in assets}
    if "scores" in layers and "candidate" not in layers:
        raise dg.Failure(
            description=(
                f"{loss} There is no champion to score with: bring the warehouse back from a backup, or run the job "
                "whole_loop (`make run`), which fills it from the source and trains anew."
            ),
            allow_retries=False,
        )


def last_source(instance: dg.DagsterInstance) -> str | None:
    """Return the source of the last extraction, according to Dagster's event log."""
    last = latest_materialization(instance, keys.crm(next(iter(TABLES))))
    return None if last is None or "source" not in last.metadata else str(last.metadata["source"])


def _refuse_other_source(warehouse: Warehouse, address: str, *, moved: bool, filled_from: str | None = None) -> None:
    """Refuse a source other than the one that the warehouse was filled from: two companies would train one model.

    `filled_from` is the source of a lost warehouse, which does not know it any more.
    """
    try:
        filled_from = warehouse.extraction().source
    except NoExtractionError:
        if filled_from is None:
            return
    refusal = why_other_source(filled_from, address, moved=moved, of=warehouse.shown)
    if refusal is not None:
        raise dg.Failure(description=refusal, allow_retries=False)


def why_other_source(filled_from: str, address: str, *, moved: bool, of: str) -> str | None:
    """Say why a source is refused; None where it is the one that a warehouse was filled from.

    Two companies in one warehouse would train one model.

    Parameters
    ----------
    filled_from, address : str
        The source of the last extraction, and the one to be read.
    moved : bool
        Whether it may lie at another place: the simulated CRM lies in the home.
    of : str
        What was filled, for the message.
    """
    from store.source.reading.sources import describe

    found = describe(address)
    if Path(filled_from).name == Path(found).name if moved else same_place(filled_from, found):
        return None
    return (
        f"{of}: expected the source that it was filled from, {without_password(filled_from)}, found {found}. "
        "For another company set LEADLINE_HOME to a folder of its own; if this is the same company at a new "
        "place, set LEADLINE_ACCEPT_NEW_SOURCE=1 for one run."
    )


def lateness_table(figures: Iterable[Lateness]) -> dg.TableMetadataValue:
    """Return figures as a table, in days and per cent."""
    head = ("until", "of", "rows", "median, days", "90 %", "99 %", "latest", "over 1 d", "over 7 d", "over 30 d")
    rows = (
        (
            each.measure, each.type or each.table_name, f"{each.rows:,}", f"{each.median_days:.2f}",
            f"{each.p90_days:.2f}", f"{each.p99_days:.2f}", f"{each.max_days:.2f}", f"{each.share_over_1d:.1%}",
            f"{each.share_over_7d:.1%}", f"{each.share_over_30d:.1%}",
        )
        for each in figures
    )  # fmt: skip
    return metadata_table(head, rows)
