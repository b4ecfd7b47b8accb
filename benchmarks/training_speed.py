"""Compare the pipeline of each declared model with its bare estimator, on the same rows: the cost of the pipeline.

The bare estimator gets a ready matrix of numbers. The pipeline gets the columns of a feature view, with texts, missing
values and empty columns; it encodes and clips them, and looks for free cores.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Figure, Report
from benchmarks.processes import alone, peak_bytes
from models.declared.registry import DECLARATIONS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.declaring.declaration import ModelDeclaration

ROWS = 100_000
NUMBERS = 60
TEXTS = ("source", "last_outcome", "tier")
SINGLE_ROWS = 50
SEED = 11


def run() -> Report:
    """Time fits and predictions of all rows and of one row, and measure the size of the files."""
    figures, details = [], [f"{ROWS:,} rows, {NUMBERS} numbers and {len(TEXTS)} texts"]
    for name in DECLARATIONS:
        bare, bare_peak = alone(time_bare, name)
        fit, many, one, megabytes, peak = alone(time_pipeline, name)
        details.append(
            f"{name:<18} bare fit {bare:6.2f} s, {bare_peak / 1e6:,.0f} MB; pipeline fit {fit:6.2f} s, "
            f"{peak / 1e6:,.0f} MB; all rows {many:.2f} s; one row {1000 * one:.1f} ms; file {megabytes:.2f} MB"
        )
        figures += [
            Figure(name=f"{name}: fit, pipeline over bare estimator", value=fit / bare, bound=1.5, unit="x", digits=2),
            Figure(name=f"{name}: one prediction", value=1000 * one, bound=50, unit="ms"),
            Figure(name=f"{name}: file", value=megabytes, bound=50, unit="MB"),
        ]
    return Report(name="training_speed", figures=figures, details=details)


def rows_of(declared: ModelDeclaration) -> tuple[pd.DataFrame, np.ndarray]:
    """Return features with missing values, and a label that depends on some of them."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(SEED)
    numbers = random.gamma(1.0, 5.0, (ROWS, NUMBERS)).round(1)
    score = numbers[:, 0] - numbers[:, 1] + random.normal(0, 5, ROWS)
    numbers[random.random(numbers.shape) < 0.1] = np.nan
    frame = pd.DataFrame(numbers, columns=[f"number_{n}" for n in range(NUMBERS)])
    for text in TEXTS:
        frame[text] = random.choice(["a", "b", "c", "d", "e"], ROWS)
    if len(declared.outcomes) == 1:
        return frame, (score > np.quantile(score, 0.7)).astype(int)
    bins = np.digitize(score, np.quantile(score, np.linspace(0, 1, len(declared.outcomes) + 1)[1:-1]))
    return frame, np.array(declared.outcomes)[bins]


def time_bare(name: str) -> tuple[float, int]:
    """Return the seconds and the peak memory of the estimator's own fit."""
    declared = DECLARATIONS[name]
    frame, label = rows_of(declared)
    ready = frame.assign(**{text: frame[text].astype("category").cat.codes for text in TEXTS}).to_numpy(dtype="float64")
    estimator = declared.estimator()
    before = time.perf_counter()
    estimator.fit(ready, label)
    return time.perf_counter() - before, peak_bytes()


def time_pipeline(name: str) -> tuple[float, float, float, float, int]:
    """Return seconds of a fit, of predicting all rows and one row, the size of the file in MB, and the peak memory."""
    import joblib
    import numpy as np
    import pandas as pd

    from models.learning.fitting import fit, predict
    from models.learning.frames import feature_kinds, model_input

    declared = DECLARATIONS[name]
    frame, label = rows_of(declared)
    inputs = model_input(frame, feature_kinds(frame, frozenset()))
    before = time.perf_counter()
    pipeline = fit(declared, inputs, pd.Series(label), np.ones(ROWS))
    fitted = time.perf_counter() - before
    before = time.perf_counter()
    predict(pipeline, inputs, declared.task)
    many = time.perf_counter() - before
    singles = []
    for row in range(SINGLE_ROWS):
        before = time.perf_counter()
        predict(pipeline, inputs.iloc[[row]], declared.task)
        singles.append(time.perf_counter() - before)
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        path = Path(folder) / "pipeline.joblib"
        joblib.dump(pipeline, path, compress=3)
        megabytes = path.stat().st_size / 1e6
    return fitted, many, statistics.median(singles), megabytes, peak_bytes()
