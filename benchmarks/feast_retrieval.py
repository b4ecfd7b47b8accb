"""Feast's historical retrieval of precomputed features; runs in an environment of Feast's own.

``python feast_retrieval.py <folder>`` reads ``features.parquet`` (lead_id, event_timestamp and features) and
``entities.parquet`` (lead_id, event_timestamp), writes ``retrieved.parquet`` and prints time and memory as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

KEYS = ("lead_id", "event_timestamp")


def main(folder: Path) -> None:
    """Register one feature view over the file, and retrieve it as of each entity's time."""
    os.environ["FEAST_USAGE"] = "False"
    import pandas as pd
    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, FileSource, RepoConfig, ValueType

    store = FeatureStore(
        config=RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    lead = Entity(name="lead", join_keys=["lead_id"], value_type=ValueType.STRING)
    source = FileSource(path=str(folder / "features.parquet"), timestamp_field="event_timestamp")
    view = FeatureView(name="leads", entities=[lead], ttl=timedelta(0), source=source)
    store.apply([lead, view])
    names = [name for name in pq.read_schema(folder / "features.parquet").names if name not in KEYS]
    entities = pd.read_parquet(folder / "entities.parquet")
    began, cpu = time.perf_counter(), time.process_time()
    answer = store.get_historical_features(entities, [f"leads:{name}" for name in names]).to_arrow()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    pq.write_table(answer.select([*KEYS, *names]), folder / "retrieved.parquet")
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": _peak_bytes()}))


def _peak_bytes() -> int:
    # the same as in benchmarks.processes, which this environment lacks
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
