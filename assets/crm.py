"""Layer `crm`: the CRM's records, extracted into schema ``raw`` by the source contract."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from assets.addresses import same_place, without_password
from assets.event_log import latest_materialization
from assets.last_publication import why_lost
from assets.lateness import markdown, measure
from assets.ml_tables import ensure, record_lateness
from assets.resources import WAREHOUSE_POOL, Clock, CrmSource, Publication
from assets.warehouse import NoExtractionError, Warehouse
from models.markdown import bullets, markdown_table

TABLES = ("leads", "interactions", "appointments", "projects", "changes")
MAX_REJECTED_SHARE = 0.01
"""Rejects above one row in a hundred mean a broken feed or a wrong mapping rather than single mistakes."""

DESCRIPTIONS = {
    "leads": "One row per lead of the CRM that fits the source contract.",
    "interactions": "One row per call, e-mail, message, meeting, web event, proposal message or note.",
    "appointments": "One row per appointment.",
    "projects": "One row per project (deal).",
    "changes": (
        "One row per lead, overwritten column and moment at which a value became known: told by the CRM's own history, "
        "or seen by an extraction."
    ),
    "rejects": "One row per record that does not fit the source contract, with its place, the reason, and what to do.",
}


@dg.multi_asset(
    name="crm",
    specs=[
        dg.AssetSpec(
            key=["crm", name],
            description=description,
            group_name="crm",
            kinds={"dlt", "duckdb"},
            owners=["team:data-engineering"],
        )
        for name, description in DESCRIPTIONS.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "few_rejects",
            asset=["crm", name],
            description=f"At most {MAX_REJECTED_SHARE:.0%} of the rows that were read are rejected.",
        )
        for name in TABLES
    ],
    pool=WAREHOUSE_POOL,
)
def crm(
    context: dg.AssetExecutionContext,
    crm_source: CrmSource,
    warehouse: Warehouse,
    publication: Publication,
    clock: Clock,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Extract the CRM's records: only new and changed rows move, and what does not fit is quarantined.

    Raises
    ------
    dagster.Failure
        If the source breaks the contract, or what it delivered before is gone, with the message that says where and
        what to do; the warehouse is then as it was. If the warehouse was lost, and this run would score and trains
        nothing.
    """
    from assets.source.extract import SourceContractError, extract

    lost = why_lost(warehouse, publication, context.instance)
    if lost is not None:
        _refuse_to_score(context.op_execution_context.job_def.asset_layer.executable_asset_keys, lost)
        context.log.warning(f"{lost} It is filled anew from the source.")

    try:
        address = crm_source.resolved()
        # the simulated CRM lies in the home and may move with it
        if not crm_source.accept_new_source:
            # the history that a lost warehouse takes back is of the company that it was filled from
            filled_from = None if lost is None else _last_source(context.instance)
            _refuse_other_source(warehouse, address, moved=crm_source.address is None, filled_from=filled_from)
        report = extract(
            source=address,
            warehouse=warehouse.address,
            state_dir=Path(crm_source.state_dir),
            as_of=crm_source.clock,
            present=clock.present(),
            mapping=crm_source.mapping,
            accept=crm_source.accept_extraction,
            log=context.log.info,
        )
    except SourceContractError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error

    with warehouse.connect() as connection:
        ensure(connection)
        late = measure(connection)
        record_lateness(connection, context.run_id, report.as_of, late, clock.present())
    for assumption in report.assumptions:
        context.log.warning(f"assumption of mapping {report.mapping_name}: {assumption}")
    for sentence in report.notices:
        context.log.warning(sentence)
    for sentence in report.accepted:
        context.log.warning(f"accepted by a person: {sentence}")
    shared: dict[str, Any] = {
        "clock": dg.MetadataValue.timestamp(report.as_of),
        "source": report.source,
        "mapping": f"{report.mapping_name} ({report.mapping_reason})",
        "accepted": dg.MetadataValue.md(bullets(report.accepted)),
    }
    rejected = {name: table.rejects_by_reason for name, table in report.tables.items() if table.rejects_by_reason}
    for name in TABLES:
        table = report.tables[name]
        share = table.rows_rejected / table.rows_read if table.rows_read else 0.0
        figures = {key: value for key, value in asdict(table).items() if key != "rows_total"}
        figures["lateness"] = dg.MetadataValue.md(markdown(each for each in late if each.table_name == name))
        if name == "changes":
            figures["changes_seen"] = report.changes_seen
        yield dg.MaterializeResult(
            asset_key=["crm", name],
            metadata={"dagster/row_count": table.rows_total, **figures, **shared},
            check_results=[
                dg.AssetCheckResult(
                    asset_key=["crm", name],
                    check_name="few_rejects",
                    passed=share <= MAX_REJECTED_SHARE,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"rejected_share": share, "threshold": MAX_REJECTED_SHARE},
                )
            ],
        )
    yield dg.MaterializeResult(
        asset_key=["crm", "rejects"],
        metadata={
            "dagster/row_count": sum(table.rows_rejected for table in report.tables.values()),
            "rejects_by_reason": dg.MetadataValue.md(_rejects_table(rejected)),
            "assumptions": dg.MetadataValue.md(bullets(report.assumptions)),
            **shared,
        },
    )


def _refuse_to_score(run: Iterable[dg.AssetKey], lost: str) -> None:
    """Refuse a run that scores with the champions of a warehouse which was lost; one that trains makes new ones."""
    layers = {key.path[0] for key in run}
    if "scores" in layers and "candidate" not in layers:
        raise dg.Failure(
            description=(
                f"{lost} There is no champion to score with: bring the warehouse back from a backup, or run the job "
                "whole_loop (`make run`), which fills it from the source and trains anew."
            ),
            allow_retries=False,
        )


def _last_source(instance: dg.DagsterInstance) -> str | None:
    """Return the source of the last extraction, as Dagster's event log knows it."""
    last = latest_materialization(instance, dg.AssetKey(["crm", TABLES[0]]))
    return None if last is None or "source" not in last.metadata else str(last.metadata["source"])


def _refuse_other_source(warehouse: Warehouse, address: str, *, moved: bool, filled_from: str | None = None) -> None:
    """Two companies in one warehouse would train one model: refuse a source other than the one it was filled from.

    Where a warehouse was lost and does not know it any more, `filled_from` says which that was.
    """
    try:
        filled_from = warehouse.extraction().source
    except NoExtractionError:
        if filled_from is None:
            return
    from assets.source.readers import describe

    found = describe(address)
    same = Path(filled_from).name == Path(found).name if moved else same_place(filled_from, found)
    if not same:
        raise dg.Failure(
            description=(
                f"{warehouse.shown}: expected the source that it was filled from, "
                f"{without_password(filled_from)}, found {found}. "
                "For another company set LEADLINE_HOME to a folder of its own; if this is the same company at a new "
                "place, set LEADLINE_ACCEPT_NEW_SOURCE=1 for one run."
            ),
            allow_retries=False,
        )


def _rejects_table(rejected: dict[str, dict[str, int]]) -> str:
    if not rejected:
        return "none"
    rows = [(table, reason, n) for table, by in rejected.items() for reason, n in sorted(by.items())]
    return markdown_table(("table", "reason", "rows"), rows)
