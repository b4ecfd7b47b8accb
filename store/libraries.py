"""What is set for other libraries, before they are loaded."""

from __future__ import annotations

import os

TELEMETRY_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
}
"""Dagster, dbt, dlt and Evidently (which honours DO_NOT_TRACK) each phone home unless told not to."""

IDLE_THREADS_YIELD = {"GOMP_SPINCOUNT": "1000"}
"""OpenMP threads spin while they wait for each other, by default so long that trees took ten times longer to fit beside
two other busy processes on four cores. Not spinning at all doubles the time on idle cores; this little costs nothing
there. Read once, when the OpenMP runtime is loaded."""


def prepare_process() -> None:
    """Tell the libraries of this process, and of those that it starts, to keep quiet and to share the cores."""
    os.environ.update({**TELEMETRY_OFF, **IDLE_THREADS_YIELD})
