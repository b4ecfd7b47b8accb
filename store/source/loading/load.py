"""The load: dlt's merge of what is new into schema ``raw``, on any engine."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from models.artifacts import make_folder
from store.addresses import is_database
from store.source.contract import TABLES, SourceContractError
from store.source.loading.into_duckdb import DuckdbTarget
from store.source.loading.into_postgres import PostgresTarget
from store.source.loading.stored import BATCH_ROWS, RAW, Delta, quiet_dlt

PIPELINE = "leadline_crm"


def load(connection: DuckDBPyConnection, warehouse: DuckdbTarget, state_dir: Path, deltas: Sequence[Delta]) -> None:
    """Write relations of the scratch database into schema ``raw`` with dlt.

    dlt's local state holds nothing that the warehouse does not: it is dropped before the load, so that what a killed
    run left pending cannot be loaded late, and after it, so that no copy of the rows stays behind.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database.
    warehouse : DuckdbTarget
        Where to write; nothing may hold it open.
    state_dir : Path
        Folder for dlt's working files.
    deltas : sequence of Delta
        What to write.
    """
    # what lies there is dropped unread; a trace of dlt is a pickle
    folder = state_dir / "pipelines"
    shutil.rmtree(folder, ignore_errors=True)
    if not deltas:
        return
    quiet_dlt()
    import dlt

    make_folder(folder)
    pipeline = dlt.pipeline(
        PIPELINE,
        pipelines_dir=str(folder),
        destination=warehouse.destination(),
        dataset_name=RAW,
    )
    pipeline = pipeline.drop()
    # with telemetry off, the trace of a run still makes an id for its sender and stores it under the user's home
    pipeline.config.enable_runtime_trace = False
    try:
        pipeline.run(_source(connection, deltas))
    finally:
        pipeline.drop()


def _source(connection: DuckDBPyConnection, deltas: Sequence[Delta]) -> Any:
    import dlt

    resources = []
    for delta in deltas:
        resource = dlt.resource(_batches(connection, delta.relation), name=delta.table, write_disposition="replace")
        if delta.write == "merge":
            # keys are unique already: dlt need not number the rows of every key
            resource.apply_hints(
                primary_key=TABLES[delta.table].key,
                write_disposition={"disposition": "merge", "strategy": "delete-insert", "deduplicated": True},
            )
        resources.append(resource)
    return dlt.source(lambda: resources, name="crm")()


def _batches(connection: DuckDBPyConnection, relation: str) -> Iterator[Any]:
    import pyarrow as pa  # pyarrow ships no types

    # a cursor of its own: dlt reads its resources in turn
    with connection.cursor() as cursor:
        reader = cursor.sql(f"from {relation}").to_arrow_reader(BATCH_ROWS)
        # an empty table carries the columns, so that the table is created
        yield reader.schema.empty_table()
        for batch in reader:
            yield pa.Table.from_batches([batch])


def open_warehouse(address: str) -> DuckdbTarget:
    """Return the warehouse for an address: ``duckdb:<path>`` or ``postgresql://…``.

    Raises
    ------
    SourceContractError
        When the address is neither.
    """
    if address.startswith("duckdb:"):
        return DuckdbTarget(Path(address.removeprefix("duckdb:")))
    if is_database(address):
        return PostgresTarget(address)
    raise SourceContractError(
        f"warehouse: expected duckdb:<path> or postgresql://…, found {address.split(':', 1)[0]!r}. "
        "Correct the warehouse's address."
    )
