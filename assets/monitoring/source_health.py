"""The health of the source: whether the CRM's feeds still deliver what they delivered when the champions were trained.

The source is compared with the counts that were stored then, not with rows that a later extraction has overwritten.
A failed check calls a person and stops retraining. Only columns of the source are checked: the share of nulls changes
with the world in a feature, and in a column of the source only when people or programs stop filling the column.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.monitoring.drift import check_result
from assets.platform import keys
from assets.platform.resources import WAREHOUSE_POOL, Clock, CrmSource
from assets.platform.tables import metadata_table
from models.declared.registry import DECLARATIONS
from store.addresses import is_database
from store.ledger.measurements import SOURCE_DELIVERIES, record_source_health
from store.ledger.schema import ledger
from store.ledger.table import replace_measurement
from store.measuring.source_deliveries import (
    STAGING,
    delivered_at_training,
    measure_deliveries,
)
from store.measuring.source_health import (
    CHECKS,
    POLICY,
    judge_source_health,
    measure_source_health,
    oldest_training,
    own_clock,
)
from store.warehouse.engine import Excerpt
from store.warehouse.warehouse import Warehouse


@dg.asset(
    key=keys.SOURCE_HEALTH,
    deps=[
        *(keys.staging(name) for name in STAGING),
        *(keys.champion(name) for name in DECLARATIONS),
    ],
    group_name="drift",
    kinds={"duckdb"},
    owners=["team:data-engineering"],
    description=(
        "Whether the CRM's feeds deliver what they delivered when the champions were trained: age, volume, nulls and "
        "new categories, in ml.ml_source_health. A failed check calls a person, and no model is retrained meanwhile."
    ),
    check_specs=[
        dg.AssetCheckSpec(name, asset=keys.SOURCE_HEALTH, description=statement) for name, statement in CHECKS.items()
    ],
    pool=WAREHOUSE_POOL,
)
def source_health(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    clock: dg.ResourceParam[Clock],
    crm_source: dg.ResourceParam[CrmSource],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Measure the source and judge it."""
    extraction = warehouse.built_extraction()
    as_of = extraction.as_of
    with ledger(warehouse) as connection:
        trained_at = oldest_training(connection)
        earlier = delivered_at_training(connection, as_of=as_of, load_number=extraction.load_number)
    with warehouse.analyze(*(Excerpt("staging", name) for name in STAGING)) as analysis:
        clock_of_source = as_of if is_database(extraction.source) else own_clock(analysis, as_of)
        deliveries = measure_deliveries(
            analysis, clock=clock_of_source, since=crm_source.accepted_since, days=POLICY.reference_days
        )
        if earlier is not None and earlier.is_of_same_export(deliveries):
            # an export that was extracted again is compared with its own earlier rows
            earlier = None
        figures = measure_source_health(
            analysis,
            clock=clock_of_source,
            trained_at=trained_at,
            accepted_since=crm_source.accepted_since,
            earlier=earlier,
            single_export=not is_database(extraction.source)
            and earlier is None
            and (trained_at is None or trained_at >= clock_of_source),
        )
    with warehouse.connect() as connection:
        record_source_health(connection, context.run_id, as_of, figures, clock.present())
        replace_measurement(
            connection, SOURCE_DELIVERIES, {"as_of": as_of, "load_number": extraction.load_number}, deliveries,
            run_id=context.run_id, measured_at=clock.present(),
        )  # fmt: skip
    verdicts = judge_source_health(figures)
    rows = [
        (each.check, each.subject, f"{each.value:.3f}", f"{each.threshold:g}", "failed" if each.failed else "")
        for each in figures
    ]
    for verdict in verdicts:
        (context.log.warning if verdict.failed else context.log.info)(f"{verdict.check}: {verdict.statement}")
    yield dg.MaterializeResult(
        metadata={
            "clock": dg.MetadataValue.timestamp(as_of),
            "clock_of_source": dg.MetadataValue.timestamp(clock_of_source),
            "compared_with": (
                "the rows before the recent ones"
                if earlier is None
                else f"the counts stored as of {earlier.as_of:%Y-%m-%d}"
            ),
            "failed": ", ".join(each.check for each in verdicts if each.failed) or "none",
            "figures": metadata_table(("check", "of", "value", "bound", "verdict"), rows),
        },
        # a failed check calls a person
        check_results=[check_result(keys.SOURCE_HEALTH, verdict, dg.AssetCheckSeverity.ERROR) for verdict in verdicts],
    )
