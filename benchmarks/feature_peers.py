"""The feature benchmark's peers that are not SQL: Polars, Feast, and pandas row by row."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import feature_polars
from benchmarks.feature_measuring import Taken, assert_equal
from benchmarks.feature_queries import COUNTS, DAY_US, FORTY, SINCE, WINDOWS, running
from benchmarks.feature_workload import OBSERVATIONS, connect
from benchmarks.measuring import MeasurementError
from benchmarks.processes import peak_bytes

if TYPE_CHECKING:
    import pandas as pd

FEAST = "feast[duckdb]==0.67.0"
ROWS_OF_PANDAS = 200
AS_OF_US = "epoch_us(view.as_of)"


def export(path: Path, folder: Path) -> None:
    """Write the facts and the observations to the Parquet files that Polars and pandas read."""
    with connect(path) as connection:
        connection.execute(
            "copy (select lead_id, known_us, fact, interaction_type, direction from intermediate.timeline) "
            f"to '{folder / feature_polars.FACTS}'"
        )
        connection.execute(
            "copy (select lead_id, as_of_us from intermediate.observations) "
            f"to '{folder / feature_polars.OBSERVATIONS}'"
        )


def polars(path: Path, folder: Path, form: str) -> Taken:
    """Compute the forty features from Parquet to Parquet, and compare them with the view."""
    import polars as pl

    answer = folder / "polars.parquet"
    # a first, tiny query starts Polars' threads
    pl.LazyFrame({"a": [1]}).select(pl.col("a").sum()).collect()
    began, cpu = time.perf_counter(), time.process_time()
    feature_polars.FORMS[form](folder).collect().write_parquet(answer, compression="lz4")
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    taken = Taken(seconds=seconds, cpu_seconds=cpu, peak_bytes=peak_bytes(), features=len(FORTY))
    with connect(path) as connection:
        assert_equal(connection, f"read_parquet('{answer}')", AS_OF_US)
    return taken


def pandas_row_by_row(path: Path, folder: Path) -> tuple[Taken, int]:
    """Compute the forty features of a sample of observations, each from the facts of its lead.

    Returns the time of all observations, extrapolated from the sample and without the search for a lead's facts, and
    the size of the sample.
    """
    import pandas as pd

    observations = pd.read_parquet(folder / feature_polars.OBSERVATIONS)
    sample = observations.sample(min(ROWS_OF_PANDAS, len(observations)), random_state=7)
    wanted = [("lead_id", "in", sample["lead_id"].unique().tolist())]
    facts = dict(list(pd.read_parquet(folder / feature_polars.FACTS, filters=wanted).groupby("lead_id")))
    began, cpu = time.perf_counter(), time.process_time()
    rows = [
        _row(facts[lead_id], as_of_us) for lead_id, as_of_us in zip(sample["lead_id"], sample["as_of_us"], strict=True)
    ]
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    answer = pd.DataFrame(rows).assign(lead_id=sample["lead_id"].to_numpy(), as_of_us=sample["as_of_us"].to_numpy())
    with connect(path) as connection:
        connection.register("answer", answer)
        assert_equal(connection, "answer", AS_OF_US, every_row=False)
    scale = len(observations) / len(sample)
    return Taken(
        seconds=seconds * scale, cpu_seconds=cpu * scale, peak_bytes=None, features=len(FORTY)
    ), len(sample)  # fmt: skip


def _row(facts: pd.DataFrame, as_of_us: int) -> dict[str, float | int | None]:
    past = facts[facts["known_us"] < as_of_us]
    interaction = past["fact"] == "interaction"
    kinds: dict[str, pd.Series] = {"facts": past["known_us"] > 0, "interactions": interaction}
    for name in COUNTS:
        if name in ("inbound", "outbound"):
            kinds[name] = interaction & (past["direction"] == name)
        elif name not in kinds:
            kinds[name] = interaction & (past["interaction_type"] == ("web" if name == "web_visits" else name[:-1]))
    found: dict[str, float | int | None] = {}
    for window, days in WINDOWS.items():
        since_us = 0 if days is None else as_of_us - days * DAY_US
        for name, kind in kinds.items():
            found[f"{name}_count_{window}"] = int((kind & (past["known_us"] >= since_us)).sum())
    for name, counted in SINCE.items():
        times = past.loc[kinds[counted], "known_us"]
        found[f"days_since_last_{name}"] = (as_of_us - int(times.max())) / DAY_US if len(times) else None
    return found


def feast_environment(folder: Path) -> tuple[Path | None, str]:
    """Make an environment with Feast; return its interpreter, or None and the reason."""
    environment = folder / "feast"
    uv = shutil.which("uv")
    make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    interpreter = environment / "bin" / "python"
    install = (
        [uv, "pip", "install", "--quiet", "--python", str(interpreter)]
        if uv
        else [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    )
    for command in ([*make, str(environment)], [*install, FEAST]):
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode != 0:
            return None, f"{FEAST} cannot be installed: {(finished.stderr.strip() or '?').splitlines()[-1]}"
    return interpreter, ""


def feast(path: Path, folder: Path, interpreter: Path) -> tuple[Taken, str]:
    """Retrieve forty features that were computed as of a microsecond after each interaction.

    Only the lifetime counts of interactions can be right, and must equal those of the view. Counts over days also
    change without an interaction; the second value returned is a sentence about them.
    """
    stale = [f"{name}_count_{window}" for name in COUNTS if name != "facts" for window in ("7d", "30d", "90d")]
    exact = [f"{name}_count_lifetime" for name in COUNTS if name != "facts"]
    dense = f"({OBSERVATIONS['dense']}) as observations"
    with connect(path) as connection:
        connection.execute(
            "copy (select * exclude as_of_us, make_timestamptz(as_of_us) as event_timestamp "
            f"from ({running().replace('intermediate.observations', dense)})) to '{folder / 'features.parquet'}'"
        )
        connection.execute(
            "copy (select lead_id, as_of as event_timestamp from intermediate.observations) "
            f"to '{folder / 'entities.parquet'}'"
        )
    script = Path(__file__).with_name("feast_retrieval.py")
    finished = subprocess.run(
        [str(interpreter), str(script), str(folder)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    if finished.returncode != 0:
        raise MeasurementError(f"Feast failed:\n{finished.stderr}")
    taken = Taken(**json.loads(finished.stdout.splitlines()[-1]), features=len(FORTY))
    # before a lead's first interaction there is no row, so Feast returns null where the count is 0
    shown = ", ".join(f"coalesce({name}, 0) as {name}" for name in (*exact, *stale))
    answer = f"(select lead_id, epoch_us(event_timestamp) as as_of_us, {shown} from '{folder / 'retrieved.parquet'}')"
    with connect(path) as connection:
        assert_equal(connection, answer, AS_OF_US, exact)
        different = " + ".join(f"count(*) filter (view.{name} <> other.{name})" for name in stale)
        ((share,),) = connection.execute(
            f"select ({different}) / (count(*) * {len(stale)}) from features.lead_features as view "
            f"inner join {answer} as other on view.lead_id = other.lead_id and {AS_OF_US} = other.as_of_us"
        ).fetchall()
    return taken, f"of Feast's counts over 7, 30 and 90 days {share:.0%} are stale: they are as of the last interaction"
