"""The speed of drift figures by SQL over every row, compared with Evidently and SciPy on the same 40 numeric columns.

Evidently runs only at sizes at which it takes seconds; SQL and SciPy also run on a million rows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.measuring import Figure, Report
from benchmarks.processes import alone, peak_bytes

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 40
SIZES = (10_000, 100_000, 1_000_000)
LARGEST_FOR_EVIDENTLY = 100_000
SEED = 5


def run() -> Report:
    """Time the three at each size, with as many reference rows as current rows."""
    figures, details = [], []
    for rows in SIZES:
        taken = {"SQL": alone(by_sql, rows), "SciPy": alone(by_scipy, rows)}
        if rows <= LARGEST_FOR_EVIDENTLY:
            taken["Evidently"] = alone(by_evidently, rows)
        details.append(f"{rows:,} rows a side, {COLUMNS} columns")
        details += [
            f"  {name:<10} {seconds:7.2f} s  peak {peak / 1e6:6,.0f} MB" for name, (seconds, peak) in taken.items()
        ]
        figures += [
            Figure(
                name=f"{rows:,} rows: time, {other} over SQL",
                value=taken[other][0] / taken["SQL"][0],
                bound=1.0,
                unit="x",
                more_is_better=True,
            )
            for other in taken
            if other != "SQL"
        ]
    return Report(name="drift_speed", figures=figures, details=details)


def frames(rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return reference and current rows; the current ones have slightly larger values."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(SEED)
    names = [f"feature_{number}" for number in range(COLUMNS)]
    return tuple(pd.DataFrame(random.normal(shift, 1.0, (rows, COLUMNS)), columns=names) for shift in (0.0, 0.1))  # type: ignore[return-value]


def by_sql(rows: int) -> tuple[float, int]:
    """Return the seconds and the peak memory of the project's own figures."""
    import duckdb
    import pandas as pd

    from store.measuring.distributions import distances

    reference, current = frames(rows)
    both = pd.concat([reference, current], ignore_index=True)
    both["is_reference"] = [True] * rows + [False] * rows
    both["is_current"] = ~both["is_reference"]
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        connection.register("frame", both)
        connection.execute("create table rows as select * from frame")
        connection.unregister("frame")
        before = time.perf_counter()
        found = distances(connection, "rows", dict.fromkeys(reference.columns, "number"))
        seconds = time.perf_counter() - before
    assert len(found) == COLUMNS
    return seconds, peak_bytes()


def by_scipy(rows: int) -> tuple[float, int]:
    """Return the seconds and the peak memory of the population stability index, KS and Wasserstein by SciPy."""
    import numpy as np
    from scipy.stats import ks_2samp, wasserstein_distance

    reference, current = frames(rows)
    before = time.perf_counter()
    for name in reference.columns:
        before_values, now_values = reference[name].to_numpy(), current[name].to_numpy()
        edges = np.quantile(before_values, np.linspace(0, 1, 11)[1:-1])
        p, q = (
            np.bincount(np.searchsorted(edges, values), minlength=10) / rows for values in (before_values, now_values)
        )
        float(((p - q) * np.log(np.maximum(p, 1e-4) / np.maximum(q, 1e-4))).sum())
        ks_2samp(before_values, now_values, method="asymp")
        wasserstein_distance(before_values, now_values)
    return time.perf_counter() - before, peak_bytes()


def by_evidently(rows: int) -> tuple[float, int]:
    """Return the seconds and the peak memory of Evidently's drift preset, without its import and its HTML."""
    from evidently import DataDefinition, Dataset
    from evidently import Report as EvidentlyReport
    from evidently.presets import DataDriftPreset

    reference, current = (
        Dataset.from_pandas(frame, data_definition=DataDefinition(numerical_columns=list(frame.columns)))
        for frame in frames(rows)
    )
    before = time.perf_counter()
    EvidentlyReport([DataDriftPreset()]).run(current_data=current, reference_data=reference)
    return time.perf_counter() - before, peak_bytes()
